"""Feeds of Google and Shopify, read back by another reader than the one writer: pyarrow."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from full_disk import full_disk
from pyarrow import csv as arrow_csv
from sqlalchemy import text
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import OutputError, UsageError
from cataloger.ledger import LabelCode, store_label_map
from cataloger.ledger.source_registry import register_source
from cataloger.taxonomy import FeedOptions, feed_kind, read_taxonomy, taxonomy_codes, write_feed

DRESSES = "Apparel & Accessories > Clothing > Dresses"
HATS = "Apparel & Accessories > Clothing Accessories > Hats"


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def products(world, make):
    """Products of each decision, one corrected, one without a decision, and one of a category of the shop's own."""
    world.sink.write(
        [
            make.good("1.jpg", labels=("Dress", "Hat"), product_key="=A1"),
            make.good("2.jpg", labels=("Hat", "Dress"), product_key='Hüte, "rot"'),
            make.good("3.jpg", labels=("Hat",), product_key="review"),
            make.good("4.jpg", labels=("Hat",), product_key="abstain"),
            make.good("5.jpg", labels=("Hat",), product_key="corrected"),
            make.good("6.jpg", labels=("Sock",), product_key="own"),
        ]
    )
    for key, decision in (("=A1", "accept"), ("review", "review"), ("abstain", "abstain"), ("corrected", "review")):
        change(
            world, "UPDATE cataloger_product_result SET decision = :decision WHERE product_key = :key", key, decision
        )
    world.say("5.jpg", "Dress")
    return world


def change(world, statement, key, decision):
    with world.database.begin() as connection:
        connection.execute(text(statement), {"key": key, "decision": decision})


def read(path):
    """Return the columns and rows of a CSV file as pyarrow reads it, all as text."""
    names = path.read_text(encoding="utf-8").partition("\n")[0].split(",")
    kinds = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, "string"))
    table = arrow_csv.read_csv(path, convert_options=kinds)
    return table.column_names, [tuple(row.values()) for row in table.to_pylist()]


def test_google_gets_ids_of_accepted_products(products, tmp_path):
    path = tmp_path / "google.csv"
    report = write_feed(products.database, path, FeedOptions("google"))
    names, rows = read(path)
    assert names == ["id", "google_product_category", "product_type"]
    assert sorted(rows) == [
        ("=A1", "2271", "Dress"),
        ('Hüte, "rot"', "173", "Hat"),
        ("corrected", "2271", "Dress"),
    ]
    assert (report.written, report.left_out) == (3, {"decision": 2, "category": 1})


def test_shopify_gets_full_paths(products, tmp_path):
    path = tmp_path / "shopify.csv"
    store_label_map(
        products.database, products.source.id, [LabelCode("Hat", "H", "Hüte, Mützen"), LabelCode("Dress", "D")]
    )
    write_feed(products.database, path, FeedOptions("shopify"))
    names, rows = read(path)
    assert names == ["Handle", "Product Category", "Type", "Tags"]
    assert sorted(rows) == [
        ("=A1", DRESSES, "Dress", "Dress"),
        ('Hüte, "rot"', HATS, "Hüte, Mützen", "Hüte Mützen"),
        ("corrected", DRESSES, "Dress", "Dress"),
    ]


def test_an_export_gives_titles_and_keeps_tags(products, tmp_path):
    export, path = tmp_path / "export.csv", tmp_path / "shopify.csv"
    export.write_text(
        'Handle,Title,Tags,Image Src\n=A1,"Kleid, rot","neu, dress",a.jpg\n=A1,,,b.jpg\ncorrected,Kleid,"neu",c.jpg\n'
    )
    report = write_feed(products.database, path, FeedOptions("shopify", export=export))
    names, rows = read(path)
    assert names == ["Handle", "Title", "Product Category", "Type", "Tags"]
    assert sorted(rows) == [
        ("=A1", "Kleid, rot", DRESSES, "Dress", "neu, dress"),
        ("corrected", "Kleid", DRESSES, "Dress", "neu, Dress"),
    ]
    assert report.left_out == {"decision": 2, "export": 2}


def test_the_path_of_a_taxonomy_is_no_type_of_the_shop(products, tmp_path):
    for name in ("google", "shopify"):
        store_label_map(products.database, products.source.id, taxonomy_codes(name, ["Hat", "Dress"]))
        write_feed(products.database, tmp_path / "google.csv", FeedOptions("google"))
        assert {row[2] for row in read(tmp_path / "google.csv")[1]} == {"Dress", "Hat"}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"only_decision": ("review", "abstain")}, {"review", "abstain"}),
        ({"only_decision": ("accept",)}, {"=A1", "corrected"}),
        ({"min_confidence": 0.76}, {"corrected"}),
        ({"min_confidence": 0.75}, {"=A1", 'Hüte, "rot"', "corrected"}),
    ],
)
def test_decision_and_confidence_say_what_is_written(products, tmp_path, options, keys):
    path = tmp_path / "google.csv"
    write_feed(products.database, path, FeedOptions("google", **options))
    assert {row[0] for row in read(path)[1]} == keys


def test_a_source_is_to_be_chosen_where_several_have_products(products, make, tmp_path):
    products.lease.release()
    products.lease, products.source = None, register_source(products.database, kind="manifest", root="/list.csv")
    products.begin().sink.write([make.good("a", product_key="other")])
    with pytest.raises(UsageError, match=r"choose one with --source: /list\.csv, /photos"):
        write_feed(products.database, tmp_path / "google.csv", FeedOptions("google"))
    write_feed(products.database, tmp_path / "google.csv", FeedOptions("google", source="/list.csv"))
    assert read(tmp_path / "google.csv")[1] == [("other", "2271", "Dress")]


def test_without_products_there_is_no_feed(world, make, tmp_path):
    world.sink.write([make.good("a.jpg")])
    with pytest.raises(UsageError, match="no products with results"):
        write_feed(world.database, tmp_path / "google.csv", FeedOptions("google"))
    assert not (tmp_path / "google.csv").exists()


def test_a_feed_that_cannot_be_completed_leaves_the_one_before(products, tmp_path_factory):
    path = tmp_path_factory.mktemp("feed") / "google.csv"
    path.write_text("before")
    with full_disk(20), pytest.raises(OutputError, match=r"google\.csv cannot be written"):
        write_feed(products.database, path, FeedOptions("google"))
    assert [each.read_text() for each in path.parent.iterdir()] == ["before"]


@pytest.mark.parametrize(
    ("name", "taxonomy", "kind"),
    [
        ("google.csv", None, "google"),
        ("Feed-Shopify.CSV", None, "shopify"),
        ("night.csv", "google", "google"),
        ("shopify.csv", "google", "google"),
    ],
)
def test_the_name_of_the_file_says_who_reads_it(name, taxonomy, kind):
    assert feed_kind(Path(name), taxonomy) == kind


@pytest.mark.parametrize(
    ("name", "taxonomy", "match"),
    [
        ("night.csv", None, "say with --taxonomy who reads the feed"),
        ("google-to-shopify.csv", None, "say with --taxonomy"),
        ("google.txt", None, "ends in .csv"),
        ("a.csv", "amazon", "--taxonomy amazon"),
    ],
)
def test_what_is_unclear_is_wrong_usage(name, taxonomy, match):
    with pytest.raises(UsageError, match=match):
        feed_kind(Path(name), taxonomy)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "cannot be read"),
        ("Name,Tags\na,b\n", "no columns Handle and Title"),
        ('Handle,Title\n"a,b\n', "line 2"),
    ],
)
def test_an_export_that_is_none_is_wrong_usage(products, tmp_path, text, match):
    export = tmp_path / "export.csv"
    if text is not None:
        export.write_text(text)
    with pytest.raises(UsageError, match=match):
        write_feed(products.database, tmp_path / "shopify.csv", FeedOptions("shopify", export=export))
    assert not (tmp_path / "shopify.csv").exists()


def test_an_export_goes_with_shopify_alone():
    with pytest.raises(UsageError, match="goes with a feed for shopify"):
        FeedOptions("google", export=Path("a.csv"))
    with pytest.raises(UsageError, match="--only-decision must be one of"):
        FeedOptions("google", only_decision=("good",))


def test_a_shop_is_synced_with_a_taxonomy_and_written_as_a_feed(tmp_path, monkeypatch):
    """The whole way on the command line: views, write-back, a map of the shop's own before it, and both feeds."""
    monkeypatch.chdir(tmp_path)
    images = Path(__file__).parents[2] / "examples" / "images"
    manifest = "sku VARCHAR(20) PRIMARY KEY, photo TEXT, google TEXT, path TEXT"
    rows = "('H1', 'winter-hat.png', NULL, NULL), ('S1', 'sunglasses.png', NULL, NULL)"
    execute("shop.db", f"CREATE TABLE products ({manifest})", f"INSERT INTO products VALUES {rows}")
    sync = ("sync", "--db", "sqlite:///shop.db", "--table", "products", "--id", "sku", "--image", "photo")
    sync = (*sync, "--model", "fashion-39@0.3")  # which is sure of the drawings
    sync = (*sync, "--image-root", str(images), "--write", "google=label_1", "--write", "path=name_1", "--quiet")
    run("db", "upgrade", "--db", "sqlite:///shop.db")
    run(*sync, "--taxonomy", "google")
    glasses = read_taxonomy("google").of_label("Sunglasses")
    assert execute("shop.db", "SELECT sku, google, path FROM products ORDER BY sku") == [
        ("H1", "173", HATS),
        ("S1", glasses.id, glasses.path),
    ]
    codes = "SELECT product_key, code, name, parent FROM cataloger_product_codes WHERE rank = 1 ORDER BY product_key"
    assert execute("shop.db", codes)[0] == ("H1", "173", HATS, "167")
    Path("own.csv").write_text("label,code,name\nHat,HAT,Hats of ours\n")
    run(*sync, "--taxonomy", "google", "--label-map", "own.csv")
    assert execute("shop.db", codes)[0] == ("H1", "HAT", "Hats of ours", None)
    assert execute("shop.db", "SELECT google FROM products ORDER BY sku") == [("HAT",), ("178",)]
    run("feed", "--db", "sqlite:///shop.db", "-o", "google.csv")
    assert read(Path("google.csv"))[1] == [("H1", "173", "Hats of ours"), ("S1", "178", "Sunglasses")]
    assert "wrote shopify.csv for shopify: 2 products" in run(
        "feed", "--db", "sqlite:///shop.db", "-o", "shopify.csv"
    )
    assert read(Path("shopify.csv"))[1][0] == ("H1", HATS, "Hats of ours", "Hats of ours")
    assert "Dress,2271" in run("models", "labels", "--taxonomy", "google")


def run(*arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def execute(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]
