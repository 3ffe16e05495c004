"""Opening a database: one engine does it all, and none is left behind where it fails."""

import sqlite3

import pytest
from by_url import parsed

from cataloger.db import connections as session
from cataloger.engine.tag import TagOptions, tag_images
from cataloger.errors import DatabaseError
from cataloger.options import RunOptions
from cataloger.schema import open as opening
from cataloger.schema import open_database, open_for_planning

pytestmark = pytest.mark.usefixtures("migrated_ledgers")


@pytest.fixture
def engines(monkeypatch):
    """Every engine that is made to open a database; their connections are counted by their pools."""
    made = []

    def make_engine(*arguments, **options):
        made.append(session.make_engine(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(opening, "make_engine", make_engine)
    monkeypatch.setattr(opening.revisions, "make_engine", make_engine)
    return made


def connections(engines):
    return [engine.pool.checkedin() + engine.pool.checkedout() for engine in engines]


def test_a_new_file_is_made_and_used_by_one_engine(engines, tmp_path):
    database = open_database(parsed(f"sqlite:///{tmp_path}/x.db"))
    assert engines == [database.engine]
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM cataloger_item").scalar() == 0
    database.close()


def test_a_dry_run_opens_what_is_there_with_one_engine(url, engines):
    database = open_for_planning(parsed(url))
    assert engines == [database.engine]
    database.close()


def test_a_dry_run_before_anything_else_makes_no_file(engines, tmp_path):
    (tmp_path / "photos").mkdir()
    options = TagOptions(
        (str(tmp_path / "photos"),), db=parsed(f"sqlite:///{tmp_path}/x.db"), run=RunOptions(dry_run=True)
    )
    assert tag_images(options).run_id is None
    assert (engines, [path.name for path in tmp_path.iterdir()]) == ([], ["photos"])


def test_a_database_without_our_tables_is_let_go(engines, empty_url):
    if empty_url.startswith("sqlite"):
        with sqlite3.connect(parsed(empty_url).path) as connection:
            connection.execute("CREATE TABLE product (id INTEGER)")
        connection.close()
    assert open_for_planning(parsed(empty_url)) is None
    assert connections(engines) == [0]
    with pytest.raises(DatabaseError, match="has no tables of cataloger"):
        open_database(parsed(empty_url))
    assert connections(engines) == [0, 0]
