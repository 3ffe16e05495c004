"""The torch backend against the exported model: the same scores on the CPU; on a GPU where there is one."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402

from cataloger.errors import BundleError  # noqa: E402
from cataloger.inference.classifier import rank  # noqa: E402
from cataloger.inference.onnx import OnnxClassifier  # noqa: E402
from cataloger.inference.torch import BATCHES, TorchClassifier  # noqa: E402
from cataloger.model.bundle import WEIGHTS, default_bundle_path, read_bundle  # noqa: E402
from cataloger.model.golden import golden_images  # noqa: E402


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(default_bundle_path())


@pytest.fixture(scope="module")
def images(bundle):
    return golden_images(bundle.preprocess.size)


def test_it_answers_as_the_exported_model_does(bundle, images):
    expected = OnnxClassifier(bundle).scores(images)
    classifier = TorchClassifier(bundle, device="cpu")
    found = classifier.scores(images)
    np.testing.assert_allclose(found.logits, expected.logits, atol=bundle.golden_tolerance)
    np.testing.assert_allclose(found.familiarity, expected.familiarity, atol=1e-5)
    assert classifier.labels == bundle.labels
    assert classifier.device == "cpu"


def test_more_images_than_the_largest_batch_keep_their_order(bundle, images, monkeypatch):
    monkeypatch.setattr("cataloger.inference.torch.BATCHES", (2, 3))
    classifier = TorchClassifier(bundle, device="cpu")
    alone = np.concatenate([classifier.scores(images[row : row + 1]).logits for row in range(len(images))])
    np.testing.assert_allclose(classifier.scores(images).logits, alone, atol=1e-4)


def test_weights_that_do_not_fit_are_told(bundle, tmp_path):
    tensors = load_file(bundle.path / WEIGHTS)
    tensors.pop("conv1.conv.weight")
    save_file(tensors, tmp_path / WEIGHTS)
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    broken = replace(bundle, path=tmp_path, files={**bundle.files, WEIGHTS: digest})
    with pytest.raises(BundleError, match=r"do not fit its network, e\.g\. conv1\.conv\.weight"):
        TorchClassifier(broken, device="cpu")
    with pytest.raises(BundleError, match=WEIGHTS):
        TorchClassifier(replace(broken, files=bundle.files), device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_half_precision_on_a_gpu_gives_the_same_best_labels(bundle):
    random = np.random.default_rng(0)
    base = golden_images(bundle.preprocess.size)
    images = np.stack(
        [np.roll(base[n % 8], random.integers(224), axis=random.integers(2)) for n in range(BATCHES[-1] + 9)]
    )
    expected = OnnxClassifier(bundle).scores(images)
    found = TorchClassifier(bundle.at("fp16"), device="cuda").scores(images)
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.05)
    same = [rank(a, 1) == rank(b, 1) for a, b in zip(expected.logits, found.logits, strict=True)]
    assert np.mean(same) > 0.98
    assert np.isfinite(found.logits).all()
