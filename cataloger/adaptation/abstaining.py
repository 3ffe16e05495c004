"""Below which score an image shows nothing that a model knows: chosen by what tells products from other things.

The limit is such that at most ABSTAINED of the products lie below it. On photos of a shop of its own, with some that
show no product, it is learned anew if it leaves fewer mistakes than the limit that the model came with.
"""

from dataclasses import replace

import numpy as np

from cataloger.inference import Scores, known_images, log_sum_exp
from cataloger.model import Calibration
from cataloger.records import Floats

ABSTAINED = 0.01
"""Share of the products that may be taken for other things."""
LEAST_PRODUCTS = 100
"""Images; of fewer, 1% is none, and the limit would be that of a single image."""
LEAST_OTHERS = 10


def abstain_limit(scores: Floats) -> float:
    """Return the largest limit with at most ABSTAINED of the scores of products, N, below it."""
    return float(np.quantile(scores, ABSTAINED, method="lower"))


def learn_abstaining(calibration: Calibration, products: Scores, others: Scores) -> Calibration:
    """Return the calibration with a limit learned in one shop; as it is where that gains nothing, or of too few.

    products: of images that show one of the labels. others: of images that show no product. What is there already
    stays if it costs at most ABSTAINED of these products and tells as many of the others from them.
    """
    if len(products.logits) < LEAST_PRODUCTS or len(others.logits) < LEAST_OTHERS:
        return calibration
    limit = abstain_limit(log_sum_exp(products.logits.astype(np.float64)))
    learned = replace(calibration, least_log_sum_exp=limit)
    lost, told = _abstained(calibration, products), _abstained(calibration, others)
    is_better = lost > ABSTAINED or _abstained(learned, others) > told
    return learned if is_better else calibration


def _abstained(calibration: Calibration, scores: Scores) -> float:
    """Return the share of images that are abstained from."""
    return float(np.mean(~known_images(calibration, scores)))
