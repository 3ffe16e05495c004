"""Product tables as they are in the wild, on every engine: names, keys, views, lists, bytes, a table of images."""

import datetime
import decimal
import uuid
from collections import Counter
from contextlib import closing

import pytest
from by_url import open_source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    LargeBinary,
    Numeric,
    String,
    Text,
    insert,
    make_url,
    text,
)
from sqlalchemy import types as sql

from cataloger.errors import DatabaseError, ImageError, SourceError, UsageError, WrongSourceError
from cataloger.fetch import Remote, fetch
from cataloger.options import Limits
from cataloger.records import Failure
from cataloger.sources import table as tables
from cataloger.sources.image_references import join_keys
from cataloger.sources.table import TableSource
from cataloger.table_options import TableOptions


def on(*names):
    """Run a test on some engines alone."""
    return pytest.mark.parametrize("engine_name", names, indirect=True, scope="module")


def subject_of(each):
    return each.item if isinstance(each, Failure) else each


def plain(shop, number=3):
    """Make the plainest table: numbers and absolute paths."""
    identity = Column("id", sql.Integer, primary_key=True, autoincrement=False)
    table = shop.create("products", identity, Column("photo", Text))
    shop.insert(table, [{"id": n, "photo": f"/p/{n}.jpg"} for n in range(1, number + 1)])
    return table


# Names


@pytest.mark.parametrize("name", ["Order", "order", "My Table", 'a"b', "per%cent", "co:lon", "naïve", "dot.ted"])
def test_tables_and_columns_may_have_any_name(shop, name):
    table = shop.create(name, Column("select", String(20), primary_key=True), Column(name, Text))
    shop.insert(table, [{"select": "x", name: "/p/x.jpg"}, {"select": "y", name: "/p/y.jpg"}])
    quoted = '"' + name.replace('"', '""') + '"'
    items = list(shop.source(quoted, ids=("select",), image=name, where="1 = 1").scan())
    assert [(item.key, item.path) for item in items] == [("x", b"/p/x.jpg"), ("y", b"/p/y.jpg")]
    table.drop(shop.database.engine)


def test_a_column_may_have_the_name_that_we_give_to_columns(shop):
    table = shop.create("products", Column("c1", String(20), primary_key=True), Column("c0", Text))
    shop.insert(table, [{"c1": "x", "c0": "/p/x.jpg"}])
    assert [item.path for item in shop.source(ids=("c1",), image="c0").scan()] == [b"/p/x.jpg"]


@on("postgresql", "mariadb")
def test_a_schema_may_stand_before_the_table(shop):
    shop.run("CREATE SCHEMA IF NOT EXISTS catalog")
    table = shop.create("Goods", Column("id", sql.Integer, primary_key=True), Column("photo", Text), schema="catalog")
    shop.insert(table, [{"id": 7, "photo": "/p/7.jpg"}])
    source = shop.source("catalog.Goods")
    assert [item.key for item in source.scan()] == ["7"]
    assert source.root.endswith("/catalog.Goods#photo")
    with pytest.raises(
        SourceError, match=r"--table catalogue\.Goods: the schema does not exist; did you mean catalog\?"
    ):
        shop.source("catalogue.Goods")


# Keys


KEYS = {
    "integer": (sql.BigInteger(), [-5, 0, 9, 10, 2**62]),
    "text": (String(50), ["10", "9", "a", "b c", "é", "z%"]),
    "decimal": (Numeric(10, 2), [decimal.Decimal("1.10"), decimal.Decimal("2.05"), decimal.Decimal("10.00")]),
    "date": (sql.Date(), [datetime.date(2024, 1, 2), datetime.date(2023, 5, 6)]),
    "uuid": (sql.Uuid(), [uuid.UUID(int=1), uuid.UUID(int=2**100)]),
    "bytes": (sql.LargeBinary(16).with_variant(sql.VARBINARY(16), "mysql"), [b"\0\1", b"\xff"]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type_page_and_tell_rows_apart(shop, kind, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 1)
    column, values = KEYS[kind]
    table = shop.create(
        "products", Column("id", column, primary_key=True, autoincrement=False), Column("photo", Text)
    )
    shop.insert(table, [{"id": value, "photo": "/p/x.jpg"} for value in values])
    keys = shop.keys()
    assert len(set(keys)) == len(keys) == len(values)


def test_a_key_may_have_several_columns(shop, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 2)
    columns = Column("brand", String(20), primary_key=True), Column("number", sql.Integer, primary_key=True)
    table = shop.create("products", *columns, Column("photo", Text))
    rows = [(brand, number) for brand in ("a", "b", "c") for number in (1, 2, 3)]
    shop.insert(table, [{"brand": b, "number": n, "photo": f"/p/{b}{n}"} for b, n in rows])
    items = list(shop.source(ids=("brand", "number")).scan())
    assert [(item.key, item.path) for item in items] == [(f'["{b}", "{n}"]', f"/p/{b}{n}".encode()) for b, n in rows]


TEXTS = st.lists(st.text(st.sampled_from("aAbBéÉzß ~_-%'\"\\"), min_size=1, max_size=6), max_size=12, unique=True)


AGAIN = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@AGAIN
@given(texts=TEXTS, page=st.integers(1, 4))
def test_paging_meets_every_text_key_once_whatever_the_collation(shop, monkeypatch, texts, page):
    """Keys that are the same without blanks around them are those of one row each all the same."""
    monkeypatch.setattr(tables, "ROWS_PER_READ", page)
    table = shop.create("words", Column("id", String(20), nullable=False), Column("photo", Text))
    # The server says which of them it takes for one and the same.
    with shop.database.begin() as connection:
        for word in texts:
            twin = connection.execute(text("SELECT COUNT(*) FROM words WHERE id = :id"), {"id": word}).scalar()
            if not twin:
                connection.execute(insert(table), [{"id": word, "photo": "/p/x"}])
        stored = list(connection.scalars(text("SELECT id FROM words")))
    clean = Counter(word.strip() or word for word in stored)
    expected = [word if clean[word.strip() or word] > 1 else word.strip() or word for word in stored]
    assert sorted(shop.keys("words")) == sorted(expected)


ROWS = st.lists(st.tuples(st.sampled_from("aAbé "), st.integers(-2, 2), st.sampled_from("xXy")), max_size=14)


@AGAIN
@given(rows=ROWS, size=st.integers(1, 3), order=st.permutations(["a", "b", "c"]))
def test_paging_meets_every_key_of_three_columns_once_while_others_come_and_go(shop, monkeypatch, rows, size, order):
    monkeypatch.setattr(tables, "ROWS_PER_READ", size)
    columns = Column("a", String(9)), Column("b", sql.Integer), Column("c", sql.CHAR(3))
    table = shop.create("triples", *columns, Column("photo", Text))
    stored = {}
    for a, b, c in rows:
        # What a collation takes for one is one.
        stored.setdefault((a.strip().lower().replace("é", "e"), b, c.lower()), (a, b, c))
    shop.insert(table, [{"a": a, "b": b, "c": c, "photo": "/p/x"} for a, b, c in stored.values()])
    met = []
    for number, item in enumerate(shop.source("triples", ids=tuple(order)).scan()):
        met.append(item.key)
        if number == 2:
            shop.run("DELETE FROM triples WHERE b = 0", "INSERT INTO triples VALUES ('zz', 9, 'z', '/p/x')")
    asked = "SELECT a, b, c FROM triples WHERE b <> 9"
    with shop.database.read() as connection:
        left = [dict(row._mapping) for row in connection.execute(text(asked))]
    assert len(met) == len(set(met))
    # PostgreSQL fills CHAR up with blanks, which are no part of a key.
    assert set(met) >= {join_keys([str(row[name]).rstrip() or row[name] for name in order]) for row in left}


def test_a_floating_point_key_is_refused(shop):
    shop.create("products", Column("id", sql.Double, primary_key=True), Column("photo", Text))
    with pytest.raises(SourceError, match="--id id is a floating-point number"):
        shop.source()


# Views


def test_a_view_works_when_its_key_is_unique_and_never_null(shop):
    plain(shop)
    shop.run("DROP VIEW IF EXISTS active", "CREATE VIEW active AS SELECT id, photo FROM products WHERE id > 1")
    assert shop.keys("active") == ["2", "3"]
    shop.run("DROP VIEW active")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT id, photo FROM products UNION ALL SELECT id, photo FROM products", "[12] occurs more than once"),
        ("SELECT NULLIF(id, 2) AS id, photo FROM products", "--id id is null in some rows of odd"),
    ],
)
def test_a_view_whose_key_tells_no_rows_apart_is_refused(shop, query, problem):
    plain(shop)
    shop.run("DROP VIEW IF EXISTS odd", f"CREATE VIEW odd AS {query}")
    with pytest.raises(SourceError, match=problem):
        shop.source("odd")
    shop.run("DROP VIEW odd")


@on("postgresql")
def test_a_materialized_view_is_read_as_it_was_last_refreshed(shop):
    plain(shop)
    shop.run(
        "CREATE MATERIALIZED VIEW kept AS SELECT id, photo FROM products", "INSERT INTO products VALUES (4, '/n')"
    )
    assert shop.keys("kept") == ["1", "2", "3"]
    shop.run("REFRESH MATERIALIZED VIEW kept")
    assert shop.keys("kept") == ["1", "2", "3", "4"]
    shop.run("DROP MATERIALIZED VIEW kept")


def test_a_generated_column_is_a_column_like_others(shop):
    kind = "VARCHAR(60) GENERATED ALWAYS AS ({}) STORED"
    made = "'/p/' || id" if shop.kind != "mysql" else "CONCAT('/p/', id)"
    shop.run(
        "DROP TABLE IF EXISTS products",
        f"CREATE TABLE products (id VARCHAR(20) PRIMARY KEY, photo {kind.format(made)})",
        "INSERT INTO products (id) VALUES ('a')",
    )
    assert [item.path for item in shop.source().scan()] == [b"/p/a"]


def test_a_column_that_happens_to_be_unique_will_do(shop):
    table = shop.create("products", Column("id", sql.Integer), Column("photo", Text))
    shop.insert(table, [{"id": 1, "photo": "/a"}, {"id": 2, "photo": "/b"}])
    assert shop.keys() == ["1", "2"]
    shop.insert(table, [{"id": 2, "photo": "/c"}])
    with pytest.raises(SourceError, match="--id id does not identify a row of products: 2 occurs more than once"):
        shop.source()


# What is missing


def test_what_is_missing_is_named_with_its_flag(shop):
    plain(shop)
    for arguments, message in (
        ({"table": "prodcuts"}, "--table prodcuts: the table does not exist; did you mean products?"),
        ({"table": "x"}, "--table x: the table does not exist; there are: "),
        ({"ids": ("idd",)}, "--id idd: the column in products does not exist; did you mean id?"),
        ({"image": "foto"}, "--image foto: the column in products does not exist; did you mean photo?"),
        ({"version_column": "changed"}, "--version-column changed: the column in products does not exist; there are"),
        ({"image_table": "images", "image_fk": ("id",)}, "--image-table images: the table does not exist"),
        ({"image_table": "products", "image_fk": ("sku",)}, "--image-fk sku: the column in products does not exist"),
    ):
        with pytest.raises(SourceError) as caught:
            shop.source(**arguments)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", [".", "a.", ".a", "a.b.c", 'a"b', '"a'])
def test_what_is_no_name_is_said_to_be_none(shop, name):
    with pytest.raises(UsageError, match="is not the name of a table; write products"):
        shop.source(name)


def test_an_empty_name_is_none_given(shop):
    with pytest.raises(UsageError, match="--table is needed, the product table; or --image-query"):
        shop.source("")


def nosy(shop, *grants):
    """Return the URL of somebody who may do nothing but what is granted."""
    name = make_url(shop.url).database
    if shop.kind == "postgresql":
        shop.run("DROP ROLE IF EXISTS nosy", "CREATE ROLE nosy LOGIN PASSWORD 'nosy'", *grants)
    else:
        shop.run("DROP USER IF EXISTS nosy@localhost", "CREATE USER nosy@localhost IDENTIFIED BY 'nosy'")
        shop.run("CREATE TABLE IF NOT EXISTS open_to_all (id INTEGER)")
        shop.run(*(f"{grant}@localhost" for grant in (f"GRANT SELECT ON {name}.open_to_all TO nosy", *grants)))
    return make_url(shop.url).set(username="nosy", password="nosy").render_as_string(hide_password=False)


def refused(url, table="products", **options):
    with closing(open_source(url)) as database, pytest.raises((DatabaseError, SourceError)) as caught:
        TableSource(database, TableOptions(table=table, ids=("id",), image="photo", **options))
    assert "\n" not in str(caught.value)
    assert ":nosy" not in str(caught.value)
    return str(caught.value)


@on("postgresql")
def test_a_table_that_may_not_be_read_is_one_line_that_says_what_to_do(shop):
    plain(shop)
    denied = "permission denied for table products: grant the privilege, then run again"
    assert refused(nosy(shop)).endswith(denied)
    shop.run("GRANT SELECT (id) ON products TO nosy")
    assert refused(make_url(shop.url).set(username="nosy", password="nosy").render_as_string(False)).endswith(denied)
    shop.run("DROP OWNED BY nosy", "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    try:
        assert "products" in refused(nosy(shop))
    finally:
        shop.run("GRANT USAGE ON SCHEMA public TO PUBLIC")


@on("mariadb")
def test_a_table_that_may_not_be_read_is_one_line_of_mariadb(shop):
    plain(shop)
    name = make_url(shop.url).database
    denied = f"for table `{name}`.`products`: grant the privilege, then run again"
    assert refused(nosy(shop)).endswith(denied)
    assert refused(nosy(shop, f"GRANT SELECT (id) ON {name}.products TO nosy")).endswith(denied)
    # A slip of the pen is taken for what it is.
    message = refused(nosy(shop, f"GRANT SELECT ON {name}.products TO nosy"), table="prodcuts")
    assert message == "--table prodcuts: the table does not exist; did you mean products?"


@on("postgresql", "mariadb")
def test_a_function_in_the_condition_that_may_not_be_used_is_one_line(shop):
    plain(shop)
    grant = "GRANT SELECT ON products TO nosy"
    if shop.kind == "mysql":
        grant = grant.replace("products", f"{make_url(shop.url).database}.products")
        assert "mysql" in refused(nosy(shop, grant), where="id IN (SELECT 1 FROM mysql.user)")
        return
    message = refused(nosy(shop, grant), where="pg_read_file('/etc/passwd') <> ''")
    assert "permission denied for function pg_read_file: grant the privilege, then run again" in message
    shop.run("DROP OWNED BY nosy")


# A part of it


def test_a_condition_that_the_database_refuses_is_shown(shop):
    plain(shop)
    with pytest.raises(WrongSourceError, match=r"^--where 'active = 1': .*active"):
        shop.source(where="active = 1")


WHERES = {
    "id > 1": ["2", "3"],
    "id > 2 OR id < 2": ["1", "3"],
    "photo LIKE '%2.jpg'": ["2"],
    "id > 1 -- and that is all": ["2", "3"],
    "photo <> ':id' AND id = 1": ["1"],
    "id IN (SELECT id FROM products WHERE id = 3)": ["3"],
    "id > 1 /* or so */": ["2", "3"],
    "photo <> '100%' AND photo LIKE '/p/_.jp%' AND id = 2": ["2"],
    "photo <> '%s %(id)s %% ? $1 {x}' AND id < 3": ["1", "2"],
    "photo <> ')' AND id = 1": ["1"],
    "(id) = (1)\nOR\n(id) = (3)": ["1", "3"],
    "id > 0 AND id < 0": [],
}


@pytest.mark.parametrize("where", WHERES)
def test_a_condition_narrows_the_table(shop, where, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 1)
    plain(shop)
    source = shop.source(where=where)
    assert [item.key for item in source.scan()] == WHERES[where]
    assert not source.is_complete


INJECTED = [
    "id > 1); DELETE FROM products; --",
    "1 = 1; DELETE FROM products",
    "1 = 1); COMMIT; DELETE FROM products; SELECT (1",
    "id IN (DELETE FROM products RETURNING id)",
]
NO_CONDITIONS = [
    "id > 1)",
    "(id > 1",
    "id > 1) OR (id = 1",
    "id > 1) -- and so on",
    "id = '",
    "",
    "nothing = 1",
    "id >",
]


@pytest.mark.parametrize("where", NO_CONDITIONS)
def test_what_is_no_condition_by_itself_is_one_line_before_any_work(shop, where):
    plain(shop)
    with pytest.raises(UsageError) as caught:
        shop.source(where=where)
    assert "\n" not in str(caught.value)
    assert "p@ss" not in str(caught.value)


@pytest.mark.parametrize("where", INJECTED)
def test_a_condition_cannot_write(shop, where):
    plain(shop)
    with pytest.raises(WrongSourceError):
        shop.source(where=where)
    assert shop.keys() == ["1", "2", "3"]


@on("postgresql")
def test_a_function_that_writes_is_refused_in_a_condition(shop):
    plain(shop)
    shop.run(
        "CREATE OR REPLACE FUNCTION wipe() RETURNS BOOLEAN LANGUAGE sql AS "
        "$$ DELETE FROM products WHERE id = 1; SELECT true $$"
    )
    with pytest.raises(WrongSourceError, match="read-only transaction"):
        shop.source(where="wipe()")
    assert shop.keys() == ["1", "2", "3"]


@on("mariadb")
def test_a_function_that_writes_is_refused_by_mariadb_too(shop):
    plain(shop)
    shop.run(
        "DROP FUNCTION IF EXISTS wipe",
        "CREATE FUNCTION wipe() RETURNS INTEGER MODIFIES SQL DATA "
        "BEGIN DELETE FROM products WHERE id = 9; INSERT INTO log VALUES (1); RETURN 1; END",
        "CREATE TABLE IF NOT EXISTS log (id INTEGER)",
    )
    with pytest.raises(WrongSourceError, match="READ ONLY transaction"):
        shop.source(where="wipe() = 1")
    assert shop.keys() == ["1", "2", "3"]


def test_nothing_can_be_written_where_a_source_reads(shop):
    plain(shop)
    with pytest.raises(DatabaseError, match=r"(?i)read.?only"):
        shop.database.run(lambda connection: connection.execute(text("DELETE FROM products")), read_only=True)
    shop.run("DELETE FROM products WHERE id = 1")
    assert shop.keys() == ["2", "3"]


# Rows that change meanwhile


def test_rows_that_come_and_go_between_pages_do_no_harm(shop, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 2)
    plain(shop, 6)
    keys = []
    for item in shop.source().scan():
        keys.append(item.key)
        if item.key == "2":
            shop.run("DELETE FROM products WHERE id IN (1, 3)", "INSERT INTO products VALUES (0, '/n'), (9, '/n')")
    assert keys == ["1", "2", "4", "5", "6", "9"]


def test_no_connection_is_held_between_pages(shop, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 1)
    plain(shop)
    held = [shop.database.engine.pool.checkedout() for _ in shop.source().scan()]
    assert held == [0, 0, 0]


# What the column holds


def test_rows_without_an_image_are_counted_and_no_items(shop):
    table = plain(shop)
    shop.insert(table, [{"id": 8, "photo": None}, {"id": 9, "photo": ""}])
    source = shop.source()
    assert [item.key for item in source.scan()] == ["1", "2", "3"]
    assert source.without_image == 2


@on("sqlite")
def test_text_in_another_encoding_is_a_name_of_those_bytes_and_ends_no_scan(shop):
    table = plain(shop, 2)
    shop.run("UPDATE products SET photo = CAST(x'2f702fe92e6a7067' AS TEXT) WHERE id = 1")
    assert [(item.path, item.uri) for item in shop.source().scan()] == [
        (b"/p/\xe9.jpg", "/p/%E9.jpg"),
        (b"/p/2.jpg", "/p/2.jpg"),
    ]
    table.drop(shop.database.engine)


@on("sqlite")
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_key_in_another_encoding_is_a_key_as_any_other(shop, size, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", size)
    shop.create("products", Column("id", String(9), primary_key=True), Column("photo", sql.LargeBinary))
    for key in ("'a'", "CAST(x'e9' AS TEXT)", "CAST(x'e9e9' AS TEXT)", "CAST(x'f0' AS TEXT)"):
        shop.run(f"INSERT INTO products VALUES ({key}, x'01')")
    source = shop.source()
    items = list(source.scan())
    assert [item.key for item in items] == ["a", "\udce9", "\udce9\udce9", "\udcf0"]
    assert list(source.read_blobs(items).values()) == [b"\x01"] * 4


@on("postgresql")
def test_times_that_python_has_no_type_for_are_text(shop):
    """Infinity, years before 1 and behind 9999, and the end of a day."""
    columns = "moment TIMESTAMP, zoned TIMESTAMPTZ, day DATE, hour TIME"
    shop.run("DROP TABLE IF EXISTS products", f"CREATE TABLE products (id INT PRIMARY KEY, photo TEXT, {columns})")
    rows = [
        ("2024-01-01", "2024-01-01", "2024-01-01", "10:00"),
        ("infinity", "-infinity", "infinity", "24:00"),
        ("0044-03-15 BC", "0044-03-15 BC", "0044-03-15 BC", "10:00"),
        ("12024-01-01", "12024-01-01", "12024-01-01", "23:59:59.999999"),
    ]
    for number, values in enumerate(rows):
        shop.run(f"INSERT INTO products VALUES ({number}, '/a.jpg', {', '.join(map(repr, values))})")
    for column in ("moment", "zoned", "day", "hour"):
        tokens = [item.version for item in shop.source(version_column=column).scan()]
        assert len(tokens) == 4
        assert len(set(tokens)) == (4 if column != "hour" else 3)
        assert tokens == [item.version for item in shop.source(version_column=column).scan()]
    shop.run("UPDATE products SET zoned = 'infinity' WHERE id = 0", "ALTER TABLE products ADD UNIQUE (moment)")
    assert len(shop.keys(ids=("moment",))) == 4


@on("postgresql")
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_row_that_the_database_cannot_give_costs_no_other(shop, size, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", size)
    shop.run("DROP VIEW IF EXISTS shown")
    plain(shop, 5)
    broken = "CASE WHEN id IN (2, 5) THEN (1 / (id - id))::text ELSE photo END"
    shop.run(f"CREATE VIEW shown AS SELECT id, {broken} AS photo FROM products")
    try:
        source = shop.source("shown", image_list="|")
        found = list(source.scan())
        assert [subject_of(each).product_key for each in found] == ["1", "2", "3", "4", "5"]
        assert [(each.item.key, each.code) for each in found if isinstance(each, Failure)] == [
            ("2", "source.bad_value"),
            ("5", "source.bad_value"),
        ]
        assert "division by zero" in found[1].message
        assert [source.can_be_missing(f'["{number}", "/p/{number}.jpg"]') for number in (1, 2, 6)] == [
            True,
            False,
            True,
        ]
        shop.run("CREATE OR REPLACE VIEW shown AS SELECT id, (1 / (id - id))::text AS photo FROM products")
        with pytest.raises(DatabaseError, match="division by zero"):
            shop.source("shown")
    finally:
        shop.run("DROP VIEW shown")


def test_a_list_that_cannot_be_read_hides_the_images_of_its_product_alone(shop):
    table = plain(shop, 0)
    shop.insert(table, [{"id": 1, "photo": '["/a.jpg"]'}, {"id": 2, "photo": "[oops"}, {"id": 3, "photo": "[5]"}])
    source = shop.source(image_list="json")
    list(source.scan())
    keys = ['["1", "/a.jpg"]', '["2", "/a.jpg"]', '["3", "/a.jpg"]', "2", "1"]
    assert [source.can_be_missing(key) for key in keys] == [True, False, False, False, True]
    assert "the images of 2 products could not be read, e.g. of 2, 3" in source.problems[0]
    shop.run("UPDATE products SET photo = '[]'")
    list(source.scan())
    assert source.can_be_missing(keys[1])
    assert source.problems == []


@on("sqlite")
@pytest.mark.parametrize("kind", ["BLOB", "", "TEXT", "LONGBLOB", "IMAGE"])
def test_bytes_are_bytes_whatever_the_column_of_sqlite_was_declared_as(shop, kind):
    shop.run(
        "DROP TABLE IF EXISTS products",
        f"CREATE TABLE products (id INTEGER PRIMARY KEY, photo {kind})",
        "INSERT INTO products VALUES (1, NULL), (2, ''), (3, x''), (4, x'616263')",
    )
    source = shop.source()
    items = list(source.scan())
    assert source.read_blobs(items) == {"4": b"abc"}
    assert source.without_image == 3


def test_bytes_are_read_and_a_change_of_them_is_seen(shop):
    table = shop.create(
        "products", Column("id", sql.Integer, primary_key=True), Column("photo", LargeBinary(100_000))
    )
    shop.insert(table, [{"id": 1, "photo": b"abc"}, {"id": 2, "photo": None}, {"id": 3, "photo": b""}])
    source = shop.source()
    (item,) = source.scan()
    assert (item.key, item.blob.size, source.without_image) == ("1", 3, 2)
    # SHA-256 of "abc" is in FIPS 180-4's examples.
    assert item.version == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert source.read_blobs([item]) == {"1": b"abc"}
    shop.run("DELETE FROM products")
    assert source.read_blobs([item]) == {}


def test_a_json_array_holds_several_images(shop):
    table = shop.create("products", Column("id", sql.Integer, primary_key=True), Column("photo", sql.JSON))
    rows = [(1, ["/a.jpg", "https://u:pw@shop.test/b.jpg?sig=1"]), (2, []), (3, {"no": "list"}), (4, ["/a.jpg", 5])]
    shop.insert(table, [{"id": number, "photo": value} for number, value in rows])
    source = shop.source(image_list="json")
    found = list(source.scan())
    assert [subject_of(each).key for each in found] == [
        '["1", "/a.jpg"]',
        '["1", "https://shop.test/b.jpg"]',
        "3",
        '["4", "/a.jpg"]',
        '["4", "image 2"]',
    ]
    assert [each.code for each in found if isinstance(each, Failure)] == ["source.bad_list", "source.bad_value"]
    assert {subject_of(each).product_key for each in found} == {"1", "3", "4"}
    assert source.without_image == 1
    assert source.count() is None


@on("postgresql")
def test_an_array_of_postgresql_is_a_list(shop):
    shop.run("DROP TABLE IF EXISTS products", "CREATE TABLE products (id INTEGER PRIMARY KEY, photo TEXT[])")
    shop.run("INSERT INTO products VALUES (1, ARRAY['/a.jpg', '/b.jpg'])")
    assert shop.keys(image_list="json") == ['["1", "/a.jpg"]', '["1", "/b.jpg"]']


def test_a_separator_splits_a_cell(shop):
    table = plain(shop, 0)
    shop.insert(table, [{"id": 1, "photo": "/a.jpg| /b.jpg||"}])
    assert shop.keys(image_list="|") == ['["1", "/a.jpg"]', '["1", "/b.jpg"]']


def test_a_new_order_of_a_list_changes_no_key(shop):
    table = plain(shop, 0)
    shop.insert(table, [{"id": 1, "photo": "/a.jpg|/b.jpg"}])
    before = set(shop.keys(image_list="|"))
    shop.run("UPDATE products SET photo = '/b.jpg|/a.jpg'")
    assert set(shop.keys(image_list="|")) == before


def test_relative_paths_without_a_root_are_an_error_before_any_work(shop, tmp_path):
    table = plain(shop, 0)
    shop.insert(table, [{"id": 1, "photo": "a.jpg"}, {"id": 2, "photo": "../../etc/passwd"}])
    with pytest.raises(
        UsageError, match="photo contains relative paths: give the folder that they start at with --image-root"
    ):
        shop.source()
    inside, outside = shop.source(image_root=tmp_path).scan()
    assert inside.path == bytes(tmp_path / "a.jpg")
    assert outside.code == "source.outside_root"


# A table of images


def images_of(shop):
    """Make products with a key of two columns, and a table of their images."""
    keys = Column("brand", String(20), primary_key=True), Column("number", sql.Integer, primary_key=True)
    products = shop.create("goods", *keys, Column("active", sql.Integer))
    shop.insert(products, [{"brand": "a", "number": n, "active": n % 2} for n in (1, 2, 3)])
    fk = Column("for_brand", String(20)), Column("for_number", sql.Integer)
    identity = Column("id", sql.Integer, primary_key=True, autoincrement=False)
    images = shop.create("pictures", identity, *fk, Column("file", Text))
    pairs = [(10, 1), (11, 2), (12, 1), (13, 3), (14, 99)]
    shop.insert(images, [{"id": i, "for_brand": "a", "for_number": n, "file": f"/p/{i}"} for i, n in pairs])
    return {
        "table": "goods",
        "ids": ("brand", "number"),
        "image": "file",
        "image_table": "pictures",
        "image_fk": ("for_brand", "for_number"),
    }


def test_a_table_of_images_gives_an_item_a_row_and_names_the_product(shop, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 2)
    items = list(shop.source(**images_of(shop)).scan())
    assert [(item.path, item.product_key) for item in items] == [
        (b"/p/10", '["a", "1"]'),
        (b"/p/11", '["a", "2"]'),
        (b"/p/12", '["a", "1"]'),
        (b"/p/13", '["a", "3"]'),
    ]
    assert len({item.key for item in items}) == 4


def test_a_condition_is_about_the_products_also_with_a_table_of_images(shop):
    options = images_of(shop)
    assert [item.path for item in shop.source(**options, where="active = 0").scan()] == [b"/p/11"]


def test_the_images_of_a_product_are_told_apart_by_what_they_do_not_share(shop):
    """A key of product and position gives the position; the same position of another product is another image."""
    shop.create("goods", Column("sku", String(9), primary_key=True))
    table = shop.create(
        "pictures",
        Column("sku", String(9), primary_key=True),
        Column("n", sql.Integer, primary_key=True, autoincrement=False),
        Column("photo", Text),
    )
    shop.run("INSERT INTO goods VALUES ('a'), ('b')")
    shop.insert(table, [{"sku": sku, "n": n, "photo": f"/p/{sku}{n}"} for sku in "ab" for n in (1, 2)])
    options = {"table": "goods", "ids": ("sku",), "image_table": "pictures", "image_fk": ("sku",)}
    assert shop.keys(**options) == ['["a", "1"]', '["a", "2"]', '["b", "1"]', '["b", "2"]']
    assert shop.keys(**options, image_ids=("n", "sku")) == ['["a", "1"]', '["b", "1"]', '["a", "2"]', '["b", "2"]']
    with pytest.raises(
        SourceError, match=r"--image-id n does not identify a row of pictures: . occurs more than once"
    ):
        shop.source(**options, image_ids=("n",))


def test_bytes_in_a_table_of_images_are_read(shop, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_READ", 2)
    options = images_of(shop)
    kind = shop.bytes
    shop.run(
        "DROP TABLE pictures", f"CREATE TABLE pictures (n INTEGER PRIMARY KEY, sku VARCHAR(9), m INTEGER, f {kind})"
    )
    with shop.database.begin() as connection:
        rows = [
            {"n": n, "m": m, "f": data} for n, m, data in ((1, 1, b"a\0"), (2, 2, b""), (3, 9, b"c"), (4, 3, b"d"))
        ]
        connection.execute(text("INSERT INTO pictures VALUES (:n, 'a', :m, :f)"), rows)
    source = shop.source(**options | {"image": "f", "image_fk": ("sku", "m")})
    items = list(source.scan())
    assert source.read_blobs(items) == {'["[\\"a\\", \\"1\\"]", "1"]': b"a\0", '["[\\"a\\", \\"3\\"]", "4"]': b"d"}
    assert [item.uri for item in items] == [f"pictures/{item.key}" for item in items]
    assert {item.key: source.read_blob(item.key, 9) for item in items} == source.read_blobs(items)
    assert source.without_image == 1


@pytest.mark.parametrize("kind", [kind for kind in KEYS if kind != "bytes"])
def test_one_image_is_read_by_its_key_of_any_type(shop, kind):
    column, values = KEYS[kind]
    identity = Column("id", column, primary_key=True, autoincrement=False)
    table = shop.create("products", identity, Column("photo", LargeBinary))
    shop.insert(table, [{"id": value, "photo": f"picture {number}".encode()} for number, value in enumerate(values)])
    source = shop.source()
    keys = [item.key for item in source.scan()]
    assert sorted(source.read_blob(key, 100) for key in keys) == [b"picture %d" % n for n in range(len(values))]


@pytest.mark.parametrize("key", ["4", "nothing", '["1"]', "[" * 100_000, ""])
def test_a_key_that_no_row_has_reads_nothing(shop, key):
    columns = Column("sku", String(10), primary_key=True), Column("photo", LargeBinary)
    shop.insert(shop.create("products", *columns), [{"sku": "a", "photo": b"abc"}, {"sku": "null", "photo": None}])
    source = shop.source(ids=("sku",))
    assert (source.read_blob("a", 100), source.read_blob(key, 100), source.read_blob("null", 100)) == (
        b"abc",
        None,
        None,
    )


def test_keys_that_the_collation_takes_for_one_another_keep_their_images(shop):
    columns = Column("brand", String(10)), Column("id", sql.Integer, primary_key=True), Column("photo", LargeBinary)
    table = shop.create("products", *columns)
    shop.insert(table, [{"brand": b, "id": n, "photo": b.encode()} for n, b in enumerate(("x", "X"), start=1)])
    source = shop.source(ids=("brand", "id"))
    assert sorted(source.read_blob(item.key, 9) for item in source.scan()) == [b"X", b"x"]
    assert source.read_blob('["x", "2"]', 9) is None


def test_an_image_above_the_limit_is_not_read(shop):
    columns = Column("id", sql.Integer, primary_key=True), Column("photo", LargeBinary)
    shop.insert(shop.create("products", *columns), [{"id": 1, "photo": b"abcd"}])
    with pytest.raises(ImageError, match="larger than the 3 bytes allowed"):
        shop.source().read_blob("1", 3)


def test_a_version_column_says_what_has_changed_and_no_digest_is_made(shop):
    shop.run(
        "DROP TABLE IF EXISTS products",
        f"CREATE TABLE products (id INTEGER PRIMARY KEY, photo {shop.bytes}, changed TIMESTAMP NULL)",
    )
    with shop.database.begin() as connection:
        rows = [{"n": 1, "at": "2024-01-02 03:04:05"}, {"n": 2, "at": None}, {"n": 3, "at": "2024-01-02 03:04:06"}]
        insertion = "INSERT INTO products VALUES (:n, :data, CAST(:at AS {}))"
        kind = {"sqlite": "TEXT", "postgresql": "TIMESTAMP", "mysql": "DATETIME"}[shop.kind]
        connection.execute(text(insertion.format(kind)), [{**row, "data": b"x"} for row in rows])
    before = [item.version for item in shop.source(version_column="changed").scan()]
    assert [version.partition(":")[0] for version in before] == ["column", "", "column"]
    assert len(set(before)) == 3
    shop.run("UPDATE products SET changed = '2025-01-02 03:04:05' WHERE id = 1")
    after = [item.version for item in shop.source(version_column="changed").scan()]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True]


def test_a_table_of_images_needs_a_key(shop):
    options = images_of(shop)
    shop.run("DROP TABLE pictures", "CREATE TABLE pictures (for_brand VARCHAR(20), for_number INTEGER, file TEXT)")
    shop.run("INSERT INTO pictures VALUES ('a', 1, '/p/1'), ('a', 1, '/p/2')")
    with pytest.raises(SourceError, match="pictures has no primary key: name the columns that identify a row with"):
        shop.source(**options)


# Secrets


def test_no_secret_is_in_the_name_of_a_source_or_in_an_item(shop):
    table = plain(shop, 0)
    shop.insert(table, [{"id": 1, "photo": "https://ann:s3cret@shop.test/a.jpg?token=s3cret#s3cret"}])
    source = shop.source(version_column="photo")
    (item,) = source.scan()
    assert item.url.count("s3cret") == 3
    assert "s3cret" not in repr(item)
    assert item.uri == "https://shop.test/a.jpg"
    for secret in ("p@ss", "p%40ss", "shop:"):
        assert secret not in source.root


@on("postgresql")
def test_bytes_that_the_database_cannot_give_cost_no_others(shop):
    """The length can be told, the bytes cannot: as where a page of the table is damaged."""
    shop.run(
        "DROP VIEW IF EXISTS shown",
        "DROP TABLE IF EXISTS products",
        "CREATE TABLE products (id INT PRIMARY KEY, photo BYTEA)",
        "INSERT INTO products SELECT n, decode('0102', 'hex') FROM generate_series(1, 4) n",
        "CREATE VIEW shown AS SELECT id, photo FROM products",
    )
    source = shop.source("shown")
    items = list(source.scan())
    broken = "CASE WHEN id = 2 THEN decode((1 / (id - id))::text, 'hex') ELSE photo END"
    shop.run(f"CREATE OR REPLACE VIEW shown AS SELECT id, {broken} AS photo FROM products")
    try:
        found = list(fetch(items, Limits(), Remote(blobs=source.read_blobs)))
        assert [getattr(each, "data", None) for each in found] == [b"\1\2", None, b"\1\2", b"\1\2"]
        assert (found[1].code, "division by zero" in found[1].message) == ("io.error", True)
    finally:
        shop.run("DROP VIEW shown")
