"""Connections: which URLs are taken, how transactions behave, and errors of one line without the password."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from by_url import current, make_engine, open_database, parsed, upgrade
from sqlalchemy import create_engine, make_url, text

from cataloger.db.clock import utc_now
from cataloger.db.connections import connect
from cataloger.db.database import Database
from cataloger.db.urls import DatabaseURL
from cataloger.errors import CatalogerError, DatabaseError, MissingExtraError, SchemaError, UsageError

SERVERS = ["postgresql", "mariadb"]


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture(params=SERVERS)
def server_url(request):
    """URL of the maintenance database of each server."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def administer(server_url):
    """Run statements as the administrator of each server."""
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")

    def run(*statements):
        with engine.connect() as connection:
            return [connection.exec_driver_sql(statement) for statement in statements][-1]

    yield run
    engine.dispose()


def message_of(action, *arguments, kind=DatabaseError):
    """Return the message of the error that an action ends with."""
    with pytest.raises(kind) as caught:
        action(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def written(url):
    return make_url(url).render_as_string(hide_password=False)


def in_new_process(code, *arguments, without_rights=False, **environment):
    """Run Python code by itself; return the JSON that it prints."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if without_rights and os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://shop@db/catalog", "postgresql+psycopg"),
        ("mysql://shop@db/catalog", "mysql+pymysql"),
        ("mariadb://shop@db/catalog", "mariadb+pymysql"),
        ("postgresql+psycopg2://shop@db/catalog", "postgresql+psycopg2"),
        ("sqlite:///catalog.db", "sqlite"),
    ],
)
def test_the_driver_is_chosen_unless_it_is_named(url, driver):
    assert DatabaseURL.parse(url).parsed.drivername == driver


@pytest.mark.parametrize("url", ["catalog.db", "", "/srv/catalog.db", "postgresql://shop@db:port/catalog"])
def test_what_is_no_url_is_answered_with_examples(url):
    assert "write e.g. sqlite:///catalog.db" in message_of(DatabaseURL.parse, url, kind=UsageError)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url):
    assert "would be lost" in message_of(DatabaseURL.parse, url, kind=UsageError)


@pytest.mark.parametrize("url", ["postgresql://shop:s3c@ret@db/x", "mysql://shop:a@b/s3cret@db/x"])
def test_a_password_that_is_not_escaped_is_refused_and_not_shown(url):
    message = message_of(DatabaseURL.parse, url, kind=UsageError)
    assert "write @ as %40" in message
    assert not any(part in message for part in ("s3c", "ret@"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://shop:s3cret@db:5433/catalog", "postgresql+psycopg://shop:***@db:5433/catalog"),
        ("postgresql://db/catalog?user=shop&password=s3cret", "postgresql+psycopg://db/catalog"),
        ("mysql://shop@db/catalog?ssl_key_password=s3cret", "mysql+pymysql://shop@db/catalog"),
        ("sqlite:///x/catalog.db", "sqlite:///x/catalog.db"),
    ],
)
def test_a_redacted_url_has_neither_password_nor_query(url, shown):
    assert DatabaseURL.parse(url).redacted == shown


def test_an_unknown_kind_of_database_is_answered_with_the_known_ones():
    message = message_of(make_engine, "oracle+nothing://shop:s3cret@db/x", kind=UsageError)
    assert message.endswith("known are sqlite, postgresql, mysql, mariadb")
    assert "s3cret" not in message


def test_a_schema_is_for_postgresql_only(tmp_path):
    with pytest.raises(UsageError, match="--schema is for PostgreSQL"):
        make_engine(f"sqlite:///{tmp_path}/x.db", schema="shop")


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("postgresql://shop:s3cret@db/x", "psycopg", "postgres"),
        ("mysql://shop:s3cret@db/x", "pymysql", "mysql"),
        ("mariadb://shop:s3cret@db/x", "pymysql", "mysql"),
    ],
)
def test_a_missing_driver_names_its_extra(monkeypatch, url, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    message = message_of(make_engine, url, kind=MissingExtraError)
    assert message.endswith(f"pip install 'fashion-cataloger[{extra}]'")
    assert "s3cret" not in message


def test_a_driver_without_its_library_names_its_extra():
    code = """if True:
        import json
        from cataloger.db.connections import make_engine
        from cataloger.db.urls import DatabaseURL
        from cataloger.errors import MissingExtraError
        try:
            make_engine(DatabaseURL.parse("postgresql://shop:s3cret@db/x"))
        except MissingExtraError as error:
            print(json.dumps(str(error)))
    """
    assert "fashion-cataloger[postgres]" in in_new_process(code, PSYCOPG_IMPL="c")


def test_a_driver_of_another_project_is_named_itself():
    message = message_of(make_engine, "postgresql+pg8000://shop:s3cret@db/x", kind=UsageError)
    assert message == "--db needs the driver 'pg8000', which is not installed"


def test_a_wrong_password_is_told_and_not_shown(server_url):
    for password in ("s3cret-wrong", "wr@ng/%:"):
        message = message_of(current, written(server_url.set(password=password)))
        assert "the user name or password is wrong" in message
        assert password not in message
        assert "***" in message


def test_a_password_in_a_message_of_the_server_is_blotted_out(server_url):
    engine = make_engine(server_url)
    name = engine.dialect.identifier_preparer.quote_identifier("the " + server_url.password).replace("%%", "%")

    def fail():
        with connect(engine) as connection:
            connection.execute(text(f"SELECT * FROM {name}".replace(":", "\\:")))

    message = message_of(fail)
    assert "the ***" in message
    assert server_url.password not in message
    engine.dispose()


def test_a_server_that_is_not_there_is_told(server_url):
    message = message_of(current, written(server_url.set(port=1, password="s3cret")))
    assert "no database server answers there; check host and port" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 70])
def test_a_host_that_does_not_exist_is_one_clear_line(server_url, host):
    message = message_of(current, written(server_url.set(host=host, password="s3cret")))
    assert host[:60] in message
    assert "s3cret" not in message


def test_a_database_that_does_not_exist_is_named(server_url):
    message = message_of(current, written(server_url.set(database="nothing_here")))
    assert "nothing_here" in message
    assert server_url.password not in message


def kill_connection(database, connection, administer):
    """Let the administrator end a connection that is in use."""
    if database.engine.dialect.name == "postgresql":
        administer(f"SELECT pg_terminate_backend({connection.scalar(text('SELECT pg_backend_pid()'))}, 5000)")
    else:
        administer(f"KILL {connection.scalar(text('SELECT CONNECTION_ID()'))}")


def test_a_connection_that_dies_is_one_error_and_the_next_transaction_works(server_url, administer):
    database = Database(make_engine(server_url))

    def lose_it():
        with database.begin() as connection:
            kill_connection(database, connection, administer)
            connection.execute(text("SELECT 1"))

    message = message_of(lose_it)
    assert message.startswith(f"{database.name}: ")
    assert server_url.password not in message
    with database.begin() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    database.close()


def test_a_connection_that_the_server_closed_over_night_is_replaced(server_url, administer):
    database = Database(make_engine(server_url))
    with database.begin() as connection:
        identity = text(
            "SELECT pg_backend_pid()" if connection.dialect.name == "postgresql" else "SELECT CONNECTION_ID()"
        )
        before = connection.scalar(identity)
    administer(
        f"SELECT pg_terminate_backend({before}, 5000)"
        if database.engine.dialect.name == "postgresql"
        else f"KILL {before}"
    )
    with database.begin() as connection:
        assert connection.scalar(identity) != before
    database.close()


def make_weak_user(administer, server_url, database):
    """Make a user who may connect and read, no more; return the URL."""
    if server_url.get_backend_name() == "postgresql":
        administer("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 's3cret'")
    else:
        administer(
            "CREATE OR REPLACE USER reader@localhost IDENTIFIED BY 's3cret'",
            f"GRANT SELECT ON {database}.* TO reader@localhost",
        )
    return written(server_url.set(username="reader", password="s3cret", database=database))


def test_missing_privileges_are_one_line_that_says_what_to_do(server_url, administer):
    administer("DROP DATABASE IF EXISTS guarded", "CREATE DATABASE guarded")
    url = make_weak_user(administer, server_url, "guarded")
    message = message_of(upgrade, url)
    assert "denied" in message
    assert message.endswith(": grant the privilege, then run again")
    assert "s3cret" not in message


def test_an_error_leaves_nothing_of_its_transaction(database):
    def fail():
        with database.begin() as connection:
            connection.execute(text("DELETE FROM cataloger_alembic_version"))
            connection.execute(text("SELECT nothing FROM nowhere"))

    assert message_of(fail).startswith(f"{database.name}: ")
    with database.read() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM cataloger_alembic_version")) == 1


def test_an_error_of_the_caller_passes_unchanged_and_rolls_back(database):
    def fail():
        with database.begin() as connection:
            connection.execute(text("DELETE FROM cataloger_alembic_version"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM cataloger_alembic_version")) == 1


def test_the_values_of_a_failed_statement_are_not_in_the_message(database):
    def fail():
        with database.begin() as connection:
            connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "s3cret"})

    assert "s3cret" not in message_of(fail)


def test_the_clock_is_aware_and_goes_forward(database):
    with database.read() as connection:
        first, second = utc_now(connection), utc_now(connection)
    assert first.utcoffset().total_seconds() == 0
    assert first < second


def test_a_schema_that_needs_quoting_is_the_search_path(postgresql_server):
    engine = make_engine(postgresql_server, schema='odd "name"')
    with connect(engine) as connection:
        assert connection.scalar(text("SHOW search_path")) == '"odd ""name"""'
    engine.dispose()


def test_sqlite_enforces_foreign_keys(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(DatabaseError, match="FOREIGN KEY"), database.begin() as connection:
        connection.execute(
            text("INSERT INTO cataloger_item (source_id, \"key\", key_hash, uri) VALUES (7, 'a', 'a', 'a')")
        )
    database.close()


def test_readers_of_sqlite_do_not_wait_for_the_writer(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    with database.begin() as writer:
        writer.execute(text("DELETE FROM cataloger_alembic_version"))
        with database.read() as reader:
            assert reader.scalar(text("SELECT COUNT(*) FROM cataloger_alembic_version")) == 1
    database.close()


def test_writers_of_sqlite_wait_for_each_other_and_lose_nothing(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE tally (n INTEGER)"))
        connection.execute(text("INSERT INTO tally VALUES (0)"))

    def count():
        for _ in range(20):
            with database.begin() as connection:
                before = connection.scalar(text("SELECT n FROM tally"))
                connection.execute(text("UPDATE tally SET n = :n"), {"n": before + 1})

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.scalar(text("SELECT n FROM tally")) == 60
    database.close()


def test_a_sqlite_file_that_another_program_holds_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("cataloger.db.connections.BUSY_TIMEOUT", 0.1)
    path = tmp_path / "x.db"
    database = open_database(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(DatabaseError, match="another program has locked it; wait until it has finished or stop it"),
        database.begin(),
    ):
        pass
    other.close()
    database.close()


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8" * 4000)
    assert "it is not a SQLite file; name another one with --db" in message_of(open_database, f"sqlite:///{path}")
    assert path.read_bytes() == b"\xff\xd8" * 4000


def test_a_damaged_file_is_told(tmp_path):
    path = tmp_path / "x.db"
    upgrade(f"sqlite:///{path}")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x55" * (len(content) - 4096))
    assert "damaged; restore it from a backup" in message_of(open_database, f"sqlite:///{path}")


def test_a_folder_in_place_of_a_file_is_told(tmp_path):
    message = message_of(open_database, f"sqlite:///{tmp_path}")
    assert message.startswith(f"sqlite:///{tmp_path}: unable to open database file")


def test_a_file_in_a_folder_that_does_not_exist_is_told(tmp_path):
    message = message_of(open_database, f"sqlite:///{tmp_path}/none/x.db")
    assert f"the folder {tmp_path}/none does not exist; make it first" in message
    assert not (tmp_path / "none").exists()


OPEN = """if True:
    import json, sys
    from cataloger.db.urls import DatabaseURL
    from cataloger.errors import DatabaseError
    from cataloger.schema import open_database
    try:
        with open_database(DatabaseURL.parse(sys.argv[1])).begin() as connection:
            connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
        print(json.dumps("no error"))
    except DatabaseError as error:
        print(json.dumps(str(error)))
"""


def open_without_rights(url):
    """Return the message of opening a database in a process that is bound by the modes of files, even as root."""
    return in_new_process(OPEN, url, without_rights=True)


def test_a_sqlite_file_that_may_not_be_written_is_told(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    upgrade(url)
    (tmp_path / "x.db").chmod(0o444)
    message = open_without_rights(url)
    assert message.startswith(f"{url}: ")
    assert message.endswith("this user may not write to the file or its folder")


def test_a_sqlite_file_in_a_folder_that_may_not_be_written_is_told(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    upgrade(url)
    tmp_path.chmod(0o555)
    message = open_without_rights(url)
    assert message.startswith(f"{url}: ")
    assert message.endswith("this user may not write to the file or its folder")


def test_a_sqlite_file_that_may_not_be_made_is_told(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    tmp_path.chmod(0o555)
    message = open_without_rights(url)
    assert message.startswith(f"{url}: ")
    assert "or this user may not read or write there (SQLite writes beside a file even to read it: copy" in message


def test_a_sqlite_file_in_a_closed_folder_is_told(tmp_path):
    upgrade(f"sqlite:///{tmp_path}/x.db")
    tmp_path.chmod(0o600)
    message = open_without_rights(f"sqlite:///{tmp_path}/x.db")
    assert message == f"{tmp_path}/x.db cannot be accessed: Permission denied"


def test_a_server_database_is_never_new(server_url):
    assert not parsed(server_url).is_new_sqlite_file()


def test_a_file_is_new_when_it_is_missing_or_empty(tmp_path):
    path = tmp_path / "x.db"
    assert parsed(f"sqlite:///{path}").is_new_sqlite_file()
    path.touch()
    assert parsed(f"sqlite:///{path}").is_new_sqlite_file()
    path.write_bytes(b"x")
    assert not parsed(f"sqlite:///{path}").is_new_sqlite_file()


def test_a_file_whose_making_was_interrupted_is_new(tmp_path):
    """Killed while SQLite wrote the first page: the journal beside it says that nothing was there before."""
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    with closing(sqlite3.connect(whole, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(bytes(2000),)] * 100)
        shutil.copyfile(f"{whole}-journal", f"{killed}-journal")
        killed.write_bytes(whole.read_bytes()[:4096])
    assert killed.stat().st_size == 4096
    assert parsed(f"sqlite:///{killed}").is_new_sqlite_file()


def test_the_tables_of_a_server_are_never_made_unasked(empty_url):
    if empty_url.startswith("sqlite"):
        path = make_url(empty_url).database
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE product (id INTEGER)")
        connection.close()
    message = message_of(open_database, empty_url, kind=SchemaError)
    assert f"run `cataloger db upgrade --db '{parsed(empty_url).redacted}'`" in message
    assert current(empty_url) is None


def test_the_hint_names_the_schema(postgresql_server):
    with pytest.raises(CatalogerError, match=r"db upgrade --db '.*' --schema tags`"):
        open_database(written(postgresql_server), schema="tags")
