"""A ledger of version 0.1.0 with names that are cleaned now: nothing is tagged again, and nothing of it is lost."""

import csv
import gzip
import importlib.util
import json
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import old_ledgers
import pytest
from sqlalchemy import make_url, text
from typer.testing import CliRunner

from cataloger.cli.app import app

DATA = Path(__file__).parent / "data"
WAITING = "SELECT COUNT(*) FROM cataloger_source WHERE no_query_run_id IS NOT NULL"
LATER = ("run_id", "tagged_at")


def _maker():
    sys.modules.setdefault("make_ledger_0_1_0", old_ledgers.maker)
    spec = importlib.util.spec_from_file_location("make_ledger_names", DATA / "make_ledger_names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


maker = _maker()


@dataclass
class Shop:
    """The old ledger, upgraded. kept: what its version showed."""

    url: str
    root: Path
    host: str
    kept: dict

    def run(self, *arguments):
        result = CliRunner().invoke(app, [*arguments, "--db", self.url])
        assert result.exit_code == 0, result.output
        return result.output

    def night(self):
        """Go through everything again; return how many images were tagged, failed and skipped by each command."""
        commands = ([flag for flag in command if flag != "--quiet"] for command in maker.commands(self.root))
        reports = [json.loads(self.run(*command, "--json")) for command in commands]
        return [(report["done"], report["failed"], report["skipped"]) for report in reports]

    def execute(self, statement, **values):
        engine = old_ledgers.connectable(self.url)
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            rows = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    def shown(self, name):
        engine = old_ledgers.connectable(self.url)
        with engine.connect() as connection:
            rows = maker.rows_of(connection, name)
        engine.dispose()
        return rows


@pytest.fixture
def shop(empty_url, tmp_path):
    kind = make_url(empty_url).get_backend_name()
    suffix = {"sqlite": "", "postgresql": "_postgresql"}.get(kind, "_mariadb")
    examples = Path(__file__).parents[1] / "examples" / "images"
    maker.lay_out(tmp_path, examples)
    with maker.web_server(examples) as host:
        dump, kept = (
            maker.place(
                gzip.decompress((DATA / f"{maker.STEM}{suffix}.{kind}.gz").read_bytes()).decode(),
                Path(maker.ROOT), tmp_path, maker.HOST, host,
            )
            for kind in ("sql", "json")
        )  # fmt: skip
        old_ledgers._LOADERS[suffix](empty_url, dump)
        shop = Shop(empty_url, tmp_path, host, json.loads(kept))
        shop.run("db", "upgrade")
        yield shop


def clean(key):
    """Return a product key as it is recorded now; of a table of images, both parts."""
    return unicodedata.normalize("NFC", key.strip())


def renewed(row):
    """Return a row of a view with the names that it has now."""
    row = {name: value for name, value in row.items() if name not in LATER}
    if row["product_key"] is not None:
        row["product_key"] = clean(row["product_key"])
    if row.get("source") in maker.TABLES and "key" in row:
        row["key"] = clean(row["key"])
    if row.get("source") == "images" and "key" in row:
        row["key"] = json.dumps(list(map(clean, json.loads(row["key"]))))
    return row


def sorted_rows(rows):
    return sorted(rows, key=json.dumps)


def assert_views(shop):
    for view, rows in shop.kept["views"].items():
        known = set(rows[0]) - set(LATER)
        found = [{name: row[name] for name in row if name in known} for row in shop.shown(f"cataloger_{view}")]
        assert sorted_rows(found) == sorted_rows(map(renewed, rows)), view


def test_the_first_night_tags_nothing_and_the_views_give_the_same_rows(shop):
    products = sum(len(shop.kept["tables"][name]) for name in maker.TABLES)
    assert shop.night() == [(0, 0, 6), (0, 0, 4), (0, 0, 3), (0, 0, 3)]
    assert_views(shop)
    assert shop.night() == [(0, 0, 6), (0, 0, 4), (0, 0, 3), (0, 0, 3)]
    assert_views(shop)
    # What people said has reached the rows of their products, however their keys are written there.
    said = {(source, clean(sku)): label for source, sku, label in maker.SAID}
    rows = [(name, row) for name in maker.TABLES for row in shop.shown(name)]
    assert len(rows) == products
    before = {(name, row["sku"]): row for name in maker.TABLES for row in shop.kept["tables"][name]}
    for name, row in rows:
        assert row["photo"] == before[name, row["sku"]]["photo"]
        assert row["category"] == said.get((name, clean(row["sku"])), before[name, row["sku"]]["category"])


def test_a_plan_counts_them_as_unchanged_and_changes_nothing(shop):
    before = shop.shown("cataloger_item")
    for command in maker.commands(shop.root):
        plan = json.loads(shop.run(*command, "--dry-run", "--json"))
        assert plan["planned_by_reason"] == {}
    assert shop.shown("cataloger_item") == before


def test_another_query_is_another_image_from_the_first_night_on(shop):
    shop.night()
    for sku, photo in (
        ("URL-1", "sunglasses.png?v=4"),  # another version
        ("URL-2", f"tennis-shoe.png?{maker.SIGNED.replace('abc', 'def')}"),  # another signature
        ("URL-3", "straw-tote.png?v=1&Expires=5&Signature=x"),
        ("URL-4", "t-shirt-black.png?v=1"),
    ):
        shop.execute("UPDATE products SET photo = :photo WHERE sku = :sku", photo=f"http://{shop.host}/{photo}",
                     sku=sku.ljust(12) if shop.url.startswith("sqlite") else sku)  # fmt: skip
    assert shop.night()[0] == (2, 0, 4)
    assert shop.night()[0] == (0, 0, 6)


def test_a_first_night_that_is_stopped_is_continued(shop, at, monkeypatch):
    """Whatever was renewed before the stop stays, and the rest is renewed by the next run."""
    monkeypatch.setattr("cataloger.ledger.planner.CHUNK", 2)
    sync = next(iter(maker.commands(shop.root)))
    shop.run(*sync, "--limit", "1", "--force")
    assert shop.execute(f"{WAITING} AND name = 'products'") == [(1,)]
    assert shop.night() == [(0, 0, 6), (0, 0, 4), (0, 0, 3), (0, 0, 3)]
    assert shop.execute(WAITING) == [(0,)]


@pytest.mark.parametrize("nights", [0, 1])
def test_a_run_of_before_is_undone_in_the_rows_that_it_wrote(shop, nights):
    for _ in range(nights):
        shop.night()
    shop.run("runs", "undo", "2", "--skip-edited")
    rows = shop.shown("texts")
    said = {clean(sku) for source, sku, _ in maker.SAID if source == "texts"}
    if nights == 0:
        assert [row["category"] for row in rows] == [None] * len(rows)
    else:
        empty = {clean(row["sku"]) for row in rows if row["category"] is None}
        assert empty == {clean(row["sku"]) for row in rows} - said


def test_corrections_reach_images_under_the_names_of_before_and_of_now(shop, tmp_path):
    shop.night()
    path = tmp_path / "said.csv"
    rows = [("texts", key, "Scarf") for key in ("EAR-1   ", "BOW-2", unicodedata.normalize("NFD", "Mütze-1"))]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("source", "key", "label"), *rows])
    shop.run("corrections", "import", str(path), "--author", "ann", "--overwrite")
    found = {row["key"]: row["label_1"] for row in shop.shown("cataloger_image_top5") if row["source"] == "texts"}
    assert {key for key, label in found.items() if label == "Scarf"} == {"EAR-1", "BOW-2", "Mütze-1"}


def test_downgraded_tables_hold_the_tokens_of_before(shop):
    tokens = shop.execute("SELECT id, version_token FROM cataloger_result ORDER BY id")
    shop.night()
    assert shop.execute("SELECT COUNT(*) FROM cataloger_result WHERE version_token LIKE '% q:%'") == [(2,)]
    shop.run("db", "downgrade", "0009", "--yes")
    assert shop.execute("SELECT id, version_token FROM cataloger_result ORDER BY id") == tokens
