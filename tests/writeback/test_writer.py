"""Answers in columns of the shop's table: on each engine, of each type, never over what people have changed."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from by_url import open_database, parsed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from cataloger.db.reflection import TableName
from cataloger.errors import UsageError
from cataloger.ledger.label_map import LabelCode
from cataloger.options import WriteOptions
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import WriteRow
from cataloger.table_options import TableOptions
from cataloger.writeback import product_table
from cataloger.writeback import writer as write_back
from cataloger.writeback.column_values import restore
from cataloger.writeback.journal import WriteCounts
from cataloger.writeback.preflight import PossibleAnswers, WriteCheck, check_database
from cataloger.writeback.writer import WriteBack

LABELS = ("Dress", "Hat", "Sock")
CODES = {
    label: LabelCode(label, code, f"{label}s", "top") for label, code in zip(LABELS, ("10", "20", "30"), strict=True)
}
CHARSET = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
LABEL = ("category=label_1",)


@pytest.fixture
def database(shared_database):
    return shared_database


class Shop:
    """A product table beside the ledger, and runs that write to it."""

    def __init__(self, world, make):
        self.world = world
        self.make = make
        self.tables = []
        self.counts = WriteCounts()

    @property
    def engine(self):
        return self.world.database.engine.dialect.name

    def execute(self, statement, **values):
        with self.world.database.begin() as connection:
            connection.execute(text(statement), values)

    def table(self, columns, *rows, name="products"):
        """Recreate the table; a row is its values in order."""
        self.drop(name)
        self.execute(f"CREATE TABLE {name} ({columns}){'' if self.engine in ('sqlite', 'postgresql') else CHARSET}")
        self.tables.append(name)
        # A connection has statements prepared for the table of the same name that was there before.
        self.world.database.engine.dispose()
        for row in rows:
            names = {f"v{number}": value for number, value in enumerate(row)}
            self.execute(f"INSERT INTO {name} VALUES ({', '.join(f':{each}' for each in names)})", **names)

    def drop(self, name):
        self.execute(f"DROP TABLE IF EXISTS {name}")

    def check(self, *pairs, table="products", ids=("sku",), categories=None, top_k=5, where=None, **options):
        # Most tests look at what is written; what may be replaced has tests of its own, which say so.
        may_replace = not {"only_null", "only_if", "overwrite"} & set(options)
        write = WriteOptions.parse(pairs, **{"overwrite": may_replace, **options})
        found = TableOptions(table, ids, "photo", where=where)
        check = WriteCheck(self.world.database, TableName.parse(table), found, write)
        answers = PossibleAnswers(LABELS, categories or {}, top_k)
        check.check_table(answers)
        check.create_columns()
        return check.plan(answers)

    def plan(self, *pairs, **options):
        return self.check(*pairs, **options)

    def writer(self, plan):
        plans = plan if isinstance(plan, list) else [plan]
        return WriteBack(plans, self.world.source, self.world.run.id, self.world.model.weights_id)

    def tag(self, plan, *results):
        """Record results and write them back; return what became of that."""
        counts = WriteCounts()
        replace(self.world.sink, write_back=self.writer(plan), on_written=counts.add).write(results)
        return counts

    def seen(self, product="p", label="Dress", confidence=0.75):
        other = LABELS[(LABELS.index(label) + 1) % 3]
        found = self.make.good(f"{product}.jpg", labels=(label, other), product_key=product)
        return replace(found, confidences=(confidence, (1 - confidence) / 2))

    def values(self, column="category", name="products", key="sku"):
        return dict(self.world.rows(f"SELECT {key}, {column} FROM {name}"))

    def writes(self):
        with self.world.database.read() as connection:
            rows = connection.execute(select(WriteRow.old_value, WriteRow.new_value).order_by(WriteRow.id))
            return [(restore(row.old_value), restore(row.new_value)) for row in rows]


@pytest.fixture
def shop(world, make):
    found = Shop(world, make)
    yield found
    for name in reversed(found.tables):
        found.drop(name)


@pytest.fixture
def simple(shop):
    """Two products with a category of text, which the first has already."""
    shop.table(
        "sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20)", ("p", "", "old"), ("q", "", None)
    )
    return shop


def test_an_answer_is_written_and_what_stood_there_is_kept(simple):
    counts = simple.tag(simple.plan(*LABEL), simple.seen("p"), simple.seen("q", "Hat"))
    assert simple.values() == {"p": "Dress", "q": "Hat"}
    assert sorted(simple.writes(), key=str) == [("old", "Dress"), (None, "Hat")]
    assert counts.written == {"category": 2}


def test_an_answer_that_stands_there_already_is_not_written(simple):
    simple.tag(simple.plan(*LABEL), simple.seen("p"))
    simple.world.begin()
    assert simple.tag(simple.plan(*LABEL), simple.seen("p")).written == {}
    assert len(simple.writes()) == 1


def test_what_a_person_has_changed_is_left_and_counted(simple):
    plan = simple.plan(*LABEL)
    simple.tag(plan, simple.seen("p"))
    simple.execute("UPDATE products SET category = 'mine' WHERE sku = 'p'")
    simple.world.begin()
    counts = simple.tag(plan, simple.seen("p", "Hat"))
    assert (simple.values()["p"], counts.edited, counts.edited_products) == ("mine", 1, ["p"])
    simple.execute("UPDATE products SET category = 'Dress' WHERE sku = 'p'")
    simple.world.begin()
    simple.tag(plan, simple.seen("p", "Sock"))
    assert simple.values()["p"] == "Sock"


def test_a_value_that_a_person_has_deleted_stays_away(simple):
    plan = simple.plan(*LABEL)
    simple.tag(plan, simple.seen("p"))
    simple.execute("UPDATE products SET category = NULL WHERE sku = 'p'")
    simple.world.begin()
    assert simple.tag(plan, simple.seen("p", "Hat")).edited == 1
    assert simple.values()["p"] is None


def test_only_null_fills_what_is_empty_and_renews_its_own(simple):
    plan = simple.plan(*LABEL, only_null=True)
    counts = simple.tag(plan, simple.seen("p"), simple.seen("q"))
    assert (simple.values(), counts.not_null) == ({"p": "old", "q": "Dress"}, 1)
    simple.world.begin()
    simple.tag(plan, simple.seen("q", "Hat"))
    assert simple.values()["q"] == "Hat"


def test_a_first_write_back_leaves_what_the_shop_has(shop):
    columns = "sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20) DEFAULT 'it''s new'"
    values = {"p": "Curated", "q": None, "r": "", "s": "it's new", "t": "misc", "u": "2"}
    shop.table(columns, *((sku, "", value) for sku, value in values.items()))
    results = [shop.seen(sku) for sku in values]
    counts = shop.tag(shop.plan(*LABEL, overwrite=False), *results)
    assert shop.values() == {**dict.fromkeys(values, "Dress"), "p": "Curated", "t": "misc", "u": "2"}
    assert (counts.written, counts.replaced, counts.kept) == ({"category": 3}, 2, 3)
    shop.world.begin()
    again = shop.writer(shop.plan(*LABEL, only_if=("misc", "2"))).preview(shop.world.database)
    assert (again.written, again.replaced, again.kept) == ({"category": 2}, 2, 1)
    shop.tag(shop.plan(*LABEL, only_if=("misc", "2")), *results)
    assert shop.values() == {**dict.fromkeys(values, "Dress"), "p": "Curated"}
    shop.world.begin()
    shop.tag(shop.plan(*LABEL, overwrite=True), *results)
    assert shop.values() == dict.fromkeys(values, "Dress")
    assert sorted(old or "" for old, _ in shop.writes()) == ["", "", "2", "Curated", "it's new", "misc"]


def test_a_named_value_is_found_with_blanks_around_it_and_restored_as_it_was(shop):
    """A person names what is to be seen; the shop's own tools left a blank, or letters in NFD."""
    columns = "sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20)"
    values = {"p": "old ", "q": " cafe\u0301", "r": "older", "s": "Old"}
    shop.table(columns, *((sku, "", value) for sku, value in values.items()))
    plan = shop.plan(*LABEL, overwrite=False, only_if=("old", "caf\u00e9"))
    counts = shop.tag(plan, *(shop.seen(sku) for sku in values))
    assert shop.values() == {**values, "p": "Dress", "q": "Dress"}
    assert (counts.replaced, counts.kept) == (2, 2)
    assert sorted(old for old, _ in shop.writes()) == [" cafe\u0301", "old "]


@pytest.mark.parametrize(
    ("kind", "default", "others"),
    [("INTEGER NOT NULL DEFAULT 2", 2, [3, 20]), ("NUMERIC(6,2) DEFAULT 2.50", "2.50", ["2.51", "25"])],
)
def test_a_default_and_named_values_are_compared_as_numbers(shop, kind, default, others):
    codes = {label: replace(CODES[label], code="10") for label in LABELS}
    field = "category=label_1" if kind.startswith("INTEGER") else "category=confidence_1"
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category {kind}", ("p", "", default))
    for number, value in enumerate(others):
        shop.execute(f"INSERT INTO products VALUES ('q{number}', '', {value})")
    results = [shop.seen("p"), shop.seen("q0"), shop.seen("q1")]
    counts = shop.tag(shop.plan(field, overwrite=False, categories=codes), *results)
    assert (counts.written, counts.replaced, counts.kept) == ({"category": 1}, 1, 2)
    shop.world.begin()
    counts = shop.tag(shop.plan(field, only_if=(f"{others[1]}.0",), categories=codes), *results)
    assert (counts.written, counts.kept) == ({"category": 1}, 1)


def test_only_null_may_name_values_and_does_not_take_the_default(shop):
    columns = "sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20) DEFAULT 'new'"
    shop.table(columns, ("p", "", "new"), ("q", "", None), ("r", "", "misc"), ("s", "", ""))
    plan = shop.plan(*LABEL, only_null=True, only_if=("misc",))
    counts = shop.tag(plan, *map(shop.seen, "pqrs"))
    assert shop.values() == {"p": "new", "q": "Dress", "r": "Dress", "s": ""}
    assert (counts.replaced, counts.not_null, counts.kept) == (1, 2, 0)


def test_a_column_that_an_older_version_has_written_to_goes_on_as_before(simple):
    simple.tag(simple.plan(*LABEL, overwrite=False), simple.seen("q"))
    run = simple.world.run.id
    simple.world.begin()
    assert simple.tag(simple.plan(*LABEL, overwrite=False), simple.seen("p")).kept == 1
    older = json.dumps({"write": {"columns": [["category", "label_1"]], "only_null": False}})
    simple.execute(f"UPDATE cataloger_run SET command = 'sync', options = :older WHERE id = {run}", older=older)
    simple.world.begin()
    assert simple.tag(simple.plan(*LABEL, overwrite=False), simple.seen("p")).replaced == 1
    assert simple.values() == {"p": "Dress", "q": "Dress"}


def test_what_an_undo_has_restored_is_the_shops_again(simple):
    simple.tag(simple.plan(*LABEL, overwrite=True), simple.seen("p"))
    simple.execute("UPDATE products SET category = 'old' WHERE sku = 'p'")
    simple.execute("UPDATE cataloger_write SET new_value = old_value, restores = (1 = 1)")
    simple.world.begin()
    assert simple.tag(simple.plan(*LABEL, overwrite=False), simple.seen("p")).kept == 1
    assert simple.values()["p"] == "old"


@pytest.mark.parametrize(
    "target",
    ["product_category.category_id", "products.category", '"other"."x"', "[a]", "a'b", "x; --", "9lives", "`x`"],
)
def test_only_columns_of_the_table_can_be_written(simple, target):
    with pytest.raises(UsageError, match="only columns of products can be written") as caught:
        simple.check(f"{target}=label_1", create_columns=True)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="only columns of products can be written"):
        simple.check(f"{target}=label_1")
    assert set(simple.world.rows("SELECT * FROM products WHERE sku = 'q'")) == {("q", "", None)}


def test_a_column_whose_name_has_a_dot_can_be_written(shop):
    quote = '"' if shop.engine in ("sqlite", "postgresql") else "`"
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), {quote}a.b{quote} VARCHAR(20)", ("p", "", None))
    assert shop.tag(shop.plan("a.b=label_1"), shop.seen("p")).written == {"a.b": 1}


def test_only_confident_answers_are_written_if_asked(simple):
    plan = simple.plan(*LABEL, min_confidence=0.7)
    simple.tag(plan, simple.seen("p", confidence=0.69), simple.seen("q", confidence=0.71))
    assert simple.values() == {"p": "old", "q": "Dress"}


@pytest.mark.parametrize(
    ("decision", "only", "is_written"),
    [
        (None, (), True),
        ("accept", (), True),
        ("review", (), False),
        ("abstain", (), False),
        ("review", ("accept", "review"), True),
        (None, ("accept",), False),
    ],
)
def test_decisions_are_respected(simple, decision, only, is_written):
    simple.tag(simple.plan("category=decision"), simple.seen("p"))
    simple.execute("UPDATE cataloger_product_result SET decision = :decision", decision=decision)
    writer = simple.writer(simple.plan(*LABEL, only_decision=only))
    writer.settle(simple.world.database, simple.world.lease)
    assert (simple.values()["p"] == "Dress") == is_written


def test_every_field_has_its_value(shop):
    columns = ("code", "second", "name", "parent", "sure", "tags")
    numbers = "sure DOUBLE PRECISION" if shop.engine != "sqlite" else "sure REAL"
    shop.table(
        "sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), code VARCHAR(20), second VARCHAR(20), name VARCHAR(20), "
        f"parent VARCHAR(20), {numbers}, tags VARCHAR(500)",
        ("p", *[None] * 7),
    )
    pairs = (
        "code=label_1",
        "second=label_2",
        "name=name_1",
        "parent=parent_1",
        "sure=confidence_1",
        "tags=top5_json",
    )
    shop.tag(shop.plan(*pairs, categories=CODES), shop.seen("p", confidence=0.75))
    ((*found, tags),) = shop.world.rows(f"SELECT {', '.join(columns)} FROM products")
    assert found == ["10", "20", "Dresss", "top", 0.75]
    assert json.loads(tags)[0] == {"label": "10", "confidence": 0.75}


@pytest.mark.parametrize(
    ("engine", "kind", "field", "old", "new"),
    [
        ("", "INTEGER", "label_1", 7, 10),
        ("", "CHAR(8)", "label_1", "x", "10"),
        ("", "NUMERIC(4, 3)", "confidence_1", 0.125, 0.654),
        ("", "REAL", "confidence_1", 0.1, 0.6543),
        ("postgresql", "FLOAT(53)", "confidence_1", 0.1, 0.6543),
        ("postgresql", "JSON", "top5_json", '{"a":  1}', None),
        ("postgresql", "JSONB", "top5_json", '{"a": 1}', None),
        ("mariadb", "JSON", "top5_json", '{"a":  1}', None),
        ("mariadb", "FLOAT", "confidence_1", 0.1, 0.6543),
        ("mariadb", "DECIMAL(6, 2)", "confidence_1", 0.25, 0.65),
        ("mariadb", "ENUM('5', '10', '20', '30')", "label_1", "5", "10"),
        ("sqlite", "", "label_1", b"\x00\xff", "10"),
    ],
)
def test_a_column_of_each_type_takes_an_answer_and_gets_back_exactly_what_it_had(shop, engine, kind, field, old, new):
    if engine not in ("", shop.engine.replace("mysql", "mariadb")):
        return
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category {kind}", ("p", "", old))
    exact = {"postgresql": "CAST(category AS TEXT)", "sqlite": "quote(category)"}.get(shop.engine, "category + 0e0")
    exact = "CAST(category AS CHAR)" if exact.endswith("0e0") and isinstance(old, str) else exact
    before = shop.world.rows(f"SELECT {exact} FROM products")
    plan = shop.plan(f"category={field}", categories=CODES)
    shop.tag(plan, shop.seen("p", confidence=0.65432))
    stands = shop.values()["p"]
    if new is not None:
        assert float(stands) == pytest.approx(float(new), rel=0.01)
    ((kept, _),) = shop.writes()
    with shop.world.database.begin() as connection:
        (row,) = plan.table.read(connection, {key_hash("p"): "p"}, lock=True).values()
        plan.table.update(connection, [(row, {"category": kept})])
    assert shop.world.rows(f"SELECT {exact} FROM products") == before


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("INTEGER", "12", 12),
        ("NUMERIC(8, 2)", "12.50", Decimal("12.50")),
        ("DATE", "2026-11-24", "2026-11-24"),
        ("VARCHAR(20)", "12", "12"),
        ("VARCHAR(20)", "ÄÖ %_'\"", "ÄÖ %_'\""),
    ],
)
def test_a_row_is_found_by_a_key_of_each_type(shop, kind, key, value):
    if shop.engine == "sqlite" and isinstance(value, Decimal):
        key, value = "12.5", 12.5
    shop.table(f"sku {kind} PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20)", (value, "", None))
    shop.tag(shop.plan(*LABEL), shop.seen(key))
    assert list(shop.values().values()) == ["Dress"]


def test_a_row_is_found_by_two_keys_and_by_quoted_names(shop):
    quote = shop.world.database.engine.dialect.identifier_preparer.quote_identifier
    name, order, column = quote("My Products"), quote("order"), quote("The Category")
    shop.table(
        f"{order} INTEGER, sku VARCHAR(20), photo VARCHAR(20), {column} VARCHAR(20), PRIMARY KEY ({order}, sku)",
        (1, "a", "", None),
        (2, "a", "", None),
        name=name,
    )
    plan = shop.plan("The Category=label_1", table='"My Products"', ids=("order", "sku"))
    shop.tag(plan, shop.seen('["2", "a"]'))
    assert shop.values(column, name, order) == {1: None, 2: "Dress"}


@pytest.mark.parametrize("value", [5, "5", "five"])
def test_a_key_of_sqlite_may_be_of_any_type(shop, value):
    if shop.engine == "sqlite":
        shop.table("sku PRIMARY KEY NOT NULL, photo, category", (value, "", None))
        shop.tag(shop.plan(*LABEL), shop.seen(str(value)))
        assert shop.values() == {value: "Dress"}


def test_only_rows_of_the_condition_are_written(simple):
    simple.tag(simple.plan(*LABEL, where="sku <> 'p' OR sku = 'z'"), simple.seen("p"), simple.seen("q"))
    assert simple.values() == {"p": "old", "q": "Dress"}


def test_a_product_that_is_not_in_the_table_costs_nobody_anything(simple):
    counts = simple.tag(simple.plan(*LABEL), simple.seen("gone"), simple.seen("q"))
    assert (simple.values()["q"], counts.written) == ("Dress", {"category": 1})


def test_a_row_that_the_table_refuses_costs_no_other(simple):
    triggers = {
        "sqlite": "CREATE TRIGGER no BEFORE UPDATE ON products WHEN NEW.sku = 'p' AND NEW.category = 'Dress' "
        "AND OLD.photo = 'locked' BEGIN SELECT RAISE(ABORT, 'sold'); END",
        "mysql": "CREATE TRIGGER no BEFORE UPDATE ON products FOR EACH ROW IF NEW.sku = 'p' AND "
        "OLD.photo = 'locked' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'sold'; END IF",
    }
    plan = simple.plan(*LABEL)
    if simple.engine == "postgresql":
        simple.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.sku = 'p' AND "
            "OLD.photo = 'locked' THEN RAISE EXCEPTION 'sold'; END IF; RETURN NEW; END $$"
        )
        simple.execute("CREATE TRIGGER no BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION no()")
    else:
        simple.execute(triggers["sqlite" if simple.engine == "sqlite" else "mysql"].replace(":", r"\:"))
    simple.execute("UPDATE products SET photo = 'locked' WHERE sku = 'p'")
    counts = simple.tag(plan, simple.seen("p"), simple.seen("q"))
    assert (simple.values(), counts.refused, counts.written) == ({"p": "old", "q": "Dress"}, 1, {"category": 1})
    assert "sold" in counts.reasons[0]
    if simple.engine == "postgresql":
        simple.execute("DROP FUNCTION no CASCADE")


def test_results_and_values_are_written_together_or_not_at_all(simple, at):
    def fail():
        raise RuntimeError("before the commit")

    at("before_commit", fail)
    with pytest.raises(RuntimeError, match="before the commit"):
        simple.tag(simple.plan(*LABEL), simple.seen("p"))
    assert simple.values()["p"] == "old"
    assert simple.writes() == []
    assert simple.world.rows("SELECT COUNT(*) FROM cataloger_result") == [(0,)]


def test_what_the_run_did_not_touch_is_written_at_its_end(simple, monkeypatch):
    monkeypatch.setattr(write_back, "PRODUCTS_PER_STATEMENT", 1)
    monkeypatch.setattr(write_back, "PRODUCTS_PER_TRANSACTION", 1)
    simple.world.sink.write([simple.seen("p"), simple.seen("q", "Hat")])
    writer = simple.writer(simple.plan(*LABEL))
    assert writer.preview(simple.world.database).written == {"category": 2}
    assert simple.values() == {"p": "old", "q": None}
    assert writer.settle(simple.world.database, simple.world.lease).written == {"category": 2}
    assert simple.values() == {"p": "Dress", "q": "Hat"}
    assert writer.settle(simple.world.database, simple.world.lease).written == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(old=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_any_text_comes_back_as_it_was(simple, old):
    simple.execute("DELETE FROM cataloger_write")
    simple.execute("UPDATE products SET category = :old WHERE sku = 'p'", old=old)
    before = simple.values()["p"]
    plan = simple.plan(*LABEL)
    simple.tag(plan, simple.seen("p")) if not simple.world.rows("SELECT 1 FROM cataloger_result") else None
    simple.writer(plan).settle(simple.world.database, simple.world.lease)
    if before != "Dress":
        assert simple.values()["p"] == "Dress"
        assert simple.writes()[-1] == (before, "Dress")


# What is refused before any work


def refused(shop, *pairs, **options):
    with pytest.raises(UsageError) as caught:
        shop.plan(*pairs, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("columns", "field", "message"),
    [
        ("category VARCHAR(4)", "label_1", "category=label_1: products does not accept 'Dress'"),
        ("category VARCHAR(20) UNIQUE", "label_1", "category of products is unique"),
        ("category VARCHAR(20) DEFAULT '' NOT NULL", "label_4", "is NOT NULL, but there may be no label_4"),
        ("category INTEGER", "label_1", "products does not accept 'Dress': 'Dress' is not a whole number"),
        ("category VARCHAR(20)", "confidence_1", "needs a column of fractions; category of products is VARCHAR(20)"),
        ("category VARCHAR(20) CHECK (category <> 'Sock')", "label_1", "products does not accept 'Sock'"),
        ("category VARCHAR(20)", "name_1", "needs a --label-map"),
        ("other VARCHAR(20)", "label_1", "--create-columns adds it"),
    ],
)
def test_a_column_that_does_not_fit_is_refused_with_the_reason(shop, columns, field, message):
    if shop.engine == "sqlite" and "VARCHAR(4)" in columns:
        return  # SQLite takes text of any length
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), {columns}")
    shop.execute("INSERT INTO products (sku) VALUES ('p')")
    told = refused(shop, f"category={field}").replace("(length=20)", "(20)")
    assert message in told
    assert list(shop.world.rows("SELECT sku FROM products")) == [("p",)]


def test_a_code_that_the_table_of_categories_lacks_is_refused(shop):
    shop.drop("products")
    shop.table("code VARCHAR(20) PRIMARY KEY", ("10",), ("20",), name="categories")
    reference = "category VARCHAR(20), FOREIGN KEY (category) REFERENCES categories (code)"
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), {reference}", ("p", "", None))
    assert "products does not accept '30'" in refused(shop, *LABEL, categories=CODES)
    shop.execute("INSERT INTO categories VALUES ('30')")
    shop.tag(shop.plan(*LABEL, categories=CODES), shop.seen("p"))
    assert shop.values() == {"p": "10"}


def test_a_code_that_an_enumeration_lacks_is_refused(shop):
    if shop.engine == "sqlite":
        return  # which has none
    kind = "ENUM ('10', '20')"
    if shop.engine == "postgresql":
        shop.execute("DROP TYPE IF EXISTS code CASCADE")
        shop.execute(f"CREATE TYPE code AS {kind}")
        kind = "code"
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category {kind}", ("p", "", "20"))
    assert "products does not accept '30'" in refused(shop, *LABEL, categories=CODES)
    assert shop.values() == {"p": "20"}


def test_a_view_is_refused(simple):
    simple.execute("CREATE VIEW shown AS SELECT * FROM products")
    try:
        assert "shown is a view" in refused(simple, *LABEL, table="shown")
    finally:
        simple.execute("DROP VIEW shown")


def test_a_table_that_does_not_stay_is_refused(shop):
    if shop.engine in ("mysql", "mariadb"):
        shop.table("sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20)", ("p", "", None))
        shop.execute("ALTER TABLE products ENGINE=MEMORY")
        assert "MEMORY: make it InnoDB" in refused(shop, *LABEL)


def test_a_column_that_the_database_fills_is_refused(shop):
    columns = "category VARCHAR(20) GENERATED ALWAYS AS (photo) STORED"
    shop.table(f"sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), {columns}")
    assert "the database fills category itself" in refused(shop, *LABEL)


@pytest.mark.parametrize("column", ["sku", "photo"])
def test_what_is_read_is_not_written(simple, column):
    assert f"{column} is read as" in refused(simple, f"{column}=label_1")


def test_another_database_is_refused():
    with pytest.raises(UsageError, match="leave out --ledger-db or --write"):
        check_database(parsed("sqlite:///shop.db"), parsed("sqlite:///other.db"))
    check_database(parsed("sqlite:///shop.db"), parsed("sqlite:///./shop.db"))
    check_database(parsed("postgresql://a@db/shop"), parsed("postgresql+psycopg://b@db/shop"))


def test_columns_are_added_if_asked(simple):
    pairs = ("kind=label_1", "sure=confidence_1", "tags=top5_json", "state=decision")
    simple.tag(simple.plan(*pairs, create_columns=True), simple.seen("p", confidence=0.5))
    ((kind, sure, tags, state),) = simple.world.rows("SELECT kind, sure, tags, state FROM products WHERE sku = 'p'")
    assert (kind, sure, state) == ("Dress", 0.5, None)
    assert (tags if isinstance(tags, list) else json.loads(tags))[0] == {"label": "Dress", "confidence": 0.5}


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (["category"], {}, "write COLUMN=FIELD"),
        (["category=best"], {}, "no such field"),
        (["a=label_1", "a=label_2"], {}, "names a column twice"),
        (["=label_1"], {}, "names no column"),
        ([], {"only_null": True}, "need --write"),
        (["a=label_1"], {"only_decision": ("maybe",)}, "must be one of accept, review, abstain"),
        (["a=label_1"], {"min_confidence": 1.5}, "between 0 and 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(pairs, options, message):
    with pytest.raises(UsageError, match=message):
        WriteOptions.parse(pairs, **options)


def test_many_products_are_read_by_key_in_one_statement(simple):
    products = {key_hash(f"p{number}"): f"p{number}" for number in range(write_back.PRODUCTS_PER_STATEMENT)}
    plan = simple.plan(*LABEL)
    assert isinstance(plan.table, product_table.ProductTable)
    with simple.world.database.read() as connection:
        assert plan.table.read(connection, products | {key_hash("p"): "p"}, lock=False).keys() == {key_hash("p")}


def test_the_tables_of_cataloger_may_lie_in_a_schema_of_their_own(simple):
    if simple.engine == "postgresql":
        url = simple.world.database.engine.url.render_as_string(hide_password=False)
        from by_url import upgrade

        from cataloger.writeback.preflight import qualified

        upgrade(url, schema="tags")
        other = open_database(url, schema="tags")
        name = qualified(simple.world.database, TableName("products"), "tags")
        assert name == TableName("products", "public")
        options = WriteOptions.parse(LABEL)
        check = WriteCheck(other, name, TableOptions("products", ("sku",), "photo"), options)
        assert check.plan(PossibleAnswers(LABELS, {}, 5)).table.cells.keys() == {"category"}
        other.close()
        simple.execute("DROP SCHEMA tags CASCADE")


def test_what_a_person_says_is_written_before_what_the_model_says(simple):
    plan = simple.plan("category=label_1", "second=label_2", "state=decision", create_columns=True)
    simple.tag(plan, simple.seen("p"), simple.seen("q", "Hat", 0.5))
    simple.world.say("p.jpg", "Sock")
    simple.world.begin()
    counts = simple.writer(plan).settle(simple.world.database, simple.world.lease)
    assert counts.written == {"category": 1, "second": 1, "state": 1}
    assert simple.values() == {"p": "Sock", "q": "Hat"}
    assert simple.values("state") == {"p": "accept", "q": None}
    assert simple.values("second") == {"p": "Dress", "q": "Sock"}


def test_a_word_is_confident_and_accepted_whatever_the_model_was(simple):
    plan = simple.plan(*LABEL, min_confidence=0.9, only_decision=("accept",))
    assert simple.tag(plan, simple.seen("p", confidence=0.5)).written == {}
    simple.world.say("p.jpg", "Hat")
    assert simple.writer(plan).settle(simple.world.database, simple.world.lease).written == {"category": 1}
    assert simple.values()["p"] == "Hat"


def test_a_word_that_the_label_map_does_not_know_is_refused_and_costs_no_other(simple):
    plan = simple.plan(*LABEL, categories=CODES)
    simple.tag(plan, simple.seen("p"), simple.seen("q"))
    simple.world.say("p.jpg", "Cape")
    simple.world.say("q.jpg", "Sock")
    counts = simple.writer(plan).settle(simple.world.database, simple.world.lease)
    assert simple.values() == {"p": "10", "q": "30"}
    assert counts.refused == 1
    assert counts.reasons == ["p: the label map has no code for the correction 'Cape': add a line for it"]
