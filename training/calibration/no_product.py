"""Telling what shows no product from what does: by the log of the summed exponentials of all raw scores.

It is the negative energy of Liu et al. (arXiv:2010.03759). In a model that has learned from images of no product its
sigmoid is the probability that an image shows a product (`cataloger.training.fit.loss`); others tell them apart
less well. Every result keeps it, so that nothing has to be classified again to use it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cataloger.inference import log_sum_exp
from cataloger.model import Bundle
from cataloger.records import Floats
from cataloger.training.calibration.familiarity import auroc
from cataloger.training.data import LabelledImages
from cataloger.training.evaluation import ScoredImages, score
from cataloger.training.metrics import Share, between, wilson

DRAWS = 500
PRODUCT_SECTION = "## What shows no product"


@dataclass(frozen=True, slots=True)
class ProductScore:
    """How well products and other images are told apart, of so many of each.

    least: limit of the calibration. auroc: chance that a product scores higher than another image. lost: share of the
    products that score below the limit. passed: share of the other images that do not.
    """

    least: float
    products: int
    others: int
    auroc: Share
    lost: Share
    passed: Share

    def line(self) -> str:
        """Say it in one line."""
        return (
            f"AUROC {self.auroc.value:.3f} ({self.auroc.low:.3f} to {self.auroc.high:.3f}); of {self.others:,} images"
            f" that show no product {_percent(self.passed)} reach {self.least:.2f}, of {self.products:,} that do"
            f" {_percent(self.lost)} do not"
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def product_scores(scored: ScoredImages) -> Floats:
    """Return the score of each image, float64 N: the higher, the more it looks like a product."""
    return log_sum_exp(scored.logits.astype(np.float64))


def measure_product_score(products: ScoredImages, others: ScoredImages, least: float) -> ProductScore:
    """Measure by images that show products and images that do not. least: of the calibration."""
    known, strange = product_scores(products), product_scores(others)
    random = np.random.default_rng(0)
    draws = [auroc(random.choice(known, len(known)), random.choice(strange, len(strange))) for _ in range(DRAWS)]
    return ProductScore(
        least=least,
        products=len(known),
        others=len(strange),
        auroc=between(auroc(known, strange), np.array(draws)),
        lost=wilson(int((known < least).sum()), len(known)),
        passed=wilson(int((strange >= least).sum()), len(strange)),
    )


def tell_apart(
    bundle: Bundle,
    data: LabelledImages,
    products: Mapping[str, ScoredImages | None],
    *,
    stage: Callable[[str, int], None] = lambda _name, _total: None,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, ProductScore]:
    """Measure how well what shows no product is told from what does, by split, where a split has both.

    products: scores of the images that show products, by split. stage: receives what begins, and its images; progress
    the images done.
    """
    least, measured = bundle.calibration.least_log_sum_exp, {}
    for split, scored in products.items():
        others = data.no_products(split)
        if scored is not None and others and least is not None:
            stage(f"measuring on {split} images of no product", len(others))
            found = score(bundle, others, progress=progress)
            measured[split] = measure_product_score(scored, found, least)
    return measured


def product_section(measured: dict[str, ProductScore]) -> str:
    """Return what the model card says. measured: by the name of the images, e.g. of the split."""
    lines = [f"- {name}: {score.line()}." for name, score in measured.items()]
    return (
        "Images that show no product were among the training images. They are told from products by the log of the\n"
        "summed exponentials of all raw scores: `log_sum_exp` of a result, `least_log_sum_exp` of the calibration.\n"
        "\n" + "\n".join(lines) + "\n"
    )


def _percent(share: Share) -> str:
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
