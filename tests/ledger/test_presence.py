"""Items that a complete scan does not meet leave the views, and come back when it meets them again."""

import pytest
from sqlalchemy import insert

from cataloger.ledger import SourceRef
from cataloger.ledger import presence as presences
from cataloger.ledger.presence import BITS, Presence
from cataloger.schema.models import ItemRow


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def known(world, make):
    """Six images that were tagged."""
    world.sink.write([make.good(key) for key in ("a", "b", "c", "in/d", "in/e", "inn")])
    return world.begin()


def scan(world, make, *keys, source=None):
    """Look at some keys as a run does; return what it has met."""
    presence = Presence(world.database, source or world.source)
    world.ledger.on_known = presence.see
    list(world.ledger.plan(make.item(key) for key in keys))
    return presence


def shown(world):
    return [key for (key,) in world.rows("SELECT v.key FROM cataloger_image_top5 v ORDER BY v.key")]


def test_what_a_scan_has_not_met_is_gone(known, make):
    presence = scan(known, make, "a", "c", "in/d", "inn")
    assert presence.count_missing() == 2
    assert len(shown(known)) == 6
    assert presence.remove_missing(known.run.id) == 2
    assert shown(known) == ["a", "c", "in/d", "inn"]
    assert presence.remove_missing(known.run.id) == 0


def test_what_is_met_again_comes_back(known, make):
    scan(known, make, "a").remove_missing(known.run.id)
    presence = scan(known, make, "a", "b")
    assert presence.restore_met(known.run.id) == 1
    assert shown(known) == ["a", "b"]
    assert presence.restore_met(known.run.id) == 0
    assert presence.remove_missing(known.run.id) == 0


def test_a_scan_of_a_folder_within_says_nothing_of_the_rest(known, make):
    inside = SourceRef(known.source.id, known.source.root, "in/", known.model.weights_id)
    assert scan(known, make, "in/d", source=inside).remove_missing(known.run.id) == 1
    assert shown(known) == ["a", "b", "c", "in/d", "inn"]


def test_a_key_that_is_met_twice_counts_once(known, make):
    assert scan(known, make, "a", "a", "b", "c", "in/d", "in/e").count_missing() == 1


def test_what_the_run_itself_adds_is_there(known, make):
    presence = scan(known, make, "a", "b", "c", "in/d", "in/e", "inn", "new")
    known.sink.write([make.good("new")])
    assert presence.remove_missing(known.run.id) == 0
    assert "new" in shown(known)


def test_items_of_other_sources_stay(known, make):
    row = {"source_id": known.source.id, "key": "x", "key_hash": "x", "uri": "x"}
    other = scan(known, make, source=SourceRef(known.source.id + 1, "/elsewhere"))
    with known.database.begin() as connection:
        connection.execute(insert(ItemRow).values(**row))
    assert other.remove_missing(known.run.id) == 0


def test_gone_ones_are_found_page_by_page(known, make, monkeypatch):
    monkeypatch.setattr(presences, "ITEMS_PER_READ", 2)
    assert scan(known, make, "b").remove_missing(known.run.id) == 5
    assert shown(known) == ["b"]
    assert scan(known, make, "a", "b", "c", "in/d", "in/e", "inn").restore_met(known.run.id) == 5
    assert len(shown(known)) == 6


def test_ids_far_apart_are_told_apart(known):
    ids = [BITS - 1, BITS, BITS + 1, 5 * BITS]
    rows = [{"id": n, "source_id": known.source.id, "key": str(n), "key_hash": str(n), "uri": ""} for n in ids]
    with known.database.begin() as connection:
        connection.execute(insert(ItemRow), rows)
    presence = Presence(known.database, known.source)
    presence.see(BITS, False)
    presence.see(5 * BITS, False)
    assert presence.remove_missing(known.run.id) == 6 + 2
    assert known.rows(f"SELECT COUNT(*) FROM cataloger_item WHERE gone_run_id IS NULL AND id >= {BITS - 1}") == [(2,)]
