"""What another model says of training images: reading the file, and which rows it becomes."""

import numpy as np
import pytest

from cataloger.errors import TrainingError
from cataloger.training.data import Example, read_soft_labels, soft_matrix
from cataloger.training.options import DataOptions

HEAD = "file,label,probability\n"
LABELS = ("Boots", "Coat", "Shirt")


@pytest.fixture
def photos(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def written(folder, text):
    path = folder / "soft.csv"
    path.write_text(text, encoding="utf-8")
    return path


def examples(folder):
    return [
        Example("a.jpg", folder / "a.jpg", ("Boots",), "train"),
        Example("b.jpg", folder / "b.jpg", ("Coat", "Shirt"), "train"),
        Example("c.jpg", folder / "c.jpg", (), "train"),
    ]


def test_the_rows_of_an_image_become_probabilities(photos):
    path = written(photos, HEAD + "a.jpg,Boots,0.6\na.jpg,Coat,0.2\nother.jpg,Coat,1\nc.jpg,Coat,1\n")
    found = soft_matrix(examples(photos), LABELS, read_soft_labels(path, DataOptions(data=photos / "labels.csv")))
    assert found.dtype == np.float32
    assert np.allclose(found, [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def test_paths_start_where_those_of_the_manifest_do(photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = written(tmp_path / "elsewhere", HEAD + "a.jpg,Coat,1\n")
    found = read_soft_labels(path, DataOptions(data=photos / "labels.csv", images=photos))
    assert dict(found) == {"a.jpg": {"Coat": 1.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,Coat\n", "its first line names the columns, file,label,probability"),
        ("", "its first line names the columns"),
        (HEAD + "a.jpg,Coat,much\n", "line 2: the row has the probability 'much'; it must be a number from 0 to 1"),
        (HEAD + "a.jpg,Coat,1.5\n", "line 2: the row has the probability '1.5'"),
        (HEAD + "a.jpg,Coat,nan\n", "line 2: the row has the probability 'nan'"),
        (HEAD + "a.jpg,Coat,-0.1\n", "line 2: the row has the probability '-0.1'"),
        (HEAD + "a.jpg,Coat,.5\na.jpg,Coat,.4\n", "line 3: the row names 'Coat' again for a.jpg"),
        (HEAD + "a.jpg\n", "line 2: the row has "),
        (HEAD + ",Coat,1\n", "line 2: the row names no image or no label"),
        (HEAD + 'a.jpg,"Coat,1\n', "line 2: the row "),
        (HEAD + "a.jpg,Coat,\n", "line 2: the row has the probability ''"),
    ],
)
def test_a_file_that_is_wrong_names_its_line(photos, text, message):
    with pytest.raises(TrainingError) as raised:
        read_soft_labels(written(photos, text), DataOptions(data=photos / "labels.csv"))
    assert message in str(raised.value)


def test_a_file_that_cannot_be_read_says_so(photos):
    for path in (photos / "none.csv", photos):
        with pytest.raises(TrainingError, match="--soft-labels"):
            read_soft_labels(path, DataOptions(data=photos / "labels.csv"))


def test_labels_that_the_data_does_not_have_do_not_count(photos):
    path = written(photos, HEAD + "a.jpg,Hat,0.5\na.jpg,Coat,0.4\na.jpg,Boots,0.1\nb.jpg,Hat,1\n")
    found = read_soft_labels(path, DataOptions(data=photos / "labels.csv"))
    assert np.allclose(soft_matrix(examples(photos), LABELS, found)[:2], [[0.2, 0.8, 0.0], [0.0, 0.0, 0.0]])
