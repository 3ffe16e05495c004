"""Queries of images, on every engine: names, keys, lists, bytes; what is repeated or null; what they must not do."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Column, LargeBinary, String, Text
from sqlalchemy import types as sql

from cataloger.errors import DatabaseError, UnavailableError, UsageError, WrongSourceError
from cataloger.queries import query_source
from cataloger.records import Failure, Item

JOINED = """
SELECT p.sku AS product_id, i.id AS image_id, i.path AS image FROM products p JOIN images i ON i.product_id = p.id
"""


def on(*names):
    """Run a test on some engines alone."""
    return pytest.mark.parametrize("engine_name", names, indirect=True, scope="module")


def number(name):
    return Column(name, sql.Integer, primary_key=True, autoincrement=False)


@pytest.fixture
def photos(shop):
    """Make two products with three images, and one without any, in two tables."""
    products = shop.create("products", number("id"), Column("sku", String(20)))
    shop.insert(products, [{"id": 1, "sku": "A"}, {"id": 2, "sku": "B"}, {"id": 3, "sku": "C"}])
    picture = Column("picture", LargeBinary(100_000))
    images = shop.create("images", number("id"), Column("product_id", sql.Integer), Column("path", Text), picture)
    rows = [(10, 1, "/p/a.jpg"), (11, 1, "/p/b.jpg"), (12, 2, "https://u:pw@shop.test/c.jpg?sig=1")]
    shop.insert(
        images, [{"id": n, "product_id": p, "path": path, "picture": path[:4].encode()} for n, p, path in rows]
    )
    return shop


def failures(source):
    return [each for each in source.scan() if isinstance(each, Failure)]


def keys(source):
    return [each.key for each in source.scan() if isinstance(each, Item)]


def literal(*rows):
    """Return a query of rows that stand in it: product_id, image_id, image."""
    parts = (f"SELECT {p} AS product_id, {i} AS image_id, {image} AS image" for p, i, image in rows)
    return " UNION ALL ".join(parts)


# What a query may be


@pytest.mark.parametrize(
    "query",
    [
        JOINED,
        f"{JOINED};",
        f"{JOINED} -- the end",
        f"{JOINED}; -- the end",
        f"{JOINED} ORDER BY i.path LIMIT 10",
        f"({JOINED})",
        f"WITH shown AS ({JOINED}) SELECT * FROM shown",
        f"{JOINED} AND p.id = 1 UNION ALL {JOINED} AND p.id = 2",
        f"{JOINED} AND i.path NOT LIKE '%;:x%'",
        "SELECT sku AS Product_Id, MAX(i.id) AS IMAGE_ID, path AS Image FROM products p JOIN images i "
        "ON i.product_id = p.id GROUP BY sku, path",
    ],
)
def test_any_single_select_gives_images(photos, query):
    source = photos.query(query)
    items = list(source.scan())
    assert [(item.key, item.product_key, item.uri) for item in items] == [
        ('["A", "10"]', "A", "/p/a.jpg"),
        ('["A", "11"]', "A", "/p/b.jpg"),
        ('["B", "12"]', "B", "https://shop.test/c.jpg"),
    ]
    assert (source.count(), source.without_image) == (3, 0)
    assert list(source.scan()) == items


def test_the_keys_are_those_of_the_same_tables_without_a_query(photos):
    table = photos.source("products", ids=("id",), image="path", image_table="images", image_fk=("product_id",))
    query = photos.query("SELECT product_id, id AS image_id, path AS image FROM images")
    assert sorted(map(repr, query.scan())) == sorted(map(repr, table.scan()))


def test_columns_of_other_names_are_named_by_flags(photos):
    query = "SELECT id, product_id AS shop, product_id % 2 AS half, path, 'v1' AS changed FROM images"
    source = photos.query(
        query, ids=("shop", "half"), image="path", image_ids=("id",), version_column="changed", name="shop"
    )
    first = next(source.scan())
    assert (first.key, first.product_key) == ('["[\\"1\\", \\"1\\"]", "10"]', '["1", "1"]')
    assert first.version.startswith("column:")
    assert source.root == "shop"


def test_the_usual_columns_say_version_and_department(photos):
    query = f"SELECT q.*, 'v1' AS version, 'shoes' AS department FROM ({JOINED}) q"
    items = list(photos.query(query, department_column="department").scan())
    assert {item.version.partition(":")[0] for item in items} == {"column"}
    assert {item.department for item in items} == {"shoes"}


def test_without_image_keys_a_product_has_one_image(photos):
    source = photos.query("SELECT product_id, MIN(path) AS image FROM images GROUP BY product_id")
    assert [(item.key, item.product_key) for item in source.scan()] == [("1", "1"), ("2", "2")]


@pytest.mark.parametrize("name", ['a"b', "per%cent", "co:lon", "naïve", "dot.ted", "select"])
def test_the_columns_of_a_query_may_have_any_name(photos, name):
    quoted = photos.database.engine.dialect.identifier_preparer.quote_identifier(name).replace("%%", "%")
    source = photos.query(f"SELECT id AS {quoted}, path AS image FROM images", ids=(name,))
    assert keys(source) == ["10", "11", "12"]


# What it must be


@pytest.mark.parametrize("query", ["DELETE FROM products", "", "-- SELECT", "UPDATE products SET sku = 'select'"])
def test_what_is_no_select_is_not_run(photos, query):
    with pytest.raises(UsageError, match="--image-query must be a SELECT"):
        photos.query(query)


def test_several_statements_are_not_run(photos):
    with pytest.raises(UsageError, match="more than one statement"):
        photos.query(f"{JOINED}; DELETE FROM products")
    assert photos.query(JOINED).count() == 3


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (
            "SELECT id, path AS image FROM images",
            {},
            "gives no column product_id, but id, image: name it in the query with AS product_id, or its own name "
            "with --id",
        ),
        ("SELECT product_id, path FROM images", {}, "gives no column image, but product_id, path"),
        (JOINED, {"image_ids": ("number",)}, "gives no column number, .* with --image-id"),
        (JOINED, {"version_column": "changed"}, "gives no column changed, .* with --version-column"),
        (JOINED, {"department_column": "branch"}, "gives no column branch, .* with --department-column"),
        ("SELECT product_id, pth AS image FROM images", {}, "--image-query: .*pth"),
        ("SELECT product_id, path AS image FROM image", {}, "--image-query: .*image"),
        ("SELECT product_id, path AS image FROM images LIMIT", {}, "--image-query: "),
        ("SELECT product_id, picture AS image FROM images", {"image_list": "json"}, "holds bytes; --image-list"),
        ("SELECT product_id, id AS image_id, 1.5 AS image FROM images", {}, "image holds no images but e.g. 1.5"),
    ],
)
def test_a_query_that_does_not_fit_is_one_line_before_any_work(photos, query, options, message):
    with pytest.raises(WrongSourceError, match=message) as caught:
        photos.query(query, **options)
    assert "\n" not in str(caught.value)


def test_relative_paths_need_a_folder(photos):
    query = literal(("'A'", 1, "'a.jpg'"))
    with pytest.raises(UsageError, match=r"image contains relative paths: .*--image-root"):
        photos.query(query)


# Where it cannot write


@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM products RETURNING id) SELECT id AS product_id, 1 AS image_id, '/x' AS image "
        "FROM gone",
        "SELECT id AS product_id, 1 AS image_id, '/x' AS image INTO stolen FROM products",
        "SELECT id AS product_id, 1 AS image_id, '/x' AS image FROM products INTO OUTFILE '/tmp/cataloger-stolen'",
        "SELECT id AS product_id, 1 AS image_id, '/x' AS image FROM products) x, (DELETE FROM products",
    ],
)
def test_a_query_cannot_write(photos, query):
    with pytest.raises(WrongSourceError, match="--image-query"):
        photos.query(query)
    assert photos.query("SELECT id AS product_id, '/x' AS image FROM products").count() == 3


@on("postgresql")
def test_a_function_that_writes_is_refused(photos):
    photos.run(
        "CREATE OR REPLACE FUNCTION wipe() RETURNS INTEGER LANGUAGE sql AS "
        "$$ DELETE FROM products WHERE id = 1; SELECT 1 $$"
    )
    with pytest.raises(WrongSourceError, match="read-only transaction"):
        photos.query("SELECT id AS product_id, wipe() AS image_id, '/x' AS image FROM products")
    assert photos.query("SELECT id AS product_id, '/x' AS image FROM products").count() == 3


@on("mariadb")
def test_a_function_that_writes_is_refused_by_mariadb_too(photos):
    photos.run(
        "DROP FUNCTION IF EXISTS wipe",
        "CREATE FUNCTION wipe() RETURNS INTEGER MODIFIES SQL DATA BEGIN DELETE FROM products; RETURN 1; END",
    )
    with pytest.raises(WrongSourceError, match="READ ONLY transaction"):
        photos.query("SELECT id AS product_id, wipe() AS image_id, '/x' AS image FROM products")
    assert photos.query("SELECT id AS product_id, '/x' AS image FROM products").count() == 3


# One read


def test_a_scan_is_of_one_moment_and_keeps_nothing_open_on_the_server(photos, monkeypatch):
    monkeypatch.setattr(query_source, "ROWS_PER_FETCH", 1)
    source = photos.query(JOINED)
    scan = source.scan()
    first = next(scan)
    photos.run("DELETE FROM images")  # which locks of an open statement would not let happen
    assert [first.key, *(item.key for item in scan)] == ['["A", "10"]', '["A", "11"]', '["B", "12"]']
    assert photos.database.engine.pool.checkedout() == 0
    source.close()
    assert keys(source) == []


def test_what_it_costs_is_told_without_running_it(photos):
    lines = photos.query(JOINED).costs()
    assert lines
    assert "images" in " ".join(lines) or " i" in " ".join(lines)
    of_bytes = photos.query("SELECT product_id, id AS image_id, picture AS image FROM images").costs()
    assert "and for the bytes of an image:" in of_bytes
    assert photos.source("images", image="path").costs()


# Keys that are repeated or null


def test_rows_that_repeat_an_image_are_duplicates_and_those_that_repeat_a_key_failures(shop):
    rows = [("'A'", 1, "'/a'"), ("'A'", 1, "'/a'"), ("'B'", 1, "'/b'"), ("'B'", 1, "'/c'"), ("'B'", 1, "'/c'")]
    found = list(shop.query(literal(*rows, ("'C'", 1, "'/d'"))).scan())
    assert Counter(each.key for each in found if isinstance(each, Item)) == {'["A", "1"]': 2, '["C", "1"]': 1}
    (failure,) = [each for each in found if isinstance(each, Failure)]
    assert (failure.item.key, failure.item.product_key, failure.code) == ('["B", "1"]', "B", "source.repeated_key")
    assert failure.message == (
        "the query gives this key for 2 different images, e.g. /b, /c: give each its own image_id"
    )


def test_an_image_key_may_be_that_of_two_products(shop):
    assert keys(shop.query(literal(("'A'", 1, "'/a'"), ("'B'", 1, "'/a'")))) == ['["A", "1"]', '["B", "1"]']


def test_a_failure_names_many_images_of_one_key_shortly(shop):
    (failure,) = failures(shop.query(literal(*(("'A'", 1, f"'/{n}'") for n in range(50)))))
    assert failure.message.startswith("the query gives this key for 50 different images, e.g. /0, /1, /10: ")


def test_products_without_an_image_are_counted_and_images_without_a_key_are_failures(photos):
    query = "SELECT p.sku AS product_id, i.id AS image_id, i.path AS image FROM products p LEFT JOIN images i "
    source = photos.query(f"{query} ON i.product_id = p.id")
    assert (len(keys(source)), source.without_image) == (3, 1)
    source = photos.query("SELECT 'A' AS product_id, NULL AS image_id, path AS image FROM images")
    found = {each.item.key: each for each in failures(source)}
    assert set(found) == {'[null, "/p/a.jpg"]', '[null, "/p/b.jpg"]', '[null, "https://shop.test/c.jpg"]'}
    assert {each.code for each in found.values()} == {"source.no_key"}
    assert found['[null, "/p/a.jpg"]'].message == "the query gives NULL as image_id for this image"
    source = photos.query("SELECT NULL AS product_id, NULL AS image_id, path AS image FROM images WHERE id = 10")
    assert [each.message for each in failures(source)] == [
        "the query gives NULL as product_id, image_id for this image"
    ]


def test_products_that_only_blanks_tell_apart_keep_them(shop):
    rows = [("'A '", 1, "'/a'"), ("'A'", 1, "'/b'"), ("'B '", 1, "'/c'"), ("' C'", 2, "'/d'"), ("'C '", 2, "'/e'")]
    source = shop.query(literal(*rows))
    assert sorted(item.product_key for item in source.scan()) == [" C", "A", "A ", "B", "C "]
    assert failures(source) == []


# Lists and bytes


def cells(*values):
    return " UNION ALL ".join(f"SELECT '{n}' AS product_id, '{value}' AS image" for n, value in enumerate(values))


def test_arrays_of_objects_are_lists(shop):
    whole = json.dumps([{"src": "/a.jpg", "alt": "x"}, {"src": "/b.jpg"}])
    source = shop.query(cells(whole, json.dumps([{"url": "/c.jpg"}, {"src": "/d.jpg"}]), "[]"), image_list="json:src")
    assert keys(source) == ['["0", "/a.jpg"]', '["0", "/b.jpg"]', '["1", "/d.jpg"]']
    assert source.without_image == 1
    (failure,) = failures(source)
    assert (failure.code, failure.message) == (
        "source.bad_list",
        "an element of the list is no object with 'src'",
    )
    assert not source.can_be_missing('["1", "/c.jpg"]')
    assert source.can_be_missing('["0", "/c.jpg"]')


def test_serialized_arrays_of_php_are_lists(shop):
    flat = 'a:2:{i:0;s:6:"/a.jpg";i:5;s:7:"/é.jpg";}'
    nested = 'a:1:{i:0;a:2:{s:2:"id";i:7;s:3:"src";s:6:"/c.jpg";}}'
    assert keys(shop.query(cells(flat), image_list="php")) == ['["0", "/a.jpg"]', '["0", "/é.jpg"]']
    assert keys(shop.query(cells(nested), image_list="php:src")) == ['["0", "/c.jpg"]']
    source = shop.query(cells(flat, 'a:1:{i:0;O:8:"stdClass":0:{}}', "N;"), image_list="php")
    assert [each.code for each in failures(source)] == ["source.bad_list", "source.bad_list"]


@on("postgresql")
def test_json_of_postgresql_is_a_list(shop):
    query = """SELECT 1 AS product_id, '[{"src": "/a.jpg"}]'::jsonb AS image"""
    assert keys(shop.query(query, image_list="json:src")) == ['["1", "/a.jpg"]']


def test_bytes_are_read_by_their_keys_and_a_change_of_them_is_seen(photos):
    query = "SELECT product_id, id AS image_id, picture AS image FROM images"
    source = photos.query(query, name="shop")
    items = list(source.scan())
    assert [(item.uri, item.blob.size) for item in items] == [
        ('shop/["1", "10"]', 4),
        ('shop/["1", "11"]', 4),
        ('shop/["2", "12"]', 4),
    ]
    assert source.read_blobs(items[:2]) == {'["1", "10"]': b"/p/a", '["1", "11"]': b"/p/b"}
    assert source.read_blob('["2", "12"]', 1000) == b"http"
    photos.run("UPDATE images SET picture = :picture WHERE id = 10", picture=b"changed")
    again = [item.version for item in photos.query(query, name="shop").scan()]
    assert [before.version == after for before, after in zip(items, again, strict=True)] == [False, True, True]


@pytest.mark.parametrize("kind", ["decimal", "text", "bytes", "time"])
def test_bytes_are_found_by_keys_of_any_type(shop, kind):
    columns = {
        "decimal": (sql.Numeric(10, 2), ["1.10", "2.50"]),
        "text": (String(20), ["a'%:x", "é"]),
        "bytes": (sql.LargeBinary(16).with_variant(sql.VARBINARY(16), "mysql"), [b"\0\1", b"\xff"]),
        "time": (sql.DateTime(), ["2024-01-02 03:04:05", "2023-05-06 07:08:09"]),
    }
    column, values = columns[kind]
    shop.create("stamped", Column("id", column, nullable=False), Column("photo", LargeBinary(1000)))
    for value in values:
        shop.run("INSERT INTO stamped VALUES (:id, :photo)", id=value, photo=b"x" + str(value).encode())
    source = shop.query("SELECT id AS product_id, photo AS image FROM stamped")
    items = list(source.scan())
    assert len({item.key for item in items}) == 2
    assert sorted(source.read_blobs(items).values()) == sorted(b"x" + str(value).encode() for value in values)


def test_a_source_can_be_read_while_another_thread_counts(photos):
    source = photos.query(JOINED)
    with ThreadPoolExecutor(2) as threads:
        counted, scanned = threads.submit(source.count), threads.submit(lambda: len(list(source.scan())))
    assert (counted.result(), scanned.result()) == (3, 3)


def test_a_lost_database_is_no_wrong_query(photos, monkeypatch):
    def lost(*_arguments, **_options):
        raise UnavailableError("lost")

    monkeypatch.setattr(photos.database, "fetch", lost)
    with pytest.raises(DatabaseError) as caught:
        photos.query(JOINED)
    assert not isinstance(caught.value, WrongSourceError)


def test_nothing_found_says_why(photos):
    source = photos.query("SELECT id AS product_id, '' AS image FROM products")
    assert list(source.scan()) == []
    assert source.nothing_found() == "--image-query gives no rows with an image; image is empty in all 3 of them"
