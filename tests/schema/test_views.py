"""The three views, the public contract: their columns, and which result of which image they show; on every engine."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import column, inspect, select, table, text

from cataloger.db.clock import utc_now
from cataloger.ledger import pin_model, register_source
from cataloger.schema.views import IMAGE_COLUMNS, IMAGE_TOP5

ANSWER = [name for rank in range(1, 6) for name in (f"label_{rank}", f"confidence_{rank}")]
CORRECTION = ["corrected_by", "corrected_at"]
CONTRACT = {
    "cataloger_image_top5": [
        *("source", "key", "uri", "product_key", "status", "error_code", "model", "run_id", "decision"),
        *ANSWER,
        "tagged_at",
        *CORRECTION,
        "error_text",
    ],
    "cataloger_image_labels": ["source", "key", "rank", "label", "confidence"],
    "cataloger_product_top5": [
        "source",
        "product_key",
        "model",
        "run_id",
        "images",
        "decision",
        *ANSWER,
        "tagged_at",
        *CORRECTION,
    ],
    "cataloger_product_images": [
        *("source", "product_key", "key", "uri", "status", "label", "confidence", "product_label", "disagrees"),
        "not_heard",
    ],
    "cataloger_image_codes": [
        *("source", "key", "uri", "product_key", "rank", "label", "code", "name", "parent", "confidence")
    ],
    "cataloger_product_codes": [
        *("source", "product_key", "rank", "label", "code", "name", "parent", "confidence", "decision")
    ],
}


@pytest.fixture
def database(shared_database):
    return shared_database


def look(world, view, *columns):
    """Return columns of a view, ordered by them, as plain tuples."""
    names = [column(name) for name in columns]
    with world.database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*names).select_from(table(view)).order_by(*names))]


def test_the_columns_are_the_contract(database):
    inspector = inspect(database.engine)
    found = {view: [each["name"] for each in inspector.get_columns(view)] for view in inspector.get_view_names()}
    assert found == CONTRACT
    assert list(IMAGE_COLUMNS) == CONTRACT["cataloger_image_top5"]


def test_an_image_is_one_row_with_everything_that_is_known(world, make):
    world.sink.write([make.good("a/b.jpg", labels=("Dress", "Hat"), product_key="sku 7")])
    with world.database.read() as connection:
        [row] = connection.execute(select(IMAGE_TOP5)).mappings().all()
        now = utc_now(connection).replace(tzinfo=None)
    assert timedelta(0) <= now - row["tagged_at"] < timedelta(minutes=1)
    assert {name: value for name, value in row.items() if name != "tagged_at"} == {
        **dict.fromkeys(name for name in CONTRACT["cataloger_image_top5"] if name != "tagged_at"),
        **{"source": "/photos", "key": "a/b.jpg", "uri": "/photos/a/b.jpg", "product_key": "sku 7"},
        **{"status": "ok", "model": "shipped 1.0", "run_id": world.run.id},
        **{"label_1": "Dress", "confidence_1": 0.75, "label_2": "Hat", "confidence_2": 0.25},
    }


def five_labels(make, key="a"):
    """Return a prediction with as many labels as there are columns."""
    confidences = (0.4, 0.1 + 0.2, 1 / 7, 1e-12, 0.0)
    labels = ("Dress", "Hat", "Été 👗", 'it\'s "quoted"', "x" * 255)
    return replace(make.good(key), labels=labels, confidences=confidences, logits=(5.0, 4.0, 3.0, 2.0, 1.0))


def test_five_labels_and_their_confidences_come_back_to_the_last_bit(world, make):
    image = five_labels(make)
    world.sink.write([image])
    [row] = look(world, "cataloger_image_top5", *ANSWER)
    assert row[0::2] == image.labels
    assert row[1::2] == image.confidences


def test_labels_are_one_row_a_rank(world, make):
    image = five_labels(make)
    world.sink.write([image, make.good("b", labels=("Sock",)), make.bad("c")])
    rows = look(world, "cataloger_image_labels", "key", "rank", "label", "confidence")
    ranked = zip(image.labels, image.confidences, strict=True)
    assert rows == [
        *[("a", rank, label, confidence) for rank, (label, confidence) in enumerate(ranked, start=1)],
        ("b", 1, "Sock", 0.75),
    ]


def test_a_failure_is_a_row_without_labels(world, make):
    world.sink.write([make.bad("a", code="decode.truncated")])
    assert look(world, "cataloger_image_top5", "key", "status", "error_code", "error_text", *ANSWER) == [
        ("a", "failed", "decode.truncated", "cut short", *[None] * 10)
    ]


def test_the_model_that_a_source_is_pinned_to_is_the_one_that_is_seen(world, make):
    world.sink.write([make.good("a"), make.good("b")])
    mine, run_id = world.model, world.run.id
    world.begin(make.other_model).sink.write([make.good("a", labels=("Sock",))])
    columns = ("key", "model", "run_id", "label_1")
    assert look(world, "cataloger_image_top5", *columns) == [("a", "other 2.0", world.run.id, "Sock")]
    assert look(world, "cataloger_image_labels", "key", "label") == [("a", "Sock")]
    pin_model(world.database, world.source, mine, world.run.id)
    assert look(world, "cataloger_image_top5", *columns) == [
        ("a", "shipped 1.0", run_id, "Dress"),
        ("b", "shipped 1.0", run_id, "Dress"),
    ]


def test_each_source_shows_its_own(world, make):
    world.sink.write([make.good("a")])
    world.lease.release()
    world.lease, world.source = None, register_source(world.database, kind="manifest", root="/list.csv")
    world.begin(make.other_model).sink.write([make.good("a", labels=("Sock",))])
    assert look(world, "cataloger_image_top5", "source", "key", "model", "label_1") == [
        ("/list.csv", "a", "other 2.0", "Sock"),
        ("/photos", "a", "shipped 1.0", "Dress"),
    ]
    assert look(world, "cataloger_image_labels", "source", "label") == [
        ("/list.csv", "Sock"),
        ("/photos", "Dress"),
        ("/photos", "Hat"),
    ]


def test_images_that_are_gone_leave_the_views(world, make):
    world.sink.write([make.good("a", labels=("Dress",)), make.good("b", labels=("Hat",))])
    with world.database.begin() as connection:
        missing = text("UPDATE cataloger_item SET gone_run_id = :run WHERE uri = '/photos/a'")
        connection.execute(missing, {"run": world.run.id})
    assert look(world, "cataloger_image_top5", "key") == [("b",)]
    assert look(world, "cataloger_image_labels", "key") == [("b",)]


def test_products_show_the_pinned_model(world, make):
    world.sink.write([make.good("a", product_key="p", labels=("Dress", "Hat"))])
    world.begin(make.other_model)
    world.sink.write([make.good("b", product_key="q", labels=("Hat", "Sock"))])
    columns = ("source", "product_key", "model", "images", "label_1", "confidence_1", "label_2", "label_3")
    assert look(world, "cataloger_product_top5", *columns) == [
        ("/photos", "q", "other 2.0", 1, "Hat", 0.75, "Sock", None)
    ]
