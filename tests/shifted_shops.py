"""Scores of made-up shops, which may be shifted from what a model was trained on, and their labels."""

import numpy as np

from cataloger.adaptation import LabelledScores

LABELS = tuple("abcdef")
COUNT = len(LABELS)


def shop(images, *, bias=0.0, mixing=None, prior=None, seed=0, noise=1.5):
    """Draw scores and labels of a shop. bias, mixing: what its photos do to the scores of a model that is right."""
    random = np.random.default_rng(seed)
    truth = random.choice(COUNT, images, p=prior)
    scores = 4.0 * np.eye(COUNT)[truth] + random.normal(0, noise, (images, COUNT))
    scores = scores @ (np.eye(COUNT) if mixing is None else mixing) + bias
    return scores.astype(np.float32), truth


def labelled(scores, truth, groups=None):
    """Return scores with their labels. groups: of products; None where each image is one."""
    accepted = np.eye(COUNT, dtype=bool)[truth]
    return LabelledScores(LABELS, scores, accepted, np.arange(len(truth)) if groups is None else groups)
