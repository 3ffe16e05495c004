"""What other decoders and engines would bring, and whether their answers stay the same. Decides about alternatives.

    python benchmarks/alternatives.py PHOTOS [--images 1000]

PHOTOS is a folder of JPEGs. What is installed of simplejpeg and openvino takes part. Printed for each: processor
milliseconds per image, the share of the images that keep their best label, and how far the mean confidence moves,
against Pillow and onnxruntime in the same precision. A decoder is worth having from 99.5% and 0.005 on; an engine, if
it is faster by 15% with the same arithmetic.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cataloger.imaging.preprocess import load
from cataloger.inference.classifier import calibrated_probabilities
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import Bundle, default_bundle_path, read_bundle
from cataloger.options import PreprocessSpec

SPEC = PreprocessSpec()
BATCH = 8


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


def compare_decoders(files: Sequence[bytes], bundle: Bundle) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode with each decoder and classify what comes out; return the pixels of ours."""
    decoders: dict[str, Callable[[bytes], Any]] = {"Pillow (ours)": lambda data: load(data, SPEC).pixels}
    if importlib.util.find_spec("simplejpeg"):
        decoders |= {"simplejpeg, eighths": simplejpeg(scaled=True), "simplejpeg, full": simplejpeg(scaled=False)}
    classifier = OnnxClassifier(bundle)
    ours, reference = np.empty(0, np.uint8), np.empty(0)
    for name, decode in decoders.items():
        begun = time.process_time()
        pixels = np.stack([decode(data) for data in files])
        spent = time.process_time() - begun
        answers = probabilities(lambda images: classifier.scores(images).logits, pixels, bundle)
        if not len(reference):
            ours, reference = pixels, answers
        show(f"decoder {name}", spent, answers, reference)
    return ours


def simplejpeg(*, scaled: bool) -> Callable[[bytes], Any]:
    """Return simplejpeg's decoder, at the smallest scale in eighths that is not below the network's size, or full."""
    from simplejpeg import decode_jpeg

    sizes = {"min_height": SPEC.size, "min_width": SPEC.size, "min_factor": 1} if scaled else {}

    def decode(data: bytes) -> Any:
        image = Image.fromarray(decode_jpeg(data, "RGB", **sizes))
        return np.array(image.resize((SPEC.size, SPEC.size), Image.Resampling.BILINEAR))

    return decode


def compare_engines(pixels: np.ndarray[Any, Any], bundle: Bundle) -> None:
    """Classify with each engine, one thread, batches of BATCH and of one."""
    classifier = OnnxClassifier(bundle)
    engines: dict[str, Callable[[Any], Any]] = {"onnxruntime (ours)": lambda images: classifier.scores(images).logits}
    if importlib.util.find_spec("openvino"):
        engines |= {"openvino": openvino(bundle, "f32"), "openvino, bfloat16": openvino(bundle, "bf16")}
    reference = np.empty(0)
    for name, run in engines.items():
        for size in (1, BATCH):
            run(pixels[:size])
            begun = time.process_time()
            answers = probabilities(run, pixels, bundle, size)
            spent = time.process_time() - begun
            reference = reference if len(reference) else answers
            show(f"{bundle.precision} in {name}, batch {size}", spent, answers, reference)


def openvino(bundle: Bundle, arithmetic: str) -> Callable[[Any], Any]:
    """Return OpenVINO's call for a model. arithmetic: of what is not quantized."""
    from openvino import Core

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": arithmetic}
    request = Core().compile_model(str(bundle.model_path), "CPU", settings).create_infer_request()
    return lambda images: request.infer({"images": images})["logits"].copy()


def probabilities(run: Callable[[Any], Any], pixels: Any, bundle: Bundle, size: int = BATCH) -> Any:
    """Classify in batches; return calibrated probabilities, N x labels."""
    logits = np.concatenate([run(pixels[start : start + size]) for start in range(0, len(pixels), size)])
    return calibrated_probabilities(logits, bundle.calibration.temperature)


def show(name: str, seconds: float, answers: Any, reference: Any) -> None:
    """Print one line."""
    kept = float((answers.argmax(axis=1) == reference.argmax(axis=1)).mean())
    moved = float(answers.max(axis=1).mean() - reference.max(axis=1).mean())
    print(
        f"{name:38} {1000 * seconds / len(answers):6.2f} ms  same label {kept:.4f}  confidence {moved:+.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
