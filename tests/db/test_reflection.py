"""What every engine says of a table: its columns, what cannot be null and what cannot repeat; and what is missing."""

from contextlib import closing

import pytest
from by_url import open_source
from sqlalchemy import LargeBinary, text

from cataloger.db.reflection import TableName, describe
from cataloger.errors import SourceError, UsageError

NAMES = {
    "products": TableName("products"),
    "My Table": TableName("My Table"),
    "shop.Products": TableName("Products", "shop"),
    ' shop . "products" ': TableName("products", "shop"),
    '"a.b"."c""d"': TableName('c"d', "a.b"),
    '" "': TableName(" "),
    "per%cent": TableName("per%cent"),
    "größe": TableName("größe"),
    "`x`": TableName("`x`"),
    "x; DROP TABLE y": TableName("x; DROP TABLE y"),
}


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_read_with_or_without_quotes(text):
    assert TableName.parse(text) == NAMES[text]


@pytest.mark.parametrize(
    "text", ["", " ", ".", "a.", ".a", "a..b", "a.b.c", 'a"b', '"a', '""', '"a"b', 'a."b', '"a".']
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(UsageError) as caught:
        TableName.parse(text)
    assert str(caught.value).startswith(f"{text!r} is not the name of a table; write products")


@pytest.fixture
def shop(module_url):
    """A database to make tables in, each test of its own name."""
    with closing(open_source(module_url)) as database:
        yield database


def run(database, *statements):
    with database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def told(database, name, *statements):
    """Make something; return what is said of it."""
    run(database, *statements)
    with database.read() as connection:
        return describe(connection, TableName.parse(name), "--table")


def kind_of(database):
    return database.engine.dialect.name


def on(*names):
    """Run a test on some engines alone."""
    return pytest.mark.parametrize("module_url", names, indirect=True, scope="module")


def test_a_table_has_columns_and_keys(shop):
    info = told(
        shop,
        "goods",
        "CREATE TABLE goods (brand VARCHAR(20) NOT NULL, n INTEGER NOT NULL, ean VARCHAR(13), "
        "a INTEGER NOT NULL, b INTEGER, PRIMARY KEY (brand, n), UNIQUE (a, b), UNIQUE (ean))",
    )
    assert list(info.columns) == ["brand", "n", "ean", "a", "b"]
    assert info.primary_key == ("brand", "n")
    assert info.not_null == {"brand", "n", "a"}
    assert {names: info.is_unique(names) for names in UNIQUE} == UNIQUE


UNIQUE = {
    ("brand", "n"): True,
    ("n", "brand"): True,
    ("n", "brand", "b"): True,
    ("brand",): False,
    ("ean",): True,
    ("a", "b"): True,
    ("a",): False,
    ("b",): False,
}


def test_a_unique_index_is_as_good_as_a_constraint(shop):
    info = told(
        shop,
        "indexed",
        "CREATE TABLE indexed (a INTEGER NOT NULL, b INTEGER NOT NULL)",
        "CREATE UNIQUE INDEX one ON indexed (a)",
        "CREATE INDEX other ON indexed (b)",
    )
    assert info.is_unique(["a"])
    assert not info.is_unique(["b"])


@on("sqlite", "postgresql")
def test_an_index_over_some_rows_or_an_expression_is_not(shop):
    info = told(
        shop,
        "partly",
        "CREATE TABLE partly (a INTEGER NOT NULL, b INTEGER NOT NULL, c VARCHAR(9) NOT NULL)",
        "CREATE UNIQUE INDEX partly_a ON partly (a) WHERE b > 1",
        "CREATE UNIQUE INDEX partly_b ON partly ((a + b))",
        "CREATE UNIQUE INDEX partly_c ON partly (b, LOWER(c))",
    )
    assert not info.is_unique(["a", "b", "c"])


def test_a_view_promises_nothing(shop):
    info = told(
        shop,
        "shown",
        "CREATE TABLE hidden (id INTEGER PRIMARY KEY, photo VARCHAR(9))",
        "CREATE VIEW shown AS SELECT id, photo FROM hidden",
    )
    assert list(info.columns) == ["id", "photo"]
    assert not info.is_unique(["id", "photo"])


@on("postgresql")
def test_a_materialized_view_is_found_with_its_index(shop):
    info = told(
        shop,
        "kept",
        "CREATE MATERIALIZED VIEW kept AS SELECT 1 AS id, 2 AS other",
        "CREATE UNIQUE INDEX kept_id ON kept (id)",
    )
    assert info.is_unique(["id"])
    assert not info.is_unique(["other"])


@on("postgresql")
def test_partitions_and_tables_of_other_servers_are_tables(shop):
    assert told(
        shop,
        "parts",
        "CREATE TABLE parts (id INTEGER PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
    ).is_unique(["id"])
    info = told(
        shop,
        "elsewhere",
        "CREATE EXTENSION file_fdw",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE elsewhere (id INTEGER NOT NULL) SERVER files OPTIONS (filename '/dev/null')",
    )
    assert info.not_null == {"id"}


@on("mariadb")
def test_a_table_that_keeps_its_history_is_a_table(shop):
    info = told(shop, "versioned", "CREATE TABLE versioned (id INTEGER PRIMARY KEY) WITH SYSTEM VERSIONING")
    assert info.primary_key == ("id",)


BINARY = {
    "sqlite": ["BLOB"],
    "postgresql": ["BYTEA", "picture"],
    "mysql": ["TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "VARBINARY(9)", "BINARY(9)"],
}


def test_bytes_are_told_from_text(shop):
    kinds = BINARY[kind_of(shop)]
    columns = ", ".join(f"b{number} {kind}" for number, kind in enumerate(kinds))
    if kind_of(shop) == "postgresql":
        run(shop, "CREATE DOMAIN picture AS BYTEA")
    info = told(shop, "bytes", f"CREATE TABLE bytes (words VARCHAR(9), long_ones TEXT, {columns})")
    assert [name for name in info.columns if info.is_binary(name)] == [f"b{number}" for number in range(len(kinds))]


@pytest.mark.parametrize("name", ["Select", 'q"q', "a b", "50%", "a:b", "ünï", "dot.ted", "x" * 60, "back\\slash"])
def test_every_name_is_quoted_as_it_is(shop, name):
    quote = shop.engine.dialect.identifier_preparer
    quoted = quote.quote_identifier(name)
    with shop.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {quoted} ({quoted} VARCHAR(9))")
        connection.exec_driver_sql(f"INSERT INTO {quoted} VALUES ('here')")
    with shop.read() as connection:
        info = describe(connection, TableName(name), "--table")
        for clause in (info.clause(), info.clause("another")):
            assert connection.execute(clause.select().where(clause.c[name] == "here")).all() == [("here",)]


def test_names_that_differ_in_case_alone_are_not_mixed_up(shop):
    run(shop, "CREATE TABLE cased (id INTEGER PRIMARY KEY)")
    with pytest.raises(SourceError) as caught:
        told(shop, "Cased")
    assert str(caught.value) == "--table Cased: the table does not exist; did you mean cased?"


def test_a_schema_that_is_not_there_is_offered(shop):
    schema = {"sqlite": "main", "postgresql": "public", "mysql": shop.engine.url.database}[kind_of(shop)]
    run(shop, "CREATE TABLE placed (id INTEGER PRIMARY KEY)")
    assert told(shop, f"{schema}.placed").name == TableName("placed", schema)
    with pytest.raises(
        SourceError, match=rf"^--table {schema}x\.placed: the schema does not exist; did you mean .*{schema}"
    ):
        told(shop, f"{schema}x.placed")


def test_a_column_that_is_not_there_is_offered(shop):
    info = told(shop, "offered", "CREATE TABLE offered (sku VARCHAR(9), image_url VARCHAR(9))")
    info.require(["sku", "image_url"], "--id")
    with pytest.raises(SourceError) as caught:
        info.require(["sku", "Image_Url"], "--id")
    assert str(caught.value) == "--id Image_Url: the column in offered does not exist; did you mean image_url?"
    with pytest.raises(SourceError) as caught:
        info.require(["zzz"], "--id")
    assert str(caught.value) == "--id zzz: the column in offered does not exist; there are: image_url, sku"


def test_of_many_columns_a_dozen_are_listed(shop):
    info = told(shop, "wide", "CREATE TABLE wide (" + ", ".join(f"c{n:02} INTEGER" for n in range(20)) + ")")
    with pytest.raises(SourceError, match=r"there are: c00, c01, .*, c11, \.\.\.$"):
        info.require(["zzz"], "--id")


@on("postgresql")
def test_a_domain_is_described_as_what_it_is_made_of(shop):
    info = told(shop, "tamed", "CREATE DOMAIN photo AS BYTEA", "CREATE TABLE tamed (id INTEGER, p photo)")
    assert isinstance(info.columns["p"], LargeBinary)
