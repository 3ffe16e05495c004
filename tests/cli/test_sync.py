"""What `cataloger sync` prints for people."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app


def test_a_key_of_several_columns_is_shown_as_people_write_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("shop.db")) as shop, shop:
        shop.execute("CREATE TABLE products (sku TEXT, size INTEGER, photo BLOB, PRIMARY KEY (sku, size))")
        shop.execute("INSERT INTO products VALUES ('a', 1, x'FFD8FF00')")
    assert CliRunner().invoke(app, ["db", "upgrade", "--db", "sqlite:///shop.db"]).exit_code == 0
    columns = ["--id", "sku", "--id", "size", "--image", "photo"]
    result = CliRunner().invoke(app, ["sync", "--db", "sqlite:///shop.db", "--table", "products", *columns])
    assert result.exit_code == 3, result.output
    assert "products/a/1" in result.output
    assert "[" not in result.output
    with closing(sqlite3.connect("shop.db")) as shop:
        assert shop.execute("SELECT key FROM cataloger_image_top5").fetchall() == [('["a", "1"]',)]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with twenty drawings and the table of their products, one image each."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(__file__).parents[2] / "examples" / "images", "photos")
    with closing(sqlite3.connect("shop.db")) as shop, shop:
        shop.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT, category TEXT)")
        rows = [(path.stem, path.name) for path in sorted(Path("photos").glob("*.png"))]
        shop.executemany("INSERT INTO products (sku, photo) VALUES (?, ?)", rows)
    assert CliRunner().invoke(app, ["db", "upgrade", "--db", "sqlite:///shop.db"]).exit_code == 0
    return "sqlite:///shop.db"


def sync(url, *more, status=0):
    flags = ("--table", "products", "--id", "sku", "--image", "photo", "--image-root", "photos")
    result = CliRunner().invoke(app, ["sync", "--db", url, *flags, *more])
    assert result.exit_code == status, result.output
    return result


def rows(query):
    with closing(sqlite3.connect("shop.db")) as shop:
        return shop.execute(query).fetchall()


def test_nothing_is_written_back_until_accept_is_measured(shop):
    write = ("--write", "category=label_1", "--require-measured")
    refused = sync(shop, *write, status=4).stderr
    assert "there are no results yet" in refused
    assert "cataloger review" in refused
    assert rows("SELECT count(*) FROM cataloger_image_top5 v") == [(0,)]
    state = "accept is not measured here, its thresholds are from other shops (0 labelled images)"
    # A model that accepts more than ten of the drawings.
    assert state in sync(shop, "--model", "fashion-39@0.3").stdout
    assert state in sync(shop, *write, status=4).stderr
    assert state in sync(shop, *write, "--dry-run", status=4).stderr
    assert "category 0" not in sync(shop, "--write", "category=label_1", "--dry-run").stdout
    accepted = rows("SELECT v.key, v.label_1 FROM cataloger_image_top5 v WHERE v.decision = 'accept' ORDER BY v.key")
    assert len(accepted) >= 10
    said = [f"{key},{label if number else 'Socks'}" for number, (key, label) in enumerate(accepted[:10])]
    Path("said.csv").write_text("\n".join(["key,label", *said[:9]]))
    correct = ["corrections", "import", "said.csv", "--author", "ann", "--db", shop]
    imported = CliRunner().invoke(app, correct)
    assert imported.exit_code == 0, imported.output
    assert "(9 labelled images, 9 accepted)" in sync(shop, *write, status=4).stderr
    assert rows("SELECT DISTINCT category FROM products") == [(None,)]
    Path("said.csv").write_text("\n".join(["key,label", *said]))
    assert CliRunner().invoke(app, correct).exit_code == 0
    found = sync(shop, *write).stdout
    assert "right of what is accepted: 90.0% (59.6% to 98.2%), measured on 10 labelled images" in found
    assert "(accept is not measured here)" not in found
    assert rows("SELECT count(*) FROM products WHERE category IS NOT NULL")[0][0] >= 10
    (measured,) = json.loads(sync(shop, "--json").stdout)["measured"]
    assert (measured["is_measured"], measured["accepted"], measured["right"]) == (True, 10, 9)
    report = CliRunner().invoke(app, ["report", "--db", shop, "--output", "report.html"])
    assert report.exit_code == 0, report.output
    assert "(9 of 10 labelled)" in Path("report.html").read_text()
