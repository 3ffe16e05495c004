"""Deleting history: what is current, and what undoing the kept runs would restore, is the same before and after."""

import signal
import threading
from dataclasses import replace

import forks
import pytest
from patience import HANGS
from sqlalchemy import insert, update

from cataloger.db.clock import utc_now
from cataloger.errors import LeaseError, UsageError
from cataloger.history import prune as prunes
from cataloger.history.diff import compare
from cataloger.history.prune import prune_runs
from cataloger.history.undo import undo_run
from cataloger.hooks import Hooks
from cataloger.ledger.presence import Presence
from cataloger.ledger.product_results import ProductResults
from cataloger.ledger.run_queries import find_run
from cataloger.records import Item
from cataloger.schema.models import CorrectionRow, RunRow


@pytest.fixture
def database(shared_database):
    return shared_database


def image(make, key, label="Dress", product=None):
    found = make.good(key, content=label[0], labels=(label, "Belt"), product_key=product)
    return replace(found, confidences=(0.75, 0.05))


def tag(world, *results, model=None, met=None):
    """Write results in a run of their own; return its number. met: keys that a complete scan meets."""
    if world.lease is None:
        before = world.model
        world.begin(model)
        if world.model != before:
            ProductResults(world.source, world.run.id, world.model).recompute_all(world.database, world.lease)
    if results:
        world.sink.write(list(results))
    if met is not None:
        answers = ProductResults(world.source, world.run.id, world.model)
        presence = Presence(world.database, world.source, answers.recompute_for_items)
        world.ledger.on_known = presence.see
        list(world.ledger.plan([Item(key=key, uri=key, version="v1") for key in met]))
        presence.restore_met(world.run.id)
        presence.remove_missing(world.run.id)
    world.end()
    return world.run.id


def results(world):
    """Return (key, number of the run) of every result that is kept."""
    query = "SELECT i.{}, r.run_id FROM cataloger_result r JOIN cataloger_item i ON i.id = r.item_id"
    key = "`key`" if world.database.engine.dialect.name in ("mysql", "mariadb") else "key"
    return sorted(world.rows(query.format(key)))


def undo_each(world, runs):
    """Return what the views show after undoing each run by itself, and all of them, newest first; take that back."""
    shown = []
    for run in runs:
        undone = undo_run(world.database, run)
        shown.append(world.views())
        undo_run(world.database, undone.run_id)
    undone = [undo_run(world.database, run) for run in reversed(runs)]
    shown.append(world.views())
    for each in reversed(undone):
        undo_run(world.database, each.run_id)
    shown.append(world.views())
    return shown


@pytest.fixture
def nights(world, make):
    """Five runs over products of which images change, fail, go and return, the model too; returns their numbers."""

    def failed(key, *, product, **values):
        found = make.bad(key, **values)
        return replace(found, item=replace(found.item, product_key=product))

    shipped = world.model
    first = [image(make, key, product=product) for key, product in zip("abcdef", "ppqqrr", strict=True)]
    return [
        tag(world, *first),
        tag(world, image(make, "a", "Hat", "p"), failed("b", product="p", content="x"), met="abcde"),
        tag(world, image(make, "a", "Sock", "p"), image(make, "c", "Sock", "q"), model=make.other_model),
        tag(world, failed("a", product="p", code="io.timeout", content=None), met="abf", model=shipped),
        tag(world, image(make, "c", "Hat", "q"), failed("e", product="r", content="D"), met="abcef"),
    ]


# What stays


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5, 9])
def test_what_holds_and_what_undoing_kept_runs_brings_back_stays(world, nights, keep):
    kept = nights[-keep:]
    before = undo_each(world, kept)
    before_diff = [list(compare(world.database, old, kept[-1])) for old in kept]
    report = prune_runs(world.database, keep)
    assert world.views() == before[-1]
    assert undo_each(world, kept) == before
    assert [list(compare(world.database, old, kept[-1])) for old in kept] == before_diff
    assert (report.results > 0) == (keep < 4)
    assert [find_run(world.database, run).pruned for run in nights] == [run not in kept for run in nights]


def test_only_replaced_results_of_old_runs_are_deleted(world, make):
    first = tag(world, image(make, "a", product="p"), image(make, "b"))
    second = tag(world, image(make, "a", "Hat", product="p"))
    third = tag(world, image(make, "a", "Sock", product="p"))
    report = prune_runs(world.database, 1)
    assert (report.results, report.product_results, report.runs) == (1, 1, 2)
    assert results(world) == [("a", second), ("a", third), ("b", first)]
    assert prune_runs(world.database, 1).results == 0


def test_runs_within_the_number_to_keep_stay_whole(world, make):
    tag(world, image(make, "a"))
    tag(world, image(make, "a", "Hat"))
    report = prune_runs(world.database, 2)
    assert (report.runs, report.results) == (0, 0)
    assert len(results(world)) == 2


def test_at_least_one_run_is_kept(world):
    with pytest.raises(UsageError, match="--keep must be at least 1, not 0"):
        prune_runs(world.database, 0)


def test_comings_and_goings_before_the_last_are_deleted(world, make):
    tag(world, image(make, "a"), image(make, "b"))
    for met in ("a", "ab", "a", "ab"):
        tag(world, met=met)
    assert prune_runs(world.database, 1).presences == 2
    undo_run(world.database, world.run.id)
    assert world.rows("SELECT v.key FROM cataloger_image_top5 v") == [("a",)]


def test_results_of_an_old_undone_run_are_deleted(world, make):
    tag(world, image(make, "a"))
    undone = tag(world, image(make, "a", "Hat"))
    undo_run(world.database, undone)
    tag(world, image(make, "b"))
    tag(world, image(make, "b", "Hat"))
    before = world.views()
    prune_runs(world.database, 1)
    assert "a" in dict(results(world))
    assert undone not in [run for _, run in results(world)]
    assert world.views() == before


def test_a_failure_in_passing_and_what_it_spared_stay_both(world, make):
    tag(world, image(make, "a"))
    tag(world, make.bad("a", code="io.timeout", content=None))
    last = tag(world, make.bad("a", content="D"))
    before = undo_each(world, [last])
    prune_runs(world.database, 1)
    assert len(results(world)) == 3
    assert undo_each(world, [last]) == before


def test_the_result_that_a_person_corrected_stays(world, make):
    first = tag(world, image(make, "a"))
    tag(world, image(make, "a", "Hat"))
    tag(world, image(make, "a", "Sock"))
    ((item, result),) = world.rows(f"SELECT item_id, id FROM cataloger_result WHERE run_id = {first}")
    with world.database.begin() as connection:
        row = {
            "item_id": item,
            "result_id": result,
            "label": "Cap",
            "author": "me",
            "corrected_at": utc_now(connection),
        }
        connection.execute(insert(CorrectionRow).values(row))
    assert prune_runs(world.database, 1).results == 0
    assert len(results(world)) == 3


def test_a_failure_is_judged_as_before_although_the_result_that_a_person_spoke_of_stays(world, make):
    """What replaced that result stays, too: a later failure on its bytes would be taken to have spared it."""
    tag(world, make.good("a", content="1"))
    world.say("a", "Sock")
    for content in ("2", "3"):
        tag(world, make.good("a", content=content))
    tag(world, make.bad("a", content="4"))
    tag(world, make.bad("a", content="1"))
    last = tag(world, make.good("a", content="5"))
    before = undo_each(world, [last])
    assert prune_runs(world.database, 1).results == 0
    assert undo_each(world, [last]) == before


# Runs that an undo needs


def test_an_old_run_that_a_kept_undo_took_back_stays_whole(world, make):
    tag(world, image(make, "a", product="p"))
    old = tag(world, image(make, "a", "Hat", product="p"), image(make, "b", "Hat"))
    tag(world, image(make, "b"))
    tag(world, image(make, "c"))
    back = undo_run(world.database, old).run_id
    before = undo_each(world, [back])
    prune_runs(world.database, 1)
    assert not find_run(world.database, old).pruned
    assert undo_each(world, [back]) == before


def test_an_undo_of_an_undo_keeps_both_and_the_run(world, make):
    old = tag(world, image(make, "a"))
    undone = undo_run(world.database, old).run_id
    tag(world, image(make, "b"))
    tag(world, image(make, "b", "Hat"))
    again = undo_run(world.database, undone).run_id
    tag(world, image(make, "c"))
    prune_runs(world.database, 2)
    assert [find_run(world.database, run).pruned for run in (old, undone, again)] == [False] * 3
    undo_run(world.database, again)
    assert world.rows("SELECT v.key FROM cataloger_image_top5 v ORDER BY v.key") == [("b",), ("c",)]


def test_failures_after_a_run_that_may_count_again_are_judged_as_before(world, make):
    """What a failure on other bytes has outdone is not spared by a later one on the same bytes."""
    first = tag(world, make.good("a", content="1"))
    tag(world, make.bad("a", content="2"))
    tag(world, make.bad("a", content="1"))
    tag(world, image(make, "b"))
    back = undo_run(world.database, first).run_id
    before = undo_each(world, [back])
    prune_runs(world.database, 1)
    assert undo_each(world, [back]) == before


def test_a_run_whose_undo_did_not_end_stays_so_that_it_can(world, make):
    tag(world, image(make, "a"))
    old = tag(world, image(make, "a", "Hat"))
    back = undo_run(world.database, old)
    expected = world.views()
    with world.database.begin() as connection:
        connection.execute(update(RunRow).where(RunRow.id == back.run_id).values(outcome="abandoned"))
    tag(world, image(make, "a"), met=["a"])
    last = tag(world, image(make, "a", "Sock"))
    prune_runs(world.database, 1)
    undo_run(world.database, old)
    undo_run(world.database, last)
    assert world.views() == expected


# Other runs at work, and ending early


def test_nothing_is_deleted_while_a_run_is_at_work(world, make):
    tag(world, image(make, "a"))
    tag(world, image(make, "a", "Hat"))
    tag(world, image(make, "a", "Sock"))
    busy = world.begin().run.id
    with pytest.raises(LeaseError, match=f"run {busy} is working on this source"):
        prune_runs(world.database, 1)
    assert len(results(world)) == 3
    assert world.rows("SELECT outcome FROM cataloger_run WHERE command = 'prune'") == [("failed",)]


def test_history_is_pruned_page_by_page_and_goes_on_after_an_interruption(world, make, monkeypatch):
    monkeypatch.setattr(prunes, "PAGE", 2)
    for label in ("Dress", "Hat", "Sock"):
        tag(world, *(image(make, str(n), label, product=str(n)) for n in range(5)))
    expected = world.views()
    stop, told = threading.Event(), []

    def progress(count):
        told.append(count)
        if count:
            stop.set()

    report = prune_runs(world.database, 1, Hooks(stop, progress))
    assert (report.interrupted, report.results, told) == (True, 2, [2])
    assert world.rows("SELECT outcome FROM cataloger_run WHERE command = 'prune'") == [("interrupted",)]
    report = prune_runs(world.database, 1)
    assert (report.interrupted, report.results, report.product_results) == (False, 3, 5)
    assert world.views() == expected


KILLED = """
import os, signal, sys
from cataloger.history import prune
from cataloger.hooks import Hooks
from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database

def progress(count):
    if count >= 2:
        os.kill(os.getpid(), signal.SIGKILL)

prune.PAGE = 2
prune.prune_runs(open_database(DatabaseURL.parse(sys.argv[1])), 2, Hooks(progress=progress))
"""


def test_a_killed_pruning_changes_nothing_that_holds_and_is_ended_by_the_next(world, nights, module_url):
    kept = nights[-2:]
    before = undo_each(world, kept)
    status, _, err = forks.run(KILLED, module_url, timeout=HANGS)
    assert status == -signal.SIGKILL, err
    assert undo_each(world, kept) == before
    with pytest.raises(UsageError, match="`cataloger runs prune` has deleted its history"):
        undo_run(world.database, nights[0])
    assert prune_runs(world.database, 2).product_results > 0
    assert prune_runs(world.database, 2).product_results == 0
    assert undo_each(world, kept) == before
    outcomes = world.rows("SELECT outcome FROM cataloger_run WHERE command = 'prune' ORDER BY id")
    assert outcomes == [("abandoned",), ("done",), ("done",)]
