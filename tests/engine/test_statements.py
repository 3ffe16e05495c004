"""How often the databases are asked: by the batch and not by the row; and never while the model computes."""

from contextlib import closing, contextmanager

import pytest
from by_url import open_database, open_source, parsed
from PIL import Image
from sqlalchemy import Engine, event, select, text

from cataloger.db import connections
from cataloger.engine import session as sessions
from cataloger.engine import source_model
from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.history import prune as prunes
from cataloger.history.prune import prune_runs
from cataloger.inference import backend as engine
from cataloger.inference.onnx import OnnxClassifier
from cataloger.ledger import presence as presences
from cataloger.ledger.deletion import purge_items
from cataloger.ledger.presence import Presence
from cataloger.options import RunOptions, WriteOptions
from cataloger.schema import open as opening
from cataloger.schema.models import ItemRow
from cataloger.sources import table as tables
from cataloger.sources.table import TableSource
from cataloger.table_options import TableOptions

# To see what is known of a chunk, to read a page of the product table.
TO_PLAN, TO_PAGE = 1, 1
# To record a batch. Servers are asked the time. PostgreSQL gets few rows in statements that give no ids back.
TO_RECORD = {
    ("sqlite", 2): 7,
    ("sqlite", 64): 7,
    ("postgresql", 2): 9,
    ("postgresql", 64): 7,
    ("mysql", 2): 7,
    ("mysql", 64): 7,
}


@contextmanager
def counting(engine):
    """Count the statements that go to a driver."""
    seen = []

    def note(_connection, _cursor, statement, _parameters, _context, _many):
        if not statement.startswith(("BEGIN", "PRAGMA", "SET TRANSACTION")):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def questions(database):
    """Return how many statements MariaDB has been sent by everybody."""
    with database.read() as connection:
        return int(connection.execute(text("SHOW GLOBAL STATUS LIKE 'Questions'")).one()[1])


@pytest.mark.parametrize("size", [1, 500])
def test_a_chunk_is_planned_with_one_statement(world, make, size):
    presence = Presence(world.database, world.source)
    world.ledger.on_known = presence.see
    with counting(world.database.engine) as seen:
        assert len(list(world.ledger.plan(make.item(str(n)) for n in range(size)))) == size
    assert len(seen) == TO_PLAN


@pytest.mark.parametrize("size", [2, 64])
def test_a_batch_is_recorded_with_as_many_statements_whatever_its_size(world, make, size):
    with counting(world.database.engine) as seen:
        world.sink.write([make.good(str(n)) for n in range(size)])
    assert len(seen) == TO_RECORD[world.database.engine.dialect.name, size]


@pytest.mark.parametrize("size", [2, 64])
def test_products_add_as_many_statements_whatever_their_number(world, make, size):
    """Beyond those of a batch without products: their images, their answers, the ids of these, the pointers."""
    with counting(world.database.engine) as seen:
        world.sink.write([make.good(str(n), product_key=f"p{n // 2}") for n in range(size)])
    dialect = world.database.engine.dialect.name
    assert len(seen) == TO_RECORD[dialect, size] + 4 + (dialect == "postgresql" and size == 2)


@pytest.mark.parametrize("empty_url", ["mariadb"], indirect=True)
def test_a_batch_is_not_sent_row_by_row(world, make):
    """The driver of MySQL would send one statement a row if it did not understand that they can be one."""
    counts = []
    for size in (2, 64):
        before = questions(world.database)
        world.sink.write([make.good(f"{size} {n}") for n in range(size)])
        counts.append(questions(world.database) - before)
    assert counts[0] == counts[1]
    assert counts[1] < 20


@pytest.fixture
def shop(url, tmp_path, monkeypatch):
    """A product table of 25 rows that are read 10 at a time, half of them with bytes."""
    monkeypatch.setattr(tables, "ROWS_PER_READ", 10)
    binary = "BYTEA" if url.startswith("postgresql") else "LONGBLOB"
    with closing(open_source(url)) as database, database.begin() as connection:
        connection.execute(
            text(f"CREATE TABLE products (id INTEGER PRIMARY KEY, photo VARCHAR(100), picture {binary})")
        )
        rows = [{"id": n, "photo": str(tmp_path / "x.png"), "picture": b"x" * n} for n in range(1, 26)]
        connection.execute(text("INSERT INTO products VALUES (:id, :photo, :picture)"), rows)
    return url


@pytest.mark.parametrize("column", ["photo", "picture"])
def test_a_table_is_read_by_the_page(shop, column):
    with closing(open_source(shop)) as database:
        source = TableSource(database, TableOptions(table="products", ids=("id",), image=column))
        with counting(database.engine) as seen:
            assert len(list(source.scan())) == 25
        assert len(seen) == 4 * TO_PAGE  # the last one finds nothing


def test_bytes_are_read_by_the_group(shop):
    with closing(open_source(shop)) as database:
        source = TableSource(database, TableOptions(table="products", ids=("id",), image="picture"))
        items = list(source.scan())
        with counting(database.engine) as seen:
            assert len(source.read_blobs(items)) == 25
        assert len(seen) == 1


def test_no_connection_is_held_while_the_model_computes(shop, tmp_path, monkeypatch):
    engines, checked_out = [], []

    class Watching(OnnxClassifier):
        """Looks at the connections that are in use while it computes, alone, since there is only one batch."""

        def scores(self, pixels):
            checked_out.append([engine.pool.checkedout() for engine in engines])
            return super().scores(pixels)

    def remembered(*arguments, **options):
        engines.append(connections.make_engine(*arguments, **options))
        return engines[-1]

    monkeypatch.setattr(engine, "open_classifier", Watching)
    monkeypatch.setattr(opening, "make_engine", remembered)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    source = TableOptions(table="products", ids=("id",), image="photo")
    assert sync_table(SyncOptions(parsed(shop), source, run=RunOptions(batch_size=25))).run.done == 25
    assert checked_out == [[0, 0]]


@pytest.fixture
def bare_shop(tmp_path):
    """URL of a SQLite database with a product table of three images."""
    url = f"sqlite:///{tmp_path}/shop.db"
    open_database(url).close()
    with closing(open_source(url)) as database, database.begin() as connection:
        connection.execute(text("CREATE TABLE products (id INTEGER PRIMARY KEY, photo TEXT, category TEXT)"))
        for number in range(3):
            path = tmp_path / f"{number}.png"
            Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
            connection.execute(
                text("INSERT INTO products VALUES (:id, :photo, NULL)"), {"id": number, "photo": str(path)}
            )
    return url


def look_ups(url, **run):
    """Run a sync that writes back; return how often it looked a source up by its root, and its report."""
    source = TableOptions(table="products", ids=("id",), image="photo")
    with counting(Engine) as seen:
        report = sync_table(
            SyncOptions(parsed(url), source, write=WriteOptions.parse(["category=label_1"]), run=RunOptions(**run))
        )
    return sum(statement.startswith("SELECT") and "root_hash = " in statement for statement in seen), report


@pytest.mark.parametrize("run", [{}, {"force": True}, {"dry_run": True}], ids=str)
def test_a_sync_looks_its_source_up_once(bare_shop, run):
    look_ups(bare_shop)
    looked, report = look_ups(bare_shop, **run)
    assert looked == 1
    assert report.run.done == (3 if run.get("force") else 0)


def test_a_source_that_is_new_is_looked_up_before_and_after_it_is_made(bare_shop):
    looked, report = look_ups(bare_shop)
    assert looked == 3  # whether it is there, again with the right to make it, and the number that it was given
    assert report.run.done == 3


def test_a_sync_names_its_model_once_and_answers_for_products_in_one_place(bare_shop, monkeypatch):
    made = []
    for module, name in ((source_model, "model_ref"), (sessions, "ProductResults")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *parts, real=real, name=name: made.append(name) or real(*parts))
    _, report = look_ups(bare_shop, batch_size=1)
    assert report.run.done == 3
    assert made == ["model_ref", "ProductResults"]


@contextmanager
def instructions(engine):
    """Count hundreds of instructions that SQLite executes; the list holds their number at the end."""
    counted = [0]

    def count():
        counted[0] += 1

    def watch(connection, *_):
        connection.connection.dbapi_connection.set_progress_handler(count, 100)

    event.listen(engine, "before_cursor_execute", watch)
    try:
        yield counted
    finally:
        event.remove(engine, "before_cursor_execute", watch)
        with engine.connect() as connection:
            connection.connection.dbapi_connection.set_progress_handler(None, 0)


@pytest.mark.parametrize("products", [False, True], ids=["images", "products"])
def test_a_batch_costs_the_same_however_much_is_known(tmp_path, make, make_world, products):
    work = []

    def good(number):
        return make.good(f"{number}.jpg", product_key=f"P{number // 2}" if products else None)

    with closing(open_database(f"sqlite:///{tmp_path}/a.db")) as database:
        world = make_world(database)
        for known in (256, 6400):
            for start in range(0, known, 256):
                world.sink.write([good(1000 * known + start + n) for n in range(256)])
            new = [good(-known - n) for n in range(64)]
            with instructions(database.engine) as counted:
                assert len(list(world.ledger.plan([result.item for result in new]))) == 64
                world.sink.write(new)
            work.append(counted[0])
    assert work[0] > 10
    assert work[1] < 1.3 * work[0]


@pytest.mark.parametrize("products", [False, True], ids=["images", "products"])
def test_deleting_images_costs_the_same_however_many_stay(tmp_path, make, make_world, products):
    """Of each result that goes, the database asks what still points to it; without an index it reads all pointers."""
    work = []
    with closing(open_database(f"sqlite:///{tmp_path}/a.db")) as database:
        world = make_world(database)
        for known in (256, 6400):
            for start in range(0, known, 256):
                numbers = range(1000 * known + start, 1000 * known + start + 256)
                world.sink.write(
                    [make.good(f"{n}.jpg", product_key=f"P{n // 2}" if products else None) for n in numbers]
                )
            with instructions(database.engine) as counted, database.begin() as connection:
                newest = list(connection.scalars(select(ItemRow.id).order_by(ItemRow.id.desc()).limit(64)))
                purge_items(connection, world.source.id, newest)
            work.append(counted[0])
    assert work[0] > 10
    assert work[1] < 1.3 * work[0]


def test_a_page_of_what_has_gone_costs_the_same_however_many_there_are(tmp_path, make, make_world, monkeypatch):
    monkeypatch.setattr(presences, "ITEMS_PER_READ", 256)
    work = []
    with closing(open_database(f"sqlite:///{tmp_path}/a.db")) as database:
        world = make_world(database)
        for known in (512, 6400):
            for start in range(0, known, 256):
                world.sink.write([make.good(f"{known} {start + n}.jpg") for n in range(256)])
            presence = Presence(database, world.source)
            with instructions(database.engine) as counted:
                assert presence.count_missing() >= known
            work.append(counted[0] / presence.count_missing())
    assert work[0] > 0.1
    assert work[1] < 1.5 * work[0]


def test_ending_history_costs_the_same_for_each_image_however_many_there_are(tmp_path, make, make_world, monkeypatch):
    monkeypatch.setattr(prunes, "PAGE", 64)
    work = []
    for known in (256, 2560):
        with closing(open_database(f"sqlite:///{tmp_path}/{known}.db")) as database:
            world = make_world(database)
            for _ in range(4):
                for start in range(0, known, 256):
                    numbers = range(start, start + 256)
                    world.sink.write([make.good(f"{n}.jpg", product_key=f"P{n // 2}") for n in numbers])
                world.end()
                world.begin()
            world.end()
            with instructions(database.engine) as counted:
                assert prune_runs(database, 1).results == 3 * known
            work.append(counted[0] / known)
    assert work[0] > 1
    assert work[1] < 1.3 * work[0]


def test_many_small_runs_are_pruned_in_few_transactions(tmp_path, make, make_world):
    with closing(open_database(f"sqlite:///{tmp_path}/x.db")) as database:
        world = make_world(database)
        for run in range(40):
            world.sink.write([make.good(f"{n}.jpg", product_key=f"P{n}") for n in range(run % 5, run % 5 + 3)])
            world.end()
            world.begin()
        world.end()
        asked = []
        for deleted in (True, False):
            with counting(database.engine) as seen:
                assert bool(prune_runs(database, 1).results) is deleted
            asked.append(len(seen))
    assert max(asked) < 40 * 6  # two queries for each run and table; a transaction for each of three tables
