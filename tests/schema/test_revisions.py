"""The tables: made, made again, made by somebody else, made by two at once, killed half-way; on every engine."""

import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import forks
import pymysql
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from by_url import current, downgrade, make_engine, open_database, parsed, upgrade, upgrade_sql
from patience import HANGS
from pymysql.constants import CLIENT
from sqlalchemy import Engine, create_engine, event, insert, inspect, make_url, text
from sqlalchemy.dialects import mysql

from cataloger.db.clock import utc_now
from cataloger.db.connections import connect
from cataloger.errors import DatabaseError, SchemaError, UsageError
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import Base, WriteRow
from cataloger.schema.revisions import HEAD, VERSION_TABLE, revisions

pytestmark = pytest.mark.usefixtures("migrated_ledgers")

VIEWS = [
    "cataloger_image_codes",
    "cataloger_image_labels",
    "cataloger_image_top5",
    "cataloger_product_codes",
    "cataloger_product_images",
    "cataloger_product_top5",
]
TABLES = {*Base.metadata.tables, VERSION_TABLE}


@contextmanager
def engine_of(url, **options):
    engine = make_engine(url, **options)
    yield engine
    engine.dispose()


def execute(url, *statements, **options):
    """Run statements in one transaction; return the rows of the last one."""
    with engine_of(url, **options) as engine, connect(engine) as connection:
        results = [connection.execute(text(statement)) for statement in statements]
        return [tuple(row) for row in results[-1]] if results[-1].returns_rows else None


def describe(url, **options):
    """Return all that there is to know of each table and view of a database, by its name."""
    with engine_of(url, **options) as engine, connect(engine) as connection:
        inspector = inspect(connection)
        found = {name: [inspector.get_view_definition(name)] for name in inspector.get_view_names()}
        for look in (
            inspector.get_multi_columns,
            inspector.get_multi_pk_constraint,
            inspector.get_multi_foreign_keys,
            inspector.get_multi_unique_constraints,
            inspector.get_multi_check_constraints,
            inspector.get_multi_indexes,
            inspector.get_multi_table_options,
        ):
            for (_, name), facts in look().items():
                found.setdefault(name, []).append(sorted(map(repr, facts)) if isinstance(facts, list) else facts)
        return found


def run_script(url, script):
    """Run a file of statements as the engine's own client would."""
    parsed = make_url(url)
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(parsed.database)) as connection:
            connection.executescript(script)
    elif url.startswith("postgresql"):
        with closing(make_engine(url).raw_connection()) as connection:
            connection.driver_connection.autocommit = True
            connection.driver_connection.execute(script)
    else:
        values = parsed.translate_connect_args(username="user")
        with closing(pymysql.connect(**values, client_flag=CLIENT.MULTI_STATEMENTS, autocommit=True)) as connection:
            cursor = connection.cursor()
            cursor.execute(script)
            while cursor.nextset():
                pass


def test_the_tables_are_made_from_nothing(empty_url):
    assert current(empty_url) is None
    upgrade(empty_url)
    assert current(empty_url) == HEAD
    assert set(describe(empty_url)) == {*TABLES, *VIEWS}


def test_upgrading_again_changes_nothing(empty_url):
    upgrade(empty_url)
    before = describe(empty_url)
    upgrade(empty_url)
    assert describe(empty_url) == before


def test_the_databases_of_the_tests_are_what_the_migrations_make(empty_url, request, tmp_path_factory):
    upgrade(empty_url)
    folder = tmp_path_factory.mktemp("copy")
    engine = request.node.callspec.params["empty_url"]
    assert describe(request.getfixturevalue("make_tables")(engine, folder)) == describe(empty_url)


def differs(_context, _is, _shall, found, wanted):
    """MySQL makes a DOUBLE of FLOAT(53); alembic judges everything else."""
    return False if isinstance(found, mysql.DOUBLE) and repr(wanted) == "Float(precision=53)" else None


def test_the_models_are_what_the_migrations_make(empty_url):
    upgrade(empty_url)
    with engine_of(empty_url) as engine, connect(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": differs}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_a_column_of_the_shop_may_have_been_empty_before_it_was_written(world):
    row = {"source_id": world.source.id, "run_id": world.run.id, "product_key": "p", "product_hash": "p"}
    change = {"column_name": "category", "old_value": None, "new_value": "Hat"}
    with world.database.begin() as connection:
        connection.execute(insert(WriteRow).values(**row, **change, written_at=utc_now(connection)))
    assert world.rows("SELECT COUNT(*) FROM cataloger_write WHERE old_value IS NULL") == [(1,)]


def test_head_is_the_last_of_the_revisions():
    config = Config()
    config.set_main_option("script_location", "cataloger.migrations:")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    assert HEAD in revisions()


def test_asking_for_the_revision_makes_no_file(tmp_path):
    assert current(f"sqlite:///{tmp_path}/x.db") is None
    assert list(tmp_path.iterdir()) == []


def test_the_printed_statements_make_the_same_tables(empty_url):
    run_script(empty_url, upgrade_sql(empty_url))
    assert current(empty_url) == HEAD
    printed = describe(empty_url)
    drop_everything(empty_url)
    upgrade(empty_url)
    assert describe(empty_url) == printed


def drop_everything(url):
    if url.startswith("sqlite"):
        Path(make_url(url).database).unlink()
    elif url.startswith("postgresql"):
        execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    else:
        name = make_url(url).database
        execute(url, f"DROP DATABASE {name}", f"CREATE DATABASE {name}")


def test_the_statements_are_printed_without_a_server_and_without_the_password():
    for kind in ("postgresql", "mysql", "mariadb"):
        script = upgrade_sql(f"{kind}://shop:s3cret@nowhere.invalid/catalog")
        assert f"UPDATE {VERSION_TABLE} SET version_num='{HEAD}'" in script
        assert "s3cret" not in script


def test_printing_the_statements_makes_no_file(tmp_path):
    assert "CREATE TABLE" in upgrade_sql(f"sqlite:///{tmp_path}/x.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schema", ["tags", 'odd "Name" %'])
def test_a_schema_of_postgresql_holds_everything(postgresql_url, schema):
    upgrade(postgresql_url, schema=schema)
    assert describe(postgresql_url) == {}
    assert set(describe(postgresql_url, schema=schema)) == {*TABLES, *VIEWS}
    assert current(postgresql_url, schema=schema) == HEAD
    assert current(postgresql_url) is None


@pytest.fixture
def postgresql_url(postgresql_server):
    """URL of a new PostgreSQL database."""
    yield from own(postgresql_server, "CREATE DATABASE {name}")


@pytest.fixture
def latin1_url(mariadb_server):
    """URL of a new MariaDB database as older servers make them."""
    yield from own(mariadb_server, "CREATE DATABASE {name} CHARACTER SET latin1")


def own(server_url, statement):
    name = f"schema_{len(made)}"
    made.append(name)
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement.format(name=name)))
    engine.dispose()
    plain = server_url.set(drivername=server_url.get_backend_name(), database=name)
    yield plain.render_as_string(hide_password=False)


made = []


@pytest.mark.parametrize("schema", ["tags", 'odd "Name" %'])
def test_the_printed_statements_make_the_schema_too(postgresql_url, schema):
    script = upgrade_sql(postgresql_url, schema=schema)
    assert script.index("BEGIN;") < script.index("SET LOCAL search_path") < script.index("CREATE TABLE")
    run_script(postgresql_url, script)
    printed = describe(postgresql_url, schema=schema)
    assert current(postgresql_url, schema=schema) == HEAD
    quoted = '"' + schema.replace('"', '""') + '"'
    execute(postgresql_url, f"DROP SCHEMA {quoted} CASCADE")
    upgrade(postgresql_url, schema=schema)
    assert describe(postgresql_url, schema=schema) == printed


def test_a_schema_that_is_there_needs_no_right_to_make_schemas(postgresql_url):
    execute(
        postgresql_url,
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN PASSWORD 's3cret'",
        "CREATE SCHEMA tags AUTHORIZATION guest",
    )
    guest = make_url(postgresql_url).set(username="guest", password="s3cret").render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match="grant the privilege"):
        upgrade(guest, schema="other")
    upgrade(guest, schema="tags")
    assert current(guest, schema="tags") == HEAD


@pytest.fixture
def old_defaults(mariadb_server):
    """Set a MariaDB server up as one that was upgraded from 5.x."""
    yield from globally(mariadb_server, default_storage_engine="MyISAM", innodb_default_row_format="compact")


def globally(server_url, **settings):
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        before = {name: connection.scalar(text(f"SELECT @@GLOBAL.{name}")) for name in settings}
        for name, value in settings.items():
            connection.execute(text(f"SET GLOBAL {name} = :value"), {"value": value})
        yield
        for name, value in before.items():
            connection.execute(text(f"SET GLOBAL {name} = :value"), {"value": value})
    engine.dispose()


def forms(url):
    """Return the different engines, formats of rows and character sets of our tables."""
    return execute(
        url,
        "SELECT DISTINCT engine, row_format, table_collation LIKE 'utf8mb4%' FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'",
    )


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_the_tables_hold_every_character_whatever_the_server_is_set_to(old_defaults, latin1_url, kind):
    url = make_url(latin1_url).set(drivername=kind).render_as_string(hide_password=False)
    upgrade(url)
    assert forms(url) == [("InnoDB", "Dynamic", 1)]


def test_an_upgrade_that_a_limit_of_the_server_has_ended_goes_on(mariadb_url):
    """As older versions left it: tables in formats that the next steps cannot work with."""
    kill_upgrade(mariadb_url, 14)
    made = [name for name in describe(mariadb_url) if name != VERSION_TABLE]
    assert len(made) > 9
    execute(mariadb_url, *(f"ALTER TABLE {name} ROW_FORMAT = COMPACT" for name in made))
    execute(mariadb_url, f"ALTER TABLE {VERSION_TABLE} ENGINE = MyISAM")
    upgrade(mariadb_url)
    assert forms(mariadb_url) == [("InnoDB", "Dynamic", 1)]
    assert current(mariadb_url) == HEAD


def test_a_table_of_the_shop_keeps_its_form(mariadb_url):
    execute(mariadb_url, "CREATE TABLE catalogers (id INTEGER) ENGINE = MyISAM")
    upgrade(mariadb_url)
    assert ("MyISAM",) in {form[:1] for form in forms(mariadb_url)}


@pytest.mark.long
def test_an_upgrade_goes_on_after_each_of_its_statements(mariadb_url):
    """Ended right after each statement that makes something, one after the other."""
    statements, status = 0, -signal.SIGKILL
    while status:
        statements += 1
        drop_everything(mariadb_url)
        status = status_of_upgrade(mariadb_url, statements)
        upgrade(mariadb_url)
        assert forms(mariadb_url) == [("InnoDB", "Dynamic", 1)]
        assert current(mariadb_url) == HEAD
    assert statements > 40


SHOP = (
    "CREATE TABLE product (id INTEGER PRIMARY KEY, title VARCHAR(40))",
    "INSERT INTO product VALUES (1, 'Blue hat')",
    "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('shop-7')",
    "CREATE VIEW hats AS SELECT title FROM product",
)


def test_tables_of_the_shop_stay_as_they_are(empty_url):
    execute(empty_url, *SHOP)
    before = describe(empty_url)
    upgrade(empty_url)
    after = describe(empty_url)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {*TABLES, *VIEWS}
    rows = execute(empty_url, "SELECT title, version_num FROM hats, alembic_version")
    assert rows == [("Blue hat", "shop-7")]


def test_a_sqlite_file_of_the_shop_keeps_its_journal(tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute(SHOP[0])
    upgrade(url)
    assert execute(url, "PRAGMA journal_mode") == [("delete",)]


def test_a_sqlite_file_of_our_own_lets_readers_in(tmp_path):
    open_database(f"sqlite:///{tmp_path}/x.db").close()
    assert execute(f"sqlite:///{tmp_path}/x.db", "PRAGMA journal_mode") == [("wal",)]


def test_a_newer_revision_is_told_and_left_alone(url):
    execute(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for action in (open_database, upgrade):
        with pytest.raises(SchemaError, match=r"newer version of cataloger \(revision 9999\): upgrade cataloger"):
            action(url)
    assert current(url) == "9999"


def test_a_schema_elsewhere_is_refused(tmp_path):
    for action in (upgrade, upgrade_sql):
        with pytest.raises(UsageError, match="--schema is for PostgreSQL"):
            action(f"sqlite:///{tmp_path}/x.db", schema="tags")


RACE = """if True:
    import sys
    from cataloger.schema.revisions import upgrade
    from cataloger.db.urls import DatabaseURL
    from cataloger.schema import open_database
    print("ready", flush=True)
    sys.stdin.readline()
    {action}(DatabaseURL.parse(sys.argv[1]))
"""


def race(action, url, runners=2):
    """Let processes do the same at the same time; return what they complain of."""
    processes = [forks.start(RACE.format(action=action), url) for _ in range(runners)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    complaints = [process.communicate()[1] for process in processes]
    for process in processes:
        process.close()
    return complaints


def test_processes_may_make_the_tables_at_the_same_time(empty_url):
    assert race("open_database" if empty_url.startswith("sqlite") else "upgrade", empty_url) == [""] * 2
    assert current(empty_url) == HEAD
    assert set(describe(empty_url)) == {*TABLES, *VIEWS}


KILLED = """if True:
    import itertools, os, signal, sys
    from sqlalchemy import Engine, event
    from cataloger.schema.revisions import upgrade
    from cataloger.db.urls import DatabaseURL
    count = itertools.count(1)

    @event.listens_for(Engine, "after_cursor_execute")
    def kill(connection, cursor, statement, *_):
        if statement.lstrip().startswith(("CREATE", "INSERT")) and next(count) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    upgrade(DatabaseURL.parse(sys.argv[1]))
"""


def kill_upgrade(url, statements):
    """Let an upgrade die right after a number of statements that make something."""
    assert status_of_upgrade(url, statements) == -signal.SIGKILL


def status_of_upgrade(url, statements):
    """Return the exit status of an upgrade that dies after so many statements, if it has so many."""
    return forks.run(KILLED, url, statements)[0]


def test_an_upgrade_that_was_killed_half_way_is_finished_by_the_next(empty_url):
    kill_upgrade(empty_url, 14)
    assert current(empty_url) is None
    upgrade(empty_url)
    finished = describe(empty_url)
    drop_everything(empty_url)
    upgrade(empty_url)
    assert finished == describe(empty_url)


def test_a_sqlite_file_that_was_killed_half_way_is_still_ours(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    kill_upgrade(url, 3)
    assert parsed(url).is_new_sqlite_file()
    open_database(url).close()
    assert current(url) == HEAD


# Up and down: every revision that was ever released, with data in it


def fill(world, make):
    """Have something in the tables: an image that was tagged."""
    world.sink.write([make.good(product_key="Größe 40"), make.good("b")])


LATER_TABLES = {
    "cataloger_label_map", "cataloger_write_target", "cataloger_calibration", "cataloger_other_target",
    "cataloger_shard",
}  # fmt: skip
LATER_COLUMNS = {
    "product_hash", "disagrees", "scores", "familiarity", "department", "is_mixed", "target_id",
    "decoder",
    "cataloger_write.state",
    "cataloger_source.calibration_id", "cataloger_run_source.calibration_id",
}  # fmt: skip


def contents(url):
    """Return the rows of all tables of the first revision."""
    found = {}
    for name in TABLES - {VERSION_TABLE} - LATER_TABLES:
        columns = [column.name for column in Base.metadata.tables[name].columns]
        first = [column for column in columns if not {column, f"{name}.{column}"} & LATER_COLUMNS]
        query = ", ".join(f"t.{column}" for column in first)
        found[name] = sorted(map(repr, execute(url, f"SELECT {query} FROM {name} t")))
    return found


@pytest.mark.parametrize("revision", sorted(revisions()))
def test_every_revision_can_be_left_and_reached_again_with_data(world, make, url, revision):
    fill(world, make)
    made, before = describe(url), contents(url)
    downgrade(url, revision)
    assert current(url) == revision
    if revision != HEAD:
        with pytest.raises(SchemaError, match="older than this version: run `cataloger db upgrade"):
            open_database(url)
    upgrade(url)
    assert (describe(url), contents(url)) == (made, before)
    product = "SELECT COUNT(*) FROM cataloger_item WHERE product_hash = :hash"
    assert world.rows(product.replace(":hash", f"'{key_hash('Größe 40')}'")) == [(1,)]


def test_a_downgrade_to_base_leaves_only_what_the_shop_has(empty_url):
    execute(empty_url, "CREATE TABLE products (sku INTEGER)", "CREATE TABLE alembic_version (version_num INTEGER)")
    before = describe(empty_url)
    upgrade(empty_url)
    downgrade(empty_url, "base")
    assert current(empty_url) is None
    assert describe(empty_url) == before


def test_a_downgrade_says_what_there_is(url):
    with pytest.raises(UsageError, match="no revision 9999; there are base, 0001"):
        downgrade(url, "9999")
    downgrade(url, "0001")
    with pytest.raises(SchemaError, match="at revision 0001, which is older than 0002"):
        downgrade(url, "0002")
    downgrade(url, "base")
    with pytest.raises(SchemaError, match="no tables of cataloger"):
        downgrade(url, "base")


def test_an_upgrade_between_revisions_that_was_killed_half_way_is_finished_by_the_next(empty_url):
    upgrade(empty_url)
    finished = describe(empty_url)
    downgrade(empty_url, "0001")
    kill_upgrade(empty_url, 1)
    upgrade(empty_url)
    assert describe(empty_url) == finished
    assert current(empty_url) == HEAD


# Beside others who use the tables, and while the server is in trouble


@contextmanager
def after_statement(beginning, action):
    """Call an action with the connection, once, after the first statement of this process that begins so."""
    waiting = [action]

    def look(connection, _cursor, statement, *_):
        if waiting and statement.lstrip().startswith(beginning):
            waiting.pop()(connection)

    event.listen(Engine, "after_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", look)
    assert not waiting, f"there was no {beginning}"


def wait_for_a_waiting_lock(url):
    waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted"
    deadline = time.monotonic() + HANGS
    while execute(url, waiting) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_conversion_and_readers_of_views_wait_for_each_other(postgresql_url, caplog):
    """Without an order of the locks the server would have to end one of the two, because of a deadlock."""
    upgrade(postgresql_url)
    reads = []
    with ThreadPoolExecutor(1) as pool:

        def read(_connection):
            reads.append(pool.submit(execute, postgresql_url, "SELECT COUNT(*) FROM cataloger_image_top5"))
            wait_for_a_waiting_lock(postgresql_url)

        for convert in (lambda: downgrade(postgresql_url, "0001"), lambda: upgrade(postgresql_url)):
            with after_statement("ALTER TABLE cataloger_result", read):
                convert()
            assert reads.pop().result(HANGS) == [(0,)]
    assert not caplog.records
    assert current(postgresql_url) == HEAD


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_a_conversion_whose_connection_is_lost_begins_again(request, caplog, engine):
    url = request.getfixturevalue(f"{engine}_url")
    upgrade(url)
    made = describe(url)
    number, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mariadb": ("SELECT CONNECTION_ID()", "KILL {}"),
    }[engine]

    def lose(connection):
        execute(url, end.format(connection.exec_driver_sql(number).scalar()))

    with after_statement("ALTER TABLE", lose):
        downgrade(url, "0012")
    assert current(url) == "0012"
    with after_statement("ALTER TABLE", lose):
        upgrade(url)
    assert describe(url) == made
    assert caplog.text.count("trying again") == 2


def test_a_server_that_is_not_there_is_told_at_once(caplog):
    with pytest.raises(DatabaseError, match="no database server answers there"):
        upgrade("postgresql://shop@127.0.0.1:1/shop")
    assert not caplog.records
