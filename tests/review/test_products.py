"""Products as entries of the queue, on each engine: their images, their state, and what stands beside them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from patience import HANGS
from sqlalchemy import insert, select, update

from cataloger.corrections.store import CorrectionInput, correct
from cataloger.errors import UsageError
from cataloger.review_queue.categories import read_categories
from cataloger.review_queue.filters import Filters
from cataloger.review_queue.product_index import ProductIndex
from cataloger.review_queue.queue import Queue
from cataloger.review_queue.shop_columns import ShopColumns
from cataloger.schema.models import CurrentRow, LabelMapRow, ResultRow

PRODUCTS = Filters(by="product")


@pytest.fixture
def tagged(shared_database, make_world, make):
    """Four images of two products and of none."""
    world = make_world(shared_database)
    good = [
        make.good("a.jpg", product_key="one", labels=("Dress", "Hat")),
        make.good("b.jpg", product_key="two", labels=("Sock", "Hat")),
        make.good("c.jpg", product_key="one", labels=("Hat", "Dress")),
        make.good("d.jpg", labels=("Sock", "Hat")),
    ]
    world.sink.write(good)
    return world


@pytest.fixture
def queue(shared_database, tagged):
    return Queue(shared_database)


def products(queue, **filters):
    rows, after = queue.page(Filters(by="product", **filters))
    assert after is None
    return {row["product"]: [image["key"] for image in row["images"]] for row in rows}


def say(database, image, verdict="label", label="Dress"):
    chosen = label if verdict == "label" else None
    (outcome,) = correct(database, [CorrectionInput(image["item"], verdict, chosen, None, image["result"])], "anna")
    assert outcome.status == "saved"


def images_of(queue, product):
    return next(row["images"] for row in queue.page(PRODUCTS)[0] if row["product"] == product)


def test_an_entry_is_a_product_with_its_images_or_an_image_without_one(queue):
    assert products(queue) == {"one": ["a.jpg", "c.jpg"], "two": ["b.jpg"], None: ["d.jpg"]}
    assert products(queue, product="two") == {"two": ["b.jpg"]}
    assert queue.has_products(Filters())
    assert queue.progress(PRODUCTS, "anna").images == 3


def test_a_product_is_reviewed_when_each_image_that_counts_is(shared_database, queue):
    first, second = images_of(queue, "one")
    assert (first["counts"], second["counts"]) == (True, True)
    say(shared_database, first)
    assert "one" in products(queue)
    say(shared_database, second, "not_product")
    assert "one" not in products(queue)
    assert products(queue, reviewed="yes") == {"one": ["a.jpg", "c.jpg"]}
    found = queue.progress(PRODUCTS, "anna")
    assert (found.reviewed, found.named, found.my_reviewed) == (1, 1, 1)


def test_an_image_that_disagrees_needs_no_answer(shared_database, queue):
    item = images_of(queue, "one")[1]["item"]
    shared_database.write(
        lambda connection: connection.execute(
            update(CurrentRow).where(CurrentRow.item_id == item).values(disagrees=True)
        )
    )
    queue = Queue(shared_database)
    first, second = images_of(queue, "one")
    assert (first["counts"], second["counts"]) == (True, False)
    say(shared_database, first)
    assert "one" not in products(queue)


@pytest.mark.parametrize("order", ["confidence", "category", "product", "run"])
def test_pages_hold_every_product_once(queue, monkeypatch, order):
    monkeypatch.setattr("cataloger.review_queue.queue.IMAGES_PER_PAGE", 1)
    found, after = [], None
    for _ in range(4):
        rows, after = queue.page(Filters(by="product", order=order), after)
        found += [row["product"] for row in rows]
    assert sorted(found, key=str) == [None, "one", "two"]


def test_the_values_of_filters_come_with_counts(shared_database, queue):
    counts = dict(queue.facets(Filters(by="image", category="Sock"))["category"])
    assert counts == {"Sock": 2, "Dress": 1, "Hat": 1}
    say(shared_database, images_of(queue, "two")[0], label="Sock")
    assert dict(queue.facets(Filters(by="image"))["category"])["Sock"] == 1
    assert dict(queue.facets(Filters(by="product"))["source"])


def have_pictures(database, *hashes):
    """Let the results be about bytes with these hashes, by turns."""
    with database.begin() as connection:
        for place, result in enumerate(connection.scalars(select(ResultRow.id).order_by(ResultRow.id)).all()):
            wanted = update(ResultRow).where(ResultRow.id == result)
            connection.execute(wanted.values(content_hash=hashes[place % len(hashes)]))


def test_examples_are_what_people_or_the_model_call_so(shared_database, queue):
    have_pictures(shared_database, *(f"{number:064d}" for number in range(4)))
    source = images_of(queue, "one")[0]["source"]
    assert [row["key"] for row in queue.examples(source, "Sock")] == ["b.jpg", "d.jpg"]
    say(shared_database, images_of(queue, None)[0], label="Sock")
    say(shared_database, images_of(queue, "two")[0], label="Dress")
    assert [row["key"] for row in queue.examples(source, "Sock")] == ["d.jpg"]
    assert queue.examples(source, "nothing") == []


def test_categories_have_the_names_of_the_shop_synonyms_and_what_is_above(shared_database, queue):
    names = ("source_id", "label", "code", "name", "parent")
    source = images_of(queue, "one")[0]["source"]
    rows = [(source, "Hat", "11", "Headwear", "10"), (source, "Sock", "10", "Accessories", "1")]
    values = [dict(zip(names, row, strict=True)) for row in rows]
    shared_database.write(lambda connection: connection.execute(insert(LabelMapRow), values))
    found = {each["label"]: each for each in read_categories(shared_database, source)}
    assert (found["Hat"]["above"], found["Hat"]["name"]) == (["1", "Accessories"], "Headwear")
    assert "beanie" in found["Hat"]["also"]
    assert found["Dress"]["above"] == []


def test_a_name_that_is_a_path_is_the_way_to_its_category(shared_database, queue):
    source = images_of(queue, "one")[0]["source"]
    path = {
        "label": "Hat",
        "code": "173",
        "name": "Apparel & Accessories > Clothing Accessories > Hats",
        "parent": "167",
    }
    shared_database.write(lambda connection: connection.execute(insert(LabelMapRow), [{"source_id": source, **path}]))
    found = {each["label"]: each for each in read_categories(shared_database, source)}
    assert found["Hat"]["above"] == ["Apparel & Accessories", "Clothing Accessories"]
    assert found["Hat"]["name"] == "Hats"


def test_examples_show_no_picture_twice(shared_database, queue):
    source = images_of(queue, "one")[0]["source"]
    have_pictures(shared_database, "0" * 64)
    assert [row["key"] for row in queue.examples(source, "Sock")] == ["b.jpg"]


@pytest.mark.parametrize("link", ["javascript:alert({key})", "https://shop.example/", "shop.example/{key}"])
def test_an_address_that_leads_nowhere_is_wrong_usage(link):
    with pytest.raises(UsageError, match="--link"):
        ShopColumns(None, link=link)


def test_what_is_known_of_products_is_what_a_new_queue_reads(shared_database, queue):
    images = {row["key"]: row for row in queue.page(Filters(reviewed="any"))[0]}
    for key, verdict in {"d.jpg": "label", "c.jpg": "not_product", "b.jpg": "label", "a.jpg": "label"}.items():
        say(shared_database, images[key], verdict, "Sock")
        queue.progress(PRODUCTS, "anna")
        kept, read = queue._state.products.products, Queue(shared_database)._state.products.products
        for name in ("items", "states", "answered_twice"):
            assert np.array_equal(getattr(kept, name), getattr(read, name)), (key, name)
        assert kept.count(queue._wanted(PRODUCTS, "anna")) == read.count(queue._wanted(PRODUCTS, "anna"))


def test_nobody_waits_while_what_was_said_of_products_is_taken_over(shared_database, queue, monkeypatch):
    begun, may_end, heard = Event(), Event(), ProductIndex.heard

    def held(index, products):
        begun.set()
        assert may_end.wait(HANGS)
        return heard(index, products)

    say(shared_database, images_of(queue, "two")[0])
    monkeypatch.setattr(ProductIndex, "heard", held)
    with ThreadPoolExecutor(1) as aside:
        first = aside.submit(queue.progress, PRODUCTS, "anna")
        try:
            assert begun.wait(HANGS)
            assert queue.progress(PRODUCTS, "bert").reviewed == 0
            assert [row["product"] for row in queue.page(PRODUCTS)[0]] == ["one", "two", None]
        finally:
            may_end.set()
        assert first.result().reviewed == 1
