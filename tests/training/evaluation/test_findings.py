"""What an evaluation finds, on predictions made by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cataloger.errors import TrainingError
from cataloger.training.evaluation.findings import assess
from cataloger.utils import wilson

LABELS = ("Hat", "Shirt", "Top")


def test_several_accepted_labels_count_for_accuracy_and_coverage_alone(make_examples, make_predictions):
    examples = make_examples("Hat", "Shirt|Top", "Shirt")
    findings = assess(examples, make_predictions(LABELS, ("Hat", 0.9), ("Top", 0.8), ("Hat", 0.6)))
    assert findings.overall.top1.value == pytest.approx(2 / 3)
    assert findings.coverage[-1].accuracy.value == pytest.approx(2 / 3)
    assert findings.labels == ("Hat", "Shirt")
    assert findings.matrix.tolist() == [[1, 0], [1, 0]]
    assert sum(each.images for each in findings.reliability) == 2


def test_mistakes_come_most_confident_first_with_what_the_label_got(make_examples, make_predictions):
    examples = make_examples("Hat", "Shirt", "Top|Shirt", "Top")
    answers = (("Top", 0.7), ("Hat", 0.9), ("Hat", 0.5), ("Top", 0.4))
    findings = assess(examples, make_predictions(LABELS, *answers), mistakes=2)
    assert [each.file for each in findings.mistakes] == ["1.jpg", "0.jpg"]
    assert findings.mistakes_in_all == 3
    worst = findings.mistakes[0]
    assert (worst.given, worst.predicted, worst.confidence) == (("Shirt",), "Hat", 0.9)
    assert worst.given_confidence == pytest.approx(0.05)


def test_confusions_come_most_frequent_first(make_examples, make_predictions):
    examples = make_examples("Hat", "Shirt", "Shirt", "Top")
    answers = (("Top", 0.7), ("Hat", 0.9), ("Hat", 0.5), ("Top", 0.4))
    findings = assess(examples, make_predictions(LABELS, *answers))
    assert [(c.given, c.predicted, c.images) for c in findings.confusions] == [("Shirt", "Hat", 2), ("Hat", "Top", 1)]


def test_the_worst_class_comes_first_and_those_without_images_not_at_all(make_examples, make_predictions):
    examples = make_examples("Hat", "Shirt", "Shirt")
    findings = assess(examples, make_predictions(LABELS, ("Hat", 0.7), ("Top", 0.9), ("Shirt", 0.5)))
    assert [each.label for each in findings.worst_classes()] == ["Shirt", "Hat"]
    assert [each.label for each in findings.classes] == ["Hat", "Shirt", "Top"]


def test_a_group_named_all_does_not_take_the_place_of_everything(make_examples, make_predictions):
    examples = [
        replace(example, groups=groups)
        for example, groups in zip(make_examples("Hat", "Hat", "Hat"), (("all",), ("x",), ("",)), strict=True)
    ]
    findings = assess(examples, make_predictions(LABELS, ("Hat", 0.9), ("Top", 0.8), ("Top", 0.7)))
    assert findings.overall.images == 3
    assert {name: (each.images, each.top1.value) for name, each in findings.groups.items()} == {
        "'all'": (1, 1.0),
        "x": (1, 0.0),
    }


def test_decisions_give_coverage_and_the_precision_of_what_is_accepted(make_examples, make_predictions):
    examples = make_examples("Hat", "Hat", "Hat", "Hat")
    answers = (("Hat", 0.9), ("Top", 0.8), ("Hat", 0.6), ("Top", 0.4))
    decisions = ("accept", "accept", "review", None)
    decided = assess(examples, make_predictions(LABELS, *answers, decisions=decisions)).decided
    assert decided.images == {"accept": 2, "review": 1, "abstain": 0, "none": 1}
    assert (decided.coverage, decided.precision) == (wilson(2, 4), wilson(1, 2))


def test_without_decisions_there_is_nothing_decided(make_examples, make_predictions):
    predictions = make_predictions(LABELS, ("Hat", 0.9), decisions=(None,))
    assert assess(make_examples("Hat"), predictions).decided is None


def test_labels_that_the_model_does_not_know_are_all_named(make_examples, make_predictions):
    examples = make_examples("Hat", "Shirts", "Gloves", "Shirts", names=["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    predictions = make_predictions(LABELS, *[("Hat", 0.9)] * 4)
    with pytest.raises(TrainingError) as caught:
        assess(examples, predictions)
    assert str(caught.value).startswith(
        "the model does not know the label 'Shirts' (2 images), 'Gloves' (1 images), first at b.jpg: "
        "did you mean 'Shirt'? "
    )


def test_ranks_that_were_not_stored_are_not_known(make_examples, make_predictions):
    predictions = make_predictions(LABELS, ("Hat", 0.9), ("Top", 0.8))
    predictions.ranked[1, 1:] = -1
    predictions.confidence[1, 1:] = np.nan
    findings = assess(make_examples("Hat", "Shirt"), predictions)
    assert findings.overall.top1.value == 0.5
    assert np.isnan(findings.overall.top3.value)
    assert findings.mistakes[0].given_confidence is None
    assert findings.as_json()["all"]["top3"] == {"value": None, "low": None, "high": None}


def test_the_json_holds_everything_and_no_number_that_is_none(make_examples, make_predictions):
    findings = assess(make_examples("Hat", "Shirt"), make_predictions(LABELS, ("Hat", 0.9), ("Top", 0.8)))
    values = findings.as_json()
    json.dumps(values, allow_nan=False)
    assert set(values) == {
        *("all", "groups", "classes", "confusion", "confusions", "reliability", "coverage", "thresholds"),
        *("decisions", "mistakes", "mistakes_in_all", "over_groups"),
    }
    assert values["confusion"] == {"labels": ["Hat", "Shirt", "Top"], "matrix": [[1, 0, 0], [0, 0, 1], [0, 0, 0]]}
    assert values["all"]["macro_f1"]["value"] is None
