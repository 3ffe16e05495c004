"""The image-classification pipeline of transformers, one photo at a time as in its documentation. PHOTOS OUT.csv

The network is its MobileNet v1 of 39 classes, not trained: weights do not change how fast it is.
"""

import csv
import sys
from pathlib import Path

from transformers import (
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    MobileNetV1ImageProcessor,
    pipeline,
)

photos, output = sys.argv[1:]
model = MobileNetV1ForImageClassification(MobileNetV1Config(num_labels=39)).eval()
classify = pipeline("image-classification", model=model, image_processor=MobileNetV1ImageProcessor(), device="cpu")
names = sorted(str(path) for path in Path(photos).iterdir())
with Path(output).open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    for name, answers in zip(names, classify(names, top_k=5), strict=True):
        writer.writerow([name, *(answer["label"] for answer in answers)])
