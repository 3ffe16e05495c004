"""Make a ledger of version 0.1.0 (revision b78fa3e) with a past, and keep what that revision shows of it.

Only that revision can make it, in a checkout of its own and with its own environment (extras postgres and mysql):

    git worktree add ../old b78fa3e && cd ../old && make .venv/dev/.ready
    .venv/dev/bin/python ../cataloger/tests/data/make_ledger_0_1_0.py sqlite:///old.db
    .venv/dev/bin/python ../cataloger/tests/data/make_ledger_0_1_0.py postgresql://shop:secret@127.0.0.1/empty
    .venv/dev/bin/python ../cataloger/tests/data/make_ledger_0_1_0.py mariadb://shop:secret@127.0.0.1/empty

Each database must be empty; the last two need pg_dump and mariadb-dump. Beside this file it writes
`ledger_0_1_0[_ENGINE].sql.gz`, the dump, and `ledger_0_1_0[_ENGINE].json.gz`, what the commands and views of
b78fa3e answered. In both, the folder of the photos is called @ROOT@. The tests use `lay_out` and `place`, too.

The past: a folder (`tag`) and a product table (`sync` with a label map and write-back); photos that are broken, gone,
restored and changed; words of people, one of them withdrawn; a cell that a person has edited; runs that were killed,
interrupted, undone, undone and undone again, recalibrated and pruned; at last a run that nobody has ended.
"""

import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, make_url, text

REVISION = "b78fa3e"
HERE = Path(__file__).parent
ROOT = "@ROOT@"
FOLDER = "photos"  # of the source that `tag` goes through; its name is in the ledger as a digest, too
SHOP = "shop"  # name of the source that `sync` goes through
DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql", "mysql": "mysql+pymysql"}
VIEWS = ("image_top5", "image_labels", "image_codes", "product_top5", "product_images")
WRITES = ("--write", "category=label_1", "--write", "confidence=confidence_1")
SYNC = (
    "sync", "--table", "products", "--id", "sku", "--image", "file", "--image-table", "product_images",
    "--image-fk", "sku", "--source-name", SHOP, "--only-decision", "accept", "--only-decision", "review", *WRITES,
    "--max-failure-rate", "1", "--quiet",
)  # fmt: skip
TAG = ("tag", "--max-failure-rate", "1", "--quiet")

FIRST_DAY = 1_700_000_000  # when the photos were taken, in seconds
# Path -> (what it shows, on which day it was put there).
FIRST = {
    "photos/hats/cap.png": ("baseball-cap", 0),
    "photos/bow-tie.png": ("bow-tie", 0),
    "photos/cut.png": ("cut", 0),
    "photos/glasses.png": ("sunglasses", 0),
    "photos/page.png": ("page", 0),
    "photos/plain.png": ("t-shirt-black", 0),
    "photos/print.png": ("t-shirt-print", 0),
    "shop/blue.png": ("blue-fedora", 0),
    "shop/red.png": ("red-fedora", 0),
    "shop/bow-tie.png": ("bow-tie", 0),
    "shop/cap.png": ("baseball-cap", 0),
    "shop/cut.png": ("cut", 0),
    "shop/earring.png": ("earring", 0),
    "shop/glasses.png": ("sunglasses", 0),
    "shop/plain.png": ("t-shirt-black", 0),
    "shop/print.png": ("t-shirt-print", 0),
    "shop/small-print.png": ("t-shirt-small-print", 0),
    "shop/tote.png": ("straw-tote", 0),
}
GONE = ("photos/glasses.png", "photos/print.png")
SECOND = {path: shown for path, shown in FIRST.items() if path not in GONE}
LAST = SECOND | {
    "photos/print.png": FIRST["photos/print.png"],  # restored
    "photos/plain.png": ("t-shirt-small-print", 2),
    "shop/tote.png": ("tennis-shoe", 2),
}

TABLES = (
    "CREATE TABLE products (sku VARCHAR(20) NOT NULL PRIMARY KEY, title VARCHAR(100) NOT NULL, category VARCHAR(40), "
    "confidence NUMERIC(6, 4))",
    "CREATE TABLE product_images (id INTEGER NOT NULL PRIMARY KEY, sku VARCHAR(20) NOT NULL, file VARCHAR(200), "
    "FOREIGN KEY (sku) REFERENCES products (sku))",
    "INSERT INTO products (sku, title, category) VALUES ('HAT-1', 'Fedora', 'hats'), ('CAP-1', 'Cap', NULL), "
    "('BOW-1', 'Bow tie', NULL), ('EAR-1', 'Earring', NULL), ('SUN-1', 'Sunglasses', NULL), "
    "('TSH-1', 'T-shirt', NULL), ('TSH-2', 'T-shirt, small print', NULL), ('TOT-1', 'Tote', 'bags'), "
    "('GFT-1', 'Gift card', 'gifts')",
    "INSERT INTO product_images (id, sku, file) VALUES (1, 'HAT-1', 'blue.png'), (2, 'HAT-1', 'red.png'), "
    "(3, 'CAP-1', 'cap.png'), (4, 'BOW-1', 'bow-tie.png'), (5, 'EAR-1', 'earring.png'), (6, 'SUN-1', 'glasses.png'), "
    "(7, 'TSH-1', 'plain.png'), (8, 'TSH-1', 'print.png'), (9, 'TSH-2', 'small-print.png'), "
    "(10, 'TSH-2', 'cut.png'), (11, 'TOT-1', 'tote.png')",
)
EDITED = "UPDATE products SET category = '9999' WHERE sku = 'SUN-1'"
# (ending of the uri, verdict, label)
ANN_SAYS = (
    ("photos/bow-tie.png", "label", "Tie"),
    ("photos/hats/cap.png", "label", "Backpack"),
    ("shop/bow-tie.png", "label", "Tie"),
    ("shop/print.png", "not_product", ""),
)
BEN_SAYS = (("photos/hats/cap.png", "withdrawn", ""), ("shop/earring.png", "label", "Scarf"))

# (command, outcome) of each run in the order of time; None: nobody has ended it.
RUNS = (
    ("tag", "done"), ("sync", "done"), ("tag", "done"), ("sync", "abandoned"), ("sync", "interrupted"),
    ("recalibrate", "done"), ("sync", "done"), ("undo", "done"), ("undo", "done"), ("recalibrate", "done"),
    ("sync", "done"), ("prune", "done"), ("tag", "done"), ("sync", "done"), ("tag", "done"), ("undo", "done"),
    ("tag", None),
)  # fmt: skip
LAST_WRITE = 14  # the run whose undoing is kept


def lay_out(root: Path, examples: Path, layout: dict[str, tuple[str, int]] = LAST) -> None:
    """Make the photos below `root` those of a layout, with their times; what is there besides goes."""
    for folder in (FOLDER, SHOP):
        shutil.rmtree(root / folder, ignore_errors=True)
    shutil.copyfile(examples.parent / "shop" / "codes.csv", root / "codes.csv")
    for name, (shown, day) in layout.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(examples, shown))
        seconds = FIRST_DAY + day * 86_400
        os.utime(path, (seconds, seconds))


def _picture(examples: Path, shown: str) -> bytes:
    if shown == "page":
        return b"<html>sold out</html>"
    if shown == "cut":
        return (examples / "sombrero.png").read_bytes()[:700]
    return (examples / f"{shown}.png").read_bytes()


def place(dump: str, before: str, after: str) -> str:
    """Give the photos of a dump another root, and the digest that their folder is looked up by."""
    old, new = (hashlib.sha256(f"{root}/{FOLDER}".encode()).hexdigest() for root in (before, after))
    return dump.replace(before, after).replace(old, new)


def shown(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Return the rows of a view or table as plain values, in an order of their own."""
    found = connection.execute(text(f"SELECT t.* FROM {name} t")).mappings()
    rows = [{key: _plain(value) for key, value in row.items()} for row in found]
    return sorted(rows, key=json.dumps)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class Past:
    """A shop's database, its photos, and the commands of the checkout that this runs in."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.root = root
        self.examples = Path.cwd() / "examples" / "images"
        parsed = make_url(url)
        name = parsed.get_backend_name()
        self.kind = "mariadb" if name == "mysql" else name
        self.engine = create_engine(parsed.set(drivername=DRIVERS.get(name, name)))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cataloger", *arguments, "--db", self.url]

    def run(self, *arguments: str) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(self.command(*arguments), check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"cataloger {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def tag(self, *flags: str) -> tuple[str, ...]:
        return (*TAG, str(self.root / FOLDER), *flags)

    def sync(self, *flags: str) -> tuple[str, ...]:
        return (*SYNC, "--image-root", str(self.root / SHOP), *flags)

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def stop(self, number: int, *arguments: str) -> None:
        """Start a command and send it a signal as soon as it holds its lease."""
        # One that was killed has left its lease behind.
        before = self._lease()
        process = subprocess.Popen(self.command(*arguments), stderr=subprocess.DEVNULL)
        while process.poll() is None and self._lease() == before:
            time.sleep(0.001)
        process.send_signal(number)
        process.wait()

    def _lease(self) -> int | None:
        """Return the newest run that has ever held a lease."""
        with self.engine.connect() as connection:
            found: int | None = connection.scalar(text("SELECT MAX(l.run_id) FROM cataloger_lease l"))
            return found

    def say(self, author: str, words: Sequence[tuple[str, str, str]]) -> None:
        """Fill in a file of all images, and import it."""
        path = str(self.root / "words.csv")
        self.run("corrections", "export", path, "--predictions")
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        for uri, verdict, label in words:
            [row] = [row for row in rows if row["uri"].endswith(uri)]
            row |= {"verdict": verdict, "label": label}
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        self.run("corrections", "import", path, "--author", author)

    def live(self) -> None:
        """Go through all of it."""
        self.execute(*TABLES)
        self.run("db", "upgrade")
        lay_out(self.root, self.examples, FIRST)
        self.run(*self.tag())
        self.run(*self.sync("--label-map", str(self.root / "codes.csv")))
        self.execute(EDITED)
        self.say("ann", ANN_SAYS)
        lay_out(self.root, self.examples, SECOND)
        self.run(*self.tag("--force"))
        self.stop(signal.SIGKILL, *self.sync("--force"))
        self.stop(signal.SIGINT, *self.sync("--force"))
        self._recalibrate()
        self.run(*self.sync())
        self.run("runs", "undo", "7", "--quiet")
        self.run("runs", "undo", "8", "--quiet")
        self.run("recalibrate")
        self.run(*self.sync())
        self.run("runs", "prune", "--keep", "3")
        lay_out(self.root, self.examples, LAST)
        self.run(*self.tag())
        self.run(*self.sync())
        self.say("ben", BEN_SAYS)
        self.run(*self.tag("--force"))
        self.run("runs", "undo", "15", "--quiet")
        self.stop(signal.SIGKILL, *self.tag("--force"))

    def _recalibrate(self) -> None:
        labels = self.root / "labels.csv"
        lines = ("path,label", "baseball-cap.png,Hat", "sombrero.png,Hat", "sunglasses.png,Sunglasses",
                 "bow-tie.png,Tie", "earring.png,Jewellery", "silk-shirt.png,Shirt")  # fmt: skip
        labels.write_text("\n".join(lines) + "\n")
        bundle = str(self.root / "bundle")
        made = (str(labels), "--images", str(self.examples), "--output", bundle)
        subprocess.run([sys.executable, "-m", "cataloger", "calibrate", *made], check=True, capture_output=True)
        self.run("recalibrate", "--model", bundle)

    def shown(self) -> dict[str, Any]:
        """Return what the views and the product table hold."""
        with self.engine.connect() as connection:
            views = {view: shown(connection, f"cataloger_{view}") for view in VIEWS}
            return {"products": shown(connection, "products"), "views": views}

    def answers(self) -> dict[str, Any]:
        """Return what the commands say that only look."""
        words = str(self.root / "words.csv")
        self.run("corrections", "export", words, "--all")
        with open(words, newline="", encoding="utf-8-sig") as file:
            said = list(csv.DictReader(file))
        against = ("--run", str(LAST_WRITE), "--against", "11", "--min-images", "1")
        check = subprocess.run(self.command("check", *against, "--json"), check=False, capture_output=True, text=True)
        return {
            "runs": json.loads(self.run("runs", "list", "--limit", "100", "--json")),
            "diff": json.loads(self.run("runs", "diff", "11", str(LAST_WRITE), "--json")),
            "sources": json.loads(self.run("sources", "list", "--json")),
            "corrections": said,
            "check": {"status": check.returncode, "answer": json.loads(check.stdout)},
            "report": json.loads(self.run("report", "--run", str(LAST_WRITE), "--json")),
        }

    def dump(self) -> str:
        """Return the statements that make the database again."""
        parsed = self.engine.url
        if self.kind == "sqlite":
            with closing(sqlite3.connect(str(parsed.database))) as connection:
                return "\n".join(connection.iterdump()) + "\n"
        place = (f"--host={parsed.host}", f"--port={parsed.port or ''}", f"--user={parsed.username}")
        if self.kind == "postgresql":
            program = ["pg_dump", "--inserts", "--no-owner", "--no-acl", *place, f"--dbname={parsed.database}"]
            program[4:] = [each.replace("--user=", "--username=") for each in program[4:]]
        else:
            flags = ("--no-defaults", "--skip-comments", "--skip-add-locks", "--skip-disable-keys", "--hex-blob")
            program = ["mariadb-dump", *flags, "--no-tablespaces", *place, str(parsed.database)]
        secret = {"PGPASSWORD": str(parsed.password), "MYSQL_PWD": str(parsed.password)}
        done = subprocess.run(program, check=True, capture_output=True, env=os.environ | secret)
        # No lines for a client alone; whoever loads it owns the views.
        lines = [each for each in done.stdout.decode().splitlines() if not each.startswith(("--", "\\", "/*M!"))]
        return re.sub(r"DEFINER=\S+ ", "", "\n".join(lines) + "\n")


def _without_machine(found: str, past: Past) -> str:
    """Return text without names of this machine. Raises AssertionError where one is left."""
    host = re.escape(socket.gethostname())
    found = re.sub(rf"{host}\|[^|']*\|[^|']*\|\d+\|\d+", "old-host|old-boot|pid:[1]|1|1", found)
    # A lease of a future day would hold where the clock is slow.
    found = re.sub(r"(old-host[^']*', ?')\d{4}-[^']*", r"\g<1>2024-01-01 00:00:00.000000", found)
    found = place(found, str(past.root), ROOT).replace(str(Path.cwd()), "@CHECKOUT@")
    left = (socket.gethostname(), str(Path.home()) + "/", tempfile.gettempdir() + "/", past.engine.url.password)
    assert not [each for each in left if each and each in found], "the dump names this machine"
    return found


def main(url: str) -> None:
    """Make the ledger in an empty database, dump it, and keep what it shows."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    changed = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    if not head.startswith(REVISION) or changed:
        sys.exit(f"run this in a clean checkout of {REVISION}: its docstring says how")
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        past = Past(url, Path(folder).resolve())
        past.live()
        kept = past.shown() | past.answers()
        runs = {run["id"]: run for run in reversed(kept["runs"])}
        assert [(run["command"], run["outcome"]) for run in runs.values()] == list(RUNS), runs
        assert runs[12]["counts"]["results"] > 0, "nothing was pruned"
        dump = _without_machine(past.dump(), past)
        past.run("runs", "undo", str(LAST_WRITE), "--quiet")
        kept["undone"] = past.shown()
        past.engine.dispose()
        answers = _without_machine(json.dumps(kept, indent=0, ensure_ascii=False), past)
    stem = "ledger_0_1_0" if past.kind == "sqlite" else f"ledger_0_1_0_{past.kind}"
    # Without a time in it, the same dump is the same file.
    (HERE / f"{stem}.sql.gz").write_bytes(gzip.compress(dump.encode(), mtime=0))
    (HERE / f"{stem}.json.gz").write_bytes(gzip.compress(answers.encode(), mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
