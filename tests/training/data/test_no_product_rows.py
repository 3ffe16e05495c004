"""Images that show no product: named by a label, by none, by a folder, or by what people have said."""

import pytest

from cataloger.errors import TrainingError
from cataloger.training.data.read import read_dataset
from cataloger.training.options import DataOptions

ROWS = "image,label,split\na.jpg,Hat,train\nb.jpg,,train\nc.jpg,Nothing,val\nd.jpg,Top,val\ne.jpg,Hat|Nothing,val\n"


@pytest.fixture
def read(tmp_path):
    def of(content, **options):
        (tmp_path / "labels.csv").write_text(content)
        return read_dataset(DataOptions(data=tmp_path / "labels.csv", **options))

    return of


def files(examples):
    return [example.file for example in examples]


def test_a_label_names_them_and_is_no_category(read):
    data = read(ROWS.replace("Hat|Nothing", "Hat"), no_product="Nothing")
    assert data.labels == ("Hat", "Top")
    assert files(data.no_products("val")) == ["c.jpg"]
    assert files(data.split("val")) == ["d.jpg", "e.jpg"]
    assert [problem.kind for problem in data.problems] == ["no_label"]


def test_an_empty_label_can_name_them(read):
    data = read(ROWS, no_product="")
    assert files(data.no_products("train")) == ["b.jpg"]
    assert data.labels == ("Hat", "Nothing", "Top")
    assert data.problems == ()


def test_without_the_flag_nothing_has_changed(read):
    data = read(ROWS)
    assert data.labels == ("Hat", "Nothing", "Top")
    assert [problem.kind for problem in data.problems] == ["no_label"]
    assert len(data.products) == len(data.examples) == 4


def test_what_shows_no_product_has_no_other_label(read):
    with pytest.raises(TrainingError, match=r"e\.jpg is labelled Hat \| Nothing: what shows no product has no other"):
        read(ROWS, no_product="Nothing")


def test_two_rows_that_contradict_each_other_are_named(read):
    data = read("image,label\na.jpg,Hat\na.jpg,Nothing\nb.jpg,Top\n", no_product="Nothing")
    assert [example.labels for example in data.examples] == [("Hat",), ("Top",)]
    (problem,) = data.problems
    assert (problem.kind, problem.message) == (
        "repeated_label",
        "two rows call it Hat and no product; any label counts as right",
    )


def test_they_decide_the_fingerprint(read):
    assert read(ROWS, no_product="").fingerprint != read(ROWS).fingerprint


def test_a_folder_can_be_of_them(tmp_path):
    for name in ("Hat/a.jpg", "Top/b.jpg", "other things/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    data = read_dataset(DataOptions(data=tmp_path, no_product="other things"))
    assert data.labels == ("Hat", "Top")
    assert files(data.no_products("")) == ["other things/c.jpg"]
