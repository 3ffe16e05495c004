"""Undoing runs in the ledger: what is current is the latest record of the effective runs, in any order of undoing."""

import signal
import threading
from dataclasses import replace

import forks
import pytest
from patience import HANGS
from sqlalchemy import select, update

from cataloger.errors import LeaseError, UsageError
from cataloger.history import undo as undos
from cataloger.history.undo import undo_run
from cataloger.hooks import Hooks
from cataloger.ledger import SourceRef, pin_model, register_source
from cataloger.ledger.leases import acquire
from cataloger.ledger.presence import Presence
from cataloger.ledger.product_results import ProductResults
from cataloger.ledger.run_queries import find_run
from cataloger.ledger.runs import open_run
from cataloger.schema.models import RunRow, SourceRow
from cataloger.sinks.database import DatabaseSink


@pytest.fixture
def database(shared_database):
    return shared_database


class Past:
    """A world, its runs, and what the views showed after each of them."""

    def __init__(self, world, make):
        self.world = world
        self.make = make
        self.runs = []
        self.after = [self.views()]

    def views(self):
        return self.world.views()

    def tag(self, *results, model=None, scan=None):
        """Write results in a run of their own. scan: keys that a complete scan meets; others are missing."""
        world = self.world
        if self.runs:
            before = world.model
            world.begin(model)
            if world.model != before:
                ProductResults(world.source, world.run.id, world.model).recompute_all(world.database, world.lease)
        world.sink.write(list(results)) if results else None
        if scan is not None:
            presence = self.look(scan)
            presence.restore_met(world.run.id)
            presence.remove_missing(world.run.id)
        world.end()
        self.runs.append(world.run.id)
        self.after.append(self.views())
        return world.run.id

    def look(self, keys):
        world = self.world
        answers = ProductResults(world.source, world.run.id, world.model)
        presence = Presence(world.database, world.source, answers.recompute_for_items)
        world.ledger.on_known = presence.see
        list(world.ledger.plan(self.make.item(key) for key in keys))
        return presence

    def undo(self, run_id, **options):
        return undo_run(self.world.database, run_id, **options)


@pytest.fixture
def past(world, make):
    return Past(world, make)


def image(make, key, label="Dress", product=None, confidence=0.9):
    found = make.good(key, content=label[0], labels=(label, "Belt"), product_key=product)
    return replace(found, confidences=(confidence, 0.05))


def labels(past):
    return dict(past.world.rows("SELECT v.key, v.label_1 FROM cataloger_image_top5 v"))


def state(past):
    """Return everything that is current, by the ids of its rows."""
    queries = (
        "SELECT item_id, weights_id, result_id, latest_id FROM cataloger_current ORDER BY item_id, weights_id",
        "SELECT id, gone_run_id FROM cataloger_item ORDER BY id",
        "SELECT id, weights_id FROM cataloger_source ORDER BY id",
    )
    return [past.world.rows(query) for query in queries]


def pinned(past):
    return past.world.rows("SELECT weights_id FROM cataloger_source")[0][0]


# Which run


def test_undoing_the_only_run_leaves_nothing_in_the_views(past, make):
    run = past.tag(image(make, "a", product="p"), image(make, "b"))
    report = past.undo(run)
    assert (report.undone_id, report.images, report.exit_status, report.interrupted) == (run, 2, 0, False)
    assert all(rows == [] for rows in past.views().values())
    assert pinned(past) is None
    past.world.begin()
    assert past.world.plan(make.item("a")) == ["+new"]


def test_undoing_the_last_run_brings_back_what_it_replaced(past, make):
    past.tag(image(make, "a", product="p"), image(make, "b", "Hat"))
    last = past.tag(image(make, "a", "Sock", product="p"), image(make, "new", "Sock", product="q"))
    past.undo(last)
    assert past.views() == past.after[1]


def test_undoing_the_first_run_leaves_what_later_ones_said(past, make):
    first = past.tag(image(make, "a", product="p"), image(make, "b", "Hat", product="p"))
    past.tag(image(make, "a", "Sock", product="p"))
    past.undo(first)
    assert labels(past) == {"a": "Sock"}
    products = past.world.rows("SELECT v.product_key, v.images, v.label_1 FROM cataloger_product_top5 v")
    assert products == [("p", 1, "Sock")]


def test_undoing_a_middle_run_keeps_what_a_later_one_replaced(past, make):
    past.tag(image(make, "a"), image(make, "b"), image(make, "c"))
    middle = past.tag(image(make, "a", "Hat"), image(make, "b", "Hat"))
    past.tag(image(make, "b", "Sock"))
    past.undo(middle)
    assert labels(past) == {"a": "Dress", "b": "Sock", "c": "Dress"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_runs_are_undone_and_taken_back_in_any_order(past, make, order):
    for label in ("Dress", "Hat", "Sock"):
        past.tag(image(make, "a", label, product="p"), image(make, label, label, product="p"))
    undone = [past.undo(past.runs[position]).run_id for position in order]
    assert past.views() == past.after[0]
    for run in undone:
        past.undo(run)
    assert past.views() == past.after[3]


def test_the_results_of_an_undone_run_stay_as_history(past, make):
    past.tag(image(make, "a"))
    past.undo(past.tag(image(make, "a", "Hat")))
    assert past.world.rows("SELECT label_1 FROM cataloger_result ORDER BY id") == [("Dress",), ("Hat",)]


def test_the_next_run_plans_by_what_holds(past, make):
    past.tag(image(make, "a"))
    past.undo(past.tag(make.good("a", "v2", labels=("Hat",))))
    past.world.begin()
    assert past.world.plan(make.item("a", "v2"), make.item("a", "v1")) == ["+changed", "-duplicate"]
    assert past.world.plan(make.item("a", "v1")) == ["-unchanged"]


def test_many_images_are_undone_page_by_page(past, make, monkeypatch):
    monkeypatch.setattr(undos, "PAGE", 3)
    past.tag(*(image(make, str(n), product=f"p{n // 2}") for n in range(10)))
    last = past.tag(*(image(make, str(n), "Hat", product=f"p{n // 2}") for n in range(2, 10)), scan=["0", "1", "9"])
    told = []
    report = past.undo(last, hooks=Hooks(progress=lambda *numbers: told.append(numbers)))
    assert past.views() == past.after[1]
    assert [done for done, _ in told][:3] == [3, 6, 8]
    assert report.images == 8 + 7


# Failures


def test_a_failure_that_replaced_nothing_is_undone_in_the_plan_alone(past, make):
    past.tag(image(make, "a"))
    failed = past.tag(make.bad("a", "v2", code="io.timeout", content=None))
    assert past.after[2] == past.after[1]
    past.undo(failed)
    assert past.views() == past.after[1]
    past.world.begin()
    assert past.world.plan(make.item("a")) == ["-unchanged"]


def test_undoing_a_failure_that_replaced_a_result_brings_it_back(past, make):
    past.tag(image(make, "a", product="p"))
    bad = make.bad("a", "v2", content="x")
    failed = past.tag(replace(bad, item=replace(bad.item, product_key="p")))
    assert labels(past) == {"a": None}
    past.undo(failed)
    assert past.views() == past.after[1]


def test_undoing_a_good_result_shows_the_failure_that_it_had_outdone(past, make):
    past.tag(make.bad("a", content="1"))
    good = past.tag(make.good("a", "v2", content="2"))
    past.tag(make.bad("a", "v3", code="io.timeout", content=None))
    assert past.after[3] == past.after[2]
    past.undo(good)
    codes = past.world.rows("SELECT v.error_code FROM cataloger_image_top5 v")
    assert codes == [("io.timeout",)]


def test_a_failure_on_the_bytes_of_an_undone_result_holds_then(past, make):
    good = past.tag(make.good("a", content="1"))
    past.tag(make.bad("a", content="1"))
    assert past.after[2] == past.after[1]
    again = past.undo(good)
    assert labels(past) == {"a": None}
    past.undo(again.run_id)
    assert past.views() == past.after[2]


# Undo of an undo


def test_undoing_an_undo_brings_the_run_back_to_the_letter(past, make):
    past.tag(image(make, "a", product="p"), image(make, "b", product="p"))
    last = past.tag(image(make, "a", "Hat", product="p"), scan=["a"])
    before = state(past)
    first = past.undo(last)
    second = past.undo(first.run_id)
    assert (second.undone_id, second.reapplied_id) == (first.run_id, last)
    assert past.views() == past.after[2]
    assert state(past) == before
    third = past.undo(second.run_id)
    assert past.views() == past.after[1]
    past.undo(third.run_id)
    assert past.views() == past.after[2]


def test_a_reapplied_run_can_be_undone_again(past, make):
    past.tag(image(make, "a"))
    last = past.tag(image(make, "a", "Hat"))
    past.undo(past.undo(last).run_id)
    past.undo(last)
    assert past.views() == past.after[1]


def test_the_records_say_who_undid_whom(past, make):
    run = past.tag(image(make, "a"))
    first = past.undo(run).run_id
    assert find_run(past.world.database, run).state == f"done, undone by {first}"
    assert find_run(past.world.database, first).state == f"done, undid {run}"
    second = past.undo(first).run_id
    assert find_run(past.world.database, run).state == "done"
    assert find_run(past.world.database, first).state == f"done, undid {run}, undone by {second}"
    assert find_run(past.world.database, second).counts["counts_again"] == run


# Models


def test_a_model_that_is_undone_gives_the_source_back_to_the_one_before(past, make):
    past.tag(image(make, "a", product="p"), image(make, "b", product="p"), image(make, "c", "Hat", product="q"))
    adopted = past.tag(
        image(make, "a", "Sock", product="p"), image(make, "b", "Sock", product="p"), model=make.other_model
    )
    assert labels(past) == {"a": "Sock", "b": "Sock"}
    back = past.undo(adopted)
    assert past.views() == past.after[1]
    assert pinned(past) == "a" * 64
    past.undo(back.run_id)
    assert past.views() == past.after[2]
    assert pinned(past) == make.other_model.weights_id


def test_undoing_the_run_before_a_model_was_adopted_leaves_the_new_one(past, make):
    first = past.tag(image(make, "a", product="p"))
    past.tag(image(make, "a", "Sock", product="p"), model=make.other_model)
    past.undo(first)
    assert past.views() == past.after[2]
    past.undo(past.runs[1])
    assert past.views() == past.after[0]
    assert pinned(past) is None


def test_a_model_stays_while_another_run_with_it_counts(past, make):
    past.tag(image(make, "a"), image(make, "b"))
    past.tag(image(make, "a", "Sock"), model=make.other_model)
    past.tag(image(make, "b", "Sock"))
    past.undo(past.runs[1])
    assert pinned(past) == make.other_model.weights_id
    assert labels(past) == {"b": "Sock"}
    past.undo(past.runs[2])
    assert past.views() == past.after[1]


def test_products_of_a_model_that_comes_back_are_those_of_the_images_that_are_there_by_then(past, make):
    shipped, other = past.world.model, make.other_model
    past.tag()
    past.tag(image(make, "a", "Sock", product="p"), image(make, "b", "Sock", product="p"), model=other)
    past.tag(image(make, "a", product="p"), image(make, "b", product="p"), model=shipped)
    lost = past.tag(scan=["a"])
    adopted = past.tag(image(make, "c", "Hat", product="q"), model=other)
    back = past.undo(adopted)
    past.undo(lost)
    # Answers under the other model are not shown at the moment, and were last made when b was not there.
    past.undo(back.run_id)
    products = past.world.rows("SELECT v.product_key, v.label_1, v.images FROM cataloger_product_top5 v")
    assert sorted(products) == [("p", "Sock", 2), ("q", "Hat", 1)]


# Presence


def test_what_a_run_lost_comes_back_when_it_is_undone_and_goes_when_that_is_taken_back(past, make):
    past.tag(image(make, "a", product="p"), image(make, "b", "Hat", product="p"), image(make, "c", product="q"))
    lost = past.tag(scan=["a"])
    assert labels(past) == {"a": "Dress"}
    back = past.undo(lost)
    assert past.views() == past.after[1]
    past.undo(back.run_id)
    assert past.views() == past.after[2]


def test_what_came_back_goes_again_when_the_run_that_met_it_is_undone(past, make):
    past.tag(image(make, "a"), image(make, "b"))
    lost = past.tag(scan=["a"])
    met = past.tag(scan=["a", "b"])
    assert past.after[3] == past.after[1]
    past.undo(met)
    assert past.views() == past.after[2]
    past.undo(lost)
    assert past.views() == past.after[1]


def test_what_came_back_stays_when_the_run_that_lost_it_is_undone(past, make):
    past.tag(image(make, "a"), image(make, "b"))
    lost = past.tag(scan=["a"])
    past.tag(scan=["a", "b"])
    past.undo(lost)
    assert past.views() == past.after[1]


def test_an_image_that_came_back_changed_goes_with_the_run_that_tagged_it(past, make):
    past.tag(image(make, "a"), image(make, "b"))
    past.tag(scan=["a"])
    changed = past.tag(image(make, "b", "Hat"))
    assert labels(past) == {"a": "Dress", "b": "Hat"}
    past.undo(changed)
    assert past.views() == past.after[2]


def test_the_next_complete_scan_loses_again_what_an_undo_brought_back(past, make):
    past.tag(image(make, "a"), image(make, "b"))
    past.undo(past.tag(scan=["a"]))
    past.tag(scan=["a"])
    assert labels(past) == {"a": "Dress"}


def test_what_a_scan_of_a_folder_within_lost_comes_back(past, make):
    past.tag(image(make, "in/a"), image(make, "b"))
    past.world.begin()
    inside = SourceRef(past.world.source.id, past.world.source.root, "in/")
    assert Presence(past.world.database, inside).remove_missing(past.world.run.id) == 1
    past.world.end()
    assert labels(past) == {"b": "Dress"}
    past.undo(past.world.run.id)
    assert past.views() == past.after[1]


# Several sources


def tag_elsewhere(world, make, *labels):
    """Write the results of the running run for another source, too; give its reference back."""
    other = register_source(world.database, kind="folder", root="/elsewhere")
    pin_model(world.database, other, world.model, world.run.id)
    lease = acquire(world.database, other.id, world.run.id)
    sink = DatabaseSink(world.database, ProductResults(other, world.run.id, world.model), lease)
    sink.write([image(make, label, label, product="p") for label in labels])
    lease.release()
    return other


def test_a_run_over_two_sources_is_undone_in_both(past, make):
    tag_elsewhere(past.world, make, "Dress")
    past.tag(image(make, "a", product="p"))
    past.world.begin()
    tag_elsewhere(past.world, make, "Dress", "Hat")
    past.world.sink.write([image(make, "a", "Hat", product="p")])
    past.world.end()
    past.undo(past.world.run.id)
    assert past.views() == past.after[1]


def test_another_source_is_left_as_it_is(past, make):
    past.tag(image(make, "a", product="p"))
    run = open_run(past.world.database, command="tag", options={}, device="cpu")
    other = register_source(past.world.database, kind="folder", root="/elsewhere")
    pin_model(past.world.database, other, past.world.model, run.id)
    lease = acquire(past.world.database, other.id, run.id)
    products = ProductResults(other, run.id, past.world.model)
    DatabaseSink(past.world.database, products, lease).write([image(make, "a", product="p")])
    lease.release()
    run.close("done", {})
    past.undo(past.runs[0])
    assert past.world.rows("SELECT v.source, v.key FROM cataloger_image_top5 v") == [("/elsewhere", "a")]
    assert past.world.rows("SELECT v.source FROM cataloger_product_top5 v") == [("/elsewhere",)]


def test_an_undo_that_a_busy_source_stopped_half_way_goes_on_later(past, make):
    other = tag_elsewhere(past.world, make, "Dress")
    run = past.tag(image(make, "a"))
    busy = open_run(past.world.database, command="tag", options={}, device="cpu")
    lease = acquire(past.world.database, other.id, busy.id)
    with pytest.raises(LeaseError, match=f"run {busy.id} is working on this source"):
        past.undo(run)
    assert labels(past) == {"Dress": "Dress"}
    lease.release()
    past.undo(run)
    assert labels(past) == {}


# What cannot be undone


def test_a_run_is_undone_once_and_the_error_names_what_takes_it_back(past, make):
    run = past.tag(image(make, "a"))
    undone = past.undo(run).run_id
    with pytest.raises(UsageError, match=rf"run {run} was undone by run {undone} .*`cataloger runs undo {undone}`"):
        past.undo(run)
    taken_back = past.undo(undone).run_id
    with pytest.raises(UsageError, match=rf"run {undone} was undone by run {taken_back} already"):
        past.undo(undone)


def test_a_running_run_cannot_be_undone(past, make):
    past.world.sink.write([image(make, "a")])
    with pytest.raises(UsageError, match=rf"run {past.world.run.id} has not ended; stop it first"):
        past.undo(past.world.run.id)
    assert labels(past) == {"a": "Dress"}


@pytest.mark.parametrize("outcome", ["failed", "interrupted", "abandoned"])
def test_a_run_that_did_not_end_well_is_undone_like_any_other(past, make, outcome):
    past.world.sink.write([image(make, "a")])
    past.world.end(outcome)
    past.undo(past.world.run.id)
    assert labels(past) == {}


def test_a_source_that_is_being_worked_on_is_left_alone(past, make):
    run = past.tag(image(make, "a"))
    busy = past.world.begin().run.id
    with pytest.raises(LeaseError, match=f"run {busy} is working on this source"):
        past.undo(run)
    assert labels(past) == {"a": "Dress"}
    assert find_run(past.world.database, run).undone_by is None
    assert past.world.rows("SELECT outcome FROM cataloger_run ORDER BY id DESC")[0] == ("failed",)
    past.world.end()
    past.undo(run)
    assert labels(past) == {}


def test_an_unknown_run_is_said(past):
    with pytest.raises(UsageError, match="there is no run 987654; `cataloger runs list` shows them"):
        past.undo(987654)


@pytest.mark.parametrize("command", ["prune", "move", "rename", "delete"])
def test_other_commands_have_nothing_to_undo(past, command):
    run = open_run(past.world.database, command=command, options={}, device="")
    run.close("done", {})
    with pytest.raises(UsageError, match=f"run {run.id} is of `cataloger {command}`, which cannot be undone"):
        past.undo(run.id)


def test_a_pruned_run_cannot_be_undone_nor_its_undo(past, make):
    run = past.tag(image(make, "a"))
    undone = past.undo(run).run_id
    with past.world.database.begin() as connection:
        connection.execute(update(RunRow).where(RunRow.id == run).values(pruned=True))
    for number in (run, undone):
        with pytest.raises(UsageError, match=f"run {number} cannot be undone: `cataloger runs prune` has deleted"):
            past.undo(number)


def test_a_run_that_found_no_source_is_undone_all_the_same(past):
    run = open_run(past.world.database, command="tag", options={}, device="cpu")
    run.close("failed", {})
    report = past.undo(run.id)
    assert find_run(past.world.database, run.id).undone_by == report.run_id


# Ending early


def test_an_interrupted_undo_goes_on_where_it_was_asked_to_stop(past, make, monkeypatch):
    monkeypatch.setattr(undos, "PAGE", 2)
    past.tag(*(image(make, str(n)) for n in range(6)))
    last = past.tag(*(image(make, str(n), "Hat") for n in range(6)))
    stop = threading.Event()
    report = past.undo(last, hooks=Hooks(stop, lambda *_: stop.set()))
    assert (report.interrupted, report.exit_status, report.images) == (True, 130, 2)
    assert sorted(labels(past).values()) == ["Dress"] * 2 + ["Hat"] * 4
    again = rf"run {report.run_id} is an undo that did not finish; `cataloger runs undo {last}` resumes it"
    assert find_run(past.world.database, report.run_id).outcome == "interrupted"
    past.undo(last)
    assert past.views() == past.after[1]
    with pytest.raises(UsageError, match=again):
        past.undo(report.run_id)


KILLED = """
import os, signal, sys
from cataloger.history import undo
from cataloger.utils import failpoints
from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database

url, run, point, times = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
undo.PAGE = 2
passed = []

def check():
    passed.append(point)
    if len(passed) == times:
        os.kill(os.getpid(), signal.SIGKILL)

failpoints.set_action(point, check)
undo.undo_run(open_database(DatabaseURL.parse(url)), run)
"""


def kill_undo(url, run, point, times=2):
    """Undo a run in a child process that kills itself at a point."""
    status, _, err = forks.run(KILLED, url, run, point, times, timeout=HANGS)
    assert status == -signal.SIGKILL, err


@pytest.fixture
def busy_past(past, make):
    """Runs that change labels, model and presence, over three products."""

    def images(label, *numbers):
        return [image(make, str(n), label, product=f"p{n % 3}") for n in numbers]

    past.tag(*images("Dress", *range(6)))
    past.tag(*images("Hat", *range(5)), model=make.other_model, scan=["0", "1", "2", "4"])
    past.tag(*images("Sock", 0, 7))
    return past


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_an_undo_that_was_killed_goes_on_when_it_is_asked_for_again(busy_past, module_url, point):
    past = busy_past
    whole = past.undo(past.runs[1])
    undone = past.views()
    past.undo(whole.run_id)
    assert past.views() == past.after[3]
    kill_undo(module_url, past.runs[1], point)
    assert undone != past.views() != past.after[3]
    past.undo(past.runs[1])
    assert past.views() == undone
    outcomes = past.world.rows("SELECT outcome FROM cataloger_run WHERE command = 'undo' ORDER BY id")
    assert outcomes == [("done",), ("done",), ("abandoned",), ("done",)]


def test_an_undo_of_an_undo_that_was_killed_goes_on_when_it_is_asked_for_again(busy_past, module_url):
    past = busy_past
    undone = past.undo(past.runs[1]).run_id
    kill_undo(module_url, undone, "after_commit")
    assert past.views() != past.after[3]
    past.undo(undone)
    assert past.views() == past.after[3]


def test_a_killed_undo_may_be_given_up_by_taking_it_to_its_end_and_back(busy_past, module_url):
    past = busy_past
    kill_undo(module_url, past.runs[2], "after_commit", times=1)
    killed = past.world.rows("SELECT MAX(id) FROM cataloger_run")[0][0]
    with pytest.raises(UsageError, match=f"run {killed} is an undo that did not finish; `cataloger runs undo"):
        past.undo(killed)
    past.undo(past.undo(past.runs[2]).run_id)
    assert past.views() == past.after[3]


def test_runs_undone_while_another_undo_lies_killed_do_not_disturb_it(busy_past, module_url):
    past = busy_past
    kill_undo(module_url, past.runs[1], "after_commit", times=1)
    past.undo(past.runs[2])
    past.undo(past.runs[1])
    assert past.views() == past.after[1]
    with past.world.database.read() as connection:
        assert connection.scalar(select(SourceRow.weights_id)) == "a" * 64
