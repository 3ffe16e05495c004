"""Which labels are right for each image."""

import pytest

from cataloger.errors import TrainingError
from cataloger.training.data.examples import Example, accepted_matrix


def test_the_matrix_accepts_each_of_several_labels(tmp_path):
    examples = [Example("a", tmp_path, ("Hat",), "train"), Example("b", tmp_path, ("Top", "Shirt"), "train")]
    assert accepted_matrix(examples, ("Hat", "Shirt", "Top")).tolist() == [
        [True, False, False],
        [False, True, True],
    ]


def test_a_label_that_the_model_does_not_know_is_named(tmp_path):
    with pytest.raises(TrainingError, match="'Gloves'"):
        accepted_matrix([Example("a", tmp_path, ("Gloves",), "test")], ("Hat", "Shirt"))
