"""Prototypes of known images, and that strange ones are far from them."""

import numpy as np
import pytest

from cataloger.training.calibration.familiarity import MOST_PROTOTYPES, auroc, fit_prototypes, unit


def clusters(seed, centres, count=400):
    random = np.random.default_rng(seed)
    return centres[random.integers(len(centres), size=count)] + random.normal(0, 0.05, size=(count, centres.shape[1]))


CENTRES = unit(np.random.default_rng(0).uniform(size=(12, 32)))
STRANGE = unit(np.random.default_rng(99).uniform(size=(12, 32)))


def score(images, prototypes):
    return (unit(images) @ prototypes.T).max(axis=1)


def test_prototypes_are_of_length_one_and_the_same_for_a_seed():
    pytest.importorskip("scipy")
    features = clusters(1, CENTRES)
    prototypes = fit_prototypes(features, 3)
    assert np.linalg.norm(prototypes, axis=1) == pytest.approx(np.ones(len(prototypes)), abs=1e-6)
    assert np.array_equal(prototypes, fit_prototypes(features, 3))
    assert len(prototypes) <= min(MOST_PROTOTYPES, len(features) // 8)


def test_what_was_never_seen_is_less_familiar():
    pytest.importorskip("scipy")
    prototypes = fit_prototypes(clusters(1, CENTRES), 0)
    assert auroc(score(clusters(2, CENTRES), prototypes), score(clusters(3, STRANGE), prototypes)) > 0.99


def test_three_images_still_give_a_prototype():
    pytest.importorskip("scipy")
    assert fit_prototypes(clusters(1, CENTRES, count=3), 0).shape == (1, 32)


def test_the_area_under_the_curve_counts_pairs():
    pytest.importorskip("scipy")
    # Of the six pairs four are in order and one is a tie.
    assert auroc([0.9, 0.5, 0.2], [0.5, 0.1]) == pytest.approx(4.5 / 6)
