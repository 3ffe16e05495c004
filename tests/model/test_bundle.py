"""Bundles: identities, and every kind of damage is refused."""

import json
from dataclasses import replace

import pytest
from full_disk import full_disk
from small_bundles import small_files

from cataloger.errors import BundleError, OutputError
from cataloger.model.bundle import (
    MANIFEST,
    MODEL,
    REQUIRED_FILES,
    Bundle,
    check_files,
    new_bundle,
    read_bundle,
    recalibrated,
    seal,
)
from cataloger.model.calibration import Calibration
from cataloger.options import NetworkConfig, PreprocessSpec


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "model"
    network = NetworkConfig(classes=2)
    draft = Bundle(path, "shop", "3", ("Hat", "Shirt"), PreprocessSpec(), network, calibration=Calibration(1.5))
    with new_bundle(path) as folder:
        small_files(folder, labels=2, size=draft.preprocess.size)
        seal(replace(draft, path=folder))
    return read_bundle(path)


def edit(bundle, change):
    values = json.loads((bundle.path / MANIFEST).read_text())
    change(values)
    (bundle.path / MANIFEST).write_text(json.dumps(values))


def test_what_was_written_is_read(bundle):
    assert (bundle.title, bundle.labels, bundle.temperature) == ("shop 3", ("Hat", "Shirt"), 1.5)
    assert set(bundle.files) == set(REQUIRED_FILES)
    check_files(bundle)


def test_nothing_is_left_of_the_temporary_folder(bundle):
    assert [path.name for path in bundle.path.parent.iterdir()] == ["model"]


def test_calibration_changes_its_own_identity_alone(bundle):
    other = recalibrated(bundle, Calibration(2.0))
    assert other.weights_id == bundle.weights_id
    assert other.calibration_id != bundle.calibration_id


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": PreprocessSpec(resampling="bicubic")},
        {"labels": ("Shirt", "Hat")},
        {"files": {"weights.safetensors": "0"}},
    ],
)
def test_what_decides_the_logits_changes_the_weights_id(bundle, change):
    assert replace(bundle, **change).weights_id != bundle.weights_id


def test_an_unfinished_bundle_leaves_the_old_one(bundle):
    with pytest.raises(BundleError, match="not sealed"), new_bundle(bundle.path) as folder:
        (folder / MODEL).write_bytes(b"half")
    assert read_bundle(bundle.path).weights_id == bundle.weights_id


def refill(bundle, path, size=100):
    """Make another bundle at a path, with weights of at least a size."""
    with new_bundle(path) as folder:
        small_files(folder, labels=2, size=bundle.preprocess.size, note="x" * size)
        return seal(replace(bundle, path=folder))


def test_a_full_disk_leaves_the_old_bundle_and_is_one_line(bundle):
    with full_disk(2000), pytest.raises(OutputError, match="model cannot be written: File too large"):
        refill(bundle, bundle.path, size=4000)
    assert read_bundle(bundle.path).weights_id == bundle.weights_id
    assert [path.name for path in bundle.path.parent.iterdir()] == ["model"]


def test_a_bundle_is_replaced_behind_a_link_and_keeps_the_mode_of_its_folder(bundle):
    link = bundle.path.with_name("latest")
    link.symlink_to("model")
    bundle.path.chmod(0o750)
    sealed = refill(bundle, link)
    assert link.is_symlink()
    assert read_bundle(bundle.path).weights_id == sealed.weights_id != bundle.weights_id
    assert bundle.path.stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in bundle.path.parent.iterdir()) == ["latest", "model"]


def test_a_place_for_a_bundle_that_cannot_be_is_one_line(bundle, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"the bundle .*file/model cannot be written: "):
        refill(bundle, tmp_path / "file" / "model")


def test_a_folder_with_other_things_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="is not a model bundle"), new_bundle(tmp_path / "photos"):
        pass


def test_a_bundle_without_a_file_is_not_sealed(tmp_path, bundle):
    with pytest.raises(BundleError, match=MODEL), new_bundle(tmp_path / "other") as folder:
        seal(replace(bundle, path=folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format_version=3), "bundle format 3"),
        (lambda v: v["labels"].append("Tie"), "3 labels for a head of 2"),
        (lambda v: v.update(labels=["Hat", "Hat"]), "not unique"),
        (lambda v: v.update(labels=["Shirt", "Hat"]), "was edited"),
        (lambda v: v["calibration"].update(temperature=3.0), "was edited"),
        (lambda v: v["calibration"].update(temperature=-1.0), "must be positive"),
        (lambda v: v.pop("preprocess"), "damaged"),
        (lambda v: v["preprocess"].update(gamma=2), "damaged"),
        (lambda v: v["files"].update({MODEL: "0" * 64}), "SHA-256 differs"),
    ],
)
def test_damage_is_refused(bundle, change, message):
    edit(bundle, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle.path)


def test_a_changed_model_file_is_refused(bundle):
    (bundle.path / MODEL).write_bytes(b"another model")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        read_bundle(bundle.path)


def test_a_folder_without_manifest_is_not_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="is not a model bundle"):
        read_bundle(tmp_path)
