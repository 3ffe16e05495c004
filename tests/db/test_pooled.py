"""Through PgBouncer, which gives a connection to another program after each transaction: nothing of ours is left.

Its pool has one connection, so that a second transaction inside of another one would wait in vain.
"""

from contextlib import closing, contextmanager

import psycopg
import pytest
from by_url import make_engine, open_database, upgrade
from conftest import own_database
from sqlalchemy import event, make_url, text
from sqlalchemy.pool import Pool
from sync_rig import Shop, pictures
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.db.connections import connect
from cataloger.db.database import Database
from cataloger.errors import DatabaseError
from cataloger.sinks import files

# What a program finds on a connection: all settings, and what lasts longer than a transaction may.
LEFT = """
SELECT name || ' = ' || setting FROM pg_settings
UNION ALL SELECT 'prepared: ' || name FROM pg_prepared_statements
UNION ALL SELECT 'cursor: ' || name FROM pg_cursors WHERE name <> ''
UNION ALL SELECT 'listens: ' || channel FROM pg_listening_channels() channel
UNION ALL SELECT 'lock: ' || locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
UNION ALL SELECT 'temporary: ' || relname FROM pg_class WHERE relpersistence = 't'
ORDER BY 1
"""
SCHEMA = 'own "Tags" %'


@pytest.fixture
def direct(postgresql_server):
    """URL of a new database, without the pooler."""
    with own_database(postgresql_server) as url:
        yield url


@pytest.fixture
def pooled(direct, pgbouncer):
    """URL of the same database through the pooler."""
    return make_url(direct).set(port=pgbouncer.port).render_as_string(hide_password=False)


def plain(url):
    """Connect as a program that knows of the pooler."""
    return psycopg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        prepare_threshold=None,
    )


@contextmanager
def another_program(url):
    """Be another program, which uses the connection after each transaction of ours; give what it found, once each."""
    with closing(plain(url)) as other:
        found = [other.execute(LEFT).fetchall()]

        def look(*_):
            left = other.execute(LEFT).fetchall()
            if left != found[-1]:
                found.append(left)

        event.listen(Pool, "checkin", look)
        try:
            yield found
        finally:
            event.remove(Pool, "checkin", look)
            look()


def differences(found):
    return sorted(set().union(*found) - set(found[0]))


def run(url, *arguments):
    result = CliRunner().invoke(app, [*arguments, "--db", url, "--schema", SCHEMA])
    assert result.exit_code == 0, f"{arguments}: {result.output}"
    return result.output


def test_nothing_of_ours_is_left_on_a_connection_of_the_pool(direct, pooled, tmp_path):
    shop = Shop(direct, "path", tmp_path, photos=dict(list(pictures().items())[:3]))
    shop.execute("ALTER TABLE products ADD category VARCHAR(100)")
    tables = ("--table", "public.products", "--id", "sku", "--image", "photo")
    with another_program(pooled) as found:
        run(pooled, "db", "upgrade")
        run(pooled, "sync", *tables, "--write", "category=label_1", "--output", str(tmp_path / "results.jsonl"))
        run(pooled, "sync", *tables, "--force")
        run(pooled, "corrections", "export", str(tmp_path / "to-do.csv"), "--predictions")
        run(pooled, "runs", "undo", "1")
        run(pooled, "report", "--output", str(tmp_path / "report.html"))
        run(pooled, "db", "downgrade", "0001", "--yes")
    assert differences(found) == []


def test_no_statement_stays_prepared_in_the_pool(direct, pooled):
    upgrade(direct)
    with another_program(pooled) as found, closing(open_database(pooled)) as database:
        for _ in range(20):
            assert database.scalars(text("SELECT id FROM cataloger_run WHERE id = :id").bindparams(id=1)) == []
    assert differences(found) == []


def test_a_direct_connection_prepares_statements(direct):
    database = Database(make_engine(direct))
    for _ in range(20):
        database.scalar(text("SELECT :number").bindparams(number=1))
    assert database.scalars(text("SELECT name FROM pg_prepared_statements"))
    database.close()


def test_a_stream_of_rows_lives_in_one_transaction(direct, pooled, make_world, make, monkeypatch):
    upgrade(direct)
    monkeypatch.setattr(files, "ROWS_PER_FETCH", 2)
    with closing(open_database(pooled)) as database:
        world = make_world(database)
        world.sink.write([make.good(f"{number}") for number in range(9)])
        with another_program(pooled) as found:
            rows = [row["key"] for row in files.current_rows(database, files.Selection(None))]
        world.end()
    assert rows == sorted(map(str, range(9)))
    assert differences(found) == []


def test_a_pool_of_single_statements_is_refused_in_one_line(pgbouncer):
    url = pgbouncer.set(database="by_statement").render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match="the pooler must give a connection for whole transactions") as caught:
        upgrade(url)
    assert "\n" not in str(caught.value)


def test_what_the_pooler_refuses_is_said_in_one_line(pooled):
    with pytest.raises(DatabaseError, match="the pooler refuses this option; leave it out of the URL") as caught:
        upgrade(f"{pooled}?options=-cgeqo%3Doff")
    assert "\n" not in str(caught.value)


def test_our_own_transaction_has_what_we_rely_on(pooled):
    engine = make_engine(pooled, schema=SCHEMA)
    with connect(engine) as connection:
        shown = [
            connection.scalar(text(f"SHOW {name}")) for name in ("search_path", "lock_timeout", "client_encoding")
        ]
    engine.dispose()
    assert shown == ['"own ""Tags"" %"', "30s", "UTF8"]
