"""The queue on each engine: what is in it, in which order, and how far the reviewers are."""

import time
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import insert

from cataloger.corrections.store import CorrectionInput, correct
from cataloger.errors import UsageError
from cataloger.review_queue.filters import ORDERS, Filters
from cataloger.review_queue.item_rows import find_shown, results_of
from cataloger.review_queue.queue import Queue
from cataloger.reviewers import ReviewSample
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import CorrectionRow, CurrentCorrectionRow


@pytest.fixture(autouse=True)
def a_ledger_counts_as_quickly_read(monkeypatch):
    """However slow the machine is, what a run adds is read while the reviewer waits, as of any small ledger."""
    monkeypatch.setattr("cataloger.review_queue.queue.QUICK", 3600)


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def queue(database, tagged):
    return Queue(database)


@pytest.fixture
def tagged(database, make_world, make):
    """Five images of two products, one of them failed; labels differ by case alone, as collations may not tell."""
    world = make_world(database)
    good = [
        make.good("a.jpg", product_key="one", labels=("Dress", "Hat")),
        make.good("b.jpg", product_key="two", labels=("dress", "Hat")),
        make.good("c.jpg", product_key="one", labels=("Hat", "Dress")),
        make.good("d.jpg", labels=("Sock", "Hat")),
    ]
    world.sink.write([*good, make.bad("e.jpg")])
    return world


def keys(queue, **filters):
    rows, after = queue.page(Filters(**filters))
    assert after is None
    return [row["key"] for row in rows]


def say(database, row, label, author="anna"):
    expected = row["word"] and row["word"]["id"]
    word = CorrectionInput(row["item"], "label", label, expected=expected, result_id=row["result"])
    (outcome,) = correct(database, [word], author)
    assert outcome.status == "saved"


@pytest.mark.parametrize("order", ORDERS)
def test_pages_hold_every_image_once(queue, monkeypatch, order):
    monkeypatch.setattr("cataloger.review_queue.queue.IMAGES_PER_PAGE", 1)
    found, after = [], None
    for _ in range(5):
        rows, after = queue.page(Filters(order=order), after)
        found += [row["key"] for row in rows]
    assert after is None
    assert sorted(found) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    if order == "product":
        assert abs(found.index("a.jpg") - found.index("c.jpg")) == 1


def test_filters_leave_what_fits_them(queue, tagged):
    assert keys(queue, product="one") == ["a.jpg", "c.jpg"]
    assert keys(queue, category="Sock") == ["d.jpg"]
    assert keys(queue, below=0.5) == []
    assert keys(queue, source="/photos", run=tagged.run.id) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert keys(queue, run=tagged.run.id + 1) == []


def test_what_is_reviewed_leaves_until_its_bytes_change(database, queue, tagged, make):
    row = queue.page(Filters())[0][0]
    say(database, row, "Hat")
    assert keys(queue) == ["b.jpg", "c.jpg", "d.jpg"]
    assert keys(queue, reviewed="yes") == ["a.jpg"]
    assert keys(queue, reviewed="yes", category="Hat") == ["a.jpg"]
    tagged.begin().sink.write([make.good("a.jpg", "v2", content="2", product_key="one")])
    (again,) = [row for row in queue.page(Filters())[0] if row["key"] == "a.jpg"]
    assert again["word"]["outdated"]
    assert (again["word"]["label"], again["word"]["result"]) == ("Hat", row["result"])
    assert keys(queue, reviewed="yes") == []
    assert queue.progress(Filters(), "anna").reviewed == 0


def test_progress_counts_all_and_mine(database, queue):
    rows = queue.page(Filters())[0]
    say(database, rows[0], "Dress")
    say(database, rows[2], "Sock", "ben")
    found = queue.progress(Filters(reviewed="no"), "anna")
    assert (found.images, found.reviewed, found.named, found.agreed) == (4, 2, 2, 1)
    assert (found.my_reviewed, found.my_named, found.my_agreed) == (1, 1, 1)
    assert queue.progress(Filters(product="nobody's"), "anna").images == 0


def test_the_first_answer_of_a_person_with_other_capitals_is_ones_own(database, tagged):
    queue = Queue(database, sample=ReviewSample(1.0))
    row = queue.page(Filters())[0][0]
    say(database, row, row["answers"][0][0], "anna")
    assert queue.progress(Filters(), "Anna").second == 0
    assert queue.progress(Filters(), "Anna").my_reviewed == 1
    assert queue.progress(Filters(), "ben").second == 1
    items = [row["item"]]
    assert queue.corrections(items, "ANNA")[row["item"]]["by"] == "anna"
    assert queue.corrections(items, "ben")[row["item"]] is None


def test_only_images_with_an_answer_that_are_there_can_be_shown(database, tagged):
    items = dict(tagged.rows("SELECT uri, id FROM cataloger_item"))
    assert find_shown(database, items["/photos/a.jpg"]).label_1 == "Dress"
    assert find_shown(database, items["/photos/e.jpg"]) is None
    assert find_shown(database, 10**30) is None


def test_a_result_counts_only_for_its_own_item(database, queue):
    first, second = queue.page(Filters())[0][:2]
    own = CorrectionInput(first["item"], "not_product", None, expected=None, result_id=first["result"])
    foreign = CorrectionInput(second["item"], "not_product", None, expected=None, result_id=first["result"])
    assert results_of(database, [own]) == {first["item"]: first["result"]}
    assert results_of(database, [foreign]) == {}


def test_a_query_string_comes_back_as_it_was():
    filters = Filters(order="run", below=0.25, category="T-shirt & more", run=3, reviewed="any")
    assert filters.query() == "order=run&below=0.25&category=T-shirt+%26+more&run=3&reviewed=any"
    assert Filters.parse([*parse_qsl(filters.query()), ("product", "")]) == filters
    with pytest.raises(UsageError, match="unknown filter 'colour'"):
        Filters.parse([("colour", "red")])


def test_orders_go_by_their_values_and_then_by_confidence(database, queue):
    def place(row):
        label, confidence = row["answers"][0]
        lead = {"category": label, "product": key_hash(row["product"]) if row["product"] else "", "run": -row["run"]}
        return lead, confidence, row["item"]

    for order in ORDERS:
        rows = [place(row) for row in queue.page(Filters(order=order))[0]]
        assert rows == sorted(rows, key=lambda row: (row[0].get(order, 0), *row[1:]))


def test_images_that_a_run_adds_are_there_at_once(queue, tagged, make):
    tagged.begin().sink.write([make.good("f.jpg"), make.bad("g.jpg")])
    assert keys(queue) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "f.jpg"]


def test_a_large_ledger_is_read_again_beside_the_work(database, tagged, make, monkeypatch):
    monkeypatch.setattr("cataloger.review_queue.queue.QUICK", 0)
    monkeypatch.setattr("cataloger.review_queue.queue.PAUSE", 0)
    queue = Queue(database)
    tagged.begin().sink.write([make.good("f.jpg"), make.good("a.jpg", "v2", labels=("Sock", "Hat"))])
    assert keys(queue, category="Sock") == ["d.jpg"]
    for _ in range(500):
        if keys(queue, category="Sock") == ["a.jpg", "d.jpg"]:
            break
        time.sleep(0.01)
    assert keys(queue) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "f.jpg"]


def test_a_row_is_shown_as_it_is_now_even_if_the_queue_has_not_seen_that(database, tagged, make, monkeypatch):
    monkeypatch.setattr("cataloger.review_queue.queue.QUICK", 0)
    monkeypatch.setattr("cataloger.review_queue.queue.PAUSE", 1e9)
    queue = Queue(database)
    tagged.begin().sink.write([make.good("a.jpg", "v2", labels=("Sock", "Hat"))])
    assert [row["answers"][0][0] for row in queue.page(Filters())[0]] == ["Sock", "dress", "Hat", "Sock"]
    assert keys(queue, category="Dress") == []


def test_a_word_with_a_lower_number_that_is_committed_later_counts(database, queue, tagged):
    rows = queue.page(Filters())[0]
    for row, number in zip(rows, (60, 40), strict=False):
        values = {
            "id": number,
            "item_id": row["item"],
            "label": "Dress",
            "author": "anna",
            "corrected_at": datetime.now(UTC),
        }
        with database.begin() as connection:
            connection.execute(insert(CorrectionRow), values)
            connection.execute(insert(CurrentCorrectionRow), {"item_id": row["item"], "correction_id": number})
        queue.progress(Filters(), "anna")
    assert keys(queue) == ["c.jpg", "d.jpg"]
    assert queue.progress(Filters(), "anna").my_reviewed == 2


def test_what_others_take_back_is_open_again(database, queue, tagged):
    for _ in range(2):
        tagged.say("b.jpg", "not_product")
        assert keys(queue) == ["a.jpg", "c.jpg", "d.jpg"]
        assert queue.progress(Filters(), "ann").named == 0
        tagged.say("b.jpg", "withdrawn")
        assert keys(queue) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
