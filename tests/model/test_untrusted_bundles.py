"""A bundle that anybody may have made: it loads, or one line says which file and field is wrong."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from small_bundles import LABELS, SIZE, edit, put, refused, small_bundle, stamped
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.model.bundle import GOLDEN, MANIFEST, MODEL, check_files, copy_files, read_bundle
from cataloger.model.golden import read_golden
from cataloger.model.side_files import check_side_files
from cataloger.model.untrusted import LARGEST_FILE


@pytest.fixture
def bundle(tmp_path):
    return small_bundle(tmp_path / "model")


WRONG = {
    "files a list": (lambda v: v.update(files=[]), "files: Expected `object`"),
    "file outside": (lambda v: v["files"].update({"../../key": "0" * 64}), "files: '../../key' is not the name"),
    "file below": (lambda v: v["files"].update({"a/b": "0" * 64}), "files: 'a/b' is not the name"),
    "file of Windows": (lambda v: v["files"].update({"C:\\a": "0" * 64}), "is not the name"),
    "hash too short": (lambda v: v["files"].update({MODEL: "abc"}), "files"),
    "no model": (lambda v: v["files"].pop(MODEL), f"files: does not name {MODEL}"),
    "calibration null": (lambda v: v.update(calibration=None), "calibration: Expected `object`, got `null`"),
    "temperature true": (lambda v: v["calibration"].update(temperature=True), "calibration.temperature"),
    "temperature text": (lambda v: v["calibration"].update(temperature="1"), "calibration.temperature"),
    "temperature 0": (lambda v: v["calibration"].update(temperature=0), "must be positive"),
    "thresholds a list": (lambda v: v["calibration"].update(thresholds=[1]), "calibration.thresholds"),
    "no heads": (lambda v: v["network"].update(heads=0), "network.heads: Expected `int` >= 1"),
    "heads that do not fit": (lambda v: v["network"].update(heads=3), "not a multiple of 3 heads"),
    "gigantic width": (lambda v: v["network"].update(width=2**40), "network.width"),
    "dropout 1": (lambda v: v["network"].update(dropout=1), "network.dropout"),
    "size 2050": (lambda v: v["preprocess"].update(size=2050), "preprocess.size: Expected `int` <= 2048"),
    "size 224.5": (lambda v: v["preprocess"].update(size=224.5), "preprocess.size: Expected `int`, got `float`"),
    "background of two": (lambda v: v["preprocess"].update(background=[1, 2]), "preprocess.background"),
    "unknown decoder": (lambda v: v["preprocess"].update(decoder="vips"), "preprocess.decoder"),
    "label a number": (lambda v: v["labels"].__setitem__(0, 7), "labels[0]: Expected `str`, got `int`"),
    "label blank": (lambda v: v["labels"].__setitem__(1, " \u00a0"), "labels[1]: a label must not be blank"),
    "label too long": (lambda v: v["labels"].__setitem__(1, "x" * 256), "labels[1]: Expected `str` of length <= 255"),
    "label twice": (lambda v: v.update(labels=["Hat", "Hat", "Sock"]), "labels: the labels are not unique: Hat"),
    "label of two lines": (lambda v: v["labels"].__setitem__(2, "a\nb"), "labels[2]: contains the character \\n"),
    "label with half a character": (lambda v: v["labels"].__setitem__(2, "\ud800"), "labels[2]: \\ud800 is half"),
    "name with an escape": (lambda v: v.update(name="\x1b]0;pwn\x07"), "name: contains the character \\x1b"),
    "version with a line separator": (
        lambda v: v.update(version="1\u2028"),
        "version: contains the character \\u2028",
    ),
    "name without end": (lambda v: v.update(name="x" * 10**6), "name: Expected `str` of length <= 255"),
    "provenance a list": (lambda v: v.update(provenance=[]), "provenance: Expected `object`"),
    "provenance deep": (lambda v: v.update(provenance=deep(500)), "nested deeper than 32 levels"),
    "tolerance negative": (lambda v: v["golden"].update(tolerance=-1), "golden.tolerance"),
    "tolerance of int8 a list": (lambda v: v["golden"].update(tolerance_int8=[]), "golden.tolerance_int8"),
    "format true": (lambda v: v.update(format_version=True), "format_version"),
    "format text": (lambda v: v.update(format_version="\x1b[2J" * 1000), "bundle format"),
    "unknown field": (lambda v: v["network"].update({"\x1b[31mred": 1}), "unknown field"),
}


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("stamp", [False, True], ids=["as it was", "identities made anew"])
@pytest.mark.parametrize(("change", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_named_with_file_and_field(bundle, change, expected, stamp):
    edit(bundle, change, stamp=stamp)
    message = refused(read_bundle, bundle.path)
    assert str(bundle.path / MANIFEST) in message
    assert expected in message


TEXTS = {
    "brackets": ("[" * 200_000, "nested deeper than 32 levels"),
    "brackets within": ('{"format_version": 1, "a": ' + "[" * 100 + "]" * 100 + "}", "nested deeper than 32 levels"),
    "objects": ('{"a":' * 100_000, "nested deeper than 32 levels"),
    "digits": ('{"format_version": ' + "9" * 5_000 + "}", "a number has 5,000 digits"),
    "twice": ('{"format_version": 1, "format_version": 1}', "the name 'format_version' is given twice"),
    "a list": ("[]", "must hold one JSON object"),
    "nothing": ("", "is no JSON that can be read"),
    "cut": ('{"format_version": 1', "is no JSON that can be read"),
    "two": ("{}{}", "is no JSON that can be read"),
    "not UTF-8": (b'{"name": "\xff"}', "is no JSON that can be read"),
    "UTF-16": ("{}".encode("utf-16"), "is no JSON that can be read"),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_what_json_leaves_open_is_refused(bundle, text, expected):
    (bundle.path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert expected in refused(read_bundle, bundle.path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused_but_in_the_history_of_a_training(bundle, number):
    path = bundle.path / MANIFEST
    text = path.read_text()
    path.write_text(text.replace('"temperature": 1.0', f'"temperature": {number}'))
    assert "calibration.temperature" in refused(read_bundle, bundle.path)
    path.write_text(text.replace('"provenance": {}', f'"provenance": {{"history": [{{"loss": {number}}}]}}'))
    assert read_bundle(bundle.path).provenance == {"history": [{"loss": None}]}


def test_a_number_without_a_point_keeps_the_identity(bundle):
    """Older versions wrote what they were given: a dropout of 0 is not one of 0.0 there."""
    edit(bundle, lambda values: values["network"].update(dropout=0), stamp=True)
    assert read_bundle(bundle.path).network.dropout == 0


def test_labels_of_other_scripts_load_and_are_displayed_safely(bundle):
    labels = ["می\u200cخواهم", "Hemd\u202e", "café"]
    edit(bundle, lambda values: values.update(labels=labels, name="\u202eevil"), stamp=True)
    found = read_bundle(bundle.path)
    assert found.labels == tuple(labels)
    assert found.title == "\\u202eevil 3"


COMMANDS = (
    ["models", "show"],
    ["models", "verify"],
    ["tag", "photos", "--db", "sqlite:///catalog.db", "--model"],
    ["explain", "hat.png", "--model"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_say_it_in_one_line(bundle, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    edit(bundle, lambda values: values.update(name="\x1b]0;pwn\x07"))
    result = CliRunner().invoke(app, [*command, str(bundle.path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("cataloger: error: ")
    assert result.stderr.removesuffix("\n").isprintable()


@pytest.mark.parametrize("name", [MANIFEST, MODEL])
def test_what_is_no_file_is_not_waited_for(bundle, name):
    (bundle.path / name).unlink()
    os.mkfifo(bundle.path / name)
    assert f"{bundle.path / name} is a pipe, a device or a socket" in refused(read_bundle, bundle.path)
    (bundle.path / name).unlink()
    (bundle.path / name).symlink_to("/dev/zero")
    assert f"{bundle.path / name} is a pipe, a device or a socket" in refused(read_bundle, bundle.path)
    (bundle.path / name).unlink()
    (bundle.path / name).mkdir()
    assert "is a folder, not a file" in refused(read_bundle, bundle.path)


def test_a_file_without_end_is_not_read(bundle):
    with (bundle.path / MODEL).open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    assert f"at most {LARGEST_FILE:,} are read" in refused(read_bundle, bundle.path)
    with (bundle.path / MANIFEST).open("wb") as file:
        file.truncate(2**25)
    assert "at most 16,777,216 are read" in refused(read_bundle, bundle.path)


def test_a_missing_file_is_named(bundle):
    (bundle.path / GOLDEN).unlink()
    assert f"{bundle.path / GOLDEN} is missing" in refused(check_files, read_bundle(bundle.path))
    (bundle.path / MANIFEST).unlink()
    (bundle.path / MANIFEST).symlink_to("nowhere")
    assert "is not a model bundle" in refused(read_bundle, bundle.path)


def test_a_link_to_the_same_file_is_as_good(bundle, tmp_path):
    """Stores of large files link them; what is read is compared with its hash all the same."""
    (bundle.path / MODEL).rename(tmp_path / "stored")
    (bundle.path / MODEL).symlink_to(tmp_path / "stored")
    assert read_bundle(bundle.path) == bundle


def test_a_copy_takes_nothing_else_with_it(bundle, tmp_path):
    """A link to somebody's key must not become a file of a bundle that is passed on."""
    (tmp_path / "key").write_text("secret")
    (bundle.path / "notes.txt").symlink_to(tmp_path / "key")
    edit(bundle, lambda values: values["files"].update({"notes.txt": "0" * 64}))
    (tmp_path / "copy").mkdir()
    assert "SHA-256 differs" in refused(copy_files, read_bundle(bundle.path), tmp_path / "copy")


def packed(**arrays):
    """Return the bytes of an .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


IMAGES, LOGITS = np.zeros((2, SIZE, SIZE, 3), np.uint8), np.zeros((2, len(LABELS)), np.float32)
GOLDENS = {
    "no zip": (b"no zip", "is not a zip file"),
    "no logits": (packed(images=IMAGES), "logits.npy"),
    "other size": (packed(images=IMAGES[:, 1:], logits=LOGITS), "images is uint8 of shape (2, 15, 16, 3)"),
    "no images": (packed(images=IMAGES[:0], logits=LOGITS[:0]), "of shape (0, 16, 16, 3)"),
    "other labels": (packed(images=IMAGES, logits=LOGITS[:, 1:]), "logits is float32 of shape (2, 2)"),
    "objects": (packed(images=np.array([None]), logits=LOGITS), "images is object"),
    "doubles": (packed(images=IMAGES, logits=LOGITS.astype(float)), "logits is float64"),
}


@pytest.mark.parametrize(("data", "expected"), GOLDENS.values(), ids=GOLDENS)
def test_golden_images_are_those_that_the_bundle_says(bundle, data, expected):
    put(bundle, GOLDEN, data)
    assert expected in refused(read_golden, read_bundle(bundle.path), "logits")


def test_golden_images_that_claim_more_than_there_is_take_no_memory(bundle):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 16, 16, 3), }"
    for count, expected in ((9_999_999_999, "is uint8 of shape"), (9_999, "images ends early")):
        text = (header % count).ljust(117) + b"\n"
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        put(bundle, GOLDEN, buffer.getvalue())
        assert expected in refused(read_golden, read_bundle(bundle.path), "logits")


def test_the_files_for_other_tools_say_the_same(bundle):
    config = {"label_names": list(LABELS), "num_classes": len(LABELS)}
    put(bundle, "labels.txt", "".join(f"{label}\n" for label in LABELS).encode())
    put(bundle, "config.json", json.dumps(config).encode())
    check_side_files(read_bundle(bundle.path))
    wrong = {
        "labels.txt": (b"Hat\n", b"\xff"),
        "config.json": (json.dumps(config | {"num_classes": 4}).encode(), b"[" * 100_000, b'{"a": 1, "a": 2}'),
        "preprocessor_config.json": (b'{"size": {"height": 224, "width": 224}}',),
    }
    for name, variants in wrong.items():
        for data in variants:
            put(bundle, name, data)
            assert f"{bundle.path / name}" in refused(check_side_files, read_bundle(bundle.path))
        edit(bundle, lambda values, name=name: values["files"].pop(name), stamp=True)


def test_stamping_is_what_older_versions_did(bundle):
    values = json.loads((bundle.path / MANIFEST).read_text())
    assert stamped(values)["weights_id"] == bundle.weights_id
    assert stamped(values)["calibration_id"] == bundle.calibration_id
