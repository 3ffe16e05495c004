"""Which images the rows of a file are about: found by key and by uri, without going through the catalog for each."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event, insert, select

from cataloger.corrections import item_lookup
from cataloger.corrections.csv_import import ImportOptions, import_corrections
from cataloger.corrections.item_lookup import Lookup
from cataloger.ledger import register_source
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import ItemRow


@pytest.fixture
def database(shared_database):
    return shared_database


def add(world, source_id, uris):
    """Give a source images: key -> uri."""
    rows = [{"source_id": source_id, "key": key, "key_hash": key_hash(key), "uri": uri} for key, uri in uris.items()]
    with world.database.begin() as connection:
        connection.execute(insert(ItemRow), rows)


@pytest.fixture
def shop(world):
    """A source beside that of the world, whose uris say nothing of the keys."""
    source = register_source(world.database, kind="table", root="products")
    add(world, source.id, {str(number): f"https://shop.example/{number}.jpg" for number in range(30)})
    return source.id


def named(world, found):
    """Return name -> (source, key) of the images that were found."""
    with world.database.read() as connection:
        known = {row.id: (row.source_id, row.key) for row in connection.execute(select(ItemRow.__table__))}
    return {name: sorted(known[item] for _, item in images) for name, images in found.items()}


@contextmanager
def scans(database):
    """Give a list of the statements that look for uris meanwhile."""
    asked = []

    def note(_connection, _cursor, statement, *_):
        if ".uri IN" in statement:
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_a_file_of_a_folder_is_found_by_the_key_in_its_uri(world, make):
    world.sink.write([make.good("a b/ä%20.jpg"), make.good("b.jpg")])
    lookup, here = Lookup(world.database, {world.source.id}), world.source.id
    with scans(world.database) as asked:
        found = lookup.by_uri({"/photos/a b/ä%20.jpg", "/photos/none.jpg", "/photos", "/photosb.jpg", "b.jpg"})
    assert named(world, found) == {"/photos/a b/ä%20.jpg": [(here, "a b/ä%20.jpg")]}
    assert asked == []


def test_other_uris_are_looked_for_once_by_the_database_and_then_in_an_index(world, shop, monkeypatch):
    monkeypatch.setattr(item_lookup, "ROWS_PER_READ", 7)
    lookup = Lookup(world.database, {world.source.id, shop})
    with scans(world.database) as asked:
        for numbers in (range(3), range(2, 29, 2), range(40)):
            wanted = {f"https://shop.example/{number}.jpg" for number in numbers}
            expected = {f"https://shop.example/{n}.jpg": [(shop, str(n))] for n in numbers if n < 30}
            assert named(world, lookup.by_uri(wanted)) == expected
    assert len(asked) == 1


def test_uris_whose_hashes_are_the_same_are_told_apart(world, shop, monkeypatch):
    monkeypatch.setattr(item_lookup, "_hash", lambda uri: len(uri))
    lookup = Lookup(world.database, {shop})
    for _ in range(2):
        found = lookup.by_uri({"https://shop.example/7.jpg", "https://shop.example/x.jpg"})
        assert named(world, found) == {"https://shop.example/7.jpg": [(shop, "7")]}


def test_a_uri_of_several_sources_is_found_in_each_and_one_without_images_in_none(world, make, shop):
    world.sink.write([make.good("a.jpg")])
    add(world, shop, {"x": "/photos/a.jpg", "y": "/photos/a.jpg"})
    lookup = Lookup(world.database, {world.source.id, shop})
    for _ in range(2):
        found = named(world, lookup.by_uri({"/photos/a.jpg"}))
        assert found == {"/photos/a.jpg": sorted([(world.source.id, "a.jpg"), (shop, "x"), (shop, "y")])}
    empty = register_source(world.database, kind="manifest", root="/list.csv")
    nothing = Lookup(world.database, {empty.id})
    assert [nothing.by_uri({"/photos/a.jpg"}) for _ in range(2)] == [{}, {}]


def test_a_key_that_is_the_uri_of_another_image_is_no_second_image_of_its_row(world, make, tmp_path):
    world.sink.write([make.good("a.jpg")])
    listed = register_source(world.database, kind="manifest", root="/list.csv")
    add(world, listed.id, {"/photos/a.jpg": "/photos/other.jpg"})
    path = tmp_path / "corrections.csv"
    path.write_text("key,uri,label\n/photos/a.jpg,,Hat\n,/photos/a.jpg,Sock\n")
    report = import_corrections(world.database, path, ImportOptions("ann"))
    assert (report.saved, report.notes) == (2, [])
    assert world.rows(
        "SELECT i.uri, k.label FROM cataloger_correction k JOIN cataloger_item i ON i.id = k.item_id ORDER BY i.uri"
    ) == [("/photos/a.jpg", "Sock"), ("/photos/other.jpg", "Hat")]
