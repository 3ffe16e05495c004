"""Upserts: new rows are inserted, known ones changed or left alone, other errors not hidden; on every engine."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from cataloger.db.paging import is_among
from cataloger.db.upsert import upsert_rows
from cataloger.errors import DatabaseError
from cataloger.schema.models import CurrentRow, ModelRow, SourceRow

THEN = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@pytest.fixture
def database(shared_database):
    return shared_database


def source(key, kind="folder", **values):
    return {"kind": kind, "root": key, "root_hash": key, "name": key, "created_at": THEN, **values}


def put(database, rows, update=()):
    with database.begin() as connection:
        upsert_rows(connection, SourceRow, rows, keys=["root_hash"], update=list(update))


def sources(database, *columns):
    with database.read() as connection:
        query = select(*[getattr(SourceRow, column) for column in columns]).order_by(SourceRow.root_hash)
        return [tuple(row) for row in connection.execute(query)]


def test_new_rows_are_inserted(database):
    put(database, [], ["kind"])
    put(database, [source("a"), source("b")])
    assert sources(database, "root_hash", "created_at") == [("a", THEN), ("b", THEN)]


def test_known_rows_are_left_alone_without_columns_to_update(database):
    put(database, [source("a")])
    put(database, [source("a", "manifest"), source("b", "manifest")])
    assert sources(database, "root_hash", "kind") == [("a", "folder"), ("b", "manifest")]


def test_known_rows_get_the_columns_to_update_and_only_those(database):
    put(database, [source("a")])
    put(database, [source("a", "manifest", name="new"), source("b")], ["name"])
    assert sources(database, "root_hash", "kind", "name") == [("a", "folder", "new"), ("b", "folder", "b")]


def test_known_rows_keep_their_identity(database):
    put(database, [source("a")])
    before = sources(database, "id")
    put(database, [source("a", name="new")], ["name"])
    put(database, [source("a", name="newer")])
    assert sources(database, "id") == before


def test_a_column_can_be_emptied(database):
    with database.begin() as connection:
        row = {"weights_id": "w", "calibration_id": "c", "name": "n", "version": "1", "location": "x", "labels": []}
        upsert_rows(connection, ModelRow, [{**row, "first_used_at": THEN}], keys=["weights_id"], update=[])
    put(database, [source("a", weights_id="w")])
    put(database, [source("a", weights_id=None)], ["weights_id"])
    assert sources(database, "weights_id") == [(None,)]


def test_a_key_of_several_columns_is_one_key(world, make):
    world.sink.write([make.good("a")])
    mine = world.model.weights_id
    world.begin(make.other_model).sink.write([make.good("a")])
    with world.database.begin() as connection:
        [first, second] = (
            connection.execute(select(CurrentRow.__table__).order_by(CurrentRow.weights_id)).mappings().all()
        )
        assert (first["weights_id"], second["weights_id"]) == (mine, make.other_model.weights_id)
        row = {**first, "latest_id": second["latest_id"]}
        upsert_rows(connection, CurrentRow, [row], keys=["item_id", "weights_id"], update=["latest_id"])
        rows = connection.execute(select(CurrentRow.latest_id).order_by(CurrentRow.weights_id)).all()
    assert [row.latest_id for row in rows] == [second["latest_id"]] * 2


def test_other_errors_are_not_hidden(database):
    for update in ((), ("name",)):
        for wrong in ({"kind": None}, {"weights_id": "unknown"}):
            with pytest.raises(DatabaseError):
                put(database, [source("a", **wrong)], update)
    assert sources(database, "id") == []


TEXTS = ["", "'; DROP TABLE x; --", "%s :name ? %%", "back\\slash", "👗", " a\n\t ", "x" * 70_000]


def test_any_text_comes_back_as_it_was(database):
    first = [source(str(number)) for number in range(len(TEXTS))]
    put(database, first)
    put(database, [{**row, "name": value} for row, value in zip(first, TEXTS, strict=True)], ["name"])
    assert sources(database, "name") == [(value,) for value in TEXTS]


def test_many_rows_are_no_problem(database):
    put(database, [source(str(number)) for number in range(3000)])
    put(database, [source(str(number), name="new") for number in range(3000)], ["name"])
    assert sources(database, "name") == [("new",)] * 3000


def test_a_row_that_comes_twice_is_there_once_as_the_last_one(database):
    rows = [source(str(number)) for number in range(20)]
    put(database, [*rows, source("3", "manifest", name="last"), source("3", "table", name="very last")], ["name"])
    assert len(sources(database, "id")) == 20
    assert sources(database, "root_hash", "kind", "name")[13] == ("3", "folder", "very last")
    put(database, [*rows, source("3", name="ignored")])
    assert ("ignored",) not in sources(database, "name")


def test_a_statement_is_no_larger_than_servers_take(database):
    large = "\\'" * 200_000
    put(database, [source(str(number), name=large) for number in range(9)])
    assert sources(database, "name") == [(large,)] * 9


@pytest.mark.parametrize("count", [1, 20, 3000])
def test_rows_are_found_among_many_values(database, count):
    """Whatever characters they have, and however many they are."""
    put(database, [source(f"{number} {TEXTS[number % 5]}") for number in range(count)])
    keys = [root for (root,) in sources(database, "root")]
    with database.read() as connection:
        ids = [identity for (identity,) in sources(database, "id")]
        for column, values in ((SourceRow.root, keys[::2]), (SourceRow.id, ids[::2])):
            query = select(SourceRow.root).where(is_among(connection.dialect.name, column, values))
            assert sorted(connection.scalars(query)) == sorted(keys[::2])
            assert connection.scalars(query.where(is_among(connection.dialect.name, column, []))).all() == []


def test_the_same_row_from_many_at_once_is_there_once(database):
    start, errors = threading.Barrier(4), []

    def insert():
        start.wait()
        try:
            put(database, [source("a"), source("b")], ["name"])
        except DatabaseError as error:
            errors.append(error)

    threads = [threading.Thread(target=insert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sources(database, "root_hash") == [("a",), ("b",)]
