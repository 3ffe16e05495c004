"""Kill a command again and again: the tables must end up as if nothing had happened.

    python benchmarks/kill_storm.py [IMAGES] [--command tag] [--kills 50] [--seed N] [--images 200] [--db URL]

IMAGES is a folder of pictures, examples/images by default; varied copies and a few damaged files are made of it in a
temporary folder. They are tagged once without interruption into a SQLite file. Then the same command is started for
another database and killed (SIGKILL) at random times until there were enough kills; when it ends by itself, every
file is touched, so that there is work again. At last it may end. Printed: the seed, a line a kill, and "equal" or
the differences. Exit status: 0 equal, 1 not equal, or a run or a decoding process that ended otherwise than promised.

--db names a database that has our tables, e.g. postgresql://user@host/name; a new SQLite file is the default.

--command: that is killed. `tag` is as above; undo, prune, recalibrate, corrections-import, db-upgrade, db-downgrade,
or all of these six, are in ledger_storm.py. They fill the database of --db and take their tables away again, so that
it must be empty. --instead: command of the shell, e.g. one that restarts the server, that is run at these times in
place of a kill; what is disturbed by it must end well by itself. It is for these six.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sqlalchemy import Connection, func, select

from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database
from cataloger.schema.models import CurrentRow, ItemRow, ResultRow, RunRow, SourceRow

EXAMPLES = Path(__file__).parent.parent / "examples" / "images"
TOLERANCE = 1e-5  # of a confidence
LEDGER_COMMANDS = ("undo", "prune", "recalibrate", "corrections-import", "db-upgrade", "db-downgrade")
MARK = "KILL_STORM_MARK"
PATIENCE = 5.0  # seconds that a decoding process may outlive its parent


@dataclass(frozen=True, slots=True)
class Row:
    """What must be equal of an image: its current result."""

    status: str
    error_code: str | None
    content_hash: str | None
    labels: tuple[str | None, ...]
    confidences: tuple[float | None, ...]

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What must be the same to the letter."""
        return self.status, self.error_code, self.content_hash

    def equals(self, other: "Row") -> bool:
        """Compare; two labels may have swapped where their confidences differ by less than the tolerance."""
        same = self.identity == other.identity
        return same and all(self._is_close(other, rank) for rank in range(len(self.labels)))

    def _is_close(self, other: "Row", rank: int) -> bool:
        """True when our label of a rank has the same confidence there, and so has the other's label of that rank."""
        label = self.labels[rank]
        if label not in other.labels or not _close(self.confidences[rank], other.confidences[rank]):
            return False
        return _close(self.confidences[rank], other.confidences[other.labels.index(label)])


def _close(left: float | None, right: float | None) -> bool:
    return left is right if left is None or right is None else abs(left - right) <= TOLERANCE


def read_tables(url: str, root: Path | str) -> dict[str, Row]:
    """Return the current results of a folder or a named source, by key; empty when it is not in the database."""
    query = (
        select(ItemRow.key, ResultRow.__table__)
        .join(SourceRow, SourceRow.id == ItemRow.source_id)
        .join(
            CurrentRow,
            (CurrentRow.item_id == ItemRow.id) & (CurrentRow.weights_id == SourceRow.weights_id),
            isouter=True,
        )
        .join(ResultRow, ResultRow.id == CurrentRow.result_id, isouter=True)
        .where(SourceRow.root == (root if isinstance(root, str) else str(root.absolute())))
    )
    database = open_database(DatabaseURL.parse(url))
    try:
        with database.read() as connection:
            return _rows(connection, query)
    finally:
        database.close()


def _rows(connection: Connection, query) -> dict[str, Row]:  # type: ignore[no-untyped-def]
    found = {}
    for row in connection.execute(query).mappings():
        labels = tuple(row[f"label_{rank}"] for rank in range(1, 6))
        confidences = tuple(row[f"confidence_{rank}"] for rank in range(1, 6))
        found[row["key"]] = Row(row["status"], row["error_code"], row["content_hash"], labels, confidences)
    return found


def differences(left: dict[str, Row], right: dict[str, Row]) -> list[str]:
    """Return a line for every item that is missing or not equal."""
    lines = []
    for key in sorted(left.keys() | right.keys()):
        one, other = left.get(key), right.get(key)
        if one is None or other is None or not one.equals(other):
            lines.append(f"{key}: {one} / {other}")
    return lines


def outcomes(url: str) -> list[str | None]:
    """Return how each run ended, in order."""
    database = open_database(DatabaseURL.parse(url))
    try:
        with database.read() as connection:
            return list(connection.scalars(select(RunRow.outcome).order_by(RunRow.id)))
    finally:
        database.close()


def processes(mark: str) -> list[int]:
    """Return the processes that were started with a mark in their environment (Linux)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


def survivors(mark: str, patience: float = PATIENCE) -> list[int]:
    """Return the processes with a mark that are still there when the patience is over."""
    deadline = time.monotonic() + patience
    while (found := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def copy_images(source: Path, target: Path, count: int) -> None:
    """Write `count` varied copies of the pictures of a folder; every 25th is damaged."""
    names = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not names:
        raise SystemExit(f"no .png, .jpg or .webp in {source}")
    target.mkdir()
    for number in range(count):
        path = target / f"{number:05}.jpg"
        side = 64 + 16 * (number // len(names) % 20)
        with Image.open(names[number % len(names)]) as image:
            image.convert("RGBA").convert("RGB").resize((side, side + 32)).save(path, quality=90)
        if number % 25 == 24:
            path.write_bytes(path.read_bytes()[: 300 * (number % 3)])


@dataclass(slots=True)
class Storm:
    """Runs of one command that are killed. ended: how many ended by themselves."""

    command: list[str]
    folder: Path
    random: random.Random
    ended: int = 0
    orphans: int = 0

    def kill_once(self, longest: float) -> float:
        """Start runs until one lives long enough to be killed; return after how many seconds it was."""
        while True:
            seconds = self.random.uniform(0.0, longest)
            mark = uuid.uuid4().hex
            process = subprocess.Popen(self.command, env=os.environ | {MARK: mark})
            try:
                check(process.wait(seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self.orphans += len(survivors(mark))
                return seconds
            self.ended += 1
            for path in self.folder.iterdir():
                path.touch()


def check(status: int) -> None:
    """End the storm when a run failed."""
    if status:
        raise SystemExit(f"a run that was not killed ended with exit status {status}; see its message above")


def run_storm(storm: Storm, url: str, *, kills: int, longest: float) -> None:
    """Kill so often, print a line for each, then let the command end."""
    for number in range(1, kills + 1):
        seconds = storm.kill_once(longest)
        results = recorded(url)
        print(f"kill {number:2} after {seconds:5.2f} s: {results} results, {storm.ended} runs ended", flush=True)
    check(subprocess.run(storm.command, check=False).returncode)


def recorded(url: str) -> int:
    """Return how many results there are; runs killed early have not got round to making a SQLite file."""
    if DatabaseURL.parse(url).is_new_sqlite_file():
        return 0
    database = open_database(DatabaseURL.parse(url))
    try:
        with database.read() as connection:
            return connection.scalar(select(func.count()).select_from(ResultRow)) or 0
    finally:
        database.close()


def verdict(reference: dict[str, Row], storm: Storm, url: str) -> bool:
    """Compare and print the result."""
    lines = differences(reference, read_tables(url, storm.folder))
    counts = Counter(outcomes(url))
    print(f"runs: {dict(counts)}; decoding processes left behind: {storm.orphans}")
    print("\n".join([f"not equal: {len(lines)} of {len(reference)} images", *lines[:20]]) if lines else "equal")
    return not lines and not storm.orphans and set(counts) <= {"abandoned", "done"}


def main() -> int:
    """Parse the arguments, tag once in peace, then in the storm; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=EXAMPLES, metavar="IMAGES")
    parser.add_argument("--command", default="tag", choices=["tag", "all", *LEDGER_COMMANDS])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--db", default=None, metavar="URL")
    parser.add_argument("--instead", default=None, metavar="CMD")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if arguments.command != "tag":
            names = LEDGER_COMMANDS if arguments.command == "all" else (arguments.command,)
            return 0 if kill_ledger_commands(names, arguments, place) else 1
        copy_images(arguments.source, place / "photos", arguments.images)
        peace, url = f"sqlite:///{place}/peace.db", arguments.db or f"sqlite:///{place}/storm.db"
        start = time.monotonic()
        check(subprocess.run(command_of(place / "photos", peace), check=False).returncode)
        longest = time.monotonic() - start
        print(f"{arguments.images} images, {longest:.1f} s without interruption", flush=True)
        storm = Storm(command_of(place / "photos", url), place / "photos", random.Random(arguments.seed))
        run_storm(storm, url, kills=arguments.kills, longest=longest)
        return 0 if verdict(read_tables(peace, place / "photos"), storm, url) else 1


def kill_ledger_commands(names: Sequence[str], arguments: argparse.Namespace, place: Path) -> bool:
    """Kill the commands that change a ledger; True if nothing was lost."""
    from ledger_storm import Orders, run_all

    return run_all(names, Orders(arguments.seed, arguments.kills, arguments.db, arguments.instead), place)


def command_of(folder: Path, url: str) -> list[str]:
    """Return the command that is killed; damaged files are no reason to fail."""
    flags = ["--quiet", "--no-progress", "--max-failure-rate", "1"]
    return [sys.executable, "-m", "cataloger", "tag", str(folder), "--db", url, *flags]


if __name__ == "__main__":
    sys.exit(main())
