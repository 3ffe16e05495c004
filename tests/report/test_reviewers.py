"""Corrections in a report: they have priority, and are marked in every section."""

from dataclasses import replace

import pytest
from sqlalchemy import event, update

from cataloger.ledger.effective_results import mark_presence
from cataloger.report.changes import NO_PRODUCT
from cataloger.report.gather import ReportOptions, gather_report
from cataloger.report.queries import FROM_VIEW, CorrectionRef, CurrentAnswers, RunAnswers
from cataloger.schema.models import ItemRow


@pytest.fixture
def database(shared_database):
    return shared_database


def told(world, **options):
    return gather_report(world.database, ReportOptions(**options))


def seen(make, key, product=None, label="Dress", confidence=0.9, **values):
    """An image, and what it is taken for; what is left is spread over the two other labels."""
    others = [other for other in ("Dress", "Hat", "Sock") if other != label]
    found = make.good(key, labels=(label, *others), product_key=product, **values)
    rest = (1 - confidence) / 2
    return replace(found, confidences=(confidence, rest, rest), logits=(2.5, 1.5, 1.5))


def test_both_kinds_of_answers_have_the_same_columns(world, make):
    world.sink.write([make.good("a")])
    origins = told(world).sources
    for answers in (CurrentAnswers(world.database, origins), RunAnswers(world.database, origins, world.run.id)):
        assert tuple(answers._answers().c.keys()) == FROM_VIEW


def test_a_word_is_counted_and_shown_as_such_and_has_no_confidence(world, make):
    world.sink.write([make.good("a"), make.good("b"), make.good("c"), make.good("d"), make.bad("e")])
    world.say("a", "Hat")
    world.say("b", "not_product")
    world.say("c", "Dress", author="bob")
    report = told(world)
    assert (report.images, report.failed, report.no_product, report.said, report.tagged) == (5, 1, 1, 2, 3)
    assert {each.label: each.images for each in report.categories} == {"Dress": 2, "Hat": 1}
    assert sum(report.histogram) == 1
    assert [shown.key for shown in report.least] == ["d"]
    (hat,) = next(each.shown for each in report.categories if each.label == "Hat")
    assert (hat.key, hat.answers[0], hat.said, hat.found) == (
        "a",
        ("Hat", 1.0),
        CorrectionRef("ann", "Hat"),
        ("Dress", 0.75),
    )
    dresses = next(each.shown for each in report.categories if each.label == "Dress")
    assert {shown.key: shown.said for shown in dresses} == {"c": CorrectionRef("bob", "Dress"), "d": None}


def test_images_that_show_no_product_have_no_decision_to_count(world, make):
    world.sink.write([replace(make.good(key), decision="review") for key in "abc"])
    world.say("a", "Hat")
    world.say("b", "not_product")
    assert told(world).decisions == {"accept": 1, "review": 1}


def test_who_has_said_how_much_is_told_and_how_often_the_model_was_right(world, make):
    world.sink.write([make.good(key) for key in "abcde"])
    for key, label in {"a": "Dress", "b": "Hat", "c": "not_product"}.items():
        world.say(key, label)
    world.say("d", "Dress", author="bob")
    world.say("e", "Dress", author="bob")
    world.say("e", "withdrawn", author="bob")
    told_of = {
        each.name: (each.corrections, each.no_product, each.judged, each.agreed) for each in told(world).authors
    }
    assert told_of == {"ann": (3, 1, 2, 1), "bob": (1, 0, 1, 1)}
    everybody = told(world).everybody
    assert (everybody.corrections, everybody.no_product, everybody.judged, everybody.agreed) == (4, 1, 3, 2)


def test_a_word_on_an_image_that_changed_judges_no_answer_and_one_of_an_image_that_is_gone_is_not_counted(
    world, make
):
    world.sink.write([make.good("a"), make.good("b")])
    world.say("a", "Hat")
    world.say("b", "Hat")
    world.begin()
    world.sink.write([make.good("a", content="2")])
    [(removed,)] = world.rows("SELECT i.id FROM cataloger_item i WHERE i.uri = '/photos/b'")
    with world.database.begin() as connection:
        mark_presence(connection, [removed], world.run.id, is_gone=True)
    (ann,) = told(world).authors
    assert (ann.corrections, ann.judged) == (1, 0)


def test_what_a_named_run_found_is_not_changed_by_words_but_they_stand_beside_it(world, make):
    world.sink.write([make.good("a"), make.good("b")])
    world.say("a", "Hat")
    world.say("b", "not_product")
    report = told(world, run_id=world.run.id)
    assert (report.no_product, report.said, sum(report.histogram)) == (0, 0, 2)
    (dress,) = report.categories
    assert [(shown.key, shown.answers[0], shown.said) for shown in dress.shown] == [
        ("a", ("Dress", 0.75), CorrectionRef("ann", "Hat")),
        ("b", ("Dress", 0.75), CorrectionRef("ann", None)),
    ]
    assert [(each.name, each.judged, each.agreed) for each in report.authors] == [("ann", 1, 0)]


@pytest.fixture
def moved(world, make):
    """Two runs, of which the second one finds hats in a, c and f; what people said before, between and after."""
    world.sink.write([seen(make, key) for key in "abcdefg"])
    for key, said in {"a": "Dress", "e": "Sock", "g": "Sock"}.items():
        world.say(key, said)
    world.begin()
    for key, said in {"b": "Sock", "d": "not_product", "f": "Dress", "g": "withdrawn"}.items():
        world.say(key, said)
    world.sink.write([seen(make, key, label="Hat", content="2") for key in "acf"])
    return world


def test_moves_are_those_of_what_holds(moved):
    moves = told(moved).moves
    assert moves.counts == {"moved": 4, "same": 3}
    assert set(moves.moves) == {
        ("Dress", "Sock", 1),
        ("Dress", "Hat", 1),
        ("Dress", NO_PRODUCT, 1),
        ("Sock", "Dress", 1),
    }
    assert (moves.by_people, moves.kept) == (3, 2)
    # What the model moved comes first.
    assert moves.examples[0].difference.key in "cg"
    assert {each.difference.key: each.said for each in moves.examples} == {
        "b": CorrectionRef("ann", "Sock"),
        "c": None,
        "d": CorrectionRef("ann", None),
        "g": None,
    }


def test_moves_of_a_named_run_are_the_models_with_the_words_beside_them(moved):
    moves = told(moved, run_id=moved.run.id).moves
    assert (moves.counts, moves.by_people, moves.kept) == ({"moved": 3, "same": 4}, 0, 0)
    assert {each.difference.key: each.said for each in moves.examples} == {
        "a": CorrectionRef("ann", "Dress"),
        "c": None,
        "f": CorrectionRef("ann", "Dress"),
    }
    assert moves.as_json()["examples"][0].keys() >= {"before", "after", "said"}


def disagreeing(report):
    """Return product -> keys of the images that disagree."""
    assert report.disagreeing == len(report.products)
    return {each.product_key: {i.key for i in each.images if i.disagrees} for each in report.products}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"p": {"c"}}),
        ({"c": "not_product"}, {}),
        ({"c": "Dress"}, {}),
        ({"a": "Dress"}, {"p": {"c"}}),
        ({"a": "Dress", "c": "Hat"}, {"p": {"a", "b"}}),  # as often said: the latest counts, and b is the model's
        ({"a": "Dress", "b": "Dress", "c": "Hat"}, {"p": {"c"}}),
        ({"c": "Hat"}, {"p": {"a", "b"}}),
        ({"a": "not_product", "b": "not_product", "c": "Hat"}, {}),
        ({"c": "withdrawn"}, {"p": {"c"}}),
    ],
)
def test_images_disagree_with_what_holds_of_their_product(world, make, said, expected):
    found = [seen(make, key, "p", confidence=0.98) for key in "ab"]
    world.sink.write([*found, seen(make, "c", "p", "Hat", 0.98), seen(make, "d", "q"), seen(make, "e")])
    for key, label in said.items():
        world.say(key, label)
    assert disagreeing(told(world)) == expected
    shown = world.rows("SELECT v.product_key, v.key, v.disagrees FROM cataloger_product_images v")
    assert {(product, key) for product, key, disagrees in shown if disagrees} == {
        (product, key) for product, keys in expected.items() for key in keys
    }


def test_a_category_that_the_model_gives_a_share_to_does_not_disagree_with_a_word(world, make):
    world.sink.write([seen(make, "a", "p", confidence=0.8), seen(make, "b", "p", confidence=0.8)])
    world.say("a", "Hat")
    assert disagreeing(told(world)) == {}
    assert world.rows("SELECT COUNT(*) FROM cataloger_product_images v WHERE v.disagrees") == [(0,)]


def test_labels_that_differ_in_case_alone_cost_no_report(world, make):
    """To MariaDB they are one category."""
    world.sink.write([seen(make, key, "p") for key in "ab"])
    world.say("a", "cap")
    world.say("b", "Cap")
    assert sum(len(category.shown) for category in told(world).categories) == 2


def test_an_image_that_has_failed_disagrees_with_nobody(world, make):
    found = [seen(make, key, "p", confidence=0.98) for key in "ab"]
    world.sink.write([*found, seen(make, "c", "p", "Hat", 0.98)])
    failed = make.bad("c", content="2")
    world.begin().sink.write([replace(failed, item=replace(failed.item, product_key="p"))])
    for key, label, expected in (("a", "withdrawn", {}), ("c", "Sock", {"p": {"a", "b"}}), ("a", "Dress", {})):
        world.say(key, label)
        assert disagreeing(told(world)) == expected
        shown = world.rows("SELECT v.key FROM cataloger_product_images v WHERE v.status <> 'ok' AND v.disagrees")
        assert shown == []


def test_a_product_that_people_named_and_its_images_say_so(world, make):
    world.sink.write([seen(make, "a", "p", confidence=0.98), seen(make, "b", "p", confidence=0.98)])
    world.say("b", "Sock")
    (product,) = told(world).products
    assert (product.label, product.said) == ("Dress", CorrectionRef("ann", "Sock"))
    assert [(image.key, image.label, image.disagrees, image.said) for image in product.images] == [
        ("a", "Dress", True, None),
        ("b", "Dress", False, CorrectionRef("ann", "Sock")),
    ]


def test_products_of_a_named_run_are_answered_from_what_it_found_itself(world, make):
    first = world.run.id
    world.sink.write(
        [
            *(seen(make, key, "p", confidence=0.98) for key in "ab"),
            seen(make, "c", "p", "Hat", 0.98),
            *(seen(make, key, "q") for key in "de"),
            replace(seen(make, "f", "r", "Hat", 0.98), decision="abstain"),
            replace(seen(make, "g", "r"), decision="accept"),
        ]
    )
    world.begin()
    world.sink.write([seen(make, "c", "p", content="2")])
    assert disagreeing(told(world)) == {"r": {"f"}}
    assert disagreeing(told(world, run_id=first)) == {"p": {"c"}, "r": {"f"}}
    assert disagreeing(told(world, run_id=world.run.id)) == {}
    product = next(each for each in told(world, run_id=first).products if each.product_key == "p")
    assert (product.label, product.images_in_all, product.images[0].key) == ("Dress", 3, "c")
    world.say("c", "not_product")
    assert disagreeing(told(world, run_id=first)) == {"r": {"f"}}


def test_a_product_whose_images_go_while_the_report_is_made_costs_no_report(world, make):
    """On SQLite the report still sees them; on the other engines they are removed between two of its queries."""
    world.sink.write([seen(make, "a", "p"), seen(make, "b", "p"), seen(make, "c", "p", "Sock")])
    assert disagreeing(told(world)) == {"p": {"c"}}

    engine, removed = world.database.engine, []

    def go(_connection, _cursor, statement, *_):
        if "cataloger_product_result" in statement and not removed:
            removed.append(statement)
            with world.database.begin() as other:
                other.execute(update(ItemRow).values(gone_run_id=world.run.id))

    event.listen(engine, "before_cursor_execute", go)
    try:
        report = told(world)
    finally:
        event.remove(engine, "before_cursor_execute", go)
    assert removed
    assert [each.product_key for each in report.products] == (["p"] if engine.dialect.name == "sqlite" else [])
