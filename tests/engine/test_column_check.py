"""A dry run opens some images, and refuses a column that holds none; one with faults is no such column."""

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.sources import ColumnSample

IMAGES = Path(__file__).parents[2] / "examples" / "images"
NAMES = sorted(path.name for path in IMAGES.glob("*.png"))
COLUMNS = "sku, name, price, amount, stock, added, page, category, photo, other, broken, gone, picture, secret"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A product table of thirty rows whose columns hold all that a shop has, and their files."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(IMAGES, "photos")
    for number in range(30):
        Path("photos", f"{number}.html").write_text("<html><body>Blue dress</body></html>")
        Path("photos", f"cut{number}.png").write_bytes((IMAGES / NAMES[0]).read_bytes()[:900])
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.execute(f"CREATE TABLE products ({COLUMNS}, PRIMARY KEY (sku))")
        connection.executemany(
            f"INSERT INTO products VALUES ({', '.join('?' * len(COLUMNS.split(',')))})", map(row, range(30))
        )
    return tmp_path / "photos"


def row(number):
    name = NAMES[number % len(NAMES)]
    picture = (IMAGES / name).read_bytes()
    return (
        *(f"S{number}", f"Blue dress {number}", f"{number}.50", number + 0.5, number, f"2024-01-{number:02}"),
        *(f"{number}.html", f"Women/Dresses/{number}", name, name if number >= 19 else f"Blue dress {number}"),
        *(f"cut{number}.png", f"none{number}.png", picture if number else b"no image", b"no image"),
    )


def cataloger(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


def sync(shop, column, *arguments, status=0):
    flags = ("--db", "sqlite:///shop.db", "--table", "products", "--id", "sku", "--image", column)
    root = ("--image-root", shop) if shop else ()
    return cataloger("sync", *flags, *root, *arguments, status=status)


@pytest.mark.parametrize("column", ["name", "price", "amount", "added", "category", "sku"])
def test_a_column_that_can_hold_no_images_is_wrong_usage(shop, column):
    # Without a folder it is no matter of --image-root; the first rows tell it.
    for root in (shop, None):
        done = sync(root, column, "--dry-run", status=2)
        assert done.stdout == ""
        assert f"--image {column} holds no images but e.g. " in done.stderr
        assert "name a column with paths of image files, their web addresses, or their bytes" in done.stderr
        named = done.stderr.partition("e.g. ")[2].partition(": ")[0].split(", ")
        assert len(named) == 3
        assert set(map(str, values(column))) >= set(named)


def values(column):
    with closing(sqlite3.connect("shop.db")) as connection:
        return [value for (value,) in connection.execute(f"SELECT {column} FROM products")]


@pytest.mark.parametrize(("column", "shown"), [("page", ".html"), ("secret", "products/S")])
def test_a_column_of_files_or_bytes_of_another_kind_is_wrong_usage(shop, column, shown):
    error = sync(shop if column == "page" else None, column, "--dry-run", status=2).stderr
    assert f"--image {column} holds no images but e.g. " in error
    assert error.count(shown) == 3


@pytest.mark.parametrize("column", ["photo", "other", "broken", "picture"])
def test_a_column_of_images_may_have_faults(shop, column):
    done = sync(None if column == "picture" else shop, column, "--dry-run", "--json")
    report = json.loads(done.stdout)
    assert (report["planned_by_reason"], opened(report)) == ({"new": 30}, [])


def test_that_none_of_a_sample_is_there_is_a_warning(shop):
    report = json.loads(sync(shop, "gone", "--dry-run", "--json").stdout)
    assert opened(report) == ["none of a sample of 20 images can be opened: io.missing 20"]


def opened(report):
    """Return the warnings of a dry run but the one that this database has no tables of cataloger yet."""
    return [warning for warning in report["warnings"] if "has no tables of cataloger" not in warning]


def test_a_list_that_is_none_is_wrong_usage(shop):
    error = sync(shop, "name", "--image-list", "json", "--dry-run", status=2).stderr
    assert "--image name holds no images but e.g. Blue dress " in error


def test_one_opened_file_condemns_no_column_and_an_empty_one_is_no_column_of_names(shop):
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.execute("DELETE FROM products WHERE sku <> 'S1'")
        connection.execute("UPDATE products SET name = ''")
    sync(shop, "page", "--dry-run")
    assert "holds no images" in sync(shop, "price", "--dry-run", status=2).stderr
    sync(shop, "name", "--dry-run")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_column_of_a_manifest_is_judged_as_well(shop, kind):
    rows = [{"path": f"photos/{NAMES[number % 20]}", "Price": f"{number}.50"} for number in range(30)]
    path = Path(f"feed.{kind}")
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    error = cataloger("tag", path, "--path-column", "price", "--dry-run", status=2).stderr
    assert f"the column 'Price' of the manifest {path.resolve()} holds no images but e.g. " in error
    cataloger("tag", path, "--dry-run")


def test_each_value_of_a_long_column_may_be_drawn():
    sample = ColumnSample("--image photo")
    drawn = set()
    for _ in range(2):
        sample.begin()
        for number in range(1000):
            sample.see(number, None)
        drawn.add(tuple(each.value for each in sample.drawn))
    (values,) = drawn
    assert len(set(values)) == 20
    assert sum(value < 500 for value in values) in range(3, 18)
