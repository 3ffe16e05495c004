"""What is checked of the shop's tables before any work, and the order in which every engine hands out their rows."""

import pytest

from cataloger.errors import SourceError
from cataloger.records import Failure
from cataloger.sources import table as tables

# The type of a text key in a table that tests make with plain SQL.
TEXT = "VARCHAR(40)"


def on(*names):
    """Run a test on some engines alone."""
    return pytest.mark.parametrize("engine_name", names, indirect=True, scope="module")


def fill(shop, columns, *rows, photo="TEXT", name="products"):
    """Make a table of some columns and a photo, with rows written in SQL."""
    shop.run(f"DROP TABLE IF EXISTS {name}", f"CREATE TABLE {name} (photo {photo}, {columns})")
    for row in rows:
        shop.run(f"INSERT INTO {name} VALUES ('/p/x', {row})")


def paged(shop, size, monkeypatch, **options):
    """Return the keys of a scan in pages of some size."""
    monkeypatch.setattr(tables, "ROWS_PER_READ", size)
    return [each.item.key if isinstance(each, Failure) else each.key for each in shop.source(**options).scan()]


# Order: what the server puts last on a page is what it continues behind.


@pytest.mark.parametrize("size", [1, 2, 3])
def test_words_that_a_collation_takes_for_one_are_paged_with_a_second_column(shop, monkeypatch, size):
    """MariaDB takes all of these for one word, with its usual collation."""
    fill(shop, f"brand {TEXT}, n INTEGER, PRIMARY KEY (brand, n)")
    words = [("a", 1), ("A", 2), ("a ", 3), ("á", 4), ("a", 5), ("A", 6), ("b", 1)]
    for brand, n in words:
        shop.run("INSERT INTO products VALUES ('/p/x', :brand, :n)", brand=brand, n=n)
    keys = paged(shop, size, monkeypatch, ids=("brand", "n"))
    assert sorted(keys) == sorted(f'["{brand.strip()}", "{n}"]' for brand, n in words)


@on("mariadb")
@pytest.mark.parametrize("charset", ["latin1", "utf8mb4", "ucs2", "ascii"])
def test_a_column_of_another_character_set_is_paged(shop, monkeypatch, charset):
    words = ["a", "B", "c", "Z", "z1"] + ([] if charset == "ascii" else ["é", "ß1", "ÿ"])
    fill(shop, f"id VARCHAR(20) CHARACTER SET {charset} PRIMARY KEY", *(f"'{word}'" for word in words))
    assert sorted(paged(shop, 1, monkeypatch)) == sorted(words)


@on("mariadb")
@pytest.mark.parametrize("kind", ["ENUM('small', 'medium', 'large')", "SET('small', 'medium', 'large')"])
def test_values_that_mysql_sorts_by_their_number_are_paged(shop, monkeypatch, kind):
    rows = [f"{n}, '{size}'" for n in (1, 2) for size in ("small", "medium", "large")]
    fill(shop, f"n INTEGER, size {kind}, PRIMARY KEY (n, size)", *rows)
    keys = paged(shop, 1, monkeypatch, ids=("n", "size"))
    assert sorted(keys) == sorted(f'["{n}", "{size}"]' for n in (1, 2) for size in ("small", "medium", "large"))


@on("postgresql")
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("CHAR(6)", ["a", "ab", "b"]),
        ("sizes", ["small", "medium", "large"]),
        ("CITEXT", ["a", "B", "c", "D"]),
        ('TEXT COLLATE "en-x-icu"', ["a", "B", "c", "D", "é", "-e"]),
        ("TEXT COLLATE caseless", ["a", "B", "c", "D", "é"]),
        ("INET", ["10.0.0.1", "10.0.0.2", "9.0.0.0/8"]),
        ("VARCHAR(5)", ["a", "b "]),
        ("NAME", ["a", "B"]),
        ("SMALLINT", ["-1", "2", "10"]),
        ("OID", ["1", "2", "10"]),
        ("NUMERIC", ["1.10", "1.2", "100000000000000000000", "1e-9"]),
        ("BOOLEAN", ["true", "false"]),
        ("TIMESTAMPTZ", ["2024-01-02 03:04:05.000001+00", "2024-10-27 02:30:00+02", "2024-10-27 02:30:00+01"]),
        ("TIMESTAMP", ["2024-01-02 03:04:05.000001", "2024-01-02 03:04:05"]),
        ("TIME", ["03:04:05", "03:04"]),
        ("INTERVAL", ["1 day", "25 hours"]),
        ("UUID", ["00000000-0000-0000-0000-000000000001", "10000000-0000-0000-0000-000000000000"]),
        ("word", ["a", "b"]),
    ],
)
def test_keys_of_the_types_of_postgresql_are_paged_and_read(shop, monkeypatch, kind, values):
    shop.run(
        "CREATE EXTENSION IF NOT EXISTS citext",
        "DROP TABLE IF EXISTS products",
        "DROP TYPE IF EXISTS sizes",
        "CREATE TYPE sizes AS ENUM ('small', 'medium', 'large')",
        "DROP DOMAIN IF EXISTS word",
        "CREATE DOMAIN word AS TEXT NOT NULL",
        "CREATE COLLATION IF NOT EXISTS caseless (provider=icu, locale='und-u-ks-level2', deterministic=false)",
    )
    for columns, ids in (
        (f"id {kind} PRIMARY KEY", ("id",)),
        (f"n INTEGER, id {kind} NOT NULL, UNIQUE (n, id)", ("n", "id")),
    ):
        fill(shop, columns, photo="BYTEA")
        for value in values:
            shop.run(f"INSERT INTO products VALUES ('\\x01', {'1, ' if len(ids) > 1 else ''}'{value}')")
        monkeypatch.setattr(tables, "ROWS_PER_READ", 1)
        source = shop.source(ids=ids)
        items = list(source.scan())
        assert len({item.key for item in items}) == len(items) == len(values)
        assert len(source.read_blobs(items)) == len(values)


# Identity: the columns tell the rows apart, now and while the table is read.


def test_a_key_with_nulls_is_refused_also_where_it_is_the_primary_key(shop):
    """SQLite lets nulls into a primary key that is no integer; all engines let them into a unique column."""
    kind = "PRIMARY KEY" if shop.kind == "sqlite" else "UNIQUE"
    fill(shop, f"id {TEXT} {kind}", "NULL", "'a'")
    with pytest.raises(SourceError) as caught:
        shop.source()
    assert str(caught.value) == "--id id is null in some rows of products: use a view without them, or other columns"


def test_a_nullable_column_without_nulls_will_do(shop):
    fill(shop, f"id {TEXT} UNIQUE", "'a'", "'b'")
    assert len(shop.keys()) == 2


@pytest.mark.parametrize("size", [1, 2])
def test_a_null_that_comes_while_the_table_is_read_hides_no_other_row(shop, monkeypatch, size):
    fill(shop, "brand INTEGER, n INTEGER", "1, 1", "1, 2", "2, 1", "2, 2")
    monkeypatch.setattr(tables, "ROWS_PER_READ", size)
    keys = []
    for item in shop.source(ids=("brand", "n")).scan():
        keys.append(item.key)
        if item.key == '["1", "1"]':
            shop.run("INSERT INTO products VALUES ('/p/x', 2, NULL), ('/p/x', NULL, 1), ('/p/x', NULL, NULL)")
    assert keys == ['["1", "1"]', '["1", "2"]', '["2", "1"]', '["2", "2"]']


PARTIAL, WIDE, EXPRESSION = "(id) WHERE active = 1", "(id, active)", "(LOWER(id))"


@pytest.mark.parametrize(
    ("engine_name", "index"),
    [
        ("sqlite", PARTIAL),
        ("sqlite", WIDE),
        ("sqlite", "((id || active))"),
        ("postgresql", PARTIAL),
        ("postgresql", WIDE),
        ("postgresql", "((id || active))"),
        ("postgresql", "(id, (id || active))"),
        ("postgresql", "(active) INCLUDE (id)"),
        ("mariadb", WIDE),
    ],
    indirect=["engine_name"],
    scope="module",
)
def test_a_unique_index_that_lets_the_column_repeat_proves_nothing(shop, index):
    fill(shop, f"id {TEXT} NOT NULL, active INTEGER NOT NULL", "'a', 0", "'b', 1")
    shop.run(f"CREATE UNIQUE INDEX odd ON products {index}")
    assert len(shop.keys()) == 2
    shop.run("INSERT INTO products VALUES ('/p/x', 'a', 2)")
    with pytest.raises(SourceError, match="--id id does not identify a row of products: a occurs more than once"):
        shop.source()


@pytest.mark.filterwarnings("error")
def test_what_the_database_has_and_we_need_not_know_warns_nobody(shop):
    """An index over an expression, a type of an extension."""
    odd = {"sqlite": "VECTOR(3)", "postgresql": "PG_LSN", "mysql": "POINT"}[shop.kind]
    fill(shop, f"id {TEXT} NOT NULL PRIMARY KEY, place {odd}")
    index = "(photo(9))" if shop.kind == "mysql" else "(LOWER(photo))"
    shop.run(f"CREATE INDEX odd ON products {index}", "INSERT INTO products (id, photo) VALUES ('a', '/p/x')")
    assert shop.keys() == ["a"]
