"""How much an image looks like those that a model was trained on, so that a chair or a size chart can be recognised.

The mean over the places of the last feature map is compared with prototypes, the centres of clusters of such means of
the training images: the score is the highest cosine similarity. It needs no picture of anything else, costs one small
matrix product per image, and is part of the exported model.

Chosen among scores from the logits (highest probability, highest logit, energy, entropy, margin) and from the
features (Mahalanobis distance, k nearest neighbours, residual of the main components) on one set of things that are
no clothes, reported on another: see `benchmarks/not_clothing.py` and its figures in `benchmarks/README.md`.
"""

from collections.abc import Sequence

import numpy as np

from cataloger.records import Floats

MOST_PROTOTYPES = 128
IMAGES_A_PROTOTYPE = 8
MOST_IMAGES = 4096


def fit_prototypes(features: Floats, seed: int) -> Floats:
    """Return the prototypes, float32 K x C of length one, of features N x C of training images (k-means++)."""
    from scipy.cluster.vq import kmeans2

    units = unit(features.astype(np.float64))
    count = max(1, min(MOST_PROTOTYPES, len(units) // IMAGES_A_PROTOTYPE))
    centres, _ = kmeans2(units, count, iter=25, minit="++", missing="warn", seed=seed)
    used = centres[np.linalg.norm(centres, axis=1) > 0]
    prototypes: Floats = unit(used).astype(np.float32)
    return prototypes


def unit(vectors: Floats) -> Floats:
    """Scale each row to length one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = vectors / np.maximum(lengths, 1e-12)
    return scaled


def auroc(familiar: Sequence[float] | Floats, strange: Sequence[float] | Floats) -> float:
    """Return the chance that a familiar image scores higher than a strange one (area under the ROC curve)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([familiar, strange]))[: len(familiar)]
    return float((ranks.sum() - len(familiar) * (len(familiar) + 1) / 2) / (len(familiar) * len(strange)))
