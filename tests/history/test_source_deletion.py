"""Deleting a source: all of it goes, nothing of another one does; killed half-way, the same command ends it."""

import threading
from contextlib import closing

import pytest
from by_url import open_results
from sqlalchemy import func, select
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import LeaseError, UsageError
from cataloger.history import source_deletion as deletion
from cataloger.history.source_deletion import count_recorded, delete_source
from cataloger.hooks import Hooks
from cataloger.ledger.leases import acquire
from cataloger.ledger.runs import open_run
from cataloger.schema.models import Base, RunRow, SourceRow
from cataloger.utils import failpoints

OWN = ("cataloger_run", "cataloger_model")
"""Tables of no source: runs stay in the list of runs."""


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture(autouse=True)
def no_failpoints():
    yield
    failpoints.clear()


def counts(database):
    """Return table -> its number of rows."""
    with database.read() as connection:
        return {
            name: connection.scalar(select(func.count()).select_from(table))
            for name, table in Base.metadata.tables.items()
        }


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["sources", "delete", *arguments])
    assert result.exit_code == status, result.output
    return " ".join((result.stderr if status else result.stdout).split())


@pytest.fixture
def filled(world, make):
    """A source with two runs, products, corrections and a missing image."""
    world.sink.write([*(make.good(key, product_key=f"p{ord(key) % 3}") for key in "abcdefg"), make.bad("h")])
    world.begin()
    world.sink.write([make.good("a", content="2", product_key="p9")])
    world.say("a", "Hat")
    world.say("b", "not_product")
    world.end()
    return world


def test_all_of_an_old_source_goes_and_nothing_of_another(old_ledger):
    with closing(open_results(old_ledger.url)) as database:
        folder, table = sorted(database.rows(select(SourceRow.__table__)), key=lambda row: row.kind)
        before, products = counts(database), old_ledger.shown("products")
        written = count_recorded(database, table.root)
        assert all((written.images, written.results, written.product_results, written.corrections, written.writes))
        kept = [row for row in old_ledger.shown("cataloger_image_top5") if row["source"] == folder.name]
        old_ledger.run("sources", "delete", table.root, "--yes")
        after = counts(database)
        assert [row.root for row in database.rows(select(SourceRow.__table__))] == [folder.root]
        assert old_ledger.shown("cataloger_image_top5") == kept
        assert after["cataloger_result"] == before["cataloger_result"] - written.results
        assert after["cataloger_write"] == before["cataloger_write"] - written.writes == 0
        assert after["cataloger_run"] == before["cataloger_run"] + 1
        assert old_ledger.shown("products") == products
        old_ledger.run("runs", "list")
        assert "deleted" in old_ledger.run("runs", "undo", "14", status=2)
        old_ledger.run("sources", "delete", folder.root, "--yes")
        assert {name: count for name, count in counts(database).items() if count and name not in OWN} == {}


def test_it_says_what_it_would_delete_and_wants_that_confirmed(filled):
    url = filled.database.url.parsed.render_as_string(hide_password=False)
    before = counts(filled.database)
    expected = "the folder /photos with 8 images, 9 results of images"
    assert f"would delete {expected}" in run("/photos", "--db", url, "--dry-run")
    assert f"{expected}, 5 of products, 2 corrections" in run("/photos", "--db", url, status=2)
    assert "add --yes to confirm" in run("/photos", "--db", url, status=2)
    assert "leave out --yes" in run("/photos", "--db", url, "--dry-run", "--yes", status=2)
    assert "there is no source /elsewhere; there are: /photos" in run("/elsewhere", "--db", url, "--yes", status=2)
    assert counts(filled.database) == before
    assert f"deleted {expected}" in run("/photos", "--db", url, "--yes")
    assert {name for name, count in counts(filled.database).items() if count} == set(OWN)


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "before_close"])
def test_killed_half_way_the_views_show_nothing_of_it_and_the_same_command_ends_it(filled, point, monkeypatch):
    monkeypatch.setattr(deletion, "PAGE", 3)
    reached = []

    def kill():
        reached.append(point)
        if len(reached) == 2 or point == "before_close":
            raise KeyboardInterrupt

    failpoints.set_action(point, kill)
    with pytest.raises(KeyboardInterrupt):
        delete_source(filled.database, "/photos")
    assert filled.rows("SELECT COUNT(*) FROM cataloger_image_top5") == [(0,)]
    failpoints.clear()
    if point != "before_close":
        left = {"before_commit": 5, "after_commit": 2}[point]
        assert delete_source(filled.database, "/photos").images == left
    assert {name for name, count in counts(filled.database).items() if count} == set(OWN)
    outcomes = select(RunRow.outcome).where(RunRow.command == "delete").order_by(RunRow.id)
    assert filled.database.scalars(outcomes)[0] == "interrupted"


def test_a_request_to_stop_ends_it_between_two_pages(filled, monkeypatch):
    monkeypatch.setattr(deletion, "PAGE", 3)
    stop = threading.Event()
    report = delete_source(filled.database, "/photos", Hooks(stop, lambda done, total: stop.set()))
    assert (report.interrupted, report.deleted, report.images) == (True, 3, 8)
    assert delete_source(filled.database, "/photos").deleted == 5


def test_a_source_that_is_being_worked_on_is_not_deleted(filled):
    busy = open_run(filled.database, command="tag", options={}, device="cpu")
    lease = acquire(filled.database, filled.source.id, busy.id)
    before = filled.views()
    with pytest.raises(LeaseError, match=f"run {busy.id} is working on this source"):
        delete_source(filled.database, "/photos")
    assert filled.views() == before
    lease.release()
    assert delete_source(filled.database, "/photos").images == 8
    with pytest.raises(UsageError, match="there is no source /photos; there are: none"):
        delete_source(filled.database, "/photos")
