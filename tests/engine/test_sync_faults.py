"""Faults of databases during `cataloger sync`: whatever happens, the tables end up as those of a run without it.

The real program runs in child processes, against real servers that are killed and started again.
"""

import importlib.util
import os
import random
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import by_url
import pytest
from by_url import open_database
from patience import HANGS, wait_until
from sqlalchemy import make_url, select, text, update
from sqlalchemy.exc import OperationalError

from cataloger.schema.models import LeaseRow


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rig = load(Path(__file__).parents[1] / "sync_rig.py")
POINTS = ["after_decode", "before_commit", "after_commit", "before_close"]
SEED = int(os.environ.get("CATALOGER_TEST_SEED") or random.randrange(1_000_000))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what becomes of processes is read from /proc"),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The tables of a run without any fault."""
    folder = tmp_path_factory.mktemp("reference")
    shop = rig.Shop(f"sqlite:///{folder}/shop.db", "path", folder)
    by_url.upgrade(shop.url)
    assert shop.sync()["done"] == 20
    return shop.tables()


@pytest.fixture
def shop(request, url, tmp_path):
    """A shop on the engine of `empty_url`; its kind is the parameter, paths by default."""
    shop = rig.Shop(url, getattr(request, "param", "path"), tmp_path)
    yield shop
    shop.stop()


def on(*pairs):
    """Run a test on engines with kinds of images: "postgresql blob"."""
    return pytest.mark.parametrize(("empty_url", "shop"), [pair.split() for pair in pairs], indirect=True)


# Kill -9


@on("postgresql blob", "mariadb url")
def test_a_sync_killed_at_each_point_in_turn_is_completed_by_the_next(shop, reference):
    known = []
    for point in POINTS:
        with shop.syncing(f"at({point!r}, die)") as child:
            status, _, err = child.end()
        assert status == -signal.SIGKILL, err
        known.append(len(shop.tables()))
    assert known[0] < known[1] + 4 <= known[2] < known[3] == 22
    shop.sync()
    rig.assert_equal(reference, shop, ["abandoned"] * 4 + ["done"])


@on("postgresql path", "mariadb blob")
def test_syncs_killed_at_random_times_are_completed_by_the_next(shop, reference):
    chance = random.Random(SEED)
    for _ in range(2):
        with shop.syncing() as child:
            time.sleep(chance.uniform(0.5, 3.0))
            child.process.kill()
            child.end()
    shop.sync()
    told = f"again with CATALOGER_TEST_SEED={SEED}"
    assert rig.storm.differences(reference, shop.tables()) == [], told
    assert set(shop.outcomes()) <= {"abandoned", "done"}, told


# A server that is killed and started again


@pytest.fixture(scope="session")
def mortals():
    """The session's own servers; they live on for the tests that follow, and end before their data is removed."""
    servers = {}
    yield servers
    for server in servers.values():
        if server.process:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def mortal(request, empty_url, mortals):
    """The server of a shop."""
    name = make_url(empty_url).get_backend_name()
    name = "mariadb" if name == "mysql" else name
    kind = {"postgresql": rig.Postgresql, "mariadb": rig.Mariadb}[name]
    if name not in mortals:
        mortals[name] = kind(request.getfixturevalue(f"{name}_server"))
    return mortals[name]


def revive(server):
    """Start a server again; `pid` is that of the new one."""
    server.start()
    server.pid = server.process.pid


@on("postgresql url", "mariadb blob")
def test_a_sync_goes_on_by_itself_when_a_server_that_died_is_back(shop, mortal, reference):
    with shop.syncing(f"{rig.PATIENT}at('after_commit', pause)") as child:
        assert child.process.stdout.readline() == "pausing\n"
        mortal.kill()
        child.process.stdin.write("\n")
        child.process.stdin.flush()
        time.sleep(3)
        assert child.process.poll() is None
        revive(mortal)
        start = time.monotonic()
        status, _, err = child.end()
        took = time.monotonic() - start
    assert status == 0, err
    assert "trying again" in rig.words(err)
    assert "Traceback" not in err
    # It tries again within 5 seconds. After this outage of 3 seconds the rest of the run took 2 to 4 seconds on each
    # engine, and takes longer beside other processes; an outage may last PATIENCE, 120 seconds.
    assert took < 60, f"it took {took:.1f} seconds to go on and to end"
    rig.assert_equal(reference, shop, ["done"])


@on("postgresql path", "mariadb path")
def test_when_the_answer_to_every_commit_is_lost_once_no_result_is_there_twice(shop, reference):
    proxy = rig.Proxy(shop.url, lambda server: server.recv(1_000_000), since=b"INSERT INTO cataloger_source")
    with shop.syncing(rig.PATIENT, url=proxy.url) as child:
        status, _, err = child.end()
    assert status == 0, err
    assert proxy.left < 990
    rig.assert_equal(reference, shop, [None, "done"])
    assert shop.sync()["skipped"] == 22
    assert shop.outcomes() == ["abandoned", "done", "done"]


@on("postgresql path", "mariadb path")
def test_a_server_killed_while_it_commits_leaves_every_result_once(shop, mortal, reference):
    since = b"INSERT INTO cataloger_result"
    proxy = rig.Proxy(shop.url, lambda _: mortal.kill(), since=since, times=1)
    with shop.syncing(rig.PATIENT, url=proxy.url) as child:
        wait_until(lambda: not proxy.left)
        time.sleep(1)
        revive(mortal)
        status, _, err = child.end()
    assert status == 0, err
    rig.assert_equal(reference, shop, ["done"])


# Connections that others end


def end_connections(url):
    """End all connections to a database but our own; return how many there were."""
    with rig.other_session(url) as connection:
        if connection.dialect.name == "postgresql":
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            return len(connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}")).all())
        others = "FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
        found = connection.scalars(text(f"SELECT id {others}")).all()
        for number in found:
            with suppress(OperationalError):  # it has just ended by itself
                connection.execute(text(f"KILL {number}"))
        return len(found)


@on("postgresql blob", "mariadb blob")
def test_a_sync_whose_connections_are_ended_again_and_again_completes(shop, reference):
    ended = 0
    with shop.syncing(f"{rig.PATIENT}{rig.IN_STEPS}", "--batch-size", "1") as child:
        wait_until(lambda: rig.rows(shop.url, "SELECT id FROM cataloger_run"))
        while child.process.poll() is None:
            # So often and no oftener: a machine that is slow enough would never get to the end between two of them.
            ended += end_connections(shop.url) if ended < 8 else 0
            time.sleep(0.2)
        status, _, err = child.end()
    assert status == 0, err
    assert ended >= 5
    rig.assert_equal(reference, shop, ["done"])


# Locks, deadlocks and serialization


LOCKS = {
    "postgresql": "LOCK TABLE products IN ACCESS EXCLUSIVE MODE",
    "mysql": "LOCK TABLES products WRITE",
    "sqlite": "BEGIN EXCLUSIVE",
}
# A statement waits for a lock for a second.
IMPATIENT = """
from cataloger.db import sessions
usual, brief = f"_timeout = {sessions.LOCK_TIMEOUT}", "_timeout = 1"
sessions.POSTGRESQL_SETTINGS = (
    *(each for each in sessions.POSTGRESQL_SETTINGS if not each.startswith("lock_timeout")), "lock_timeout = '1s'"
)
assert sessions.MYSQL_SETTINGS.count(usual) == 2
sessions.MYSQL_SETTINGS = sessions.MYSQL_SETTINGS.replace(usual, brief)
"""


@contextmanager
def locked(url):
    """Hold a lock that keeps everybody else from reading the product table."""
    with rig.other_session(url) as connection:
        connection.exec_driver_sql(LOCKS[make_url(url).get_backend_name()])
        yield


@pytest.fixture
def locked_out(shop, tmp_path):
    """The shop; a SQLite file is the shop's own, with a rollback journal, since a log lets readers pass a lock."""
    if not shop.url.startswith("sqlite"):
        return shop
    ledger = shop.url
    return rig.Shop(f"sqlite:///{tmp_path}/own.db", shop.kind, tmp_path, ledger=ledger)


@on("sqlite blob", "postgresql blob", "mariadb blob")
def test_a_lock_on_the_product_table_is_waited_for(locked_out, reference):
    with locked_out.syncing(f"{IMPATIENT}database.PATIENCE = 120") as child:
        with locked(locked_out.url):
            told = ""
            while "trying again" not in rig.words(told):
                line = child.process.stderr.readline()
                assert line, told  # it has not ended
                told += line
            assert locked_out.tables() == {}
        status, _, err = child.end()
    assert status == 0, err
    rig.assert_equal(reference, locked_out, ["done"])


@on("sqlite blob", "postgresql blob", "mariadb blob")
def test_a_lock_that_outlasts_the_patience_is_one_clear_error_and_nothing_is_lost(locked_out, reference):
    setup = f"{IMPATIENT}database.PATIENCE = 1\n{rig.IN_STEPS}at('after_commit', pause)"
    with locked_out.syncing(setup, "--batch-size", "1") as child:
        assert child.process.stdout.readline() == "pausing\n"
        known = len(locked_out.tables())
        with locked(locked_out.url):
            status, _, err = child.end("\n")
    assert status == 1
    assert error_lines(err) == 1
    assert "lock" in err.rpartition("cataloger: error:")[2].lower()
    assert 8 <= known <= len(locked_out.tables()) < 22
    locked_out.sync()
    rig.assert_equal(reference, locked_out, ["failed", "done"])


def error_lines(err):
    assert "Traceback" not in err, err
    return err.count("cataloger: error:")


# Stop in the middle of a transaction that has locked its lease and its items.
PAUSE_INSIDE = """
from cataloger.sinks.database import DatabaseSink
move = DatabaseSink._move_pointers
def stop_and_move(*arguments):
    DatabaseSink._move_pointers = move
    pause()
    move(*arguments)
DatabaseSink._move_pointers = stop_and_move
"""


WAITING = {
    "postgresql": "SELECT 1 FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


@on("postgresql path", "mariadb path")
def test_a_sync_that_loses_a_deadlock_does_its_transaction_again(shop, reference):
    shop.sync()
    shop.execute("CREATE TABLE ballast (id INTEGER PRIMARY KEY)")
    with shop.syncing(PAUSE_INSIDE, "--force") as child, ThreadPoolExecutor(1) as executor:
        assert child.process.stdout.readline() == "pausing\n"
        with rig.other_session(shop.url) as connection:
            # MariaDB ends the transaction that has changed less.
            connection.execute(text("INSERT INTO ballast VALUES (:id)"), [{"id": number} for number in range(2000)])
            connection.execute(text("SELECT * FROM cataloger_current FOR UPDATE"))
            if connection.dialect.name == "postgresql":
                # It looks for deadlocks once, so long after a wait has begun; whoever looks and finds one is ended.
                connection.execute(text("SET deadlock_timeout = '1h'"))
            lease = text("UPDATE cataloger_lease SET heartbeat_at = heartbeat_at")
            waiting = executor.submit(connection.execute, lease)
            wait_until(lambda: rig.rows(shop.url, WAITING[connection.dialect.name]))
            assert not waiting.done()
            child.process.stdin.write("\n")
            child.process.stdin.flush()
            waiting.result(HANGS)
        status, _, err = child.end()
    assert status == 0, err
    assert "deadlock" in err.lower()
    rig.assert_equal(reference, shop, ["done", "done"])


@on("postgresql blob")
def test_a_transaction_that_cannot_be_serialized_is_done_again(shop, reference):
    shop.sync()
    # A sequence keeps its value when a transaction is rolled back: the server refuses the first one alone.
    shop.execute("CREATE SEQUENCE attempts")
    shop.execute(
        "CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('attempts') = 1 THEN "
        "RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure'; END IF; "
        "RETURN NEW; END $$"
    )
    shop.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON cataloger_current FOR EACH ROW EXECUTE FUNCTION refuse_once()"
    )
    with shop.syncing("", "--force") as child:
        status, _, err = child.end()
    assert status == 0, err
    assert "could not serialize access" in rig.words(err)
    rig.assert_equal(reference, shop, ["done", "done"])


# A full disk


def few_pages(url):
    """Code that leaves a SQLite file one page to grow: enough for some results and not for all."""
    limit = rig.rows(url, "PRAGMA page_count")[0][0] + 1
    return f"""
from cataloger.db import sessions
set_up = sessions._set_up_sqlite
def set_up_and_limit(connection, record):
    set_up(connection, record)
    connection.execute("PRAGMA max_page_count = {limit}")
sessions._set_up_sqlite = set_up_and_limit
"""


@on("sqlite path")
def test_a_full_disk_is_a_clear_error_and_the_next_sync_goes_on_once_there_is_room(shop, reference):
    with shop.syncing(few_pages(shop.url)) as child:
        status, _, err = child.end()
    assert status == 1
    assert error_lines(err) == 1
    assert "database or disk is full: make room, then run again" in err
    known = len(shop.tables())
    assert known < 22
    with shop.syncing("at('after_commit', fill_disk)") as child:
        status, _, err = child.end()
    assert status == 1
    assert error_lines(err) == 1
    assert "the disk is full or failing" in err
    assert known < len(shop.tables()) < 22
    shop.sync()
    rig.assert_equal(reference, shop)
    assert shop.outcomes()[-1] == "done"


# Two syncs over one source


@on("mariadb path")
def test_a_second_sync_over_the_same_source_is_told_of_the_first_and_stops(shop, reference):
    with shop.syncing("at('after_commit', pause)") as child:
        assert child.process.stdout.readline() == "pausing\n"
        told = shop.sync(status=1)
        assert f"run 1 is working on this source (process {child.process.pid} on {socket.gethostname()}," in told
        assert child.end("\n")[0] == 0
    rig.assert_equal(reference, shop, ["done", "failed"])


@on("postgresql path")
def test_the_lease_of_a_machine_that_is_silent_is_taken_over_after_a_minute(shop, reference):
    with shop.syncing("at('after_commit', die)") as child:
        child.end()
    shop.execute("UPDATE cataloger_lease SET owner = 'elsewhere|boot|namespace|7|8'")
    assert "run 1 is working on this source (process 7 on elsewhere, last heartbeat" in shop.sync(status=1)
    silence(shop, 30)
    shop.sync(status=1)
    silence(shop, 35)
    shop.sync()
    rig.assert_equal(reference, shop, ["abandoned", "failed", "failed", "done"])


def silence(shop, seconds):
    """Set the heartbeat back."""
    with closing(open_database(shop.url)) as database, database.begin() as connection:
        heartbeat = connection.scalar(select(LeaseRow.heartbeat_at))
        connection.execute(update(LeaseRow).values(heartbeat_at=heartbeat - timedelta(seconds=seconds)))


@on("postgresql path", "mariadb path")
def test_a_sync_that_was_taken_over_cannot_commit_any_more(shop, reference):
    with shop.syncing("at('after_commit', pause)") as child:
        assert child.process.stdout.readline() == "pausing\n"
        silence(shop, 61)
        shop.sync()
        status, _, err = child.end("\n")
    assert status == 1
    assert error_lines(err) == 1
    assert "another run has taken over this source" in err
    rig.assert_equal(reference, shop, ["failed", "done"])
    assert rig.rows(shop.url, "SELECT COUNT(*) FROM cataloger_result") == [(22,)]


# A shop whose database may only be read


def read_only(url):
    """Make a user of the shop's database who may only read the product table; return the URL of theirs."""
    parsed = make_url(url)
    name = f"reader_{parsed.database}"
    if parsed.get_backend_name() == "postgresql":
        execute = f"CREATE ROLE {name} LOGIN PASSWORD 'read'", f"GRANT SELECT ON products TO {name}"
    else:
        execute = (
            f"CREATE USER {name}@localhost IDENTIFIED BY 'read'",
            f"GRANT SELECT ON {parsed.database}.products TO {name}@localhost",
        )
    for statement in execute:
        rig.execute(url, statement)
    return parsed.set(username=name, password="read").render_as_string(hide_password=False)


@pytest.mark.parametrize("empty_url", ["postgresql", "mariadb"], indirect=True)
def test_a_role_that_may_only_read_is_enough_with_a_ledger_elsewhere(empty_url, tmp_path, reference):
    shop = rig.Shop(empty_url, "blob", tmp_path, ledger=f"sqlite:///{tmp_path}/ledger.db")
    before = rig.tables_of(empty_url)
    shop.url = read_only(empty_url)
    shop.sync()
    rig.assert_equal(reference, shop, ["done"])
    assert rig.tables_of(empty_url) == before == ["products"]


def test_a_shop_in_a_sqlite_file_is_left_as_it_is(tmp_path, reference):
    shop = rig.Shop(f"sqlite:///{tmp_path}/own.db", "blob", tmp_path, ledger=f"sqlite:///{tmp_path}/ledger.db")
    before = (tmp_path / "own.db").read_bytes()
    shop.sync()
    rig.assert_equal(reference, shop, ["done"])
    assert (tmp_path / "own.db").read_bytes() == before
    assert not list(tmp_path.glob("own.db-*"))


# A product table that changes meanwhile


@on("postgresql blob")
def test_rows_that_come_go_and_change_during_a_sync_do_no_harm(shop, tmp_path):
    with shop.syncing(f"{rig.IN_STEPS}at('after_commit', pause)") as child:
        assert child.process.stdout.readline() == "pausing\n"
        change_products(shop)
        assert child.end("\n")[0] == 0
    shop.sync()
    again = rig.Shop(f"sqlite:///{tmp_path}/again.db", "path", tmp_path / "again", photos=changed_pictures())
    by_url.upgrade(again.url)
    again.sync()
    rig.assert_equal(again.tables(), shop)


def changed_pictures():
    """Return what the shop holds in the end."""
    found = rig.pictures()
    added = {"0-first": found["sombrero"], "sombrero-2": found["bow-tie"], "zzz": found["cut"]}
    changed = {"baseball-cap": found["winter-hat"], "winter-hat": found["baseball-cap"]}
    removed = ("blue-fedora", "wedding-rings", "tennis-shoe")
    return {sku: data for sku, data in {**found, **added, **changed}.items() if sku not in removed}


def change_products(shop):
    """Add, delete and change rows on both sides of the place that a scan has come to."""
    old, new = rig.pictures(), changed_pictures()
    shop.add({sku: new[sku] for sku in new.keys() - old.keys()})
    for sku in old.keys() - new.keys():
        shop.execute("DELETE FROM products WHERE sku = :sku", {"sku": sku})
    for sku in (sku for sku in old.keys() & new.keys() if old[sku] != new[sku]):
        values = {"sku": sku, "photo": shop.put(f"{sku}-new", new[sku])}
        shop.execute("UPDATE products SET photo = :photo WHERE sku = :sku", values)
