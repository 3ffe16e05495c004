"""Answers for products in the database: they follow their images, whatever happens to these."""

from dataclasses import replace
from importlib import import_module

import pytest
from sqlalchemy import text

from cataloger.ledger import SourceRef
from cataloger.ledger.presence import Presence
from cataloger.ledger.product_results import ProductResults


@pytest.fixture
def database(shared_database):
    return shared_database


def seen(make, key, product, label="Dress", confidence=0.9, other="Sock"):
    """An image of a product, and what it is taken for."""
    found = make.good(key, labels=(label, other), product_key=product)
    return replace(found, confidences=(confidence, (1 - confidence) / 2))


def products(world, *columns):
    names = ", ".join(f"v.{name}" for name in ("product_key", *columns))
    return world.rows(f"SELECT {names} FROM cataloger_product_top5 v ORDER BY v.product_key")


def disagreeing(world):
    columns = "v.key, v.disagrees, v.label, v.product_label"
    rows = world.rows(f"SELECT {columns} FROM cataloger_product_images v ORDER BY v.key")
    return [(key, label, product_label) for key, disagrees, label, product_label in rows if disagrees]


def test_images_without_a_product_make_no_answer(world, make):
    world.sink.write([make.good("a"), make.bad("b")])
    assert products(world) == []
    assert world.rows("SELECT COUNT(*) FROM cataloger_product_result") == [(0,)]


def test_a_product_of_one_image_has_its_answer(world, make):
    world.sink.write([seen(make, "a", "p", confidence=0.75)])
    assert products(world, "images", "label_1", "confidence_1", "label_2", "label_3", "run_id") == [
        ("p", 1, "Dress", 0.75, "Sock", None, world.run.id)
    ]


def test_the_wrong_photo_is_left_out_and_shown(world, make):
    world.sink.write([seen(make, "a", "p"), seen(make, "b", "p", "Hat", 0.97), seen(make, "c", "p")])
    ((product, images, label, confidence),) = products(world, "images", "label_1", "confidence_1")
    assert (product, images, label) == ("p", 3, "Dress")
    # Two images of 0.9, 0.05 and, for the third label, 0.05: their geometric mean is the same.
    assert confidence == pytest.approx(0.9)
    assert disagreeing(world) == [("b", "Hat", "Dress")]


def test_the_view_says_why_an_image_was_left_out(world, make):
    failed = make.bad("f")
    doubted = [
        replace(seen(make, "c", "p", confidence=0.3), decision="abstain"),
        replace(seen(make, "d", "p", "Hat", 0.97), decision="abstain"),
        replace(failed, item=replace(failed.item, product_key="p")),
    ]
    sure = [replace(seen(make, key, "p"), decision="accept") for key in ("a", "b", "e", "g")]
    other = replace(seen(make, "h", "p", "Hat", 0.97), decision="review")
    alone = [replace(seen(make, key, "q", confidence=0.3), decision="abstain") for key in ("x", "y")]
    world.sink.write([*sure, *doubted, other, *alone])
    expected = {
        **dict.fromkeys("abegxy", (False, None)),
        "c": (False, "abstained"),
        "d": (True, "abstained"),
        "f": (False, "unknown"),
        "h": (True, None),
    }
    assert heard(world) == expected
    world.say("e", "not_product")
    assert heard(world) == expected | {"e": (False, "corrected")}
    world.say("e", "withdrawn")
    assert heard(world) == expected
    # A correction that names a category is heard, whatever the model says of the image.
    for key in "cdf":
        world.say(key, "Dress")
    assert {key: why for key, (_, why) in heard(world).items() if why} == {}


def test_a_product_whose_images_mostly_abstain_abstains_until_more_of_them_are_known(world, make):
    watch = replace(seen(make, "a", "p", "Hat", 0.97), decision="accept")
    chargers = [replace(seen(make, key, "p", "Hat", 0.4), decision="abstain") for key in "bc"]
    world.sink.write([watch, chargers[0]])
    assert products(world, "label_1", "decision") == [("p", "Hat", "accept")]
    assert heard(world)["b"] == (False, "abstained")
    world.sink.write([chargers[1]])
    assert products(world, "label_1", "decision") == [("p", "Hat", "abstain")]
    assert set(heard(world).values()) == {(False, None)}
    world.say("c", "not_product")
    again = ProductResults(world.source, world.begin().run.id, world.model)
    again.recompute_reviewed(world.database, world.lease)
    assert products(world, "label_1", "decision") == [("p", "Hat", "accept")]


def test_marks_of_older_versions_stay_on_images_that_show_another_category_alone(world, make):
    doubted = [
        replace(seen(make, "c", "p", confidence=0.3), decision="abstain"),
        replace(seen(make, "d", "p", "Hat", 0.97), decision="abstain"),
    ]
    world.sink.write([*(replace(seen(make, key, "p"), decision="accept") for key in "ab"), *doubted])
    expected = heard(world)
    assert expected["d"] == (True, "abstained")
    abstained = "SELECT id FROM cataloger_result WHERE decision = 'abstain'"
    change(world, f"UPDATE cataloger_current SET disagrees = TRUE WHERE result_id IN ({abstained})")
    assert heard(world) == expected | {"c": (True, "abstained")}
    change(world, import_module("cataloger.migrations.versions.0012_not_heard").UNMARK)
    assert heard(world) == expected


def change(world, statement):
    with world.database.begin() as connection:
        connection.execute(text(statement))


def heard(world):
    """Return key -> (whether it disagrees, why it is not heard) of the images of products."""
    rows = world.rows("SELECT v.key, v.disagrees, v.not_heard FROM cataloger_product_images v")
    return {key: (bool(disagrees), why) for key, disagrees, why in rows}


def test_an_image_that_no_longer_disagrees_is_not_shown_as_such(world, make):
    world.sink.write([seen(make, "a", "p"), seen(make, "b", "p", "Hat", 0.97), seen(make, "c", "p")])
    world.begin()
    world.sink.write([seen(make, "b", "p")])
    assert disagreeing(world) == []
    assert products(world, "images", "label_1") == [("p", 3, "Dress")]


def test_a_product_whose_images_come_in_several_batches_has_one_answer_a_run(world, make):
    world.sink.write([seen(make, "a", "p"), seen(make, "x", "q", "Hat")])
    world.sink.write([seen(make, "b", "p")])
    assert products(world, "images", "label_1") == [("p", 2, "Dress"), ("q", 1, "Hat")]
    assert world.rows("SELECT COUNT(*) FROM cataloger_product_result") == [(2,)]


def test_a_later_run_keeps_the_answer_of_the_one_before_as_history(world, make):
    world.sink.write([seen(make, "a", "p")])
    world.begin()
    world.sink.write([seen(make, "a", "p", "Hat")])
    assert products(world, "label_1", "run_id") == [("p", "Hat", world.run.id)]
    history = "SELECT label_1 FROM cataloger_product_result ORDER BY run_id"
    assert world.rows(history) == [("Dress",), ("Hat",)]


def test_an_image_that_failed_does_not_count(world, make):
    failed = make.bad("b")
    failed = replace(failed, item=replace(failed.item, product_key="p"))
    world.sink.write([seen(make, "a", "p"), failed])
    assert products(world, "images") == [("p", 1)]
    alone = replace(failed, item=replace(failed.item, key="x", product_key="q"))
    world.sink.write([alone])
    assert products(world) == [("p",)]


def test_a_product_whose_only_image_is_damaged_by_now_has_no_answer(world, make):
    world.sink.write([seen(make, "a", "p")])
    world.begin()
    damaged = make.bad("a", "v2", content="2")
    world.sink.write([replace(damaged, item=replace(damaged.item, product_key="p"))])
    assert products(world) == []


def test_a_product_leaves_and_returns_with_its_images(world, make):
    world.sink.write([seen(make, "a", "p"), seen(make, "b", "q", "Hat"), seen(make, "c", "q", "Hat")])
    world.begin()
    assert settle(world, make, "b").remove_missing(world.run.id) == 2
    assert products(world, "images") == [("q", 1)]
    assert settle(world, make, "a", "b", "c").restore_met(world.run.id) == 2
    assert products(world, "images", "label_1") == [("p", 1, "Dress"), ("q", 2, "Hat")]


def settle(world, make, *keys):
    """Look at some keys as a run does."""
    answers = ProductResults(world.source, world.run.id, world.model)
    presence = Presence(world.database, world.source, answers.recompute_for_items)
    world.ledger.on_known = presence.see
    list(world.ledger.plan(make.item(key) for key in keys))
    return presence


def test_the_same_product_of_another_source_is_another(world, make):
    world.sink.write([seen(make, "a", "p")])
    elsewhere = SourceRef(world.source.id + 1000, "/elsewhere")
    with world.database.begin() as connection:
        ProductResults(elsewhere, world.run.id, world.model).recompute(connection, ["0" * 64])
    assert products(world, "images") == [("p", 1)]


def test_keys_of_products_are_told_apart_to_the_letter(world, make):
    world.sink.write([seen(make, "a", "P"), seen(make, "b", "p"), seen(make, "c", "p "), seen(make, "d", "é")])
    assert sorted(key for (key,) in products(world)) == ["P", "p", "p ", "é"]


def test_a_product_that_an_image_has_left_is_answered_without_it(world, make):
    world.sink.write([seen(make, "a", "p"), seen(make, "b", "q", "Hat"), seen(make, "c", "q", "Hat")])
    world.begin()
    world.sink.write([seen(make, "a", "q", "Hat"), seen(make, "c", "r", "Hat")])
    assert products(world, "images", "label_1") == [("q", 2, "Hat"), ("r", 1, "Hat")]
    world.begin()
    world.sink.write([replace(found := seen(make, "a", "q"), item=replace(found.item, product_key=None))])
    assert products(world, "images") == [("q", 1), ("r", 1)]


def test_an_image_that_shows_no_product_has_no_say_from_the_next_run_on(world, make):
    world.sink.write([seen(make, "a", "p"), seen(make, "b", "p", "Hat", 0.97), seen(make, "c", "q")])
    before = products(world, "images", "label_1")
    world.say("a", "not_product")
    world.say("c", "not_product")
    assert products(world, "images", "label_1") == before
    recompute = ProductResults(world.source, world.begin().run.id, world.model).recompute_reviewed
    recompute(world.database, world.lease)
    assert products(world, "images", "label_1", "run_id") == [("p", 1, "Hat", world.run.id)]
    for key in "ac":
        world.say(key, "withdrawn")
    recompute(world.database, world.lease)
    assert products(world, "images", "label_1") == before
