"""What a person writes in ten minutes: Pillow and onnxruntime in a loop, our fp32 model. PHOTOS MODEL OUT.csv"""

import csv
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

photos, model, output = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
with Path(output).open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    for path in sorted(Path(photos).iterdir()):
        image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        (logits,) = session.run(["logits"], {"images": np.asarray(image)[None]})
        writer.writerow([path.name, *np.argsort(-logits[0])[:5]])
