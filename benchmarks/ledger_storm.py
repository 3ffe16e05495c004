"""The commands that change a ledger, killed again and again; `kill_storm.py --command` runs it.

A shop with a product table, of two pictures each, is synced three nights, with changes, deletions, edits and
corrections between them. Each command gets copies of that database: one where it ends in peace, and one where it is
killed (SIGKILL) at random times until it ends by itself. Then both must show the same, and the next copy is made,
until there were enough kills. Beside it views are read without a pause, and unless the command needs the database for
itself, another folder of it is tagged again and again.
"""

import csv
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kill_storm import check, copy_images
from sqlalchemy import (
    Column,
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
    table,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from cataloger.db import DatabaseURL, connect, make_engine
from cataloger.model import CARD, Calibration, default_bundle_path, new_bundle, read_bundle, seal
from cataloger.schema import ItemRow, ModelRow, RunRow, SourceRow
from cataloger.schema.models import Base

PICTURES = 24
PRODUCTS = 2000
KILLS_PER_ROUND = 4
FIRST_REVISION = "0001"
PROGRAM = (sys.executable, "-m", "cataloger")
VIEWS = ("image_top5", "image_labels", "product_top5", "product_images")
ATTEMPTS = {"run_id", "tagged_at", "corrected_at"}
"""Columns that tell which attempt did something, and when."""
NUMBERED = ATTEMPTS | {"id", "result_id", "latest_id", "correction_id"}

SHOP = Table(
    "products",
    MetaData(),
    Column("sku", Integer, primary_key=True, autoincrement=False),
    Column("photos", String(100)),
    Column("category", String(100)),
    Column("sure", String(100)),
)
Rows = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Victim:
    """A command that is killed. tables: that are compared to the row, and what they may differ in.

    revision: that of the tables before it. is_alone: no other run may work beside it.
    """

    arguments: tuple[str, ...]
    tables: Mapping[str, set[str]]
    revision: str | None = None
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder with the ledger after three nights. undone: the run of the second night."""

    place: Path
    base: str
    undone: int

    def victims(self) -> dict[str, Victim]:
        """Return the commands by name."""
        views = {f"cataloger_{view}": ATTEMPTS for view in VIEWS}
        ours = {"cataloger_item": set(), "cataloger_current": NUMBERED, "products": set(), **views}
        everything: dict[str, set[str]] = {name: set() for name in Base.metadata.tables}
        history: dict[str, set[str]] = {name: set() for name in ("cataloger_result", "cataloger_presence")}
        written = ("cataloger_product_result", "cataloger_write", "cataloger_correction")
        kept: dict[str, set[str]] = {name: set() for name in written}
        corrections = dict.fromkeys(("cataloger_correction", "cataloger_corrected_product"), NUMBERED)
        undo = ("runs", "undo", str(self.undone), "--skip-edited", "--quiet")
        model = ("recalibrate", "--model", str(self.place / "strict"), "--source", "shop")
        words = ("corrections", "import", str(self.place / "words.csv"), "--author", "ann", "--source", "shop")
        down = ("db", "downgrade", FIRST_REVISION, "--yes")
        return {
            "undo": Victim(undo, ours | history),
            "prune": Victim(("runs", "prune", "--keep", "1"), ours | history | kept, is_alone=True),
            "recalibrate": Victim(model, ours | {"cataloger_result": NUMBERED}),
            "corrections-import": Victim(words, ours | history | corrections),
            "db-upgrade": Victim(("db", "upgrade"), everything, FIRST_REVISION, is_alone=True),
            "db-downgrade": Victim(down, everything, is_alone=True),
        }


@dataclass(frozen=True, slots=True)
class Orders:
    """How to kill. instead: command of the shell that is run at these times instead; None kills."""

    seed: int
    kills: int
    url: str | None
    instead: str | None


def run_all(names: Sequence[str], orders: Orders, place: Path) -> bool:
    """Kill each command so often; True if all tables ended up equal."""
    scene = make_scene(place)
    return sum(storm(name, scene, orders) for name in names) == len(names)


def storm(name: str, scene: Scene, orders: Orders) -> bool:
    """Kill one command until there were enough kills and it has ended by itself; print what became of it."""
    victim, url = scene.victims()[name], orders.url or f"sqlite:///{scene.place}/storm.db"
    chance = random.Random(f"{orders.seed} {name}")
    command = [*PROGRAM, *victim.arguments, "--db", url]
    restore(scene, victim, url)
    check(quietly(command))
    expected = shown(url, victim)
    restore(scene, victim, url)
    with beside(scene, victim, url):
        start = time.monotonic()
        check(quietly(command))
        longest = time.monotonic() - start
    print(f"{name}: {longest:.1f} s beside the load, {sum(map(len, expected.values())):,} rows compared", flush=True)
    killed, rounds, lines = 0, 0, list[str]()
    while killed < orders.kills and not lines:
        rounds += 1
        restore(scene, victim, url)
        with beside(scene, victim, url) as complaints:
            times, most = 0, 1 if orders.instead else KILLS_PER_ROUND
            while times < most and not ended(command, chance.uniform(0.3, longest), orders.instead):
                times += 1
            killed += times
            check(quietly(command) if times == most and not orders.instead else 0)
        lines = differences(expected, shown(url, victim)) + complaints
    verdict = "\n".join(["not equal:", *lines[:20]]) if lines else "equal"
    what = f"times `{orders.instead}`" if orders.instead else "kills"
    print(f"  {killed} {what} in {rounds} rounds: {verdict}", flush=True)
    if DatabaseURL.parse(url).backend != "sqlite":
        run("db", "downgrade", "base", "--yes", "--db", url)
    return not lines


def ended(command: list[str], seconds: float, instead: str | None) -> bool:
    """Start a command; True if it ended by itself within so many seconds, else it is killed, or disturbed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        check(process.wait(seconds))
        return True
    except subprocess.TimeoutExpired:
        if instead:
            subprocess.run(instead, shell=True, check=True)
            check(process.wait())
            return False
        process.kill()
        process.wait()
        return False


def quietly(command: list[str]) -> int:
    """Run a command; return its exit status."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


# The shop and its nights


def make_scene(place: Path) -> Scene:
    """Make the ledger in a new folder."""
    photos, base = place / "photos", f"sqlite:///{place}/base.db"
    copy_images(Path(__file__).parent.parent / "examples" / "images", photos, PICTURES)
    shutil.copytree(photos, place / "beside")
    make_bundle(place / "strict")
    run("db", "upgrade", "--db", base)
    engine = make_engine(DatabaseURL.parse(base))
    try:
        with connect(engine) as connection:
            SHOP.create(connection)
            connection.execute(insert(SHOP), [{"sku": sku, "photos": pictures(sku, 1)} for sku in range(PRODUCTS)])
        night(base, photos)
        night(base, photos, change(2, 5), delete(SHOP).where(SHOP.c.sku % 50 == 7))
        edited = update(SHOP).where(SHOP.c.sku % 40 == 1).values(category="by hand")
        write_words(engine, place / "first.csv", lambda key: "00005" in key)
        run("corrections", "import", str(place / "first.csv"), "--author", "bob", "--db", base)
        night(base, photos, change(5, 3), edited)
        run("tag", str(place / "beside"), "--db", base, "--quiet", "--max-failure-rate", "1")
        write_words(engine, place / "words.csv", lambda key: "00005" not in key)
        with connect(engine) as connection:
            second = connection.scalars(select(RunRow.id).where(RunRow.command == "sync").order_by(RunRow.id)).all()[
                1
            ]
    finally:
        engine.dispose()
    return Scene(place, base, second)


def pictures(sku: int, night: int) -> str:
    """Return the two pictures of a product in a night."""
    return ";".join(f"{(sku * night + shift) % PICTURES:05}.jpg" for shift in (0, 7))


def change(every: int, night: int) -> list[Any]:
    """Return what gives every so manieth product other pictures."""
    return [
        update(SHOP).where(SHOP.c.sku == sku).values(photos=pictures(sku, night)) for sku in range(0, PRODUCTS, every)
    ]


def night(url: str, photos: Path, *statements: Any) -> None:
    """Change the shop, then sync it."""
    engine = make_engine(DatabaseURL.parse(url))
    with connect(engine) as connection:
        for each in statements:
            for statement in each if isinstance(each, list) else [each]:
                connection.execute(statement)
    engine.dispose()
    columns = ("--write", "category=label_1", "--write", "sure=decision", "--overwrite")
    decisions = [flag for name in ("accept", "review", "abstain") for flag in ("--only-decision", name)]
    images = ("--image", "photos", "--image-list", ";", "--image-root", str(photos), "--source-name", "shop")
    what = ("--table", "products", "--id", "sku", *images, *columns, *decisions)
    run("sync", "--db", url, *what, "--quiet", "--max-failure-rate", "1")


def write_words(engine: Any, path: Path, is_wanted: Callable[[str], bool]) -> None:
    """Write a file of corrections of some of the shop's images."""
    with connect(engine) as connection:
        rows = connection.execute(
            select(ItemRow.key).join(SourceRow, SourceRow.id == ItemRow.source_id).where(SourceRow.name == "shop")
        )
        keys = sorted(rows.scalars())
        labels = connection.scalars(select(ModelRow.labels)).first() or []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("key", "label"))
        writer.writerows((key, labels[n % len(labels)]) for n, key in enumerate(keys) if is_wanted(key))


def make_bundle(target: Path) -> None:
    """Write the default model with another calibration."""
    bundle = read_bundle(default_bundle_path())
    with new_bundle(target) as folder:
        for name in bundle.files:
            shutil.copyfile(bundle.path / name, folder / name)
        (folder / CARD).write_text("another calibration\n", encoding="utf-8")
        seal(replace(bundle, calibration=Calibration(2.5, 0.9, {}), path=folder))


def run(*arguments: str) -> None:
    """Run cataloger to its end."""
    check(quietly([*PROGRAM, *arguments]))


# Copies of the database


def restore(scene: Scene, victim: Victim, url: str) -> None:
    """Give a database the contents of the base, and the tables the revision that the command begins with."""
    parsed = DatabaseURL.parse(url)
    if parsed.backend == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            parsed.path.with_name(parsed.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(DatabaseURL.parse(scene.base).path, parsed.path)
    else:
        fill(scene.base, url)
    if victim.revision:
        run("db", "downgrade", victim.revision, "--yes", "--db", url)


def fill(base: str, url: str) -> None:
    """Empty our tables and those of the shop, and insert the rows of the base."""
    run("db", "upgrade", "--db", url)
    source, target = (make_engine(DatabaseURL.parse(each)) for each in (base, url))
    tables = [*Base.metadata.sorted_tables, SHOP]
    with connect(source) as old, connect(target) as new:
        SHOP.create(new, checkfirst=True)
        for each in reversed(tables):
            new.execute(delete(each))
        for each in tables:
            rows = [dict(row) for row in old.execute(select(each)).mappings()]
            for start in range(0, len(rows), 1000):
                new.execute(insert(each), rows[start : start + 1000])
        if new.dialect.name == "postgresql":
            for each in Base.metadata.sorted_tables:
                go_on_counting(new, each)
    for engine in (source, target):
        engine.dispose()


def go_on_counting(connection: Any, each: Table) -> None:
    """Have PostgreSQL number new rows after those that came with numbers of their own."""
    if "id" in each.c:
        highest = select(func.coalesce(func.max(each.c.id), 1)).scalar_subquery()
        connection.execute(select(func.setval(func.pg_get_serial_sequence(each.name, "id"), highest)))


# What a database shows


def shown(url: str, victim: Victim) -> Rows:
    """Return the rows of the compared tables, of the shop alone, and how all tables are made."""
    engine = make_engine(DatabaseURL.parse(url))
    try:
        with connect(engine) as connection:
            there = set(inspect(connection).get_table_names()) | set(inspect(connection).get_view_names())
            found = {
                name: rows_of(connection, name, without) for name, without in victim.tables.items() if name in there
            }
            found["what there is"] = sorted(there)
            if victim.is_alone:
                found |= structure(connection)
        return found
    finally:
        engine.dispose()


def rows_of(connection: Any, name: str, without: set[str]) -> list[str]:
    """Return the rows of a table as text, in order, without those of the other source."""
    ours = connection.scalar(select(func.min(column("id"))).select_from(table("cataloger_source")))
    others = set(connection.scalars(text(f"SELECT i.id FROM cataloger_item i WHERE i.source_id <> {ours}")))
    found = []
    for row in connection.execute(text(f"SELECT t.* FROM {name} t")).mappings():
        is_ours = row.get("source_id", ours) == ours and row.get("item_id") not in others
        if is_ours and "/beside" not in str(row.get("uri", row.get("source", ""))):
            found.append(repr([(key, value) for key, value in row.items() if key not in without]))
    return sorted(found)


def structure(connection: Any) -> dict[str, list[str]]:
    """Return the columns and indexes of our tables."""
    inspector = inspect(connection)
    names = [name for name in inspector.get_table_names() if name.startswith("cataloger_")]
    looks = {"columns": inspector.get_columns, "indexes": inspector.get_indexes}
    return {f"{what} of {name}": sorted(map(repr, look(name))) for name in names for what, look in looks.items()}


def differences(expected: Rows, found: Rows) -> list[str]:
    """Return a line for each row that one side alone has."""
    lines = []
    for name in sorted(expected.keys() | found.keys()):
        one, other = sorted(expected.get(name, [])), sorted(found.get(name, []))
        if one != other:
            lines += [f"  {name}, missing: {row[:400]}" for row in sorted(set(one) - set(other))[:3]]
            lines += [f"  {name}, too much: {row[:400]}" for row in sorted(set(other) - set(one))[:3]]
            lines.append(f"  {name}: {len(one)} rows were expected, {len(other)} are there")
    return lines


# Load


@contextmanager
def beside(scene: Scene, victim: Victim, url: str) -> Iterator[list[str]]:
    """Read views and, unless the command is alone, tag another folder, until the end; give what went wrong there."""
    over, complaints = threading.Event(), list[str]()
    workers = [threading.Thread(target=read_on, args=(url, over))]
    if not victim.is_alone:
        workers.append(threading.Thread(target=tag_on, args=(scene, url, over, complaints)))
    for worker in workers:
        worker.start()
    try:
        yield complaints
    finally:
        over.set()
        for worker in workers:
            worker.join()


def read_on(url: str, over: threading.Event) -> None:
    """Read what people look at; while tables are converted there may be none of it."""
    engine = make_engine(DatabaseURL.parse(url))
    while not over.wait(0.05):
        for view in VIEWS:
            with suppress(SQLAlchemyError), engine.connect() as connection:
                connection.execute(text(f"SELECT COUNT(*) FROM cataloger_{view}")).all()
    engine.dispose()


def tag_on(scene: Scene, url: str, over: threading.Event, complaints: list[str]) -> None:
    """Tag the other folder again and again."""
    flags = ("--force", "--quiet", "--max-failure-rate", "1", "--workers", "1")
    while not over.is_set():
        status = quietly([*PROGRAM, "tag", str(scene.place / "beside"), "--db", url, *flags])
        if status:
            complaints.append(f"  the run beside it ended with {status}")
