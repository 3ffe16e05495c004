"""The minimal cost of classifying photos: Pillow and onnxruntime in one thread, without cataloger.

Started by `cataloger.bench.bench`, as many at once as there are processors: `python -m
cataloger.bench.baseline_worker MODEL SIZE BATCH`, names of files on stdin. It prints "ready", waits for a line "go",
and prints what it did, as JSON. What it does must stay what a person would write without cataloger; it is what
cataloger is measured against.
"""

import io
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from cataloger.inference import onnxruntime


def main(model: str, size: int, batch_size: int) -> None:
    """Decode and classify the files named on stdin; print their number and the processor seconds of each stage."""
    warnings.simplefilter("ignore")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    names = json.loads(sys.stdin.readline())
    session.run(["logits"], {"images": np.zeros((batch_size, size, size, 3), np.uint8)})
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    cpu = {"reading": 0.0, "decoding": 0.0, "classifying": 0.0}
    batch, failed = [], 0
    for number, name in enumerate(names, start=1):
        begun = time.thread_time()
        data = Path(name).read_bytes()
        read = time.thread_time()
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.draft("RGB", (size, size))
                small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
                batch.append(np.asarray(small))
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
            failed += 1
        decoded = time.thread_time()
        if batch and (len(batch) == batch_size or number == len(names)):
            session.run(["logits"], {"images": np.stack(batch)})
            batch = []
        cpu["reading"] += read - begun
        cpu["decoding"] += decoded - read
        cpu["classifying"] += time.thread_time() - decoded
    sys.stdout.write(json.dumps({"images": len(names), "failed": failed, "cpu_seconds": cpu}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
