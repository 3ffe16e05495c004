"""The shop's own codes: what a map may look like, and what is wrong with it before any work."""

import logging
import unicodedata

import pytest

from cataloger.errors import UsageError
from cataloger.ledger.label_map import (
    LabelCode,
    load_label_map,
    mapped_labels,
    read_label_map,
    spelled_like,
    store_label_map,
    warn_of_gaps,
)


@pytest.fixture
def database(shared_database):
    return shared_database


def written(tmp_path, text):
    path = tmp_path / "codes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "label,code,name,parent\nHat,12,Hats,Clothing\n",
        "\ufefflabel,code,name,parent\r\nHat,12,Hats,Clothing\r\n",
        'parent,name,code,label\nClothing,"Hats",12,Hat',
        "label,code,name,parent,note\n Hat , 12 ,Hats,Clothing,x\n",
        "sep=;\r\nLabel;CODE;Name;Parent\r\nHat;12;Hats;Clothing\r\n;;;\r\n",
        "\nname\tcode\tlabel\tparent\nHats\t12\tHat\tClothing\n",
    ],
)
def test_a_map_is_read(tmp_path, text):
    assert read_label_map(written(tmp_path, text)) == [LabelCode("Hat", "12", "Hats", "Clothing")]


def test_names_and_parents_may_be_missing(tmp_path):
    assert read_label_map(written(tmp_path, "label,code\nHat,12\n")) == [LabelCode("Hat", "12")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,kode\nHat,12\n", "has no column code: its first line names the columns, label,code"),
        ("", "has no column code and label"),
        ("label,code\nHat,\n", "line 2: code is empty"),
        ("label,code\nHat,1\n,2\n", "line 3: label is empty"),
        ("label,code\nHat,1\nHat,2\n", "contains 'Hat' more than once"),
        (f"label,code\nHat,{'1' * 256}\n", "line 2: code is longer than 255 characters"),
        (b"label,code\nHat,\xff\n", "line 2: the row is not UTF-8"),
        (b"l\xe4bel,code\nHat,1\n", "codes.csv is not UTF-8"),
        ('label,code\nHat,"1\nSock,2\n', "line 2: the row begins a cell that does not end"),
        ("label,code\nHat,1,2\n", "line 2: the row has 3 cells"),
        ("label,Code,CODE\nHat,1,2\n", "two columns that 'code' could mean"),
        ("label,label,code\nHat,Hat,2\n", "has the column 'label' twice"),
    ],
)
def test_what_is_wrong_with_a_map_is_said(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        read_label_map(written(tmp_path, text))
    assert message in str(caught.value)
    assert "codes.csv" in str(caught.value)


def test_a_map_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"codes.csv cannot be read: No such file"):
        read_label_map(tmp_path / "codes.csv")


def test_a_label_without_a_line_is_left_out_and_said_with_the_line_to_add(caplog):
    codes, labels = [LabelCode("Hat", "1"), LabelCode("Coat", "Ignore")], ["Hat", "Coat", "Dress"]
    assert mapped_labels(codes, labels) == ("Hat",)
    assert mapped_labels([LabelCode(label, "1") for label in labels], labels) is None
    warn_of_gaps(codes, labels, "the map")
    (record,) = caplog.records
    assert "the map has no line for 1 of the model's 3 labels" in record.getMessage()
    assert record.getMessage().endswith(": Dress,ignore")


def test_a_label_that_is_not_sold_says_so_and_is_not_stored(world):
    store_label_map(world.database, world.source.id, [LabelCode("Hat", "1"), LabelCode("Coat", "ignore")])
    assert load_label_map(world.database, world.source.id) == [LabelCode("Hat", "1")]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_map_has_the_labels_as_the_model_spells_them(form):
    label, other = (unicodedata.normalize(each, "Mütze") for each in (form, "NFD" if form == "NFC" else "NFC"))
    for written in (label, other, f"{other} "):
        assert spelled_like([LabelCode(written, "1"), LabelCode("Coat", "2")], [label, "Hat"], "it") == [
            LabelCode(label, "1"),
            LabelCode("Coat", "2"),
        ]
    with pytest.raises(UsageError, match=r"it contains .* more than once"):
        spelled_like([LabelCode(label, "1"), LabelCode(other, "2")], [label], "it")


def test_a_category_without_a_label_is_only_told(caplog):
    with caplog.at_level(logging.WARNING):
        warn_of_gaps([LabelCode("Hat", "1"), LabelCode("Hut", "2")], ["Hat"], "the map")
    assert "the map has codes for 'Hut', which are not labels of the model" in caplog.text


def test_a_map_takes_the_place_of_the_one_before(world):
    first = [LabelCode("Hat", "1"), LabelCode("hat", "2", "small", "x"), LabelCode("Sock", "3")]
    store_label_map(world.database, world.source.id, first)
    assert set(load_label_map(world.database, world.source.id)) == set(first)
    second = [LabelCode("Hat", "9", "Hüte", None)]
    store_label_map(world.database, world.source.id, second)
    assert load_label_map(world.database, world.source.id) == second
    assert load_label_map(world.database, world.source.id + 1) == []


def test_the_view_shows_the_codes_of_every_rank(world, make):
    codes = [LabelCode("Dress", "D", "Dresses", "Clothing"), LabelCode("Hat", "H")]
    store_label_map(world.database, world.source.id, codes)
    world.sink.write([make.good("a.jpg"), make.bad("b.jpg")])
    query = "SELECT v.key, v.rank, v.label, v.code, v.name, v.parent FROM cataloger_image_codes v ORDER BY v.rank"
    assert world.rows(query) == [
        ("a.jpg", 1, "Dress", "D", "Dresses", "Clothing"),
        ("a.jpg", 2, "Hat", "H", None, None),
    ]
