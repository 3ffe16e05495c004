"""Copies of bundles: complete ones, and slim ones without training weights and golden images."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_bundles import edit, small_bundle
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import BundleError, UsageError
from cataloger.inference.backend import Engine
from cataloger.model.bundle import (
    MODEL,
    MODEL_INT8,
    TRAINING_FILES,
    WEIGHTS,
    check_bound,
    default_bundle_path,
    read_bundle,
)
from cataloger.model.shipped import keep_bundle, resolve_bundle_path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def bundle(tmp_path):
    return small_bundle(tmp_path / "model")


@pytest.fixture(scope="module")
def slim(tmp_path_factory):
    """A slim copy of the default bundle."""
    path = tmp_path_factory.mktemp("kept") / "slim"
    kept = json.loads(run("models", "keep", "default", path, "--slim", "--json").stdout)
    assert kept["left_out"] == sorted(TRAINING_FILES)
    return read_bundle(path)


def test_a_complete_copy_is_the_same_and_can_be_made_again(bundle, tmp_path):
    for _ in range(2):
        kept = keep_bundle(bundle, tmp_path / "copy")
        assert (kept.to_json(), kept.path) == (bundle.to_json(), tmp_path / "copy")


def test_a_slim_copy_has_the_same_identities_and_less_in_it(slim):
    whole = read_bundle(default_bundle_path())
    assert (slim.weights_id, slim.calibration_id) == (whole.weights_id, whole.calibration_id)
    names = {path.name for path in slim.path.iterdir()}
    assert {path.name for path in default_bundle_path().iterdir()} - names == set(TRAINING_FILES)
    assert sum(path.stat().st_size for path in slim.path.iterdir()) < 17e6
    assert keep_bundle(slim, slim.path.parent / "again", slim=True).to_json() == slim.to_json()


def test_a_slim_copy_does_what_needs_no_training_files(slim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXAMPLES / "images", "photos")
    labels = (EXAMPLES / "labels.csv", "--images", "photos")
    assert "this copy leaves out golden.npz, weights.safetensors" in run("models", "verify", slim.path).stdout
    run("tag", "photos", "--db", "sqlite:///a.db", "-q", "--model", slim.path)
    run("explain", "photos/blue-fedora.png", "--model", slim.path)
    evaluated = [
        json.loads(run("evaluate", *labels, "--model", each, "--json").stdout) for each in (slim.path, "default")
    ]
    assert evaluated[0]["all"] == evaluated[1]["all"]
    run("calibrate", *labels, "--model", slim.path, "--output", "calibrated", "--target-precision", "0.9")
    assert read_bundle(Path("calibrated")).left_out == slim.left_out
    run("recalibrate", "--db", "sqlite:///a.db", "--model", "calibrated")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (
            ("train", EXAMPLES / "labels.csv", "--images", EXAMPLES / "images", "--output", "new", "--start"),
            "--start",
        ),
        (("models", "quantize", "{}", EXAMPLES / "labels.csv", "--output", "new"), "`cataloger models quantize`"),
    ],
)
def test_a_slim_copy_says_why_it_cannot_be_trained(slim, tmp_path, monkeypatch, arguments, what):
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    monkeypatch.chdir(tmp_path)
    given = [slim.path if each == "{}" else each for each in arguments]
    refused = run(*given, *([] if slim.path in given else [slim.path]), status=2).stderr
    assert f"{what} needs weights.safetensors and golden.npz, which this copy of" in refused
    assert "of `cataloger models keep default DIR` by the version of cataloger" in refused
    assert not Path("new").exists()


def test_a_gpu_that_needs_the_weights_leaves_a_slim_copy_to_the_processor(slim):
    engine = Engine("torch", "cuda")
    chosen = engine.bundle(slim, "auto")
    assert chosen.model_path == slim.path / MODEL_INT8
    classifier = engine.open(chosen)
    assert classifier.device == "cpu"
    classifier.close()
    with pytest.raises(UsageError, match="--precision fp16 needs weights"):
        slim.at("fp16")


def test_what_is_there_already_is_not_replaced(bundle, tmp_path):
    other = small_bundle(tmp_path / "other", labels=("Hat", "Shirt"))
    with pytest.raises(UsageError, match="contains shop 3 already"):
        keep_bundle(bundle, other.path)
    with pytest.raises(UsageError, match="contains shop 3 already"):
        keep_bundle(bundle, bundle.path, slim=True)
    assert (bundle.path / WEIGHTS).is_file()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(BundleError, match="is not a model bundle"):
        keep_bundle(bundle, tmp_path / "photos")


def test_a_damaged_file_is_not_kept(bundle, tmp_path):
    (bundle.path / WEIGHTS).write_bytes(b"others")
    with pytest.raises(BundleError, match=r"weights\.safetensors is not the file"):
        keep_bundle(bundle, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["left_out"].update({WEIGHTS: "0" * 64}), "was edited"),
        (lambda v: v["left_out"].pop(WEIGHTS), f"does not name {WEIGHTS}"),
        (lambda v: v["left_out"].update({"model.onnx": "0" * 64}), "left_out"),
        (
            lambda v: (v["left_out"].pop(WEIGHTS), v["left_out"].update({"model.onnx": "0" * 64})),
            "cannot be left out",
        ),
        (lambda v: v["files"].update({WEIGHTS: v["left_out"][WEIGHTS]}), "cannot be left out"),
        (lambda v: v.update(left_out=["weights.safetensors"]), "left_out: Expected `object`"),
    ],
)
def test_what_is_left_out_is_checked(slim, tmp_path, change, message):
    shutil.copytree(slim.path, tmp_path / "copy")
    copy = read_bundle(tmp_path / "copy")
    edit(copy, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(copy.path)


def test_only_a_model_that_came_with_cataloger_has_slim_copies(bundle, tmp_path):
    with pytest.raises(UsageError, match="shop 3 did not come with cataloger"):
        keep_bundle(bundle, tmp_path / "copy", slim=True)
    assert not (tmp_path / "copy").exists()


def test_a_shipped_model_is_named_by_name_and_version(tmp_path, monkeypatch):
    default = read_bundle(default_bundle_path())
    assert resolve_bundle_path(default.reference) == default.path
    with pytest.raises(UsageError, match=f"no model at fashion@9: .*this version has {default.reference}"):
        resolve_bundle_path("fashion@9")
    monkeypatch.chdir(tmp_path)
    small_bundle(tmp_path / default.reference)
    assert resolve_bundle_path(default.reference) == Path(default.reference)


def test_another_model_in_a_slim_copy_is_refused(slim, tmp_path):
    shutil.copytree(slim.path, tmp_path / "copy")
    other = small_bundle(tmp_path / "other")
    kept = replace(slim, path=tmp_path / "copy")
    shutil.copy(other.path / MODEL, kept.path)
    edit(kept, lambda values: values["files"].update({MODEL: other.files[MODEL]}))
    with pytest.raises(BundleError, match=r"is missing, so nothing says whether model\.onnx belongs to it"):
        check_bound(read_bundle(kept.path))
