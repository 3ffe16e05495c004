"""What changed between two runs: answers that were current after each, of images and of products."""

import tracemalloc
from dataclasses import replace

import pytest
from sqlalchemy import update

from cataloger.errors import UsageError
from cataloger.history import diff as diffs
from cataloger.history.diff import Difference, DifferenceSummary, PastAnswer, compare
from cataloger.history.undo import undo_run
from cataloger.ledger import pin_model, register_source
from cataloger.ledger.presence import Presence
from cataloger.ledger.product_results import ProductResults
from cataloger.ledger.runs import open_run
from cataloger.schema.models import RunRow


@pytest.fixture
def database(shared_database):
    return shared_database


def image(make, key, label="Dress", product=None, confidence=0.75):
    found = make.good(key, content=label[0], labels=(label, "Belt"), product_key=product)
    return replace(found, confidences=(confidence, 0.05))


def tag(world, *results, model=None, met=None):
    """Write results in a run of their own; return its number. met: keys that a complete scan meets."""
    if world.lease is None:
        world.begin(model)
    if results:
        world.sink.write(list(results))
    if met is not None:
        answers = ProductResults(world.source, world.run.id, world.model)
        presence = Presence(world.database, world.source, answers.recompute_for_items)
        world.ledger.on_known = presence.see
        list(world.ledger.plan([key_only(key) for key in met]))
        presence.restore_met(world.run.id)
        presence.remove_missing(world.run.id)
    world.end()
    return world.run.id


def key_only(key):
    from cataloger.records import Item

    return Item(key=key, uri=key, version="v1")


def changes(world, before, after, kind="image"):
    """Return key -> (change, label before, label after) of what did not stay the same."""
    found = [each for each in compare(world.database, before, after) if each.kind == kind and each.change != "same"]
    assert len({each.key for each in found}) == len(found)
    return {
        each.key: (each.change, each.before and each.before.label, each.after and each.after.label) for each in found
    }


def test_images_that_moved_came_or_stayed_are_told_apart(world, make):
    first = tag(world, image(make, "a"), image(make, "b"))
    second = tag(world, image(make, "a", "Hat"), image(make, "new", "Sock"))
    assert changes(world, first, second) == {"a": ("moved", "Dress", "Hat"), "new": ("new", None, "Sock")}
    same = [each for each in compare(world.database, first, second) if each.change == "same"]
    assert [(each.key, each.before, each.after) for each in same] == [
        ("b", PastAnswer("Dress", 0.75), PastAnswer("Dress", 0.75))
    ]


def test_the_other_way_round_what_came_is_gone(world, make):
    first = tag(world, image(make, "a"))
    second = tag(world, image(make, "a", "Hat"), image(make, "new", "Sock"))
    assert changes(world, second, first) == {"a": ("moved", "Hat", "Dress"), "new": ("gone", "Sock", None)}


def test_a_run_is_the_same_as_itself(world, make):
    run = tag(world, image(make, "a", product="p"), make.bad("b"))
    assert [each.change for each in compare(world.database, run, run)] == ["same"] * 3


def test_images_that_left_the_source_are_gone_and_new_when_they_return(world, make):
    first = tag(world, image(make, "a"), image(make, "b"))
    lost = tag(world, met=["a"])
    back = tag(world, met=["a", "b"])
    assert changes(world, first, lost) == {"b": ("gone", "Dress", None)}
    assert changes(world, lost, back) == {"b": ("new", None, "Dress")}
    assert changes(world, first, back) == {}


def test_images_that_fail_and_recover(world, make):
    first = tag(world, image(make, "a"), make.bad("b", content="1"), make.bad("c", content="1"))
    failed = make.bad("a", content="2")
    second = tag(world, failed, make.good("b", content="2"), make.bad("c", content="2"))
    assert changes(world, first, second) == {"a": ("failed", "Dress", None), "b": ("recovered", None, "Dress")}


def test_a_failure_in_passing_is_no_change(world, make):
    first = tag(world, image(make, "a"), image(make, "b"))
    passing = make.bad("a", code="io.timeout", content=None)
    second = tag(world, passing, make.bad("b", content="D"))
    assert changes(world, first, second) == {}


def test_products_are_compared_as_images_are(world, make):
    first = tag(world, image(make, "a", product="p"), image(make, "b", product="q"))
    second = tag(world, image(make, "a", "Hat", product="p"), image(make, "c", product="r"))
    assert changes(world, first, second, "product") == {"p": ("moved", "Dress", "Hat"), "r": ("new", None, "Dress")}


def test_a_product_whose_images_have_all_gone_is_gone(world, make):
    first = tag(world, image(make, "a", product="p"), image(make, "b", product="q"), image(make, "c", product="q"))
    second = tag(world, met=["b"])
    third = tag(world, met=["a", "b"])
    assert changes(world, first, second, "product") == {"p": ("gone", "Dress", None)}
    assert changes(world, second, third, "product") == {"p": ("new", None, "Dress")}


def test_a_product_whose_only_image_is_damaged_by_now_is_gone(world, make):
    first = tag(world, image(make, "a", product="p"))
    damaged = make.bad("a", "v2", content="2")
    second = tag(world, replace(damaged, item=replace(damaged.item, product_key="p")))
    assert changes(world, first, second, "product") == {"p": ("gone", "Dress", None)}
    assert changes(world, first, second) == {"a": ("failed", "Dress", None)}


def test_two_models_are_compared_on_the_images_of_both(world, make):
    first = tag(world, image(make, "a", product="p"), image(make, "b", product="p"), image(make, "c"))
    other = tag(world, image(make, "a", "Hat", product="p"), image(make, "b", product="p"), model=make.other_model)
    assert changes(world, first, other) == {"a": ("moved", "Dress", "Hat")}
    assert "c" not in {each.key for each in compare(world.database, first, other)}
    back = tag(world, model=replace(world.model, weights_id="a" * 64))
    assert changes(world, other, back) == {"a": ("moved", "Hat", "Dress")}
    assert changes(world, first, back) == {}


def test_runs_in_between_count_and_later_ones_do_not(world, make):
    first = tag(world, image(make, "a"), image(make, "b"))
    tag(world, image(make, "a", "Hat"))
    third = tag(world, image(make, "c"))
    tag(world, image(make, "b", "Sock"))
    assert changes(world, first, third) == {"a": ("moved", "Dress", "Hat"), "c": ("new", None, "Dress")}


def test_a_run_in_between_that_was_undone_does_not_count(world, make):
    first = tag(world, image(make, "a", product="p"))
    second = tag(world, image(make, "a", "Hat", product="p"))
    third = tag(world, image(make, "b"))
    undone = undo_run(world.database, second).run_id
    assert changes(world, first, third) == {"b": ("new", None, "Dress")}
    assert changes(world, first, third, "product") == {}
    undo_run(world.database, undone)
    assert changes(world, first, third)["a"] == ("moved", "Dress", "Hat")
    assert changes(world, first, third, "product") == {"p": ("moved", "Dress", "Hat")}


def test_a_product_is_compared_without_the_images_of_a_run_that_was_undone(world, make):
    first = tag(world, image(make, "a", product="p"), image(make, "b", product="p", confidence=0.5))
    undone = tag(world, image(make, "a", "Hat", product="p", confidence=0.9))
    third = tag(world, image(make, "b", product="p", confidence=0.6))
    assert changes(world, first, third, "product") == {"p": ("moved", "Dress", "Hat")}
    undo_run(world.database, undone)
    assert changes(world, first, third, "product") == {}


def test_an_undone_run_is_compared_as_it_was(world, make):
    first = tag(world, image(make, "a", product="p"))
    second = tag(world, image(make, "a", "Hat", product="p"))
    undo_run(world.database, second)
    third = tag(world, image(make, "b"))
    assert changes(world, first, second) == {"a": ("moved", "Dress", "Hat")}
    assert changes(world, first, second, "product") == {"p": ("moved", "Dress", "Hat")}
    assert changes(world, second, third)["a"] == ("moved", "Hat", "Dress")
    assert changes(world, second, third, "product") == {"p": ("moved", "Hat", "Dress")}


def test_an_undone_first_run_is_compared_with_a_later_one(world, make):
    first = tag(world, image(make, "a", product="p"), image(make, "b"))
    second = tag(world, image(make, "a", "Hat", product="p"))
    undo_run(world.database, first)
    assert changes(world, first, second) == {"a": ("moved", "Dress", "Hat"), "b": ("gone", "Dress", None)}


def test_only_sources_of_both_runs_are_compared(world, make):
    first = tag(world, image(make, "a"))
    world.begin()
    elsewhere = register_source(world.database, kind="folder", root="/elsewhere")
    pin_model(world.database, elsewhere, world.model, world.run.id)
    second = tag(world, image(make, "a", "Hat"))
    assert {each.source for each in compare(world.database, first, second)} == {"/photos"}


def test_runs_without_a_common_source_are_refused(world, make):
    first = tag(world, image(make, "a"))
    elsewhere = register_source(world.database, kind="folder", root="/elsewhere")
    run = open_run(world.database, command="tag", options={}, device="cpu")
    pin_model(world.database, elsewhere, world.model, run.id)
    run.close("done", {})
    with pytest.raises(UsageError, match=f"runs {first} and {run.id} have no source in common"):
        list(compare(world.database, first, run.id))


def test_unknown_runs_and_those_of_other_commands_are_refused(world, make):
    first = tag(world, image(make, "a"))
    with pytest.raises(UsageError, match="there is no run 987654; `cataloger runs list`"):
        list(compare(world.database, first, 987654))
    undone = undo_run(world.database, first).run_id
    with pytest.raises(UsageError, match=rf"run {undone} \(`cataloger undo`\) has tagged nothing"):
        list(compare(world.database, undone, first))


def test_a_run_whose_history_has_ended_is_refused(world, make):
    first, second = tag(world, image(make, "a")), tag(world, image(make, "a", "Hat"))
    with world.database.begin() as connection:
        connection.execute(update(RunRow).where(RunRow.id == first).values(pruned=True))
    with pytest.raises(UsageError, match=f"run {first} cannot be compared: `cataloger runs prune` has deleted its"):
        list(compare(world.database, first, second))


def test_pages_of_images_and_products_are_all_compared(world, make, monkeypatch):
    monkeypatch.setattr(diffs, "IDS_PER_READ", 2)
    keys = [f"{number}" for number in range(7)]
    first = tag(world, *(image(make, key, product=f"p{key}") for key in keys))
    second = tag(world, *(image(make, key, "Hat", product=f"p{key}") for key in keys))
    assert list(changes(world, first, second)) == keys
    assert sorted(changes(world, first, second, "product")) == [f"p{key}" for key in keys]


# The summary


def difference(before, after, key="a", kind="image", confidence=0.5, earlier=0.5):
    old, new = (before and PastAnswer(before, earlier)), (after and PastAnswer(after, confidence))
    return Difference(kind, "/photos", key, None, old or None, new or None)


def summary_of(differences, limit=10):
    summary = DifferenceSummary(limit)
    for each in differences:
        summary.add(each)
    return summary


def test_the_summary_counts_changes_churn_and_moves():
    moves = [("Dress", "Hat")] * 3 + [("Hat", "Dress"), ("Dress", "Dress"), ("Sock", "Sock"), (None, "Sock")]
    found = summary_of(difference(*move) for move in moves).as_json()
    images = found["images"]
    assert (images["compared"], images["moved"], images["same"], images["new"], images["gone"]) == (7, 4, 2, 1, 0)
    assert images["churn"] == [
        {"category": "Dress", "before": 4, "left": 3, "arrived": 1, "after": 2},
        {"category": "Hat", "before": 1, "left": 1, "arrived": 3, "after": 3},
        {"category": "Sock", "before": 1, "left": 0, "arrived": 0, "after": 2},
    ]
    assert images["moves"] == [
        {"before": "Dress", "after": "Hat", "count": 3},
        {"before": "Hat", "after": "Dress", "count": 1},
    ]
    assert found["products"]["compared"] == 0


def test_the_most_confident_moves_and_the_biggest_changes_of_confidence_are_named_first():
    moved = [difference("Dress", "Hat", key=str(n), confidence=n / 10) for n in range(10)]
    shifted = [difference("Dress", "Dress", key=str(n), confidence=0.5 + n / 10) for n in (1, -4, 3, 0)]
    summary = summary_of([*moved, *shifted], limit=3)
    assert [each.key for each in summary.moved] == ["9", "8", "7"]
    assert [each.key for each in summary.shifted] == ["-4", "3", "1"]
    assert [each["key"] for each in summary.as_json()["confidence_changes"]] == ["-4", "3", "1"]


def test_equally_confident_ones_stay_in_order():
    summary = summary_of([difference("Dress", "Hat", key=str(n)) for n in range(5)], limit=3)
    assert [each.key for each in summary.moved] == ["0", "1", "2"]


def test_no_examples_on_request():
    summary = summary_of([difference("Dress", "Hat"), difference("Dress", "Dress", confidence=0.9)], limit=0)
    assert (summary.moved, summary.shifted, summary.parts["image"].changes["moved"]) == ([], [], 1)


def test_memory_does_not_grow_with_the_number_of_differences():
    def peak(count):
        tracemalloc.start()
        summary_of(difference("Dress", "Hat", key=str(n), confidence=n / count) for n in range(count))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(50_000) < peak(500) + 100_000  # two bytes an image


def test_a_failed_image_has_no_change_of_confidence():
    failed = Difference("image", "/photos", "a", None, PastAnswer(None, None), PastAnswer(None, None))
    assert (failed.change, failed.confidence_change) == ("same", 0.0)
    assert difference("Dress", "Hat", confidence=0.9).confidence_change == 0.0
