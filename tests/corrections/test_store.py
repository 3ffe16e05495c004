"""Corrections: they have priority over the model's answers in every view; two authors at once lose nothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from by_url import downgrade, open_database, upgrade
from sqlalchemy import text

from cataloger.contracts import TOP_K
from cataloger.corrections.store import CorrectionInput, correct, labels_in_use
from cataloger.history.undo import undo_run
from cataloger.ledger.deletion import purge_items
from cataloger.ledger.effective_results import mark_presence

RANKS = range(1, TOP_K + 1)
TOP5 = ", ".join(f"label_{rank}, confidence_{rank}" for rank in RANKS)
LABELS = ("Dress", "Hat", "Sock", "Scarf", "Tie")
CONFIDENCES = (0.4, 0.3, 0.1, 0.05, 0.01)


@pytest.fixture
def database(shared_database):
    return shared_database


def five(make, key, **values):
    """Return a prediction with five labels."""
    return replace(make.good(key, **values), labels=LABELS, confidences=CONFIDENCES, logits=(5.0, 4.0, 3.0, 2.0, 1.0))


def item(world, key):
    [(found,)] = world.rows(f"SELECT i.id FROM cataloger_item i WHERE i.uri = '/photos/{key}'")
    return found


def result(world, key):
    [(found,)] = world.rows(f"SELECT MAX(r.id) FROM cataloger_result r WHERE r.item_id = {item(world, key)}")
    return found


def top5(world, key, view="image", column="uri"):
    """Return (labels, confidences) of an image or product, up to the first that is empty."""
    value = f"/photos/{key}" if column == "uri" else key
    [row] = world.rows(f"SELECT {TOP5} FROM cataloger_{view}_top5 v WHERE v.{column} = '{value}'")
    return [each for each in row[0::2] if each is not None], [each for each in row[1::2] if each is not None]


def product(world, key):
    return world.rows(
        "SELECT v.label_1, v.confidence_1, v.decision, v.corrected_by FROM cataloger_product_top5 v "
        f"WHERE v.product_key = '{key}'"
    )


@pytest.mark.parametrize(
    ("label", "labels", "confidences"),
    [
        ("Dress", LABELS, (1.0, *CONFIDENCES[1:])),
        ("Hat", ("Hat", "Dress", "Sock", "Scarf", "Tie"), (1.0, 0.4, 0.1, 0.05, 0.01)),
        ("Tie", ("Tie", "Dress", "Hat", "Sock", "Scarf"), (1.0, 0.4, 0.3, 0.1, 0.05)),
        ("Cape", ("Cape", "Dress", "Hat", "Sock", "Scarf"), (1.0, 0.4, 0.3, 0.1, 0.05)),
    ],
)
def test_a_word_comes_first_and_the_others_keep_their_order(world, make, label, labels, confidences):
    world.sink.write([five(make, "a")])
    assert world.say("a", label).status == "saved"
    assert top5(world, "a") == (list(labels), list(confidences))
    rows = world.rows("SELECT v.label, v.confidence FROM cataloger_image_labels v ORDER BY v.confidence DESC")
    assert rows == list(zip(labels, confidences, strict=True))
    [(decision, by, at, tagged)] = world.rows(
        "SELECT v.decision, v.corrected_by, v.corrected_at, v.tagged_at FROM cataloger_image_top5 v"
    )
    assert (decision, by) == ("accept", "ann")
    assert at >= tagged


def test_fewer_labels_than_ranks_leave_the_rest_empty(world, make):
    world.sink.write([make.good("a"), make.bad("b")])
    for key in ("a", "b"):
        assert world.say(key, "Sock").status == "saved"
    assert top5(world, "a") == (["Sock", "Dress", "Hat"], [1.0, 0.75, 0.25])
    assert top5(world, "b") == (["Sock"], [1.0])


def test_an_image_that_shows_no_product_has_no_labels(world, make):
    world.sink.write([five(make, "a")])
    world.say("a", "not_product")
    assert top5(world, "a") == ([], [])
    assert world.rows("SELECT v.decision FROM cataloger_image_top5 v") == [("abstain",)]
    assert world.rows("SELECT v.label FROM cataloger_image_labels v") == []


def test_what_is_withdrawn_gives_the_model_its_say_again(world, make):
    world.sink.write([five(make, "a", product_key="p")])
    before = world.views()
    world.say("a", "Tie")
    assert world.views() != before
    outcome = world.say("a", "withdrawn")
    assert (outcome.status, outcome.correction_id) == ("saved", None)
    assert world.views() == before
    assert world.rows("SELECT k.verdict, k.label FROM cataloger_correction k ORDER BY k.id") == [
        ("label", "Tie"),
        ("withdrawn", None),
    ]


def test_codes_of_the_shop_follow_the_word(world, make):
    world.sink.write([make.good("a")])
    with world.database.begin() as connection:
        insert = text("INSERT INTO cataloger_label_map (source_id, label, code) VALUES (:source, :label, :code)")
        connection.execute(
            insert, [{"source": world.source.id, "label": each, "code": each[0]} for each in ("Dress", "Hat", "Sock")]
        )
    world.say("a", "Sock")
    rows = world.rows("SELECT v.label, v.code, v.confidence FROM cataloger_image_codes v ORDER BY v.confidence DESC")
    assert rows == [("Sock", "S", 1.0), ("Dress", "D", 0.75), ("Hat", "H", 0.25)]


def test_a_product_is_what_most_of_its_images_are_said_to_be_then_what_was_said_last(world, make):
    world.sink.write([make.good(key, product_key="p") for key in "abcd"])
    assert product(world, "p")[0][3] is None
    for key, label, expected in [
        ("a", "Hat", "Hat"),
        ("b", "Sock", "Sock"),
        ("c", "Hat", "Hat"),
        ("d", "Sock", "Sock"),
    ]:
        world.say(key, label, author=key)
        assert product(world, "p") == [(expected, 1.0, "accept", key)]
    world.say("d", "not_product")
    assert product(world, "p") == [("Hat", 1.0, "accept", "c")]
    rows = world.rows("SELECT v.uri, v.label, v.product_label, v.disagrees FROM cataloger_product_images v")
    assert sorted((uri[-1], label, of, bool(disagrees)) for uri, label, of, disagrees in rows) == [
        ("a", "Hat", "Hat", False),
        ("b", "Sock", "Hat", True),
        ("c", "Hat", "Hat", False),
        ("d", None, "Hat", False),
    ]


def test_a_product_keeps_the_models_other_labels(world, make):
    world.sink.write([five(make, "a", product_key="p")])
    world.say("a", "Sock")
    assert top5(world, "p", "product", "product_key")[0] == ["Sock", "Dress", "Hat", "Scarf", "Tie"]


def test_an_image_that_changes_its_product_takes_its_word_along(world, make):
    world.sink.write(
        [make.good("a", product_key="p"), make.good("b", product_key="p"), make.good("c", product_key="q")]
    )
    world.say("a", "Sock")
    world.begin().sink.write([make.good("a", product_key="q"), make.good("b", product_key="p")])
    assert product(world, "p") == [("Dress", 0.75, None, None)]
    assert product(world, "q") == [("Sock", 1.0, "accept", "ann")]


def test_a_word_leaves_the_product_with_its_image_and_comes_back_with_it(world, make):
    world.sink.write([make.good("a", product_key="p"), make.good("b", product_key="p")])
    world.say("a", "Sock")
    missing = [item(world, "a")]
    with world.database.begin() as connection:
        mark_presence(connection, missing, world.run.id, is_gone=True)
    assert (product(world, "p")[0][0], product(world, "p")[0][3]) == ("Dress", None)
    world.begin().sink.write([make.good("a", product_key="p")])
    assert product(world, "p") == [("Sock", 1.0, "accept", "ann")]


def test_no_run_overwrites_a_word(world, make):
    world.sink.write([make.good("a", product_key="p")])
    world.say("a", "Sock")
    again = world.begin(make.other_model)
    again.sink.write([make.good("a", "v2", content="2", labels=("Hat",), product_key="p")])
    assert top5(world, "a") == (["Sock", "Hat"], [1.0, 0.75])
    run_id = again.run.id
    world.end()
    undo_run(world.database, run_id)
    assert top5(world, "a") == (["Sock", "Dress", "Hat"], [1.0, 0.75, 0.25])
    assert product(world, "p")[0][0] == "Sock"


def test_who_comes_second_is_told_who_was_first(world, make):
    world.sink.write([make.good("a")])
    late = CorrectionInput(item(world, "a"), "label", "Hat", None, result(world, "a"))
    first = world.say("a", "Sock", "ann")
    [outcome] = correct(world.database, [late], "bob")
    assert (outcome.status, outcome.by, outcome.label, outcome.verdict) == ("conflict", "ann", "Sock", "label")
    assert outcome.correction_id == first.correction_id
    [outcome] = correct(world.database, [replace(late, expected=first.correction_id)], "bob")
    assert (outcome.status, outcome.by, outcome.label) == ("saved", "bob", "Hat")
    assert world.rows("SELECT COUNT(*) FROM cataloger_correction") == [(2,)]


def test_to_withdraw_what_another_has_said_since_is_a_conflict(world, make):
    world.sink.write([make.good("a")])
    seen = world.say("a", "Sock", "ann").correction_id
    world.say("a", "Hat", "bob")
    [outcome] = correct(world.database, [CorrectionInput(item(world, "a"), "withdrawn", None, seen, None)], "ann")
    assert (outcome.status, outcome.by, outcome.label) == ("conflict", "bob", "Hat")


def test_the_same_word_sent_twice_is_recorded_once(world, make):
    world.sink.write([make.good("a")])
    correction = CorrectionInput(item(world, "a"), "label", "Hat", None, result(world, "a"))
    first, second = (correct(world.database, [correction], "ann")[0] for _ in range(2))
    assert first == second
    assert world.rows("SELECT COUNT(*) FROM cataloger_correction") == [(1,)]


def test_what_is_not_there_any_more_costs_nobody_else_a_word(world, make):
    world.sink.write([make.good("a"), make.good("b")])
    known = [item(world, key) for key in "ab"]
    with world.database.begin() as connection:
        purge_items(connection, world.source.id, known[:1])
    outcomes = correct(world.database, [CorrectionInput(each, "label", "Hat", None, 10**6) for each in known], "ann")
    assert [outcome.status for outcome in outcomes] == ["gone", "saved"]
    assert world.rows("SELECT k.result_id FROM cataloger_correction k") == [(None,)]


def test_forgetting_an_image_forgets_its_words_and_its_product(world, make):
    world.sink.write([make.good("a", product_key="p")])
    world.say("a", "Hat")
    with world.database.begin() as connection:
        purge_items(connection, world.source.id, [item(world, "a")])
    for table in ("correction", "corrected", "corrected_product", "item"):
        assert world.rows(f"SELECT COUNT(*) FROM cataloger_{table}") == [(0,)]


def test_many_people_at_once_lose_nothing(world, make):
    """Eight people say something of the same twenty images of five products, in different orders."""
    world.sink.write([make.good(str(number), product_key=f"p{number % 5}") for number in range(20)])
    items = [item(world, str(number)) for number in range(20)]
    world.end()

    def review(person):
        author, label, order = person
        saved = []
        for item_id in order:
            [outcome] = correct(world.database, [CorrectionInput(item_id, "label", label, None, None)], author)
            if outcome.status == "saved":
                saved.append((item_id, author, label))
        return saved

    people = [(f"r{n}", ("Hat", "Sock")[n % 2], items[n:] + items[:n]) for n in range(8)]
    with ThreadPoolExecutor(len(people)) as pool:
        saved = [correction for corrections in pool.map(review, people) for correction in corrections]
    query = "SELECT k.item_id, k.author, k.label FROM cataloger_corrected h JOIN cataloger_correction k "
    assert sorted(world.rows(f"{query} ON k.id = h.correction_id")) == sorted(saved)
    assert len(saved) == 20
    assert world.rows("SELECT COUNT(*) FROM cataloger_correction") == [(20,)]
    assert_products_are_right(world)


def assert_products_are_right(world):
    """Work out from the corrections what each product must be; compare with what was kept up."""
    rows = world.rows(
        "SELECT i.product_key, k.label, k.id FROM cataloger_corrected h JOIN cataloger_item i ON i.id = h.item_id "
        "JOIN cataloger_correction k ON k.id = h.correction_id WHERE k.label IS NOT NULL"
    )
    said = {}
    for product_key, label, number in sorted(rows, key=lambda row: row[2]):
        count, _ = said.setdefault(product_key, {}).get(label, (0, 0))
        said[product_key][label] = (count + 1, number)
    expected = {key: max(labels, key=labels.get) for key, labels in said.items()}
    found = world.rows("SELECT p.product_key, p.label FROM cataloger_corrected_product p")
    assert dict(found) == expected


def test_labels_are_those_of_the_models_and_those_that_people_have_said(world, make):
    world.sink.write([make.good("a")])
    world.say("a", "Été 👗")
    world.say("a", "withdrawn")
    assert labels_in_use(world.database) == ["Dress", "Hat", "Sock", "Été 👗"]
    assert labels_in_use(world.database, world.source.id) == labels_in_use(world.database)
    assert labels_in_use(world.database, world.source.id + 1) == []


@pytest.mark.parametrize(
    ("verdict", "label"),
    [("label", None), ("label", ""), ("not_product", "Hat"), ("wrong", None), ("label", "x" * 256)],
)
def test_a_word_that_says_nothing_clear_is_refused(verdict, label):
    with pytest.raises(ValueError, match=r"label|verdict"):
        CorrectionInput(1, verdict, label, None, None)


def test_going_back_a_revision_keeps_labels_that_hold_and_revives_nothing(url, make_world, make):
    opened = open_database(url)
    world = make_world(opened)
    world.sink.write([make.good(key, product_key="p") for key in "abcd"])
    for key, label in [
        ("a", "Hat"),
        ("a", "Sock"),
        ("b", "not_product"),
        ("c", "Hat"),
        ("c", "withdrawn"),
        ("d", "Hat"),
    ]:
        world.say(key, label)
    labels = "SELECT v.uri, v.label_1, v.corrected_by FROM cataloger_image_top5 v ORDER BY v.uri"
    before, product_before = world.rows(labels), product(world, "p")
    downgrade(url, "0005")
    assert world.rows("SELECT k.label FROM cataloger_correction k ORDER BY k.id") == [("Hat",), ("Sock",), ("Hat",)]
    upgrade(url)
    assert product(world, "p") == product_before
    assert world.rows(labels) == [row if row[0] != "/photos/b" else ("/photos/b", "Dress", None) for row in before]
    opened.close()
