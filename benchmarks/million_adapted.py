"""How long a large shop takes to adapt: to learn, to recompute its stored results, and to take that back.

    python benchmarks/million_adapted.py sqlite:///rows.db [--rows 100000,1000000]

Each size gets the table and the ledger of million_rows.py, and a table with the right category of all products; the
model gets some of the images wrong, so that there is something to gain. Then `cataloger adapt --query`, `cataloger
recalibrate --source` and `cataloger runs undo` go over it. Printed for each: seconds and the peak memory of the
command's own process; then how many results were recomputed, and whether the answers are what they were before. The
sizes of the database are those before, after the recalibration, and after the undo, which keeps what it can revert.
The database must be empty, or one that million_rows.py has filled.
"""

import argparse
import csv
import hashlib
import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, inspect, text

from cataloger.db import Database, DatabaseURL
from cataloger.schema import ItemRow, ResultRow, SourceRow, open_database, select_current

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("million_rows", HERE / "million_rows.py")
assert spec is not None
assert spec.loader is not None
million_rows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(million_rows)


def main() -> None:
    """Fill the database, measure each size, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rows", default="100000,1000000")
    arguments = parser.parse_args()
    million_rows.run("db", "upgrade", "--db", arguments.url)
    for rows in map(int, arguments.rows.split(",")):
        million_rows.prepare(arguments.url, rows)
        make_categories(arguments.url, rows)
        measure(arguments.url, rows)


def measure(url: str, rows: int) -> None:
    """Adapt one size, take it back, and print what each took."""
    source = ("--source", f"{rows} rows")
    before, size = answers(url, source[1]), size_of(url)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "adapted"
        query = ("--query", f"select id, category from categories_{rows}", "--output", str(output))
        show(rows, "adapt", *timed("adapt", "--db", url, *source, *query, "--json"))
        seconds, found = timed("recalibrate", "--db", url, *source, "--model", str(output), "--json")
    show(rows, "recalibrate", seconds, found)
    changed, grown = answers(url, source[1]), size_of(url)
    show(rows, "undo", *timed("runs", "undo", str(found.report["run_id"]), "--db", url, "--json"))
    is_exact = answers(url, source[1]) == before
    print(
        f"{rows:10,} recomputed {found.report['renewed']:,}; changed: {changed != before}; undo exact: {is_exact}; "
        f"MB: {size / 1e6:.0f}, {grown / 1e6:.0f}, {size_of(url) / 1e6:.0f}",
        flush=True,
    )


def timed(*arguments: str) -> tuple[float, Any]:
    """Run cataloger; return the seconds that it took, and what million_rows.py measures."""
    started = time.monotonic()
    found = million_rows.run(*arguments)
    return time.monotonic() - started, found


def show(rows: int, what: str, seconds: float, found: Any) -> None:
    """Print what a command took."""
    print(f"{rows:10,} {what:12} {seconds:8.1f} s {found.memory / 1e6:6.0f} MB", flush=True)


def make_categories(url: str, rows: int) -> None:
    """Make the table with the right category of each product, unless it is there."""
    with (HERE.parent / "examples" / "labels.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["file"]: row["labels"] for row in csv.DictReader(file)}
    database = open_database(DatabaseURL.parse(url))
    try:
        name = f"categories_{rows}"
        columns = Column("id", Integer, primary_key=True, autoincrement=False), Column("category", String(100))
        table, images = Table(name, MetaData(), *columns), f"products_{rows}"
        with database.begin() as connection:
            if inspect(connection).has_table(name):
                return
            table.create(connection)
            products = connection.execute(text(f"SELECT id, image FROM {images}")).all()
            for start in range(0, rows, million_rows.CHUNK):
                chunk = products[start : start + million_rows.CHUNK]
                connection.execute(insert(table), [{"id": row.id, "category": truth[row.image]} for row in chunk])
    finally:
        database.close()


def answers(url: str, source: str) -> str:
    """Return a hash of all current answers of a source."""
    columns = (ItemRow.id, ResultRow.label_1, ResultRow.confidence_1, ResultRow.decision, ResultRow.calibration_id)
    query = select_current(*columns).where(SourceRow.name == source).order_by(ItemRow.id)
    digest = hashlib.sha256()
    database = open_database(DatabaseURL.parse(url))
    try:
        with database.read() as connection:
            for row in connection.execution_options(yield_per=10_000).execute(query):
                digest.update(repr(tuple(row)).encode())
    finally:
        database.close()
    return digest.hexdigest()


def size_of(url: str) -> int:
    """Return the bytes of the database."""
    database: Database = open_database(DatabaseURL.parse(url))
    try:
        with database.read() as connection:
            if connection.dialect.name == "postgresql":
                return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
            pages, size = (connection.scalar(text(f"PRAGMA {name}")) or 0 for name in ("page_count", "page_size"))
            return int(pages) * int(size)
    finally:
        database.close()


if __name__ == "__main__":
    main()
