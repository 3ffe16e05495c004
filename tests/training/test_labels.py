"""Reading labels: columns, partial labels, and errors that name the place."""

import pytest

from cataloger.errors import TrainingError
from cataloger.training.labels import Example, accepted_matrix, read_labels


@pytest.fixture
def labels_csv(tmp_path):
    def write(text):
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_partial_labels_splits_and_groups_are_read(labels_csv, tmp_path):
    path = labels_csv("file,labels,split,source\na.jpg,Hat,train,x\nb.jpg,Shirt|Top,val,y\n")
    data = read_labels(path, tmp_path, report_by=("source",))
    assert data.labels == ("Hat", "Shirt", "Top")
    assert data.split("val") == [Example("b.jpg", tmp_path / "b.jpg", ("Shirt", "Top"), "val", ("y",))]


def test_the_matrix_accepts_each_of_several_labels(tmp_path):
    examples = [Example("a", tmp_path, ("Hat",), "train"), Example("b", tmp_path, ("Top", "Shirt"), "train")]
    assert accepted_matrix(examples, ("Hat", "Shirt", "Top")).tolist() == [
        [True, False, False],
        [False, True, True],
    ]


def test_a_label_that_the_model_does_not_know_is_named(tmp_path):
    with pytest.raises(TrainingError, match="'Gloves'"):
        accepted_matrix([Example("a", tmp_path, ("Gloves",), "test")], ("Hat", "Shirt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,labels\na,b\n", "lacks the column 'split'; it has file, labels"),
        ("file,labels,split\na,Hat,dev\n", "labels.csv:2: split is 'dev'"),
        ("file,labels,split\na,Hat,train\n,Top,val\n", "labels.csv:3: `file` and `labels`"),
        ("file,labels,split\na,Hat,train\na,Top,val\n", "names a 2 times"),
        ("file,labels,split\na,Hat,train\nb,Top,train\n", "no row with split 'val'"),
        ("file,labels,split\na,Hat,train\nb,Hat,val\n", "1 labels"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_it(labels_csv, tmp_path, text, message):
    with pytest.raises(TrainingError, match=message):
        read_labels(labels_csv(text), tmp_path)


def test_labels_to_measure_with_need_no_split(labels_csv, tmp_path):
    data = read_labels(labels_csv("file,labels\na,Hat\n"), tmp_path, for_training=False)
    assert data.examples == (Example("a", tmp_path / "a", ("Hat",), ""),)
    with pytest.raises(TrainingError, match="split is 'dev'"):
        read_labels(labels_csv("file,labels,split\na,Hat,dev\n"), tmp_path, for_training=False)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="cannot be read"):
        read_labels(tmp_path / "none.csv", tmp_path)
