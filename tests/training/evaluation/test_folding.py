"""Newer answers counted as the older labels that test images have."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import TrainingError, UsageError
from cataloger.model.bundle import default_bundle_path, read_bundle, seal
from cataloger.training.evaluation.findings import assess
from cataloger.training.evaluation.folding import FoldMap, read_fold_map

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
LABELS = ("Boots", "Blouse", "Shoes", "Shirt", "Top", "Gloves")
FOLD = FoldMap({"Boots": ("Shoes",), "Blouse": ("Top", "Shirt"), "Gloves": ()})


def test_answers_count_as_the_older_labels(make_examples, make_predictions):
    examples = make_examples("Shoes", "Shoes", "Shirt", "Top", "Shirt|Top", "Shoes")
    answers = [("Boots", 0.9), ("Blouse", 0.8), ("Blouse", 0.7), ("Blouse", 0.6), ("Blouse", 0.5), ("Gloves", 0.9)]
    said = make_predictions(LABELS, *answers, decisions=("accept",) * 6)
    folded = FOLD.predictions(said, examples)
    assert folded.labels == ("Shoes", "Top", "Shirt", "Gloves")
    assert [folded.labels[best] for best in folded.ranked[:, 0]] == ["Shoes", "Top", "Shirt", "Top", "Top", "Gloves"]
    assert np.array_equal(folded.confidence, said.confidence)
    found = assess(examples, folded)
    assert found.overall.top1.value == pytest.approx(4 / 6)
    assert found.decided.precision.value == pytest.approx(4 / 6)
    assert {(c.given, c.predicted) for c in found.confusions} == {("Shoes", "Top"), ("Shoes", "Gloves")}


def test_ranks_stay_those_of_the_model(make_examples, make_predictions):
    """Two answers that count as one label take two ranks."""
    said = make_predictions(("Boots", "Shoes", "Top"), ("Boots", 0.9))
    folded = FOLD.predictions(said, make_examples("Top"))
    assert folded.ranked.tolist() == [[0, 0, 1]]


def test_newer_labels_count_as_older_ones_and_those_without_any_are_left_out(make_examples):
    examples = make_examples("Boots", "Boots|Shoes|Top", "Blouse", "Gloves", "Gloves|Top")
    kept, left = FOLD.examples(examples)
    assert [each.labels for each in kept] == [("Shoes",), ("Shoes", "Top"), ("Top", "Shirt"), ("Top",)]
    assert left == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\nBoots\n", "its first line names the columns, label,counts_as"),
        ("label,counts_as\nBoots,Shoes\nBoots,Top\n", "line 3: name one label, and each once"),
        ("label,counts_as\n,Shoes\n", "line 2: name one label"),
        ("label,counts_as\nBoots,Shoes\nShoes,Top\n", "'Shoes' is folded, and others count as it"),
        ('label,counts_as\n"Boots,Shoes\n', "the row"),
    ],
)
def test_a_map_that_is_unclear_is_refused(tmp_path, text, message):
    (tmp_path / "fold.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_fold_map(tmp_path / "fold.csv")


def test_the_map_of_the_default_model_folds_into_its_39_labels():
    fold = read_fold_map(EXAMPLES / "default_model" / "fold_39.csv")
    labels = read_bundle(default_bundle_path(), check=()).labels
    old = labels if len(labels) == 39 else fold.names(labels)
    assert {each for olds in fold.labels.values() for each in olds} <= set(old)
    assert len(fold.labels) == 11


@pytest.fixture
def newer(tmp_path):
    """A copy of the shipped bundle that calls hats headgear, and a map that says so."""
    shutil.copytree(default_bundle_path(), tmp_path / "newer")
    bundle = read_bundle(tmp_path / "newer", check=())
    seal(replace(bundle, labels=tuple("Headgear" if each == "Hat" else each for each in bundle.labels)))
    (tmp_path / "fold.csv").write_text("label,counts_as\nHeadgear,Hat\n")
    return tmp_path


def evaluated(*arguments, status=0):
    data = (EXAMPLES / "labels.csv", "--images", EXAMPLES / "images")
    result = CliRunner().invoke(app, ["evaluate", *map(str, (*data, *arguments))])
    assert result.exit_code == status, result.output
    return result


def test_a_model_with_newer_labels_is_measured_on_older_ones(newer, fits_schema):
    refused = evaluated("--model", newer / "newer", status=1)
    assert "does not know the label 'Hat'" in refused.stderr
    folded = json.loads(evaluated("--model", newer / "newer", "--fold", newer / "fold.csv", "--json").stdout)
    plain = json.loads(evaluated("--json").stdout)
    assert folded["subject"]["folded"] == {"Headgear": ["Hat"]}
    assert folded["all"]["top1"] == plain["all"]["top1"]
    assert folded["all"]["macro_f1_all"]["value"] == pytest.approx(plain["all"]["macro_f1_all"]["value"])
    fits_schema("evaluate", folded)


def test_images_that_count_as_nothing_are_left_out_and_said(tmp_path, fits_schema):
    (tmp_path / "fold.csv").write_text("label,counts_as\nHat,\n")
    shown = evaluated("--fold", tmp_path / "fold.csv").stdout
    assert "images whose labels count as none" in shown
    (tmp_path / "labels.csv").write_text("file,labels\nblue-fedora.png,Hat\n")
    labels, fold = tmp_path / "labels.csv", tmp_path / "fold.csv"
    arguments = ("evaluate", labels, "--images", EXAMPLES / "images", "--fold", fold)
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == TrainingError.exit_code
    assert "the labels of all 1 images count as none" in result.stderr


def test_intervals_over_groups_are_shown_where_images_belong_together(tmp_path, fits_schema):
    names = ("baseball-cap.png", "blue-fedora.png", "red-fedora.png", "sombrero.png", "winter-hat.png")
    rows = "".join(f"{name},Hat,{'a' if number < 2 else 'b'}\n" for number, name in enumerate(names))
    (tmp_path / "labels.csv").write_text("file,labels,shop\n" + rows)
    command = ("evaluate", tmp_path / "labels.csv", "--images", EXAMPLES / "images", "--group-column", "shop")
    found = json.loads(CliRunner().invoke(app, [*map(str, command), "--json"]).stdout)
    assert found["over_groups"]["all"]["groups"] == 2
    assert found["over_groups"]["all"]["top1"]["value"] == pytest.approx(found["all"]["top1"]["value"])
    fits_schema("evaluate", found)
    assert "over 2 groups" in CliRunner().invoke(app, list(map(str, command))).stdout
