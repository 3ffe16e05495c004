"""Pages of many rows: all of them, in order, at most so many at once, and no more work behind than in front."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, func, insert, select, text

from cataloger.db import DatabaseURL, row_pages
from cataloger.schema import open_database
from cataloger.schema.models import SourceRow

THEN = datetime(2024, 5, 6, tzinfo=UTC)


def fill(database, numbers):
    """Make a source of each number; those that can be divided by seven are manifests."""
    with database.begin() as connection:
        for start in range(0, len(numbers), 1000):
            rows = [
                {
                    "id": number,
                    "kind": "folder" if number % 7 else "manifest",
                    "root": str(number),
                    "root_hash": str(number),
                    "name": str(number),
                    "created_at": THEN,
                }
                for number in numbers[start : start + 1000]
            ]
            connection.execute(insert(SourceRow), rows)


def pages_of(database, condition, size):
    query = select(SourceRow.name).where(condition)
    return [list(map(tuple, page)) for page in row_pages(database, query, SourceRow.id, size)]


@pytest.mark.parametrize("numbers", [[], [1], range(1, 41), [3, 7, *range(100, 900, 3), 5000, 70_007]])
@pytest.mark.parametrize("size", [1, 7, 500])
def test_each_row_comes_once_in_order_and_no_page_is_larger_than_asked_for(shared_database, numbers, size):
    fill(shared_database, list(numbers))
    for condition, wanted in (
        (SourceRow.id > 0, list(numbers)),
        (SourceRow.kind == "manifest", [each for each in numbers if each % 7 == 0]),
        (SourceRow.id == 70_007, [each for each in numbers if each == 70_007]),
    ):
        pages = pages_of(shared_database, condition, size)
        assert [row for page in pages for row in page] == [(str(each), each) for each in wanted]
        assert [len(page) for page in pages[:-1]] == [size] * len(pages[:-1])
        assert all(0 < len(page) <= size for page in pages)


@contextmanager
def statements_of(database):
    """Yield a list that each SELECT of a database is added to, with its parameters."""
    found = []

    def keep(connection, cursor, statement, parameters, *rest):
        if statement.startswith("SELECT"):
            found.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", keep)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", keep)


def test_rows_that_few_match_are_found_in_few_statements(shared_database):
    fill(shared_database, list(range(1, 3001)))
    with statements_of(shared_database) as statements:
        assert pages_of(shared_database, SourceRow.id.in_([5, 2990]), 10) == [[("5", 5), ("2990", 2990)]]
    assert 0 < len(statements) < 30


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_no_page_reads_the_whole_table_whatever_the_server_thinks_of_the_condition(url):
    """PostgreSQL takes one row of two hundred for a match where an expression is compared; here all are."""
    database = open_database(DatabaseURL.parse(url))
    try:
        fill(database, list(range(1, 6001)))
        is_whole = func.length(SourceRow.name) == func.length(SourceRow.root)
        with database.begin() as connection:
            connection.execute(text("ANALYZE cataloger_source"))
        with statements_of(database) as statements:
            pages = pages_of(database, is_whole & (SourceRow.root_hash == SourceRow.name), 500)
        with database.read() as connection:
            plans = [
                "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
                for statement, parameters in statements
            ]
    finally:
        database.close()
    assert [len(page) for page in pages] == [500] * 12
    assert len(plans) == 25
    assert [plan for plan in plans if "Seq Scan" in plan] == []
