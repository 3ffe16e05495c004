"""Columns by which images are drawn or chosen."""

import pytest

from cataloger.errors import UsageError
from cataloger.training.data import check_shares, read_dataset, rows_with, values_of
from cataloger.training.options import ColumnShares, ColumnValues, DataOptions


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,label,source,shop\na.jpg,Hat,shops,x\nb.jpg,Hat,home,\nc.jpg,Cap,shops,y\n")
    return DataOptions(data=path, traits=("source", "shop"))


def test_columns_that_are_not_reported_are_kept_with_the_images(manifest):
    data = read_dataset(manifest)
    assert values_of(data.examples, manifest, "source") == ["shops", "home", "shops"]
    assert values_of(data.examples, manifest, "shop") == ["x", "(none)", "y"]
    assert {example.groups for example in data.examples} == {()}


def test_a_column_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,label\na.jpg,Hat\n")
    with pytest.raises(UsageError, match=r"--balance-by or --select-by source: .* has no such column"):
        read_dataset(DataOptions(data=path, traits=("source",)))


def test_shares_name_every_value():
    asked = ColumnShares.parse("source=shops:3,home:1")
    check_shares(asked, ["home", "shops", "shops"])
    check_shares(ColumnShares.parse("source"), ["home"])
    with pytest.raises(UsageError, match=r"are of home, shops, but the training images have shops, street there"):
        check_shares(asked, ["shops", "street"])


def test_rows_with_one_of_the_values():
    asked = ColumnValues.parse("source=shops,street")
    assert rows_with(asked, ["home", "shops", "street", "home"]).tolist() == [1, 2]
    with pytest.raises(UsageError, match="no validation image has street there; they have home, shops"):
        rows_with(asked, ["home", "shops"])


@pytest.mark.parametrize("text", ["", "=a:1", "source=", "source=a", "source=a:0", "source=a:x", "source=a:1,a:2"])
def test_shares_that_cannot_be_meant_are_refused(text):
    with pytest.raises(UsageError, match="--balance-by"):
        ColumnShares.parse(text)


@pytest.mark.parametrize("text", ["source", "=shops", "source=", "source= , "])
def test_a_choice_that_names_no_value_is_refused(text):
    with pytest.raises(UsageError, match="--select-by"):
        ColumnValues.parse(text)


def test_a_value_may_contain_a_colon():
    assert ColumnShares.parse("source=a:b:2").shares == {"a:b": 2.0}
