"""Whether a model answers as its weights must: `cataloger.model.reference_network` says what these answer.

The images are made here, from a fixed seed: who exchanges a model can exchange the golden images beside it as well.
So a model that computes something else with the same tensors is found, though not one that does so only for images
with a hidden mark.
"""

from collections.abc import Callable

import numpy as np

from cataloger.inference.classifier import Scores
from cataloger.model import Bundle, Tensors, expected_scores, golden_images, is_of_network, refusal
from cataloger.records import Floats, Pixels

LARGEST_ERROR = {"fp32": 0.05, "int8": 0.75}
"""Of the logits of an image, relative to their length. The shipped model has a millionth, and .15 in int8; a GPU that
rounds factors a thousandth; a model whose answers say nothing about those of the weights 1 and more."""
LARGEST_STRANGENESS = {"fp32": 0.01, "int8": 0.15}
"""Difference of the familiarity, a cosine; the shipped model has .03 in int8."""
REMEDY = "do not use this model; get it again from who made it, or export it again"


def check_answers(
    bundle: Bundle, weights: Tensors | None, scores: Callable[[Pixels], Scores], *, images: int
) -> None:
    """Compare what a model answers for images of ours with what the weights do.

    scores: classifies uint8 N x size x size x 3. images: how many of them. Raises BundleError. Nothing is compared
    where `unchecked` says so.
    """
    if weights is None or not is_of_network(weights, bundle.network, size=bundle.preprocess.size):
        return
    pixels = golden_images(bundle.preprocess.size)[:images]
    found = scores(pixels)
    logits, familiarity = expected_scores(weights, bundle.network, pixels)
    error = np.linalg.norm(found.logits - logits, axis=1) / np.maximum(np.linalg.norm(logits, axis=1), 1e-6)
    if not (error <= LARGEST_ERROR[bundle.precision]).all():
        raise refusal(bundle.model_path, "answers otherwise than its weights do", remedy=REMEDY)
    if not _is_near(found.familiarity, familiarity, LARGEST_STRANGENESS[bundle.precision]):
        raise refusal(bundle.model_path, "finds images familiar that its weights do not, or none", remedy=REMEDY)


def _is_near(found: Floats | None, expected: Floats | None, allowed: float) -> bool:
    if found is None or expected is None:
        return found is expected
    return bool((np.abs(found - expected) <= allowed).all())


def unchecked(bundle: Bundle, weights: Tensors | None) -> tuple[str, ...]:
    """Say what `check_bound`, which has returned the weights, and `check_answers` cannot find out about a bundle."""
    if weights is None:
        return ("its weights are left out: the model is one that was shipped, by its hash, and is not compared",)
    if not is_of_network(weights, bundle.network, size=bundle.preprocess.size):
        return ("its weights are those of another network than ours: what they must answer is not known",)
    return ()
