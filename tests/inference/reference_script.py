"""Top-1 and top-5 of a bundle on labelled images, in as few lines as possible: a second opinion on cataloger.

    python tests/inference/reference_script.py BUNDLE LABELS.csv IMAGES PREFIX

Uses onnxruntime, Pillow, numpy and the bundle's bundle.json, and nothing of cataloger. PREFIX selects the rows whose
`file` begins with it. Prints JSON: the number of images, and the share with an accepted label first or among five.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(bundle: Path, labels: Path, images: Path, prefix: str) -> None:
    spec = json.loads((bundle / "bundle.json").read_text())
    side = spec["preprocess"]["size"]
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    count = first = five = 0
    with labels.open(newline="") as file:
        for row in csv.DictReader(file):
            if not row["file"].startswith(prefix):
                continue
            with Image.open(images / row["file"]) as image:
                image.draft(None, (side, side))
                upright = ImageOps.exif_transpose(image).convert("RGB")
                pixels = np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR))
            (logits,) = session.run([spec["tensors"]["logits"]], {spec["tensors"]["images"]: pixels[None]})
            best = [spec["labels"][index] for index in np.argsort(-logits[0], kind="stable")[:5]]
            accepted = row["labels"].split("|")
            count += 1
            first += best[0] in accepted
            five += any(label in accepted for label in best)
    print(json.dumps({"images": count, "top1": first / count, "top5": five / count}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
