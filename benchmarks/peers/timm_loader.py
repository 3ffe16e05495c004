"""timm's way, as its inference.py does it: its dataset, its loader with two workers, batches of 256. PHOTOS OUT.csv

The network is its MobileNet v1 of 39 classes, not trained: weights do not change how fast it is.
"""

import csv
import sys
from pathlib import Path

import timm
import torch
from timm.data import create_dataset, create_loader, resolve_data_config

photos, output = sys.argv[1:]
model = timm.create_model("mobilenetv1_100", pretrained=False, num_classes=39).eval()
config = resolve_data_config({}, model=model)
dataset = create_dataset(root=photos, name="", class_map="")
sizes = {name: config[name] for name in ("input_size", "interpolation", "mean", "std", "crop_pct")}
loader = create_loader(dataset, batch_size=256, use_prefetcher=False, num_workers=2, device="cpu", **sizes)
answers = []
with torch.inference_mode():
    for images, _ in loader:
        answers += model(images).topk(5).indices.tolist()
with Path(output).open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([name, *best] for name, best in zip(dataset.filenames(), answers, strict=True))
