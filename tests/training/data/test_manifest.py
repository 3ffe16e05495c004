"""Manifests of labels: formats, columns, partial labels, and rows that cannot be used named by line."""

import json
import os

import pytest

from cataloger.errors import TrainingError, UsageError
from cataloger.training.data.read import read_dataset
from cataloger.training.options import DataOptions

ROWS = "image,label,split,sku\na.jpg,Hat,train,1\nb.jpg,Top,val,2\n"


@pytest.fixture
def read(tmp_path):
    def of(content, *, name="labels.csv", encoding="utf-8", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return read_dataset(DataOptions(data=path, **options))

    return of


def said(data):
    return [(example.file, example.labels, example.split) for example in data.examples]


def kinds(data):
    return [(problem.kind, problem.place) for problem in data.problems]


def test_a_csv_gives_labels_splits_and_products(read, tmp_path):
    data = read(ROWS)
    assert data.labels == ("Hat", "Top")
    assert said(data) == [("a.jpg", ("Hat",), "train"), ("b.jpg", ("Top",), "val")]
    assert [example.product for example in data.examples] == ["1", "2"]
    assert data.examples[0].path == tmp_path / "a.jpg"
    assert data.problems == ()


@pytest.mark.parametrize(
    "content",
    [
        ROWS.replace("\n", "\r\n"),
        "\ufeff" + ROWS,
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", " , ").replace("image ,", "image,"),
        ROWS.replace("\n", "\n\n"),
        ROWS.replace("label", "Category").replace("image", "FILE"),
        ROWS.rstrip("\n"),
    ],
    ids=["CRLF", "BOM", "semicolon", "tab", "blanks", "blank lines", "other columns", "no last newline"],
)
def test_what_spreadsheets_do_to_a_csv_changes_nothing(read, content):
    data = read(content)
    assert [(example.file.strip(), example.labels, example.split) for example in data.examples] == said(read(ROWS))


def test_json_lines_are_read(read):
    rows = [
        {"file": "a.jpg", "labels": ["Hat", "Cap"], "product_id": 7},
        {"file": "b.jpg", "labels": "Top"},
        {"file": "c.jpg", "labels": 12},
    ]
    data = read("\n".join(map(json.dumps, rows)), name="labels.jsonl")
    assert said(data) == [("a.jpg", ("Hat", "Cap"), ""), ("b.jpg", ("Top",), ""), ("c.jpg", ("12",), "")]
    assert [example.product for example in data.examples] == ["7", "", ""]


def test_a_bad_line_of_json_is_named_and_costs_no_other(read):
    data = read('{"file": "a.jpg", "label": "Hat"}\n{oops\n[1]\n{"file": "b.jpg", "label": "Top"}\n', name="x.jsonl")
    assert [example.file for example in data.examples] == ["a.jpg", "b.jpg"]
    assert kinds(data) == [("bad_row", "x.jsonl:2"), ("bad_row", "x.jsonl:3")]


def test_parquet_is_read(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    import pyarrow

    columns = {
        "image": ["a.jpg", "b.jpg", None],
        "label": [["Hat", "Cap"], ["Top"], ["Hat"]],
        "product": [1, None, 3],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "labels.parquet")
    data = read_dataset(DataOptions(data=tmp_path / "labels.parquet"))
    assert said(data) == [("a.jpg", ("Hat", "Cap"), ""), ("b.jpg", ("Top",), "")]
    assert [example.product for example in data.examples] == ["1", ""]
    assert kinds(data) == [("no_image", "labels.parquet, row 3 (product 3)")]


def test_a_file_that_is_no_parquet_is_an_error(read):
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    with pytest.raises(TrainingError, match=r"x.parquet is not a Parquet file"):
        read(ROWS, name="x.parquet")


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("Hat|Cap", ("Hat", "Cap")),
        (" Hat | Cap |", ("Hat", "Cap")),
        ("Hat|Hat", ("Hat",)),
        ('"[""Hat"", ""Cap""]"', ("Hat", "Cap")),
        ("Rain   coat", ("Rain coat",)),
        ("[Sale] Hat", ("[Sale] Hat",)),
        pytest.param("[" * 20_000 + "]", (), id="nested too deeply"),
    ],
)
def test_a_cell_holds_one_or_several_labels(read, cell, labels):
    first = said(read(f"image,label\na.jpg,{cell}\nb.jpg,Top\n"))[0]
    assert first[1] == labels if labels else first[0] == "b.jpg"


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("x" * 256, "the label has 256 characters; at most 255 are allowed"),
        ("\x1b[31mHat", "the label contains \\x1b, which is no printable character"),
    ],
)
def test_a_label_that_no_model_can_have_is_named_before_the_training(read, label, reason):
    data = read(f"{ROWS}c.jpg,{label},train,3\n")
    assert data.labels == ("Hat", "Top")
    assert [(problem.place, problem.message) for problem in data.problems] == [("c.jpg", reason)]
    with pytest.raises(TrainingError, match=r"has no labelled image; c\.jpg: the label"):
        read(f"image,label\nc.jpg,{label}\n")


@pytest.mark.parametrize("label", ["x" * 255, "=1+1", "<b>Hat</b>", "Größe", "日本", "+1"])
def test_other_labels_are_categories(read, label):
    assert label in read(f"{ROWS}c.jpg,{label},train,3\n").labels


@pytest.mark.parametrize(
    ("row", "kind", "place"),
    [
        ("c.jpg,", "no_label", "labels.csv:4 (c.jpg)"),
        ("c.jpg,  | ", "no_label", "labels.csv:4 (c.jpg)"),
        ("c.jpg", "no_label", "labels.csv:4 (c.jpg)"),
        (",Hat", "no_image", "labels.csv:4"),
        ("ftp://shop.example/c.jpg?token=secret,Hat", "no_image", "labels.csv:4"),
        ("photo https://shop.example/c.jpg?token=secret,Hat", "no_image", "labels.csv:4"),
        ("c,d.jpg,Hat", "bad_row", "labels.csv:4"),
        ('c.jpg,"Hat', "bad_row", "labels.csv:4"),
        ('c.jpg,"Ha"t', "bad_row", "labels.csv:4"),
        ('"c.jpg","\n"', "no_label", "labels.csv:4-5 (c.jpg)"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_costs_no_other(read, row, kind, place):
    data = read(f"image,label\na.jpg,Hat\nb.jpg,Top\n{row}\nz.jpg,Hat\n")
    assert [example.file for example in data.examples] == ["a.jpg", "b.jpg", "z.jpg"]
    assert kinds(data) == [(kind, place)]


def test_rows_that_a_stray_quotation_mark_would_swallow_are_read(read):
    data = read('image,label\na.jpg,Hat\nb.jpg,"Top\nc.jpg,Hat\nd.jpg,Top"\nz.jpg,Hat\n')
    assert [example.file for example in data.examples] == ["a.jpg", "c.jpg", "z.jpg"]
    assert kinds(data) == [("bad_row", "labels.csv:3"), ("bad_row", "labels.csv:5")]


@pytest.mark.parametrize(
    ("name", "split"), [("valid", "val"), ("Validation", "val"), ("TRAIN", "train"), (" testing ", "test")]
)
def test_usual_names_of_splits_are_known(read, name, split):
    assert said(read(f"image,label,split\na.jpg,Hat,{name}\nb.jpg,Top,train\n"))[0][2] == split


def test_an_unknown_split_is_an_error_that_names_the_line(read):
    with pytest.raises(TrainingError, match=r"labels.csv:3: the split is 'holdout'; it must be train, val or test"):
        read("image,label,split\na.jpg,Hat,train\nb.jpg,Top,holdout\n")


def test_a_row_without_split_among_rows_with_one_is_named_and_left_out(read):
    data = read("image,label,split\na.jpg,Hat,train\nb.jpg,Top,val\nc.jpg,Top,\n")
    assert [example.file for example in data.examples] == ["a.jpg", "b.jpg"]
    assert kinds(data) == [("no_split", "c.jpg")]


def test_rows_that_repeat_a_file_become_one_and_are_named(read):
    rows = "a.jpg,Hat,train\na.jpg,Hat,train\nb.jpg,Top,val\nb.jpg,Hat,val\nc.jpg,Top,train\nc.jpg,Top,test\n"
    data = read("image,label,split\n" + rows)
    assert said(data) == [
        ("a.jpg", ("Hat",), "train"),
        ("b.jpg", ("Top", "Hat"), "val"),
        ("c.jpg", ("Top",), "train"),
    ]
    assert kinds(data) == [("repeated_row", "a.jpg"), ("repeated_label", "b.jpg"), ("repeated_split", "c.jpg")]


def test_columns_may_be_named(read):
    content = "kategorie,bild,image,teil,farbe\nHat,a.jpg,no,train,red\nTop,b.jpg,no,val,blue\n"
    options = {"image_column": "bild", "label_column": "kategorie", "split_column": "teil", "report_by": ("farbe",)}
    data = read(content, **options)
    assert said(data) == [("a.jpg", ("Hat",), "train"), ("b.jpg", ("Top",), "val")]
    assert [example.groups for example in data.examples] == [("red",), ("blue",)]


def test_an_empty_name_means_no_such_column(read):
    data = read(ROWS, split_column="", product_column="")
    assert [(example.split, example.product) for example in data.examples] == [("", ""), ("", "")]


def test_relative_paths_start_at_the_folder_of_images(read, tmp_path):
    elsewhere = tmp_path / "photos"
    data = read(ROWS + f"{tmp_path}/c.jpg,Hat,train,3\n", images=elsewhere)
    assert [example.path for example in data.examples] == [
        elsewhere / "a.jpg",
        elsewhere / "b.jpg",
        tmp_path / "c.jpg",
    ]


def test_backslashes_are_separators_where_no_file_has_one_in_its_name(read, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("photos/a b.jpg", "odd\\name.jpg", "ü.jpg"):
        (tmp_path / name).write_bytes(b"x")
    data = read("image,label\nphotos\\a b.jpg,Hat\nodd\\name.jpg,Top\n ü.jpg ,Top\n")
    assert [example.file for example in data.examples] == ["photos/a b.jpg", "odd\\name.jpg", "ü.jpg"]
    assert all(example.path.is_file() for example in data.examples)


def test_a_missing_file_is_kept_to_be_reported(read):
    assert not read(ROWS).examples[0].path.exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("bild,label\na,Hat\n", TrainingError, "no column image or file .*it has bild, label. .*--image-column NAME"),
        ("image,typ\na,Hat\n", TrainingError, "no column labels or label .*--label-column NAME"),
        ("image,label,label\na,Hat,Top\n", TrainingError, "the column 'label' twice"),
        ("", TrainingError, "it has none"),
        ("image,label\n", TrainingError, "has no labelled image"),
        ('"image,label\na.jpg,Hat\nb.jpg,Top\n', TrainingError, "is a quotation mark missing"),
        (ROWS.encode("utf-16"), TrainingError, "is not UTF-8 but UTF-16; save the file as `CSV UTF-8`"),
        ("image,label\na.jpg,Mäntel\n".encode("latin-1"), TrainingError, "labels.csv:2 is not UTF-8"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_clear_error(read, content, error, message):
    with pytest.raises(error, match=message):
        read(content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": "typ"}, "--label-column typ: .*labels.csv has no such column; it has image, label"),
        ({"report_by": ("farbe",)}, "--report-by farbe"),
        ({"product_column": "ean"}, "--product-column ean"),
    ],
)
def test_a_column_that_was_asked_for_and_is_not_there_is_wrong_usage(read, options, message):
    with pytest.raises(UsageError, match=message):
        read(ROWS, **options)


def test_what_is_no_regular_file_is_refused(tmp_path):
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    with pytest.raises(TrainingError, match=r"pipe\.csv cannot be read: it is not a regular file"):
        read_dataset(DataOptions(data=path))


def test_a_manifest_that_is_not_there_is_told_as_such(tmp_path):
    with pytest.raises(TrainingError, match=r"nothing\.csv.*(No such file|not exist)"):
        read_dataset(DataOptions(data=tmp_path / "nothing.csv"))


def test_another_kind_of_file_is_refused(read):
    with pytest.raises(TrainingError, match=r"labels.xlsx is neither a folder nor a manifest; manifests end in .csv"):
        read(ROWS, name="labels.xlsx")


def test_the_fingerprint_ignores_the_order_of_rows_and_sees_labels_and_splits(read):
    turned = "image,label,split,sku\nb.jpg,Top,val,2\na.jpg,Hat,train,1\n"
    assert read(turned).fingerprint == read(ROWS).fingerprint
    assert read(ROWS.replace("Hat", "Cap")).fingerprint != read(ROWS).fingerprint
    assert read(ROWS.replace("val", "test")).fingerprint != read(ROWS).fingerprint
