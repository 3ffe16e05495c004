"""How time and memory of a sync grow with the product table: with nothing to do, and with some new rows.

    python benchmarks/million_rows.py sqlite:///rows.db [--rows 10000,100000,1000000]

Each size gets a table of rows that share the images of examples/images, and a ledger as if all of them had been
tagged: a few rows really are, the others are copies of those. Then `cataloger sync --dry-run` and `cataloger sync`
go over it, and once more after NEW rows were added. Printed for each size: seconds, the peak memory of the command's
own process, and what recording one new image among so many known ones took: processor time of cataloger, and time
altogether, which the database server had a part in.
The database must be empty, or one that this program has filled.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    column,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
)

from cataloger.db.database import Database
from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import CurrentRow, ItemRow, ResultRow, SourceRow

IMAGES = Path(__file__).parent.parent / "examples" / "images"
CHUNK = 10_000
NEW = 512


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took. memory: peak resident set of its own process, bytes.

    writing: seconds that it waited for its writes, and processor seconds that it spent on them.
    """

    seconds: float
    memory: int
    report: dict[str, Any]
    writing: tuple[float, float] = (0.0, 0.0)


def main() -> None:
    """Fill the database, measure each size, print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rows", default="10000,100000,1000000")
    arguments = parser.parse_args()
    run("db", "upgrade", "--db", arguments.url)
    print("      rows   plan s  plan MB   no-op s  no-op MB  CPU ms   wall ms   new MB", flush=True)
    for rows in map(int, arguments.rows.split(",")):
        prepare(arguments.url, rows)
        plan, nothing = sync(arguments.url, rows, "--dry-run"), sync(arguments.url, rows)
        for measured in (plan, nothing):
            if measured.report["skipped_by_reason"] != {"unchanged": rows}:
                raise SystemExit(f"something was to do: {measured.report}")
        new = add_rows(arguments.url, rows)
        figures = (plan.seconds, plan.memory / 1e6, nothing.seconds, nothing.memory / 1e6)
        line = f"{rows:10,} {figures[0]:8.1f} {figures[1]:8.0f} {figures[2]:9.1f} {figures[3]:9.0f}"
        waited, busy = (1000 * seconds / NEW for seconds in new.writing)
        print(f"{line} {busy:8.2f} {waited:9.2f} {new.memory / 1e6:8.0f}", flush=True)


def sync(url: str, rows: int, *flags: str) -> Measured:
    """Run the command over the table of a size."""
    table = ["--table", f"products_{rows}", "--id", "id", "--image", "image", "--image-root", str(IMAGES)]
    return run("sync", "--db", url, *table, "--source-name", f"{rows} rows", "--json", *flags)


def add_rows(url: str, rows: int) -> Measured:
    """Add rows to the table of a size and sync it; then take both back, so that the size stays what it is."""
    names = cycle(sorted(path.name for path in IMAGES.glob("*.png")))
    database = open_database(DatabaseURL.parse(url))
    table = Table(f"products_{rows}", MetaData(), Column("id", Integer))
    try:
        fill_table(database, f"products_{rows}", islice(names, NEW), start=rows)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "profile.json"
            measured = sync(url, rows, "--profile", str(file))
            profile = json.loads(file.read_text(encoding="utf-8"))
        if measured.report["done"] != NEW:
            raise SystemExit(f"{NEW} rows were new, but {measured.report['done']} were done")
        with database.begin() as connection:
            connection.execute(delete(table).where(table.c.id >= rows))
        sync(url, rows, "--forget")
    finally:
        database.close()
    writing = (profile["waited_seconds"]["writing"], profile["cpu_seconds"]["writing"])
    return replace(measured, writing=writing)


def run(*arguments: str) -> Measured:
    """Run cataloger and measure it; ends when it fails."""
    command = [sys.executable, "-m", "cataloger", *arguments]
    memory = 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        while process.poll() is None:
            memory = max(memory, peak_memory(process.pid))
            time.sleep(0.05)
        if process.returncode:
            raise SystemExit(process.returncode)
        output.seek(0)
        text = output.read()
    report = json.loads(text) if text.startswith("{") else {}
    return Measured(report.get("total_seconds", 0.0), memory, report)


def peak_memory(pid: int) -> int:
    """Return the peak resident set of a process so far, bytes. (What wait4 says counts that of the parent in.)"""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def prepare(url: str, rows: int) -> None:
    """Make the table of a size and its ledger, unless they are there."""
    names = sorted(path.name for path in IMAGES.glob("*.png"))
    database = open_database(DatabaseURL.parse(url))
    try:
        with database.begin() as connection:
            is_there = inspect(connection).has_table(f"products_{rows}")
        if not is_there:
            fill_table(database, f"products_{rows}", islice(cycle(names), len(names)))
            sync(url, rows)
            fill_table(database, f"products_{rows}", islice(cycle(names), len(names), rows), start=len(names))
            copy_ledger(database, f"{rows} rows", len(names), rows)
    finally:
        database.close()


def fill_table(database: Database, name: str, images: Iterator[str], start: int = 0) -> None:
    """Append rows to a table, which is made if it is not there."""
    columns = Column("id", Integer, primary_key=True, autoincrement=False), Column("image", String(100))
    table = Table(name, MetaData(), *columns)
    with database.begin() as connection:
        table.create(connection, checkfirst=True)
        for chunk in chunks(enumerate(images, start=start)):
            connection.execute(insert(table), [{"id": number, "image": image} for number, image in chunk])


def copy_ledger(database: Database, source: str, known: int, rows: int) -> None:
    """Give rows `known` to `rows` the items and results of the first `known` ones, in turn."""
    with database.begin() as connection:
        source_id = connection.scalar(select(SourceRow.id).where(SourceRow.root == source))
        items = _by_key(connection, select(ItemRow.__table__).where(ItemRow.source_id == source_id))
        results = {row["item_id"]: row for row in connection.execute(select(ResultRow.__table__)).mappings()}
        originals = [(items[str(number)], results[items[str(number)]["id"]]) for number in range(known)]
        offset = 1 + max(connection.scalar(select(func.max(table.id))) or 0 for table in (ItemRow, ResultRow))
        for chunk in chunks(iter(range(known, rows))):
            pairs = [(*originals[number % known], number) for number in chunk]
            copies = [copied(item, result, number, offset) for item, result, number in pairs]
            for table, position in ((ItemRow, 0), (ResultRow, 1), (CurrentRow, 2)):
                connection.execute(insert(table), [copy[position] for copy in copies])
        go_on_counting(connection)


def go_on_counting(connection: Connection) -> None:
    """Have PostgreSQL number new rows after the copies, which came with numbers of their own."""
    if connection.dialect.name == "postgresql":
        for table in (ItemRow.__tablename__, ResultRow.__tablename__):
            sequence = func.pg_get_serial_sequence(table, "id")
            connection.execute(
                select(
                    func.setval(sequence, select(func.max(column("id"))).select_from(text(table)).scalar_subquery())
                )
            )


def copied(item: Any, result: Any, number: int, offset: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    identity, key = offset + number, str(number)
    hashed = key_hash(key)
    row = {**item, "id": identity, "key": key, "key_hash": hashed, "product_key": key, "product_hash": hashed}
    pointer = {"item_id": identity, "weights_id": result["weights_id"], "result_id": identity, "latest_id": identity}
    return row, {**result, "id": identity, "item_id": identity}, pointer


def _by_key(connection: Connection, query: Any) -> dict[str, Any]:
    return {row["key"]: row for row in connection.execute(query).mappings()}


def chunks(values: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(islice(values, CHUNK)):
        yield chunk


if __name__ == "__main__":
    main()
