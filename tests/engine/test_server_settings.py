"""Servers that are set up in unusual ways: a shop is synced, written back, corrected and undone as anywhere else."""

from contextlib import closing, contextmanager

import pytest
from by_url import open_database
from sqlalchemy import create_engine, make_url, text
from sync_rig import Shop, pictures
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import DatabaseError

POSTGRESQL = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-5",
    "bytea_output": "escape",
    "quote_all_identifiers": "on",
}
MARIADB = {
    "sql_mode": "ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,EMPTY_STRING_IS_NULL,NO_BACKSLASH_ESCAPES,ONLY_FULL_GROUP_BY",
    "tx_isolation": "SERIALIZABLE",
    "time_zone": "+05:45",
    "character_set_server": "latin1",
    "innodb_default_row_format": "compact",
    "default_storage_engine": "MyISAM",
}


@contextmanager
def administering(server_url):
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield lambda statement, **values: connection.execute(text(statement), values).scalars
    engine.dispose()


@contextmanager
def mariadb_set_to(server_url, settings):
    with administering(server_url) as run:
        before = {name: run(f"SELECT @@GLOBAL.{name}")().one() for name in settings}
        for name, value in settings.items():
            run(f"SET GLOBAL {name} = :value", value=value)
        try:
            yield
        finally:
            for name, value in before.items():
                run(f"SET GLOBAL {name} = :value", value=value)


def set_database(server_url, url, settings):
    with administering(server_url) as run:
        for name, value in settings.items():
            run(f"ALTER DATABASE {make_url(url).database} SET {name} = '{value}'")


@pytest.fixture
def odd_postgresql(postgresql_server, postgresql_url):
    set_database(postgresql_server, postgresql_url, POSTGRESQL)
    return postgresql_url


@pytest.fixture
def sql_ascii(postgresql_server):
    yield from encoded(postgresql_server, "SQL_ASCII")


@pytest.fixture
def latin1(postgresql_server):
    yield from encoded(postgresql_server, "LATIN1")


def encoded(server_url, encoding):
    """Give a database of another encoding, which `initdb` makes where there is no locale."""
    name = f"in_{encoding.lower()}"
    with administering(server_url) as run:
        run(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    plain = server_url.set(drivername=server_url.get_backend_name(), database=name)
    yield plain.render_as_string(hide_password=False)


@pytest.fixture
def odd_mariadb(mariadb_server, mariadb_url):
    with mariadb_set_to(mariadb_server, MARIADB):
        yield mariadb_url


@pytest.fixture
def lax_mariadb(mariadb_server, mariadb_url):
    with mariadb_set_to(mariadb_server, {"sql_mode": ""}):
        yield mariadb_url


def run(url, *arguments):
    result = CliRunner().invoke(app, [*arguments, "--db", url])
    assert result.exit_code == 0, f"{arguments}: {result.output}"


@pytest.mark.parametrize("server", ["odd_postgresql", "sql_ascii", "latin1", "odd_mariadb", "lax_mariadb"])
def test_a_shop_is_served_whatever_its_server_is_set_to(server, request, tmp_path):
    url = request.getfixturevalue(server)
    run(url, "db", "upgrade")
    shop = Shop(url, "blob", tmp_path, photos=dict(list(pictures().items())[:3]))
    stamp = "TIMESTAMPTZ" if url.startswith("postgresql") else "TIMESTAMP"
    innodb = () if url.startswith("postgresql") else ("ALTER TABLE products ENGINE = InnoDB",)
    for statement in (
        *innodb,
        "ALTER TABLE products ADD category VARCHAR(100)",
        "ALTER TABLE products ADD share DOUBLE PRECISION",
        f"ALTER TABLE products ADD changed_at {stamp} DEFAULT '2024-03-05 01:02:03'",
        "UPDATE products SET share = 0.1234567890123456",
    ):
        shop.execute(statement)
    version = ("--version-column", "changed_at")
    writing = ("--write", "category=label_1", "--write", "share=confidence_1", "--only-decision", "accept")
    report = shop.sync(*version, *writing)
    assert report["done"] == 3
    assert report["write_back"]["written"]["category"] > 0
    assert shop.sync(*version, *writing)["skipped_by_reason"] == {"unchanged": 3}
    run(url, "corrections", "export", str(tmp_path / "to-do.csv"), "--predictions")
    run(url, "runs", "undo", str(report["run_id"]))
    run(url, "report", "--output", str(tmp_path / "report.html"))
    with closing(open_database(url)) as database:
        assert set(database.scalars(text("SELECT share FROM products"))) == {0.1234567890123456}
        assert set(database.scalars(text("SELECT category FROM products"))) == {None}


def test_what_does_not_fit_is_refused_and_not_cut_off(lax_mariadb):
    with closing(open_database_of(lax_mariadb)) as database:
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE short (name VARCHAR(3) NOT NULL) ENGINE = InnoDB"))
        with pytest.raises(DatabaseError, match="too long"), database.begin() as connection:
            connection.execute(text("INSERT INTO short VALUES ('long')"))


def open_database_of(url):
    run(url, "db", "upgrade")
    return open_database(url)


def test_times_that_the_server_fills_in_stay_in_the_time_zone_of_the_shop(odd_postgresql, odd_mariadb):
    """The shop's own programs read `updated_at` as they write it: in the zone that their server is set to."""
    for url in (odd_postgresql, odd_mariadb):
        with closing(open_database_of(url)) as database, database.begin() as connection:
            connection.execute(text("CREATE TABLE stamped (id INTEGER, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"))
            connection.execute(text("INSERT INTO stamped (id) VALUES (1)"))
            ahead = connection.scalar(text("SELECT at FROM stamped")) - connection.scalar(
                text(
                    "SELECT CAST(timezone('utc', now()) AS TIMESTAMP)"
                    if "postgresql" in url
                    else "SELECT UTC_TIMESTAMP()"
                )
            )
        assert 20_000 < ahead.total_seconds() < 21_000


def test_a_database_that_is_read_only_is_told(postgresql_server, postgresql_url):
    set_database(postgresql_server, postgresql_url, {"default_transaction_read_only": "on"})
    result = CliRunner().invoke(app, ["db", "upgrade", "--db", postgresql_url])
    assert result.exit_code == 1
    assert "read-only transaction: the server or this user is set to read only" in result.output


def test_a_limit_of_the_server_is_named_and_the_upgrade_goes_on_when_it_is_lifted(postgresql_server, postgresql_url):
    set_database(postgresql_server, postgresql_url, {"statement_timeout": "1ms"})
    result = CliRunner().invoke(app, ["db", "upgrade", "--db", postgresql_url])
    assert result.exit_code == 1
    assert "statement timeout: the server's statement_timeout has ended it; raise it for this user" in result.output
    set_database(postgresql_server, postgresql_url, {"statement_timeout": "0"})
    run(postgresql_url, "db", "upgrade")
