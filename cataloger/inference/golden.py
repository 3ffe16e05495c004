"""Whether a model still gives the answers that it gave when it was exported."""

from contextlib import closing

import numpy as np

from cataloger.errors import BundleError
from cataloger.inference.isolated import open_classifier
from cataloger.model import (
    IMAGES,
    LOGITS,
    REQUIRED_FILES,
    Bundle,
    check_bound,
    check_files,
    default_bundle_path,
    read_golden,
)


def replay_golden(bundle: Bundle) -> float:
    """Classify the golden images in the bundle's precision; return the largest absolute difference of a logit.

    Raises UsageError for a copy that has been kept without them, BundleError when a file differs from its hash, the
    model is not made of the bundle's weights, or the difference exceeds the bundle's tolerance.
    """
    bundle.require_training_files("replaying its golden images")
    check_files(bundle, (*REQUIRED_FILES, bundle.model_path.name))
    if bundle.path == default_bundle_path():  # any other is compared when it is loaded
        check_bound(bundle)
    golden = read_golden(bundle, golden_key(bundle))
    images, expected = golden[IMAGES], golden[golden_key(bundle)]
    with closing(open_classifier(bundle)) as classifier:
        difference = float(np.abs(classifier.logits(images) - expected).max())
    if not difference <= bundle.tolerance:
        raise BundleError(
            f"{bundle.title} in {bundle.precision} gives other logits than when it was exported: they differ by "
            f"{difference:.2g}, allowed is {bundle.tolerance:.2g}; this machine or its onnxruntime must not be "
            "trusted with it"
        )
    return difference


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
