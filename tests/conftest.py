"""Throw-away database servers, and a world of one source, one model and one run in each of them."""

import gc
import importlib.util
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import forks
import frozen_layers
import hypothesis
import pytest
import templates
from browsers import Contexts
from by_url import open_database
from patience import HANGS
from sqlalchemy import URL, create_engine, make_url, text
from templates import new_name, own_database

from cataloger.corrections.store import CorrectionInput, correct
from cataloger.db.database import Database
from cataloger.imaging import decode_pool
from cataloger.ledger import Ledger, ModelRef, SourceRef, pin_model, register_source
from cataloger.ledger.leases import Lease, acquire
from cataloger.ledger.product_results import ProductResults
from cataloger.ledger.runs import Run, open_run
from cataloger.records import Failure, Item, Prediction
from cataloger.schema import revisions
from cataloger.schema.models import Base
from cataloger.sinks.database import DatabaseSink
from cataloger.utils import failpoints

# Threads of torch and numpy wait for each other in busy loops, which costs more than they compute here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The default, one a processor, is not the same everywhere; tests for which the number matters give it.
os.environ.setdefault("CATALOGER_WORKERS", "1")

# What a test may take is no matter of each of its examples.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

NOBODY = 65534
PASSWORD = "p@ss:w/rd%"  # every character that a URL must escape
SCHEMAS = Path(__file__).parent.parent / "docs" / "reference" / "schemas"
start_decoder = decode_pool._start
upgrade_with = revisions.upgrade_with


def pytest_configure():
    """Have the programs of tests start as from a terminal, also where nohup has started these."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # a new program does not inherit it, as it does "ignored"


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Collect the tests without looking for garbage, which takes half of the time, nor among all that later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture
def at():
    """Have something done whenever a failpoint is reached, until the test ends."""
    yield failpoints.set_action
    failpoints.clear()


@pytest.fixture(scope="session", autouse=True)
def forked_decoders():
    """Fork the decoding processes of runs in this process: the imports of one take longer than most runs."""
    if sys.platform != "linux":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_pool, "_start", forks.start_decoder)
        yield


@pytest.fixture
def started_decoders(monkeypatch):
    """Start them as everywhere else, for tests of decoding processes themselves."""
    monkeypatch.setattr(decode_pool, "_start", start_decoder)


@pytest.fixture(autouse=True)
def own_logging():
    """Undo what a command line that ran before, in a test or in the fixture of a module, did to our logger."""
    logger = logging.getLogger("cataloger")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


def absent(what):
    """Skip a test whose server is not installed, or fail it where nothing may be skipped."""
    if os.environ.get("CATALOGER_NO_SKIPS") == "1":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


def find(program):
    """Return a server program; Debian keeps those of PostgreSQL off the path."""
    places = [os.environ["PATH"], "/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    return shutil.which(program, path=":".join(places)) or absent(program)


def unprivileged(*command):
    """Return a command that runs as nobody if we are root: the servers refuse root. It dies with us."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return [setpriv, "--pdeathsig=KILL", *command] if setpriv else list(command)
    identity = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=KILL"]
    return [setpriv or absent("setpriv"), *identity, *command]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(prepare, serve, url):
    """Run `prepare` of a data folder, then `serve` of it and a port until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="cataloger-server-", ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        with Path(f"{folder}.log").open("w+") as log:
            subprocess.run(prepare(folder), check=True, stdout=log, stderr=log, cwd=folder)
            process, url = started(serve, url, folder, log)
            try:
                yield url
            finally:
                process.kill()
                process.wait()
                Path(log.name).unlink()


def started(serve, url, folder, log):
    """Start a server; return its process and URL. Another program may have taken the port: then at another one."""
    for _ in range(3):
        here = url.set(port=free_port())
        process = subprocess.Popen(serve(folder, here.port), stdout=log, stderr=log, cwd=folder)
        if answers(process, here):
            return process, here
        process.kill()
        process.wait()
    log.seek(0)
    pytest.fail(f"the server did not start: {log.read()[-2000:]}")


def answers(process, url):
    """Wait until a server answers; false when it has ended instead."""
    engine = create_engine(url)
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline:
        with suppress(Exception), engine.connect():
            engine.dispose()
            return process.poll() is None
        if process.poll() is not None:
            break
        time.sleep(0.1)
    return False


@pytest.fixture(scope="session")
def postgresql_server():
    """URL of a PostgreSQL server's maintenance database."""
    initdb, postgres = find("initdb"), find("postgres")

    def prepare(folder):
        # Password file and data lie in the folder of the server's own user.
        script = (
            'printf "%s" "$1" > pw; exec "$2" -D data -U shop -A scram-sha-256 --pwfile=pw -E UTF8 --locale=C.UTF-8'
        )
        return unprivileged("sh", "-c", script, "sh", PASSWORD, initdb)

    def serve(folder, port):
        settings = ("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}")
        return unprivileged(postgres, "-D", f"{folder}/data", "-p", str(port), *settings)

    url = URL.create("postgresql+psycopg", "shop", PASSWORD, "127.0.0.1", database="postgres")
    with server(prepare, serve, url) as running:
        yield running


@pytest.fixture(scope="session")
def pgbouncer(postgresql_server):
    """URL of that server through PgBouncer, which gives its one connection to another client after each transaction.

    The database `by_statement` is for single statements alone.
    """
    program, behind = find("pgbouncer"), postgresql_server

    def serve(folder, port):
        Path(folder, "users").write_text(f'"{behind.username}" "{behind.password}"\n')
        database = f"host={behind.host} port={behind.port} auth_user={behind.username}"
        lines = ("[databases]", f"by_statement = {database} dbname=postgres pool_mode=statement", f"* = {database}")
        lines += ("[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =")
        lines += ("auth_type = scram-sha-256", f"auth_file = {folder}/users", "pool_mode = transaction")
        Path(folder, "ini").write_text("\n".join((*lines, "default_pool_size = 1", "query_wait_timeout = 60", "")))
        return unprivileged(program, "--quiet", f"{folder}/ini")

    with server(lambda _: ["true"], serve, behind) as running:
        yield running


@pytest.fixture(scope="session")
def mariadb_server():
    """URL of a MariaDB server's own database."""
    install, mariadbd = find("mariadb-install-db"), find("mariadbd")

    def prepare(folder):
        flags = (
            "--no-defaults",
            f"--datadir={folder}/data",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            f"--tmpdir={folder}",  # a TMPDIR may be closed to whom it runs as
        )
        return unprivileged(install, *flags)

    def serve(folder, port):
        # Not shop@'%': the anonymous user at localhost would come before it.
        grant = f"GRANT ALL ON *.* TO shop@localhost IDENTIFIED BY '{PASSWORD}' WITH GRANT OPTION;\n"
        Path(folder, "grant.sql").write_text(grant)
        places = (f"--datadir={folder}/data", f"--socket={folder}/s", f"--pid-file={folder}/pid")
        settings = (
            f"--tmpdir={folder}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--init-file={folder}/grant.sql",
        )
        return unprivileged(mariadbd, "--no-defaults", *places, *settings, "--innodb-flush-log-at-trx-commit=0")

    url = URL.create("mysql+pymysql", "shop", PASSWORD, "127.0.0.1", database="mysql")
    with server(prepare, serve, url) as running:
        yield running


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Path of a SQLite file with our tables, once it is asked for."""
    return tmp_path_factory.getbasetemp() / "template.db"


@pytest.fixture(scope="session", autouse=True)
def copied_ledgers(template):
    """Copy the tables of new SQLite files in this process, which the migrations take seven times as long to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revisions, "upgrade_with", templates.copying(upgrade_with, template))
        yield


@pytest.fixture
def migrated_ledgers(monkeypatch):
    """Make them as everywhere else, for tests of migrations."""
    monkeypatch.setattr(revisions, "upgrade_with", upgrade_with)


@pytest.fixture(scope="session")
def make_tables(request, template):
    """Return a function: engine, folder -> the URL of a new database with our tables."""
    servers = {}

    def make_tables(engine, folder):
        if engine == "sqlite":
            templates.copy_file(template, folder / "catalog.db")
            return f"sqlite:///{folder}/catalog.db"
        if engine not in servers:
            servers[engine] = templates.Templates(request.getfixturevalue(f"{engine}_server"))
        return servers[engine].create(new_name())

    return make_tables


@pytest.fixture
def postgresql_url(postgresql_server):
    """URL of a new database of PostgreSQL."""
    with own_database(postgresql_server) as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server):
    """URL of a new database of MariaDB."""
    with own_database(mariadb_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def empty_url(request, tmp_path):
    """URL of a database without tables, on each engine; it has some once `url` is asked for."""
    if "make_tables" in request.fixturenames:
        yield request.getfixturevalue("make_tables")(request.param, tmp_path)
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/catalog.db"
    else:
        with own_database(request.getfixturevalue(f"{request.param}_server")) as url:
            yield url


@pytest.fixture
def url(empty_url, make_tables):
    """URL of a database with our tables, on each engine."""
    del make_tables
    return empty_url


@pytest.fixture
def load_old_ledger():
    """Return what brings the ledger of version 0.1.0 into an empty database, and its photos into a folder."""
    spec = importlib.util.spec_from_file_location("old_ledgers", Path(__file__).parent / "old_ledgers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load


@pytest.fixture
def old_ledger(empty_url, tmp_path, load_old_ledger):
    """The ledger of version 0.1.0, upgraded, on each engine."""
    found = load_old_ledger(empty_url, tmp_path)
    found.run("db", "upgrade")
    return found


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def module_url(request, tmp_path_factory, make_tables):
    """URL of one database with our tables for all tests of a module, on each engine."""
    return make_tables(request.param, tmp_path_factory.mktemp("module"))


@pytest.fixture(scope="module")
def module_database(module_url):
    """That database, open."""
    opened = open_database(module_url)
    yield opened
    opened.close()


@pytest.fixture
def shared_database(module_database):
    """The same, emptied after each test: making the tables anew takes longer than most tests."""
    yield module_database
    with module_database.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def database(url):
    """An open database, on each engine."""
    opened = open_database(url)
    yield opened
    opened.close()


MODEL = ModelRef("a" * 64, "c" * 64, "shipped", "1.0", "default", ("Dress", "Hat", "Sock"))
OTHER = ModelRef("b" * 64, "c" * 64, "other", "2.0", "/models/other", ("Dress", "Hat", "Sock"))


VIEWS = ("image_top5", "image_labels", "product_top5", "product_images")


def shown(connection, view):
    """Return the rows of a view as text, in order."""
    rows = connection.execute(text(f"SELECT v.* FROM cataloger_{view} v")).mappings()
    return sorted(str({name: row[name] for name in row if name not in ("run_id", "tagged_at")}) for row in rows)


@dataclass
class World:
    """One source; `begin` starts a run that holds its lease, `ledger` and `sink` are that run's."""

    database: Database
    source: SourceRef
    model: ModelRef
    run: Run | None = None
    lease: Lease | None = None

    def begin(self, model=None):
        """End the run before, if any, and start the next one."""
        self.end()
        self.model = model or self.model
        self.run = open_run(self.database, command="tag", options={}, device="cpu")
        pin_model(self.database, self.source, self.model, self.run.id)
        self.lease = acquire(self.database, self.source.id, self.run.id)
        self.ledger = self.make_ledger()
        self.sink = DatabaseSink(
            self.database,
            ProductResults(self.source, self.run.id, self.model),
            self.lease,
            lambda results: self.ledger.recorded(results),
        )
        return self

    def end(self, outcome="done"):
        """End the run, if there is one."""
        if self.lease is not None:
            self.lease.release()
            self.run.close(outcome, {})
        self.lease = None

    def views(self):
        """Return what the views show, but for the numbers of runs and the times."""
        with self.database.read() as connection:
            return {name: shown(connection, name) for name in VIEWS}

    def make_ledger(self, *, force=False, retry=False):
        weights_id = self.model.weights_id
        return Ledger(self.database, self.source, self.run.id, weights_id=weights_id, force=force, retry=retry)

    def plan(self, *items, force=False, retry=False):
        """Return the reasons, each behind "+" for do or "-" for skip."""
        planned = self.make_ledger(force=force, retry=retry).plan(items)
        return [("+" if each.do else "-") + each.reason for each in planned]

    def say(self, key, said, author="ann"):
        """Say a label, `not_product` or `withdrawn` of an image, having seen what holds; return what became of it."""
        [(item_id,)] = self.rows(f"SELECT i.id FROM cataloger_item i WHERE i.uri = '/photos/{key}'")
        return self.say_of(item_id, said, author)

    def say_of(self, item_id, said, author="ann"):
        """Say it of an image by its id."""
        [(seen,)] = self.rows(f"SELECT MAX(r.id) FROM cataloger_result r WHERE r.item_id = {item_id}")
        holds = self.rows(f"SELECT h.correction_id FROM cataloger_corrected h WHERE h.item_id = {item_id}")
        verdict, label = (said, None) if said in ("not_product", "withdrawn") else ("label", said)
        word = CorrectionInput(item_id, verdict, label, holds[0][0] if holds else None, seen)
        return correct(self.database, [word], author)[0]

    def rows(self, query):
        """Return the rows of a query as plain tuples."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def make_world():
    """Make a world with a started run in a database."""
    return lambda database: World(database, register_source(database, kind="folder", root="/photos"), MODEL).begin()


@pytest.fixture
def world(database, make_world):
    """A world with a started run, on each engine."""
    return make_world(database)


@pytest.fixture
def make():
    """Short ways to write items and results."""
    return Make


class Make:
    """Items and results with sensible values."""

    other_model = OTHER

    @staticmethod
    def item(key="a.jpg", version="v1", **values):
        return Item(key=key, uri=values.pop("uri", f"/photos/{key}"), version=version, **values)

    @staticmethod
    def good(key="a.jpg", version="v1", *, content="1", labels=("Dress", "Hat"), **values):
        confidences = (0.75, 0.25)[: len(labels)]
        logits = (2.5, 1.5)[: len(labels)]
        subject = Make.item(key, version, **values)
        return Prediction(subject, content * 64, 30, 40, tuple(labels), confidences, logits, 2.9)

    @staticmethod
    def bad(key="a.jpg", version="v1", *, code="decode.truncated", content="1", message="cut short"):
        return Failure(Make.item(key, version), code, message, content and content * 64)


@pytest.fixture
def as_nobody():
    """Run Python code as someone whom the modes of files stop, which they do not root. Returns (status, output).

    Still the same user, so that the interpreter may lie anywhere.
    """
    drop = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv") or absent("setpriv")
        drop = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]

    def run(code):
        command = [*drop, sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        return result.returncode, result.stdout + result.stderr

    return run


@pytest.fixture
def workers_of(started_decoders):
    """Return a function: process id -> ids of its decoding processes; a database server may be its child, too."""

    def workers_of(pid):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in children if b"decode_worker" in command_line(child)}

    return workers_of


@pytest.fixture(scope="session")
def fits_schema():
    """Return a function: name of a schema of docs/reference, output -> fails unless the output is as it says."""
    from jsonschema import Draft202012Validator

    def check(name, output):
        schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(output)]
        assert not problems, f"{name}: {problems[:5]}"

    return check


def command_line(pid):
    """Return the arguments of a process, waiting for those of one that is just being started."""
    deadline = time.monotonic() + 10
    while not (arguments := Path(f"/proc/{pid}/cmdline").read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return arguments  # none of one that has ended and was not waited for


@pytest.fixture(scope="session")
def frozen_parts(tmp_path_factory):
    """Folder of the frozen layers that were exported, by the digest of their weights; one for all processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "frozen"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def one_export(frozen_parts):
    """Export the same frozen layers once, which takes most of a small training; the network itself always is."""
    from cataloger.training.export import onnx

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "write_frozen_part", frozen_layers.shared(onnx.write_frozen_part, frozen_parts))
        yield


@pytest.fixture
def least_seconds():
    """Return a function: the least time that an action takes.

    It is the first below `enough`: beside other processes some take longer. An action that waits for something takes
    longer each time, and is found out.
    """

    def least_seconds(action, enough, tries=10):
        found = []
        while len(found) < tries and (not found or found[-1] >= enough):
            start = time.monotonic()
            action()
            found.append(time.monotonic() - start)
        return min(found)

    return least_seconds


def password_of(url):
    """Return the password of a URL, unescaped."""
    return str(make_url(url).password)


@pytest.fixture(scope="session")
def contexts():
    """The contexts of one browser for all tests that look at a page."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or absent("chromium")
    sync_api.expect.set_options(timeout=1000 * HANGS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Contexts(browser)
        browser.close()


@pytest.fixture
def new_page(contexts):
    """Return a function: options of a context -> a page that finds nothing of other pages, closed after the test."""
    yield contexts.page
    contexts.clear()
