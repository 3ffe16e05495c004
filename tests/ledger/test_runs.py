"""However a command ends, its run's row says how, and what went wrong first is what people are told."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from by_url import open_database, parsed

from cataloger.engine import session
from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.engine.tag import TagOptions, tag_images
from cataloger.errors import SourceError
from cataloger.history import move_source, prune, recalibrate, source_deletion, undo
from cataloger.ledger import model_ref
from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.table_options import TableOptions

IMAGE = Path(__file__).parents[2] / "examples" / "images" / "sunglasses.png"
REFUSING = (
    "CREATE TRIGGER refusing BEFORE UPDATE OF outcome ON cataloger_run "
    "BEGIN SELECT RAISE(ABORT, 'the second problem'); END"
)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.fixture
def query(url):
    """Ask the database, or tell it something."""

    def ask(statement):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            return connection.execute(statement).fetchall()

    return ask


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(IMAGE, folder)
    return folder


@pytest.fixture
def catalog(url, photos, make_world, make, query):
    """A database with a run over one source, which shows the default model, and with a table of products."""
    with closing(open_database(url)) as database:
        world = make_world(database)
        world.begin(model_ref(read_bundle(default_bundle_path())))
        world.sink.write([make.good("a")])
        world.end()
        query("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT)")
        query(f"INSERT INTO products VALUES ('p', '{IMAGE.name}')")
        yield world


def tag_folder(world, url, photos):
    tag_images(TagOptions((str(photos),), db=parsed(url)))


def sync_a_table(world, url, photos):
    sync_table(SyncOptions(parsed(url), TableOptions("products", ("sku",), "photo", photos)))


def undo_run(world, url, photos):
    undo.undo_run(world.database, world.run.id)


def recalibrate_all(world, url, photos):
    recalibrate.recalibrate_results(world.database, read_bundle(default_bundle_path()))


def prune_runs(world, url, photos):
    prune.prune_runs(world.database, 1)


def move(world, url, photos):
    move_source.relocate_source(world.database, "/photos", str(photos))


def rename(world, url, photos):
    move_source.rename_source(world.database, "/photos", "pictures")


def delete(world, url, photos):
    source_deletion.delete_source(world.database, "/photos")


COMMANDS = {
    "tag": (session, tag_folder),
    "sync": (session, sync_a_table),
    "undo": (undo, undo_run),
    "recalibrate": (recalibrate, recalibrate_all),
    "prune": (prune, prune_runs),
    "move": (move_source, move),
    "rename": (move_source, rename),
    "delete": (source_deletion, delete),
}


@pytest.fixture(params=COMMANDS)
def command(request, catalog, url, photos, query, monkeypatch):
    """Run a command in which an action takes the place of getting the lease; return how its run is recorded."""
    module, run = COMMANDS[request.param]

    def outcome(action):
        def instead(*_):
            action()

        monkeypatch.setattr(module, "hold_lease", instead)
        run(catalog, url, photos)

    rows = f"FROM cataloger_run WHERE command = '{request.param}' AND id > 2"
    outcome.recorded = lambda column="outcome": query(f"SELECT {column} {rows}")
    return outcome


def test_ctrl_c_is_recorded_as_an_interruption(command):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command(interrupt)
    assert command.recorded() == [("interrupted",)]


def test_an_error_is_recorded_as_a_failure(command):
    def fail():
        raise SourceError("the first problem")

    with pytest.raises(SourceError, match="the first problem"):
        command(fail)
    assert command.recorded() == [("failed",)]
    assert command.recorded("json_extract(counts, '$.error')") == [("the first problem",)]


@pytest.mark.parametrize("error", [SourceError("the first problem"), KeyboardInterrupt("the first problem")])
def test_a_database_that_fails_again_does_not_hide_the_first_error(command, query, error):
    def fail():
        query(REFUSING)
        raise error

    with pytest.raises(type(error), match="the first problem"):
        command(fail)
    assert command.recorded() == [(None,)]
