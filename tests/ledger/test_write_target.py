"""Where a run wrote back to: recorded for undo, shown with its options, found where older versions kept it."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from by_url import current, downgrade, open_database, parsed, upgrade
from sqlalchemy import select, text

from cataloger.db.reflection import TableName
from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.history.prune import prune_runs
from cataloger.history.undo import undo_run
from cataloger.ledger import WriteTarget, record_write_target, write_targets
from cataloger.ledger.run_queries import find_run
from cataloger.options import WriteOptions
from cataloger.schema.models import RunRow, WriteTargetRow
from cataloger.table_options import TableOptions

PHOTO = Path(__file__).parents[2] / "examples" / "images" / "sunglasses.png"
SHOWN = {"table": "products", "schema": None, "ids": ["sku"]}


@pytest.fixture
def shop(tmp_path):
    """A database with a product table of one product, which has a category already."""
    shutil.copy(PHOTO, tmp_path)
    database = open_database(f"sqlite:///{tmp_path}/shop.db")
    execute(
        database, "CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(200), category VARCHAR(100))"
    )
    execute(database, f"INSERT INTO products VALUES ('S1', '{tmp_path}/{PHOTO.name}', 'ours')")
    yield database
    database.close()


def execute(database, statement):
    with database.begin() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def write(database):
    """Tag the product and write its category; return the run."""
    table = TableOptions(table="products", ids=("sku",), image="photo")
    url = database.engine.url.render_as_string()
    return sync_table(
        SyncOptions(parsed(url), table, write=WriteOptions.parse(["category=label_1"], overwrite=True))
    ).run_id


def options_of(database, run_id):
    with database.read() as connection:
        return connection.scalar(select(RunRow.options).where(RunRow.id == run_id))


def downgraded(database, run_id):
    """Have the run stand there as the version before recorded it."""
    url = database.engine.url.render_as_string()
    downgrade(url, "0008")
    assert options_of(database, run_id)["write_target"] == SHOWN
    upgrade(url)


@pytest.mark.parametrize("is_older", [False, True])
def test_an_undo_finds_the_cells_that_a_run_wrote(shop, is_older):
    run_id = write(shop)
    assert execute(shop, "SELECT category FROM products") == [("Sunglasses",)]
    if is_older:
        downgraded(shop, run_id)
        with shop.read() as connection:
            assert connection.execute(select(WriteTargetRow.run_id)).all() == []
    assert undo_run(shop, run_id).restored == {"category": 1}
    assert execute(shop, "SELECT category FROM products") == [("ours",)]


def test_it_is_shown_with_the_options_of_the_run_as_ever(shop):
    run_id = write(shop)
    assert "write_target" not in options_of(shop, run_id)
    shown = find_run(shop, run_id).as_json()["options"]
    assert list(shown)[-1] == "write_target"
    assert shown["write_target"] == SHOWN
    downgraded(shop, run_id)
    assert find_run(shop, run_id).as_json()["options"] == shown


def test_a_pruned_run_still_says_where_it_wrote(shop):
    run_id = write(shop)
    write(shop)
    assert prune_runs(shop, 1).runs == 1
    assert find_run(shop, run_id).options["write_target"] == SHOWN


def test_a_run_that_writes_nothing_has_none(shop):
    table = TableOptions(table="products", ids=("sku",), image="photo")
    run_id = sync_table(SyncOptions(parsed(shop.engine.url), table)).run_id
    with shop.read() as connection:
        assert write_targets(connection, [run_id]) == {}
    assert "write_target" not in find_run(shop, run_id).options


@pytest.mark.parametrize("schema", [None, "shop"])
def test_it_is_read_as_it_was_recorded_on_every_engine(world, schema):
    target = WriteTarget(TableName("Größe", schema), ("sku", "colour"))
    for _ in range(2):  # as when the answer to the commit was lost
        record_write_target(world.database, world.run.id, target)
    with world.database.read() as connection:
        assert write_targets(connection, [world.run.id, world.run.id + 1]) == {world.run.id: target}


def test_a_downgrade_that_was_killed_before_its_end_is_finished_by_the_next(url):
    with closing(open_database(url)) as database:
        execute(database, "DROP TABLE cataloger_write_target")
    downgrade(url, "0008")
    assert current(url) == "0008"
