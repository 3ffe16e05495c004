"""The ledger: sources, and what to do with each item; on every engine."""

from dataclasses import replace

import pytest

from cataloger.ledger import find_source, known_model, register_source
from cataloger.ledger.presence import Presence
from cataloger.schema.hashing import key_hash


@pytest.fixture
def database(shared_database):
    return shared_database


def test_unknown_items_are_new(world, make):
    assert world.plan(make.item("a"), make.item("b")) == ["+new", "+new"]


def test_an_unchanged_item_is_skipped_and_a_changed_one_done(world, make):
    world.sink.write([make.good("a"), make.good("b")])
    world.begin()
    assert world.plan(make.item("a"), make.item("b", "v2")) == ["-unchanged", "+changed"]


def test_an_unknown_version_never_counts_as_unchanged(world, make):
    world.sink.write([make.good("a", "")])
    world.begin()
    assert world.plan(make.item("a", "")) == ["+changed"]


def test_force_does_everything_again(world, make):
    world.sink.write([make.good("a"), make.bad("b")])
    world.begin()
    assert world.plan(make.item("a"), make.item("b"), force=True) == ["+forced", "+forced"]


def test_a_permanent_failure_waits_until_the_bytes_change_or_somebody_asks(world, make):
    world.sink.write([make.bad("a")])
    world.begin()
    assert world.plan(make.item("a")) == ["-failed_before"]
    assert world.plan(make.item("a", "v2")) == ["+changed"]
    assert world.plan(make.item("a"), retry=True) == ["+retry"]


@pytest.mark.parametrize("code", ["io.unreadable", "fetch.timeout"])
def test_a_transient_failure_is_tried_again(world, make, code):
    world.sink.write([make.bad("a", code=code, content=None)])
    world.begin()
    assert world.plan(make.item("a")) == ["+retry"]


def test_a_transient_failure_after_a_good_result_is_tried_again(world, make):
    world.sink.write([make.good("a")])
    world.begin().sink.write([make.bad("a", "", code="io.unreadable", content=None)])
    assert world.begin().plan(make.item("a")) == ["+retry"]


def test_retrying_failures_leaves_good_results_alone(world, make):
    world.sink.write([make.good("a")])
    assert world.begin().plan(make.item("a"), retry=True) == ["-unchanged"]


def test_another_model_does_everything_again_and_going_back_nothing(world, make):
    world.sink.write([make.good("a")])
    mine = world.model
    world.begin(make.other_model)
    assert world.plan(make.item("a"), make.item("b")) == ["+model", "+new"]
    assert world.begin(mine).plan(make.item("a")) == ["-unchanged"]


def test_a_plan_says_what_was_there_in_the_last_run_also_for_another_model(world, make):
    world.sink.write([make.good("a"), make.bad("b"), make.bad("c", "", code="io.missing", content=None)])

    def were_there(ledger):
        plan = ledger.plan([make.item("a", ""), make.item("b"), make.item("c"), make.item("d")])
        return [(each.was_there, each.is_late) for each in plan]

    assert were_there(world.begin().ledger) == [(True, False), (True, False), (False, True), (False, False)]
    assert were_there(world.begin(make.other_model).ledger) == [
        (True, False),
        (True, False),
        (False, False),
        (False, False),
    ]


def test_a_second_plan_of_a_run_passes_over_what_it_has_recorded(world, make):
    ledger = world.ledger
    list(ledger.plan([make.item("a"), make.item("b")]))
    world.sink.write([make.good("a")])
    ledger.release(make.item("b"))
    assert [each.reason for each in ledger.plan([make.item("a"), make.item("b")], again=True)] == ["duplicate", "new"]


def test_a_key_is_handed_out_once_a_run_in_flight_or_recorded(world, make):
    ledger = world.ledger
    [first] = ledger.plan([make.item("a")])
    [second] = ledger.plan([make.item("a")])
    world.sink.write([make.good("a")])
    [third] = ledger.plan([make.item("a", "v2")])
    assert [(each.do, each.reason) for each in (first, second, third)] == [
        (True, "new"),
        (False, "duplicate"),
        (False, "duplicate"),
    ]


def test_an_image_that_is_listed_for_another_product_too_is_told_apart_from_a_mere_duplicate(world, make):
    listed = [replace(make.item("a"), product_key=product) for product in ("p", "q", "p", None)]
    expected = ["duplicate_for_another_product", "duplicate", "duplicate_for_another_product"]
    assert [each.reason for each in world.ledger.plan(listed)] == ["new", *expected]
    assert [each.reason for each in world.ledger.plan(listed[1:])] == expected
    world.sink.write([make.good("a", product_key="p")])
    assert [each.reason for each in world.ledger.plan(listed[1:])] == expected


def test_of_a_picture_that_several_products_share_its_own_goes_on(world, make):
    """One key before, one a product now: the recorded item stays with its product, wherever that stands."""
    world.sink.write([make.good("a", product_key="p"), make.good("b")])
    own = [replace(make.item(f"a of {each}"), product_key=each, former_key="a") for each in ("o", "p", "q")]
    assert world.begin().plan(*own) == ["+new", "-unchanged", "+new"]
    # Whose it was nobody has said: the first has it.
    assert world.plan(*(replace(make.item(f"b of {each}"), product_key=each, former_key="b") for each in "pq")) == [
        "+changed",
        "+new",
    ]


def test_an_unchanged_image_of_another_product_is_done_again_once(world, make):
    def listed(*products):
        return [replace(make.item("a"), product_key=product) for product in products]

    world.sink.write([make.good("a", product_key="p")])
    assert world.begin().plan(*listed("p")) == ["-unchanged"]
    assert world.plan(*listed("q")) == ["+changed"]
    # Nobody says that it belongs to none: the column of the products may not have been named this time.
    assert world.plan(*listed(None)) == ["-unchanged"]
    # Where it is listed for two, the first counts, every night.
    assert world.plan(*listed("p", "q", "p")) == ["-unchanged", "-duplicate_for_another_product", "-duplicate"]


def test_an_image_that_is_met_again_in_a_later_chunk_is_a_duplicate(world, make):
    world.sink.write([make.good(str(number)) for number in range(600)])
    ledger = world.begin().ledger
    ledger.on_known = Presence(world.database, world.source).see
    subjects = [make.item(str(number)) for number in [*range(600), 0, 599]]
    reasons = [planned.reason for planned in ledger.plan(subjects)]
    assert reasons == ["unchanged"] * 600 + ["duplicate"] * 2


@pytest.mark.parametrize("distance", [1, 300, 499, 500, 700])
def test_a_key_that_is_recorded_while_its_chunk_is_still_read_is_a_duplicate(world, make, distance):
    keys = [f"{number}" for number in range(distance)]
    subjects = [make.item(key) for key in [*keys, keys[0]]]
    reasons = []
    for planned in world.ledger.plan(subjects):
        reasons.append(planned.reason)
        if planned.do:
            world.sink.write([make.good(planned.subject.key)]) if len(reasons) == 1 else None
    assert reasons == ["new"] * distance + ["duplicate"]


def test_what_is_recorded_during_the_look_up_is_still_a_duplicate(world, make):
    """The results are written by the thread that waits for the plan's other end."""
    [_] = world.ledger.plan([make.item("a")])
    look_up = world.ledger._look_up

    def late(hashes):
        known = look_up(hashes)
        world.sink.write([make.good("a")])
        return known

    world.ledger._look_up = late
    [again] = world.ledger.plan([make.item("a")])
    assert again.reason == "duplicate"


def test_what_is_in_flight_is_forgotten_when_it_is_recorded(world, make):
    for planned in world.ledger.plan(make.item(str(number)) for number in range(1200)):
        world.sink.write([make.good(planned.subject.key)]) if planned.do and planned.subject.key == "7" else None
    assert key_hash("7") not in world.ledger._in_flight
    assert len(world.ledger._in_flight) == 1199


def test_the_plan_reads_no_further_than_its_chunk(world, make):
    read = []
    plan = world.ledger.plan(make.item(str(number)) for number in range(10_000) if read.append(number) is None)
    next(plan)
    assert len(read) == 500


def test_an_input_that_failed_in_its_source_is_recorded_once(world, make):
    broken = make.bad("line 3", "", code="source.bad_row", content=None)
    assert world.plan(broken) == ["+new"]
    world.sink.write([broken])
    assert world.begin().plan(broken) == ["-failed_before"]


def test_keys_differ_by_case_accents_and_trailing_spaces(world, make):
    keys = ["a", "A", "ä", "a\u0308", "a ", "ß", "ss", "👗", "x" * 4000]
    world.sink.write([make.good(key) for key in keys])
    assert sorted(key for (key,) in world.rows("SELECT uri FROM cataloger_image_top5")) == sorted(
        f"/photos/{key}" for key in keys
    )
    assert world.begin().plan(*[make.item(key) for key in keys]) == ["-unchanged"] * len(keys)


def test_keys_that_no_engine_stores_as_they_are_can_be_looked_up(world, make):
    keys = ["half \ud83d", "nul \0"]
    world.sink.write([make.good(key, uri="u\ud83d\0", product_key="p\ud83d\0") for key in keys])
    assert world.begin().plan(*[make.item(key) for key in keys]) == ["-unchanged"] * 2


def test_a_source_is_registered_once(database):
    first = register_source(database, kind="folder", root="/photos")
    assert register_source(database, kind="folder", root="/photos") == first
    assert find_source(database, kind="folder", root="/elsewhere") is None


@pytest.mark.parametrize(
    ("known", "root", "prefix"),
    [("/photos", "/photos/a/b", "a/b/"), ("/", "/photos", "photos/"), ("/photos", "/photos2", None)],
)
def test_a_folder_in_a_known_one_reuses_its_keys(database, known, root, prefix):
    outer = register_source(database, kind="folder", root=known)
    inner = register_source(database, kind="folder", root=root)
    assert (inner.id == outer.id) == (prefix is not None)
    assert inner.prefix == (prefix or "")


def test_the_nearest_known_folder_counts(database):
    near = register_source(database, kind="folder", root="/a/b")
    register_source(database, kind="folder", root="/a")
    found = register_source(database, kind="folder", root="/a/b/c/d")
    assert (found.id, found.prefix) == (near.id, "c/d/")


def test_a_manifest_in_a_known_folder_is_a_source_of_its_own(database):
    folder = register_source(database, kind="folder", root="/photos")
    assert register_source(database, kind="manifest", root="/photos/list.csv").id != folder.id


def test_a_pinned_model_can_be_looked_up(world):
    assert known_model(world.database, world.model.weights_id) == world.model
    assert find_source(world.database, kind="folder", root="/photos").weights_id == world.model.weights_id
