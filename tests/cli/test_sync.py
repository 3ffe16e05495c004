"""What `cataloger sync` prints for people."""

import sqlite3
from contextlib import closing

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
