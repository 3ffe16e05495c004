"""Whether a model still gives the answers that it gave when it was exported."""

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from cataloger.errors import BundleError
from cataloger.inference.answers import check_answers, unchecked
from cataloger.inference.isolated import open_classifier
from cataloger.model import (
    IMAGES,
    LOGITS,
    REQUIRED_FILES,
    Bundle,
    check_bound,
    check_files,
    read_golden,
)

COMPARED_IMAGES = 3
"""Those whose answers are compared with those of the weights, which takes a tenth of a second each."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check has found. difference: the largest of a golden logit. unchecked: what could not be found out."""

    difference: float
    unchecked: tuple[str, ...]


def verify_model(bundle: Bundle) -> Verified:
    """Check the model of the bundle's precision: its files, its golden images, and that it is made of the weights.

    Raises BundleError when a file differs from its hash, the model has other tensors than the weights or answers
    otherwise than they do, or a golden logit differs by more than the bundle's tolerance.
    """
    bundle.require_training_files("replaying its golden images")
    check_files(bundle, (*REQUIRED_FILES, bundle.model_path.name))
    golden = read_golden(bundle, golden_key(bundle))
    images, expected = golden[IMAGES], golden[golden_key(bundle)]
    with closing(open_classifier(bundle)) as classifier:
        difference = float(np.abs(classifier.logits(images) - expected).max())
        weights = check_bound(bundle)
        check_answers(bundle, weights, classifier.scores, images=COMPARED_IMAGES)
    if not difference <= bundle.tolerance:
        raise BundleError(
            f"{bundle.title} in {bundle.precision} gives other logits than when it was exported: they differ by "
            f"{difference:.2g}, allowed is {bundle.tolerance:.2g}; this machine or its onnxruntime must not be "
            "trusted with it"
        )
    return Verified(difference, unchecked(bundle, weights))


def replay_golden(bundle: Bundle) -> float:
    """Do what `verify_model` does; return the largest absolute difference of a golden logit."""
    return verify_model(bundle).difference


def answers_noise(bundle: Bundle) -> None:
    """Let a bundle classify an image of noise in its precision.

    Raises BundleError where no finite scores come of it.
    """
    size = bundle.preprocess.size
    noise = np.random.default_rng(0).integers(256, size=(1, size, size, 3), dtype=np.uint8)
    with closing(open_classifier(bundle)) as classifier:
        if not np.isfinite(classifier.logits(noise)).all():
            raise BundleError(f"{bundle.title} in {bundle.precision} answers noise with scores that are not finite")


def golden_key(bundle: Bundle) -> str:
    """Return the name of the expected logits in golden.npz."""
    return LOGITS if bundle.precision == "fp32" else f"{LOGITS}_{bundle.precision}"
