"""A shop's product table, and the real `cataloger sync` over it in a child process that tests can interfere with."""

import importlib.util
import itertools
import json
import re
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select as ready_ones

from by_url import make_engine
from sqlalchemy import create_engine, inspect, make_url, select, text
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.schema.models import Base, ItemRow

TESTS = Path(__file__).parent
BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA", "mariadb": "LONGBLOB", "mysql": "LONGBLOB"}
COMMIT = re.compile(rb"\bCOMMIT\b")


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


interrupt = load(TESTS / "engine" / "test_interrupt.py")
web = load(TESTS / "fetch" / "test_http.py")
storm = interrupt.storm

FLAGS = ("--table", "products", "--id", "sku", "--image", "photo", "--source-name", "shop", *interrupt.FLAGS)
# What the rigged child of test_interrupt.py has less of.
PATIENT = "database.PATIENCE, session.BUSY_TIMEOUT = 120.0, 30.0\n"
# Read the product table in small steps, so that a run that has written something has not read all of it yet.
IN_STEPS = """
from cataloger.imaging import decode_pool as decode
from cataloger.fetch import prefetch as fetch
from cataloger.ledger import planner
from cataloger.sources import table
table.ROWS_PER_READ = planner.CHUNK = 4
fetch.LOOK_AHEAD = decode.LOOK_AHEAD = 2
fetch.GROUPS = dict.fromkeys(fetch.GROUPS, (2, 8_000_000))
decode.CHUNK = 1
"""


def pictures():
    """Return sku -> bytes: the twenty examples, one more that is cut short, and one that is none."""
    found = {path.stem: path.read_bytes() for path in sorted(interrupt.EXAMPLES.glob("*.png"))}
    return found | {"cut": found["sombrero"][:700], "page": b"<html>sold out</html>"}


class Shop:
    """A database with a product table `products`.

    kind: what its column `photo` holds, "path", "blob" or "url". ledger: database of the results, if another.
    """

    def __init__(self, url, kind, folder, *, photos=None, ledger=None):
        self.url = url
        self.ledger = ledger or url
        self.flags = ("--allow-private",) if kind == "url" else ()
        self.flags += ("--ledger-db", ledger) if ledger else ()
        self.kind = kind
        self.folder = folder / "photos"
        self.folder.mkdir(exist_ok=True, parents=True)
        self.web = web.Shop() if kind == "url" else None
        photo = BYTES[make_url(url).get_backend_name()] if kind == "blob" else "TEXT"
        self.execute(f"CREATE TABLE products (sku VARCHAR(100) PRIMARY KEY, photo {photo})")
        self.add(pictures() if photos is None else photos)

    def stop(self):
        if self.web:
            self.web.stop()

    def add(self, photos):
        rows = [{"sku": sku, "photo": self.put(sku, data)} for sku, data in photos.items()]
        self.execute("INSERT INTO products (sku, photo) VALUES (:sku, :photo)", rows)

    def put(self, sku, data):
        """Make a picture available; return what the table says of it."""
        if self.kind == "blob":
            return data
        if self.kind == "url":
            self.web.answers[f"/{sku}.png"] = web.answer(data)
            return self.web.url(f"/{sku}.png")
        path = self.folder / f"{sku}.png"
        path.write_bytes(data)
        return str(path)

    def execute(self, *arguments):
        execute(self.url, *arguments)

    def sync(self, *flags, status=0):
        """Run the command to its end in this process, which is quicker than in another; return its report."""
        return sync(self.url, *self.flags, *flags, status=status)

    def syncing(self, setup="", *flags, url=None):
        """Start the command in a child after some lines of code."""
        return syncing(url or self.url, setup, *self.flags, *flags)

    def tables(self):
        """Return the current results by key, without those of images that are not there any more."""
        with opened(self.ledger) as engine, engine.connect() as connection:
            gone = set(connection.scalars(select(ItemRow.key).where(ItemRow.gone_run_id.is_not(None))))
        return {key: row for key, row in storm.read_tables(self.ledger, "shop").items() if key not in gone}

    def outcomes(self):
        return storm.outcomes(self.ledger)


def sync(url, *flags, status=0):
    result = CliRunner().invoke(app, ["sync", "--db", url, *FLAGS, "--json", *flags])
    assert result.exit_code == status, result.stderr
    return json.loads(result.stdout) if result.stdout else result.stderr


def syncing(url, setup, *flags):
    return interrupt.rigged(setup, "sync", "--db", url, *FLAGS, *flags)


def rows(url, query):
    """Return the rows of a query as plain tuples."""
    with opened(url) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def execute(url, statement, values=None):
    with opened(url) as engine, engine.begin() as connection:
        connection.execute(text(statement), values)


@contextmanager
def opened(url):
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def other_session(url):
    """Give a connection of somebody else, outside of cataloger's settings, that commits at the end of the block."""
    engine = create_engine(make_engine(url).url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def tables_of(url):
    with opened(url) as engine:
        return inspect(engine).get_table_names()


def dump(url):
    """Return everything that cataloger's tables hold, as text."""
    return "\n".join(str(rows(url, f"SELECT * FROM {table.name}")) for table in Base.metadata.sorted_tables)


def words(err):
    """Return messages without the line breaks of their log."""
    return " ".join(err.split())


def assert_equal(reference, shop, outcomes=None):
    """The tables are those of a run without any fault, no result is there twice, and the runs ended so."""
    different = storm.differences(reference, shop.tables())
    assert different == [], "\n".join(different)
    twice = "SELECT item_id FROM cataloger_result GROUP BY item_id, run_id HAVING COUNT(*) > 1"
    assert rows(shop.ledger, twice) == []
    if outcomes is not None:
        assert shop.outcomes() == outcomes


# Servers that die and connections that break


class Postgresql(interrupt.Server):
    """The throw-away server, to be killed and started again on the same data and port."""


class Mariadb(interrupt.Server):
    """The same of MariaDB; what it has committed survives its own death, as it does by default."""

    def __init__(self, url):
        self.url = url
        self.process = None
        with opened(url) as engine, engine.begin() as connection:
            folder, pid_file = connection.execute(text("SELECT @@datadir, @@pid_file")).one()
            connection.execute(text("SET GLOBAL innodb_flush_log_at_trx_commit = 2"))
        self.folder = Path(folder)
        self.pid = int(Path(pid_file).read_text())
        command = Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1]
        self.command = [*command, "--innodb-flush-log-at-trx-commit=2"]
        self.user = self.folder.stat().st_uid


class Proxy:
    """Stands before a database server. Every other COMMIT is passed on but not answered.

    cut: called with the connection to the server instead. since: statement before which all is answered.
    times: how often at most.
    """

    def __init__(self, url, cut, *, since, times=1000):
        self.target = make_url(url)
        self.cut = cut
        self.since = since
        self.left = times
        self.commits = itertools.count(1)
        self.is_armed = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return self.target.set(port=self.listener.getsockname()[1]).render_as_string(hide_password=False)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        before = b""
        with client, suppress(OSError), socket.create_connection((self.target.host, self.target.port)) as server:
            while True:
                for ready in ready_ones([client, server], [], [])[0]:
                    if not (data := ready.recv(1_000_000)):
                        return
                    other = server if ready is client else client
                    other.sendall(data)
                    if ready is client:
                        # SQLAlchemy commits when it sets the isolation level of a new connection.
                        if b"ISOLATION LEVEL" not in before and self._wants(data):
                            self.cut(server)
                            return
                        before = data

    def _wants(self, data):
        self.is_armed = self.is_armed or self.since in data
        if not self.is_armed or not self.left or not COMMIT.search(data) or next(self.commits) % 2 == 0:
            return False
        self.left -= 1
        return True
