"""What is current, recomputed from history, is the same as what the runs themselves have recorded."""

import random

import pytest
from sqlalchemy import delete

from cataloger.ledger.effective_results import must_keep_previous, recompute_presence, recompute_results
from cataloger.schema.models import CurrentRow

SEED = 20_240


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.mark.parametrize(
    ("code", "content", "good", "expected"),
    [
        (None, "1", "1", False),
        (None, "2", "1", False),
        ("decode.truncated", "1", "1", True),
        ("decode.truncated", "2", "1", False),
        ("decode.truncated", None, "1", False),
        ("io.timeout", None, "1", True),
        ("fetch.timeout", "2", "1", True),
    ],
)
def test_a_failure_in_passing_or_on_the_same_bytes_spares_a_good_result(code, content, good, expected):
    assert must_keep_previous(code, content, good) is expected


def pointers(world):
    query = "SELECT item_id, weights_id, result_id, latest_id FROM cataloger_current ORDER BY item_id, weights_id"
    return world.rows(query)


def test_pointers_made_anew_are_those_that_the_runs_have_moved(world, make):
    chance = random.Random(SEED)

    def result(key):
        content = chance.choice("12")
        kind = chance.choice(["good", "decode.truncated", "io.timeout"])
        if kind == "good":
            return make.good(key, content=content)
        return make.bad(key, code=kind, content=None if kind == "io.timeout" else content)

    for number in range(7):
        if number:
            world.begin(make.other_model if number == 4 else None)
        world.sink.write([result(str(key)) for key in range(60) if chance.random() < 0.8])
    moved = pointers(world)
    items = sorted({row[0] for row in moved})
    weights = {row[1] for row in moved}
    assert (len(items), len(weights)) == (60, 2)
    assert any(result != latest for _, _, result, latest in moved)
    with world.database.begin() as connection:
        connection.execute(delete(CurrentRow))
        for weights_id in weights:
            recompute_results(connection, items, weights_id)
    assert pointers(world) == moved
    with world.database.begin() as connection:
        for weights_id in weights:
            recompute_results(connection, items, weights_id)
    assert pointers(world) == moved


def test_items_that_no_run_says_anything_of_are_there(world, make):
    world.sink.write([make.good("a"), make.good("b")])
    ids = [item_id for (item_id,) in world.rows("SELECT id FROM cataloger_item")]
    with world.database.begin() as connection:
        recompute_presence(connection, ids)
        recompute_results(connection, [], world.model.weights_id)
    assert world.rows("SELECT COUNT(*) FROM cataloger_item WHERE gone_run_id IS NULL") == [(2,)]
