"""The temporary file of a query's rows: in order, without a name, and what happens when it finds no room."""

import pytest
from full_disk import full_disk

from cataloger.errors import SourceError
from cataloger.queries.row_store import RowStore


def rows(number, size):
    return ((b"%d" % n, b"[]", b"%d" % n, "x" * size) for n in range(number))


def test_rows_come_back_in_order_any_number_of_times():
    store = RowStore()
    store.add([(b"b", b"[]", b"b", "1"), (b"a", b"[2]", b"a", "2")])
    store.add([(None, b"x", b"", "3"), (b"a", b"[1]", b"a ", "4"), (b"a", b"[1]", b"a", "5")])
    expected = [(None, b"x", b"", "3"), (b"a", b"[1]", b"a", "5"), (b"a", b"[1]", b"a ", "4")]
    expected += [(b"a", b"[2]", b"a", "2"), (b"b", b"[]", b"b", "1")]
    assert list(store.rows()) == list(store.rows()) == expected
    assert (store.size, store.twins()) == (5, {b"a "})
    store.close()


def test_a_disk_that_is_full_is_one_line():
    store = RowStore()
    with pytest.raises(SourceError, match=r"cannot be kept in .*; make room there, or name another .* TMPDIR"):
        add_to_a_full_disk(store)
    store.close()


def add_to_a_full_disk(store):
    with full_disk(100_000):
        store.add(rows(100_000, 100))


def test_the_rows_lie_in_no_file_that_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    store = RowStore()
    store.add(rows(10_000, 1000))  # more than is kept in memory
    assert list(tmp_path.iterdir()) == []
    assert sum(1 for _ in store.rows()) == store.size == 10_000
    store.close()
    with pytest.raises(SourceError):
        store.twins()
