"""What other decoders and engines would bring, and whether their answers stay the same. Decides about alternatives.

    python benchmarks/alternatives.py PHOTOS [--images 1000]

PHOTOS is a folder of JPEGs. What is installed of simplejpeg and openvino takes part, all in turns. Printed for each:
processor milliseconds per image, the ratio to ours (median of the turns, lowest and highest), the share of the images
that keep their best label, and how far the mean confidence moves, against Pillow and onnxruntime in the same
precision. A decoder is worth having from 99.5% and 0.005 on; an engine, if it is faster by 15% with the same
arithmetic.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from cataloger.imaging.preprocess import load
from cataloger.inference.classifier import calibrated_probabilities
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import Bundle, default_bundle_path, read_bundle
from cataloger.options import PreprocessSpec
from cataloger.records import Pixels

SPEC = PreprocessSpec()
BATCH = 4  # as many as are classified together
TURNS = 9
Run = Callable[[Pixels], Any]
Timed = tuple[Any, list[float]]


def main() -> None:
    """Run all that is installed and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    files = [path.read_bytes() for path in sorted(arguments.photos.glob("*.jpg"))[: arguments.images]]
    bundle = read_bundle(default_bundle_path(), check=())
    pixels = compare_decoders(files, bundle.at("fp32"))
    for precision in bundle.precisions:
        compare_engines(pixels, bundle.at(precision))


def compare_decoders(files: Sequence[bytes], bundle: Bundle) -> Pixels:
    """Decode with each decoder and classify what comes out; return the pixels of ours."""
    decoders: dict[str, Callable[[Sequence[bytes]], Pixels]] = {
        "Pillow (ours)": one_by_one(lambda data: load(data, SPEC).pixels)
    }
    if importlib.util.find_spec("simplejpeg"):
        decoders |= {
            "simplejpeg, eighths": one_by_one(simplejpeg(scaled=True)),
            "simplejpeg, full": one_by_one(simplejpeg(scaled=False)),
        }
    found = in_turns(decoders, files)
    run = logits_of(OnnxClassifier(bundle))
    show("decoder ", {name: (in_batches(run, pixels, BATCH), each) for name, (pixels, each) in found.items()}, bundle)
    return next(iter(found.values()))[0]


def one_by_one(decode: Callable[[bytes], Pixels]) -> Callable[[Sequence[bytes]], Pixels]:
    """Return what decodes several files."""
    return lambda files: np.stack([decode(data) for data in files])


def simplejpeg(*, scaled: bool) -> Callable[[bytes], Any]:
    """Return simplejpeg's decoder, at the smallest scale in eighths that is not below the network's size, or full."""
    from simplejpeg import decode_jpeg

    sizes = {"min_height": SPEC.size, "min_width": SPEC.size, "min_factor": 1} if scaled else {}

    def decode(data: bytes) -> Any:
        image = Image.fromarray(decode_jpeg(data, "RGB", **sizes))
        return np.array(image.resize((SPEC.size, SPEC.size), Image.Resampling.BILINEAR))

    return decode


def compare_engines(pixels: Pixels, bundle: Bundle) -> None:
    """Classify with each engine, one thread, in batches of one and of BATCH."""
    engines = {"onnxruntime (ours)": logits_of(OnnxClassifier(bundle))}
    if importlib.util.find_spec("openvino"):
        engines |= {"openvino": openvino(bundle, "f32"), "openvino, bfloat16": openvino(bundle, "bf16")}
    for size in (1, BATCH):
        runs = {name: partial(in_batches, run, size=size) for name, run in engines.items()}
        show(f"{bundle.precision}, batch {size}, ", in_turns(runs, pixels), bundle)


def logits_of(classifier: OnnxClassifier) -> Run:
    """Return a call of the classifier."""
    return lambda images: classifier.scores(images).logits


def openvino(bundle: Bundle, arithmetic: str) -> Callable[[Any], Any]:
    """Return OpenVINO's call for a model. arithmetic: of what is not quantized."""
    from openvino import Core

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": arithmetic}
    request = Core().compile_model(str(bundle.model_path), "CPU", settings).create_infer_request()
    return lambda images: request.infer({"images": images})["logits"].copy()


def in_batches(run: Run, pixels: Pixels, size: int) -> Any:
    """Classify so many images at once; return logits, N x labels."""
    return np.concatenate([run(pixels[start : start + size]) for start in range(0, len(pixels), size)])


def in_turns(ways: Mapping[str, Callable[[Any], Any]], inputs: Any) -> dict[str, Timed]:
    """Go through the inputs in TURNS parts, each way in turn; return name -> (outputs, processor seconds an input).

    The order is another one in every part, and what is done first is done twice.
    """
    parts = [inputs[begin::TURNS] for begin in range(TURNS)]
    found: dict[str, tuple[list[Any], list[float]]] = {name: ([], []) for name in ways}
    for turn, part in enumerate(parts):
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        ways[names[0]](part[:2])
        for name in names:
            begun = time.process_time()
            found[name][0].append(ways[name](part))
            found[name][1].append((time.process_time() - begun) / len(part))
    return {name: (np.concatenate(outputs), seconds) for name, (outputs, seconds) in found.items()}


def show(prefix: str, found: Mapping[str, Timed], bundle: Bundle) -> None:
    """Print a line each, compared with the first. found: name -> (logits, seconds)."""
    logits, ours = next(iter(found.values()))
    expected = calibrated_probabilities(logits, bundle.calibration.temperature)
    for name, (logits, seconds) in found.items():
        answers = calibrated_probabilities(logits, bundle.calibration.temperature)
        kept = float((answers.argmax(axis=1) == expected.argmax(axis=1)).mean())
        moved = float(answers.max(axis=1).mean() - expected.max(axis=1).mean())
        ratios = [new / old for new, old in zip(seconds, ours, strict=True)]
        print(
            f"{prefix + name:36} {1000 * median(seconds):6.2f} ms, {median(ratios):5.2f} times "
            f"({min(ratios):.2f}-{max(ratios):.2f})  same label {kept:.4f}  confidence {moved:+.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
