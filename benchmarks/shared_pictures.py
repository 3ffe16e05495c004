"""What rows that share pictures cost, beside rows that have one each, and beside pictures that the ledger knows.

    python benchmarks/shared_pictures.py PHOTOS [--pictures 715] [--rows 3414] [--rounds 3] [--before PYTHON]

The defaults are the sizes of Magento's sample shop. Three product tables of as many rows take turns through
`cataloger sync`, each round into empty databases:

    apart    each row has a file of its own, of other bytes than every other one
    shared   the rows share the files, far apart from each other
    known    the same as "shared" after the files were renamed: nothing of them is decoded or classified again

With --before, an interpreter that has an earlier cataloger runs "shared", too. Printed: rows per second and processor
milliseconds a row, starts included, medians; and how many times less processor time than "apart" that is. So nothing
else may run.
"""

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cataloger.bench.bench import lay_out

PROGRAM = "from cataloger.cli.app import main; main()"
TABLE = ("--table", "products", "--id", "sku", "--image", "photo")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a command took. seconds, processor: of the whole command with its children."""

    seconds: float
    processor: float


def main() -> None:
    """Parse the arguments, run the turns, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pictures", type=int, default=715)
    parser.add_argument("--rows", type=int, default=3414)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", metavar="PYTHON", help="interpreter with an earlier cataloger")
    arguments = parser.parse_args()
    turns: dict[str, list[Turn]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        lay_out(arguments.photos, place / "apart", arguments.rows)
        lay_out(arguments.photos, place / "shared", arguments.pictures)
        for number in range(arguments.rounds):
            for name, turn in one_round(place, f"{number}", arguments.rows, arguments.before):
                turns[name].append(turn)
    report(turns, arguments.rows)


def one_round(place: Path, number: str, rows: int, before: str | None) -> list[tuple[str, Turn]]:
    """Sync each table once, into databases of their own."""
    apart, shared = (sorted(path.name for path in (place / kind).iterdir()) for kind in ("apart", "shared"))
    done = [("apart", sync(sys.executable, table(place / f"apart{number}.db", apart, rows), place / "apart", rows))]
    database = table(place / f"shared{number}.db", shared, rows)
    done.append(("shared", sync(sys.executable, database, place / "shared", rows)))
    if before:
        old = table(place / f"before{number}.db", shared, rows)
        done.append(("before", sync(before, old, place / "shared", rows)))
    renamed = place / f"renamed{number}"
    shutil.copytree(place / "shared", renamed, copy_function=shutil.copyfile)  # with another time
    done.append(("known", sync(sys.executable, database, renamed, rows, "--accept-move")))
    shutil.rmtree(renamed)
    return done


def table(path: Path, names: Sequence[str], rows: int) -> Path:
    """Make a database with a product table whose rows go through the names again and again."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE products (sku INTEGER PRIMARY KEY, photo TEXT)")
        values = ((number, names[number % len(names)]) for number in range(rows))
        connection.executemany("INSERT INTO products VALUES (?, ?)", values)
    return path


def sync(python: str, database: Path, root: Path, rows: int, *flags: str) -> Turn:
    """Run `cataloger sync`; it must tag every row."""
    url = f"sqlite:///{database}"
    subprocess.run([python, "-c", PROGRAM, "db", "upgrade", "--db", url], check=True, stdout=subprocess.PIPE)
    command = [python, "-c", PROGRAM, "sync", "--db", url, *TABLE, "--image-root", str(root), "--json", *flags]
    return measured(command, rows, cwd=database.parent)


def measured(command: Sequence[str], images: int, **options: Any) -> Turn:
    """Run a tagging command with --json, with options of `subprocess.run`; it must tag so many images."""
    begun, before = time.monotonic(), processor_seconds()
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout)
    turn = Turn(time.monotonic() - begun, processor_seconds() - before)
    if found["done"] != images:
        raise SystemExit(f"{' '.join(command)}: {found['done']} of {images} were tagged: {found['failures']}")
    return turn


def processor_seconds() -> float:
    """Return what ended children have used, theirs included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def report(turns: dict[str, list[Turn]], rows: int) -> None:
    """Print a line for each table."""
    print(f"{rows} rows, {os.cpu_count()} processors; medians of {len(turns['apart'])} rounds")
    for name, taken in turns.items():
        seconds = statistics.median(turn.seconds for turn in taken)
        processor = statistics.median(turn.processor for turn in taken)
        pairs = zip(turns["apart"], taken, strict=True)
        ratio = statistics.median(apart.processor / turn.processor for apart, turn in pairs)
        print(
            f"{name:8} {rows / seconds:8.0f} rows/s {1000 * processor / rows:8.2f} ms a row {ratio:8.1f} times less"
        )


if __name__ == "__main__":
    main()
