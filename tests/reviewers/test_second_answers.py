"""The sample that two people answer: which products, who may answer, and what their answers are worth."""

import numpy as np
import pytest
from sqlalchemy import insert

from cataloger.corrections import CorrectionInput, summarize
from cataloger.db import utc_now
from cataloger.ledger.deletion import purge_items
from cataloger.report.gather import ReportOptions, gather_report
from cataloger.reviewers import (
    ReviewSample,
    SecondAnswers,
    measure_agreement,
    read_activity,
    read_answered,
    read_pairs,
)
from cataloger.schema import SecondAnswerRow, key_hash


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def items(world, make):
    products = {"a": "hats", "b": "hats", "c": "tie", "d": None}
    world.sink.write([make.good(key, product_key=product) for key, product in products.items()])
    return [row[0] for row in world.rows("SELECT i.id FROM cataloger_item i ORDER BY i.id")]


def says(item, label, expected=None):
    verdict = label if label in ("not_product", "withdrawn") else "label"
    return CorrectionInput(item, verdict, label if verdict == "label" else None, expected, None)


def test_sample_is_a_share_of_the_products_and_the_same_everywhere():
    numbers = np.array([int(key_hash(f"sku-{number}")[:13], 16) for number in range(20_000)])
    items = np.arange(1, 20_001)
    alone = np.full(len(items), -1)
    for products in (numbers, alone):
        small, large = (ReviewSample(share).mask(products, items) for share in (0.05, 0.2))
        assert 0.04 < small.mean() < 0.06
        assert 0.18 < large.mean() < 0.22
        assert not (small & ~large).any()
        assert ReviewSample(1.0).mask(products, items).all()
        assert not ReviewSample(0.0).mask(products, items).any()
    chosen = ReviewSample(0.2).among({7: key_hash("sku-1"), 8: None, 9: key_hash("sku-1")})
    assert (7 in chosen) == (9 in chosen) == bool(ReviewSample(0.2).mask(numbers[1:2], items[:1])[0])


def test_second_answer_is_kept_beside_the_first_and_changes_nothing_current(database, world, items):
    a, b, c, d = items
    answers = SecondAnswers(database, ReviewSample(1.0))
    first = [
        world.say_of(item, label, "ann").correction_id for item, label in ((a, "Dress"), (b, "Dress"), (c, "Hat"))
    ]
    before = world.views()
    assert answers.record([says(a, "Hat"), says(b, "Hat"), says(c, "Hat"), says(d, "Sock")], "ben") == {a, b, c}
    assert world.views() == before
    assert answers.record([says(a, "Sock")], "ben") == {a}  # its author may change it
    assert answers.record([says(a, "Sock")], "cem") == set()  # a third answer is none
    assert answers.record([says(a, "Sock")], "ann") == set()  # nor is a second one of the first person
    assert answers.record([says(a, "Sock", first[0])], "cem") == set()  # who names the first answer has seen it
    assert answers.record([says(d, "withdrawn")], "ben") == set()
    second = answers.among({a: None, d: None})
    assert (second[a].label, second[a].author, second[a].correction_id, second[d]) == ("Sock", "ben", first[0], None)
    assert answers.record([says(a, "withdrawn")], "ben") == {a}
    assert answers.among({a: None}) == {a: None}
    assert SecondAnswers(database, ReviewSample(0.0)).record([says(a, "Hat")], "ben") == set()


def test_agreement_is_counted_by_product_and_disputes_end_with_one_answer(database, world, items):
    a, b, c, d = items
    answers = SecondAnswers(database, ReviewSample(1.0))
    assert measure_agreement(read_pairs(database)).as_json() == {
        "products": 0, "same": 0, "open": 0, "kappa": {"value": None, "low": None, "high": None}
    }  # fmt: skip
    for item, label in ((a, "Dress"), (b, "Dress"), (c, "Hat"), (d, "Dress")):
        world.say_of(item, label, "ann")
    answers.record([says(a, "Hat"), says(b, "Hat"), says(c, "Hat"), says(d, "not_product")], "ben")
    pairs = {pair.name: pair for pair in read_pairs(database, world.source.id)}
    agreement = measure_agreement(list(pairs.values()))
    assert (agreement.products, agreement.same, agreement.open) == (3, 1, 2)
    # 1 of 3 the same; by chance 2/3 * 0 + 1/3 * 2/3 = 2/9.
    assert agreement.kappa.value == pytest.approx((1 / 3 - 2 / 9) / (1 - 2 / 9))
    assert agreement.kappa.low < agreement.kappa.value < agreement.kappa.high
    assert pairs["hats"].disputed == (("label", "Dress"), ("label", "Hat"))
    assert pairs["hats"].persons == ("ann", "ben")
    assert [image[0] for image in pairs["hats"].images] == [a, b]
    assert pairs["tie"].disputed is None
    for item, correction, _ in pairs["hats"].images:
        assert correction is not None
        assert world.say_of(item, "Hat", "cem").status == "saved"
    after = {pair.name: pair for pair in read_pairs(database)}
    assert [name for name, pair in after.items() if pair.disputed] == ["d"]
    assert measure_agreement(list(after.values())).same == 1  # how they agreed stays as it was
    assert read_pairs(database, world.source.id + 1) == []
    with database.begin() as connection:
        purge_items(connection, world.source.id, items)
    assert read_pairs(database) == []


def test_one_person_is_not_two_because_of_capitals(database, world, items):
    a, b, *_ = items
    answers = SecondAnswers(database, ReviewSample(1.0))
    first = world.say_of(a, "Dress", "anna").correction_id
    world.say_of(b, "Dress", "ben")
    assert answers.record([says(a, "Hat")], " Anna") == set()
    # As an earlier version has recorded it: it counts for nothing, and somebody else may answer still.
    row = {"item_id": a, "correction_id": first, "verdict": "label", "label": "Hat", "author": "Anna"}
    database.write(lambda to: to.execute(insert(SecondAnswerRow).values(**row, answered_at=utc_now(to))))
    assert read_pairs(database) == []
    assert answers.among({a: None}) == {a: None}
    with database.read() as connection:
        stamp, answered = read_answered(connection)
        assert answered == []
        assert read_answered(connection, stamp) is None
    assert answers.record([says(a, "withdrawn")], "cem") == set()
    assert answers.record([says(a, "Hat"), says(b, "Hat")], "Cem") == {a, b}
    assert [pair.persons for pair in read_pairs(database)] in ([("anna", "Cem")], [("ben", "Cem")])
    assert answers.record([says(a, "Sock")], "CEM") == {a}
    assert answers.among({a: None})[a].label == "Sock"
    assert answers.record([says(a, "withdrawn")], "cem") == {a}
    assert answers.among({a: None}) == {a: None}


def test_the_answers_of_one_person_are_counted_together(database, world, items):
    for item, name in zip(items, ("Anna", "anna", "Anna", "ben"), strict=True):
        world.say_of(item, "Dress", name)
    assert [(day.person, day.images) for day in read_activity(database)] == [("Anna", 3), ("ben", 1)]
    assert [(each.author, each.corrections) for each in summarize(database).authors] == [("Anna", 3), ("ben", 1)]
    found = gather_report(database, ReportOptions()).authors
    assert [(each.name, each.corrections, each.judged) for each in found] == [("Anna", 3, 3), ("ben", 1, 1)]
