"""The views of codes are joined with tables of a shop, whatever its columns are compared by."""

import pytest
from sqlalchemy import text

from cataloger.ledger import LabelCode, store_label_map

MAP = [LabelCode("Dress", "Kleid", "Kleider & mehr", "Damen"), LabelCode("Hat", "Hut", "Hüte", "Zubehör")]
MYSQL = [
    ("latin1", "latin1_swedish_ci"),
    ("latin1", "latin1_bin"),
    ("utf8mb3", "utf8mb3_general_ci"),
    ("utf8mb4", "utf8mb4_general_ci"),
    ("utf8mb4", "utf8mb4_unicode_ci"),
    ("utf8mb4", "utf8mb4_bin"),
    ("utf8mb4", "utf8mb4_german2_ci"),
]
POSTGRESQL = ['"default"', '"C"', '"en-x-icu"', '"de-x-icu"']
TEXTS = ("source", "product_key", "label", "code", "name", "parent", "decision")


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def products(world, make):
    """Two products with codes, one of them corrected, and one whose category has none."""
    store_label_map(world.database, world.source.id, MAP)
    world.sink.write(
        [
            make.good("a.jpg", labels=("Dress", "Hat"), product_key="CAP-1"),
            make.good("b.jpg", labels=("Hat", "Sock"), product_key="Müx 2"),
            make.good("c.jpg", labels=("Sock",), product_key="cap-3"),
        ]
    )
    return world


def made(world, *statements):
    with world.database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def shop(products):
    """Make tables of the shop; `character` and `collation` are added to each column of text."""

    def make_tables(character):
        made(
            products,
            f"CREATE TABLE articles (sku VARCHAR(40) {character} PRIMARY KEY)",
            f"CREATE TABLE categories (id VARCHAR(40) {character} PRIMARY KEY, title VARCHAR(80) {character})",
            "INSERT INTO articles VALUES ('CAP-1'), ('Müx 2'), ('cap-3')",
            "INSERT INTO categories VALUES ('Kleid', 'Kleider & mehr'), ('Hut', 'Hüte')",
        )

    yield make_tables
    made(products, *(f"DROP TABLE IF EXISTS {name}" for name in ("articles", "categories", "stock")))


JOINED = (
    "SELECT a.sku, c.id, v.name, v.parent FROM articles a JOIN cataloger_product_codes v ON v.product_key = a.sku "
    "JOIN categories c ON c.id = v.code AND c.title = v.name WHERE v.rank = 1 ORDER BY c.id"
)
WANTED = [("Müx 2", "Hut", "Hüte", "Zubehör"), ("CAP-1", "Kleid", "Kleider & mehr", "Damen")]


def test_products_are_shown_with_the_codes_of_every_rank(products):
    query = (
        "SELECT v.product_key, v.rank, v.label, v.code, v.name, v.parent, v.decision FROM cataloger_product_codes v "
        "ORDER BY v.code DESC, v.rank"
    )
    hat, dress = ("Hat", "Hut", "Hüte", "Zubehör", None), ("Dress", "Kleid", "Kleider & mehr", "Damen", None)
    assert products.rows(query) == [("CAP-1", 1, *dress), ("Müx 2", 1, *hat), ("CAP-1", 2, *hat)]


def test_a_correction_is_what_is_shown_of_a_product(products):
    products.say("b.jpg", "Dress")
    query = (
        "SELECT v.rank, v.code, v.confidence, v.decision FROM cataloger_product_codes v "
        "WHERE v.product_key = 'Müx 2' ORDER BY v.rank"
    )
    assert products.rows(query) == [(1, "Kleid", 1.0, "accept"), (2, "Hut", 0.75, "accept")]


def test_products_without_images_leave(products):
    made(products, "DELETE FROM cataloger_product_current")
    assert products.rows("SELECT v.code FROM cataloger_product_codes v") == []


def character_sets(engine):
    """Return what may stand behind the type of a column of text."""
    if engine == "mysql":
        return [f"CHARACTER SET {charset} COLLATE {collation}" for charset, collation in MYSQL]
    return [f"COLLATE {name}" for name in POSTGRESQL] if engine == "postgresql" else ["", "COLLATE NOCASE"]


def test_a_join_works_with_columns_of_every_collation(products, shop):
    for character in character_sets(products.database.engine.dialect.name):
        shop(character)
        assert products.rows(JOINED) == WANTED, character
        made(products, "DROP TABLE articles", "DROP TABLE categories")


def test_each_text_of_the_view_can_be_compared_with_each_collation(products, shop):
    for character in character_sets(products.database.engine.dialect.name):
        shop(character)
        for view in ("cataloger_product_codes", "cataloger_image_codes"):
            for name in TEXTS if view == "cataloger_product_codes" else ("label", "code", "name", "parent"):
                query = f"SELECT COUNT(*) FROM categories c JOIN {view} v ON v.{name} = c.title"
                assert products.rows(query) == [(3 if name == "name" else 0,)], (view, name, character)
        made(products, "DROP TABLE articles", "DROP TABLE categories")


def test_a_shop_may_name_the_collation_itself(products, shop):
    """As it had to before: the columns of the views take the one that is written at the other side."""
    engine = products.database.engine.dialect.name
    shop("CHARACTER SET utf8mb4" if engine == "mysql" else "")
    name = {"mysql": "utf8mb4_unicode_ci", "postgresql": '"C"', "sqlite": "NOCASE"}[engine]
    for query in (
        f"SELECT a.sku FROM articles a JOIN cataloger_product_codes v ON v.product_key COLLATE {name} = a.sku",
        f"SELECT a.sku FROM articles a JOIN cataloger_product_codes v ON v.product_key = a.sku COLLATE {name}",
        f"SELECT c.id FROM categories c JOIN cataloger_product_codes v ON v.code = c.id COLLATE {name}",
        f"SELECT c.id FROM categories c JOIN cataloger_image_codes v ON v.code = c.id COLLATE {name}",
    ):
        assert len(products.rows(query)) == 3, query


KEYS = {
    "sqlite": ("v.product_key ->> '$[0]'", "v.product_key ->> '$[1]'"),
    "postgresql": ("v.product_key::jsonb ->> 0", "v.product_key::jsonb ->> 1"),
    "mysql": ("JSON_VALUE(v.product_key, '$[0]')", "JSON_VALUE(v.product_key, '$[1]')"),
}
"""How docs/reference/tables.md takes a key of two columns apart."""


def test_a_key_of_two_columns_is_taken_apart(products, make, shop):
    engine = products.database.engine.dialect.name
    products.sink.write([make.good("d.jpg", labels=("Hat",), product_key='["7", "de \\"x\\""]')])
    number, language = KEYS[engine]
    for character in character_sets(engine):
        made(
            products,
            f"CREATE TABLE stock (id INTEGER, language VARCHAR(20) {character}, PRIMARY KEY (id, language))",
            "INSERT INTO stock VALUES (7, 'de \"x\"'), (7, 'en'), (8, 'de \"x\"')",
        )
        query = (
            "SELECT t.id, t.language, v.code FROM stock t JOIN cataloger_product_codes v "
            f"ON CAST({number} AS {'SIGNED' if engine == 'mysql' else 'INTEGER'}) = t.id AND {language} = t.language "
            "WHERE v.product_key LIKE '[%'"
        )
        assert products.rows(query) == [(7, 'de "x"', "Hut")], character
        made(products, "DROP TABLE stock")
