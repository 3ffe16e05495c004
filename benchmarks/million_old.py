"""The first night after an upgrade, over a large ledger of version 0.1.0: nothing may be tagged again.

    python benchmarks/million_old.py [--rows 100000]

The rows are copies of those that tests/data/ledger_names.sql.gz has of two product tables, whose names version 0.1.0
had not cleaned: keys with blanks around them and in NFD, addresses with a query. `cataloger db upgrade` brings the
tables up, then `cataloger sync` goes over both tables, twice. Printed for each: seconds, peak memory of the command's
own process, and how many images were tagged. Exit status 1 if any was.
"""

import argparse
import gzip
import importlib.util
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from million_rows import run

from cataloger.schema import key_hash

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
LINKED = {"cataloger_result": "item_id", "cataloger_current": "item_id"}
OF_PRODUCTS = ("cataloger_product_result", "cataloger_product_current", "cataloger_write")


def main() -> int:
    """Make the ledger, let the nights go over it, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    maker = load_maker()
    examples = ROOT / "examples" / "images"
    with tempfile.TemporaryDirectory() as name, maker.web_server(examples) as host:
        place = Path(name)
        maker.lay_out(place, examples)
        dump = gzip.decompress((DATA / "ledger_names.sql.gz").read_bytes()).decode()
        with closing(sqlite3.connect(place / "old.db")) as connection:
            connection.executescript(dump.replace("@ROOT@", name).replace("@HOST@", host))
            multiply(connection, arguments.rows)
        url = f"sqlite:///{place}/old.db"
        start = time.monotonic()
        measured = run("db", "upgrade", "--db", url)
        print(f"upgrade: {time.monotonic() - start:.1f} s, {measured.memory / 1e6:.0f} MB", flush=True)
        return 1 if any([tagged(maker, place, url, number) for number in (1, 2)]) else 0  # noqa: C419 (both)


def tagged(maker: Any, place: Path, url: str, number: int) -> int:
    """Go over both tables; print what it took and return how many images were tagged."""
    done = 0
    for command in maker.commands(place)[:2]:
        start = time.monotonic()
        measured = run(*(flag for flag in command if flag != "--quiet"), "--db", url, "--json")
        report = measured.report
        done += report["done"] + report["failed"]
        figures = f"{time.monotonic() - start:.1f} s, {measured.memory / 1e6:.0f} MB"
        print(f"night {number}: {figures}, {report['done']} tagged, {report['skipped']:,} unchanged", flush=True)
    return done


def load_maker() -> Any:
    """Import the program that has made the ledger."""
    for name in ("make_ledger_0_1_0", "make_ledger_names"):
        spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def multiply(connection: sqlite3.Connection, rows: int) -> None:
    """Copy the products of both tables, with all that the ledger has of them, until there are so many rows."""
    connection.row_factory = sqlite3.Row
    items = [dict(row) for row in connection.execute("SELECT * FROM cataloger_item WHERE source_id IN (1, 2)")]
    assert all(each["key_hash"] == key_hash(each["key"]) for each in items)
    copies = list(copies_of(items, rows))
    for table, column in LINKED.items():
        known = {row[column]: dict(row) for row in connection.execute(f"SELECT * FROM {table}")}
        add(connection, table, [linked(known[old["id"]], new["id"]) for old, new in copies])
    add(connection, "cataloger_item", [new for _, new in copies])
    for table in OF_PRODUCTS:
        for row in map(dict, connection.execute(f"SELECT * FROM {table}").fetchall()):
            add(connection, table, [of_product(row, new) for old, new in copies if belongs(row, old)])
    for number, name in enumerate(("products", "texts"), start=1):
        known = {row["sku"]: dict(row) for row in connection.execute(f"SELECT * FROM {name}")}
        mine = [(old, new) for old, new in copies if old["source_id"] == number]
        add(connection, name, [known[old["key"]] | {"sku": new["key"]} for old, new in mine])
    connection.commit()


def copies_of(items: list[dict[str, Any]], rows: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield items with copies of them that have another name, with the same blanks around it."""
    for number in range(1000, 1000 + rows - len(items)):
        old = items[number % len(items)]
        plain = old["key"].strip()
        key = old["key"].replace(plain, f"{plain}-{number}")
        yield (
            old,
            {**old, "id": number, "key": key, "product_key": key}
            | dict.fromkeys(("key_hash", "product_hash"), key_hash(key)),
        )


def linked(row: dict[str, Any], item: int) -> dict[str, Any]:
    """Return a result, or what points to it, for a copy; both have the number of the item."""
    numbers = {name: item for name in ("id", "item_id", "result_id", "latest_id") if name in row}
    return row | numbers


def belongs(row: dict[str, Any], item: dict[str, Any]) -> bool:
    """True for a row about the product of an item."""
    return (row["source_id"], row["product_hash"]) == (item["source_id"], item["product_hash"])


def of_product(row: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a row about a product for a copy, whose answer has the number of the item."""
    own: dict[str, Any] = {"product_hash": new["product_hash"]}
    own |= {name: new["product_key"] for name in ("product_key",) if name in row}
    return row | own | {name: new["id"] for name in ("id", "result_id") if name in row}


def add(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows, which have the same columns."""
    if rows:
        names = ", ".join(f'"{name}"' for name in rows[0])
        marks = ", ".join("?" * len(rows[0]))
        values = [tuple(row.values()) for row in rows]
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)


if __name__ == "__main__":
    sys.exit(main())
