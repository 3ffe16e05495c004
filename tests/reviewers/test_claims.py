"""No product is given to two people: not by two servers at once, nor image by image; a dead page's come back."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from cataloger.reviewers import CLAIM_SECONDS, Claims, Wish, read_activity
from cataloger.schema import ClaimRow

ANN, BEN = "a" * 64, "b" * 64


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def items(world, make):
    """Two images of one product, one of another, and two without a product."""
    products = {"a": "hats", "b": "hats", "c": "tie", "d": None, "e": None}
    world.sink.write([make.good(key, product_key=product) for key, product in products.items()])
    return dict(world.rows("SELECT i.uri, i.id FROM cataloger_item i ORDER BY i.id"))


def test_what_one_page_has_no_other_gets(database, items):
    a, b, c, d, e = items.values()
    ann, ben = Claims(database), Claims(database)
    assert ann.declare(Wish(ANN, "Ann", (a, d), opened=a))[0] == {}
    taken, claims = ben.declare(Wish(BEN, "Ben", (b, c, d, e), opened=c))
    assert taken == {b: "Ann", d: "Ann"}  # b is another image of the same product
    shown = [(each.person, each.item, each.name, each.is_open) for each in claims]
    assert shown == [("Ann", a, "hats", True), ("Ann", d, "", False), ("Ben", c, "tie", True), ("Ben", e, "", False)]
    assert [each.person for each in ann.read()] == ["Ann", "Ann", "Ben", "Ben"]
    # What a page wants no more is free at once, and a name may change meanwhile.
    assert ann.declare(Wish(ANN, "Anna", (d,), opened=d))[0] == {}
    assert ben.declare(Wish(BEN, "Ben", (b, d)))[0] == {d: "Anna"}
    assert ann.declare(Wish(ANN, "Anna"))[1] == [each for each in ben.read() if each.person == "Ben"]
    assert ben.declare(Wish(BEN, "Ben", (b, 2**40)))[0] == {}  # there is no such image


def test_what_a_dead_page_had_comes_back(database, items):
    a, b, *_ = items.values()
    claims = Claims(database)
    claims.declare(Wish(ANN, "Ann", (a,)))
    ahead = -86_400  # from before the clock was put back
    for silent, taken in ((CLAIM_SECONDS - 10, {b: "Ann"}), (ahead, {}), (CLAIM_SECONDS + 10, {})):
        with database.begin() as connection:
            before = datetime.now(UTC) - timedelta(seconds=silent)
            connection.execute(update(ClaimRow).where(ClaimRow.page == ANN).values(renewed_at=before))
        assert len(claims.read()) == len(taken)
        assert claims.declare(Wish(BEN, "Ben", (b,)))[0] == taken
        assert claims.declare(Wish(BEN, "Ben"))[0] == {}
        assert claims.declare(Wish(ANN, "Ann", (a,)))[0] == {}
    claims.declare(Wish(ANN, "Ann"))
    claims.declare(Wish(BEN, "Ben", (b,)))
    assert claims.declare(Wish(ANN, "Ann", (a,)))[0] == {a: "Ben"}


def test_two_servers_at_once_give_nothing_twice(database, world, make):
    world.sink.write([make.good(f"{number:03}") for number in range(60)])
    ids = [row[0] for row in world.rows("SELECT i.id FROM cataloger_item i")]

    def declare(person):
        orders = (ids, ids[::-1], ids[30:] + ids[:30], ids[::2] + ids[1::2])
        claims, page = Claims(database), str(person) * 64
        for turn in range(4):  # all that is let go of meanwhile
            claims.declare(Wish(page, str(person), tuple(orders[person][turn::4])))
        taken, _ = claims.declare(Wish(page, str(person), tuple(orders[person])))
        return set(ids) - set(taken)

    with ThreadPoolExecutor(4) as pool:
        given = [item for each in pool.map(declare, range(4)) for item in each]
    assert len(given) == len(set(given)) <= len(ids)
    holders = {each.item: each.page for each in Claims(database).read()}
    assert set(given) <= set(holders)
    assert len(holders) == len({(each.item, each.page) for each in Claims(database).read()})


def test_what_each_has_done_on_a_day(database, world, items):
    for key, said, person in (
        *(("a", "Dress", "ann"), ("b", "Hat", "ann"), ("c", "Sock", "ann"), ("c", "withdrawn", "ann")),
        *(("d", "not_product", "ben"), ("e", "Dress", "ben")),
    ):
        assert world.say(key, said, person).status == "saved"
    with database.begin() as connection:
        connection.execute(
            text("UPDATE cataloger_correction SET corrected_at = :then WHERE label = 'Hat'"),
            {"then": datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3)},
        )
    days = read_activity(database, world.source.id, UTC)
    assert [(each.person, each.products, each.images, each.agreed) for each in days] == [
        *(("ben", 2, 2, 1), ("ann", 1, 1, 1), ("ann", 1, 1, 0))
    ]
    assert (days[0].day - days[2].day).days == 3
    assert read_activity(database, world.source.id, UTC, days=3) == days[:2]
    assert read_activity(database, world.source.id + 1, UTC) == []
