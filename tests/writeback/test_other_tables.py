"""Answers in other tables of the shop: rows of our own only, whatever people do between two nights, and undone."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from cataloger.db.reflection import TableName
from cataloger.errors import EditedError, SourceError, UsageError
from cataloger.history.prune import prune_runs
from cataloger.history.undo import undo_run
from cataloger.ledger.label_map import LabelCode
from cataloger.ledger.run_queries import find_run
from cataloger.ledger.write_target import WriteTarget, record_other_targets, record_write_target
from cataloger.table_options import TableOptions
from cataloger.writeback import LinkCheck, PossibleAnswers, RowCheck, WriteBack, WriteCheck
from cataloger.writeback.flags import OtherWrites
from cataloger.writeback.journal import WriteCounts

LABELS = ("Dress", "Hat", "Sock")
CODES = {
    label: LabelCode(label, code, f"{label}s", "2") for label, code in zip(LABELS, ("10", "20", "30"), strict=True)
}
NUMBER = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL PRIMARY KEY"}
EAV = OtherWrites(("eav:value=label_1",), ("product",), ("attribute = 87 and store = 0",))
VALUE = "eav.value (attribute=87, store=0)"
LINKS = OtherWrites(links=("links:product,category,place=7",))
ANSWERS = {"1": "Dress", "2": "Hat", "3": "Hat"}
TABLES = ("tags", "notes", "eav", "links", "products", "categories")


class Shop:
    """A product table of three products, with the tables that a shop keeps its categories in, beside the ledger."""

    storage = "InnoDB"

    def __init__(self, world, make):
        self.world = world
        self.make = make
        self.engine = world.database.engine.dialect.name
        self.end = "" if self.engine in ("sqlite", "postgresql") else f" ENGINE={self.storage}"
        self.drop()
        number = NUMBER.get(self.engine, "INTEGER AUTO_INCREMENT PRIMARY KEY")
        self.create("products (id INTEGER PRIMARY KEY, photo VARCHAR(9), category INTEGER)")
        self.create("categories (id INTEGER PRIMARY KEY)")
        self.create(
            f"eav (value_id {number}, product INTEGER NOT NULL REFERENCES products (id), attribute INTEGER NOT NULL, "
            "store INTEGER NOT NULL, value INTEGER, note VARCHAR(20), UNIQUE (product, attribute, store))"
        )
        self.create(
            "links (product INTEGER NOT NULL, category INTEGER NOT NULL, place INTEGER NOT NULL, "
            "PRIMARY KEY (product, category), FOREIGN KEY (category) REFERENCES categories (id))"
        )
        self.execute(*(f"INSERT INTO categories VALUES ({category})" for category in (1, 2, 10, 20, 30)))
        self.execute(*(f"INSERT INTO products VALUES ({product}, '', NULL)" for product in ANSWERS))
        world.database.engine.dispose()  # statements are prepared for tables of these names that were there before

    def create(self, definition):
        self.execute(f"CREATE TABLE {definition}{self.end}")

    def drop(self):
        self.execute(*(f"DROP TABLE IF EXISTS {name}" for name in TABLES))

    def execute(self, *statements):
        with self.world.database.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, query):
        return sorted(self.world.rows(query), key=str)

    def eav(self):
        return self.rows("SELECT product, attribute, store, value, note FROM eav")

    def links(self):
        return self.rows("SELECT product, category, place FROM links")

    def everything(self):
        return self.eav(), self.links(), self.rows("SELECT id, category FROM products")

    def plans(self, other, *writes, **more):
        """Check what is to be written, as the command does."""
        options, database = other.options(writes, **more), self.world.database
        answers = PossibleAnswers(LABELS, CODES, 5)
        checks = [RowCheck(database, TableName.parse(each.table), each, options, "1") for each in options.tables]
        checks += [LinkCheck(database, TableName.parse(each.table), each, options, "1") for each in options.links]
        for check in checks:
            check.check(1)
        if options.columns:
            table = TableOptions("products", ("id",), "photo")
            checks.append(WriteCheck(database, TableName("products"), table, options))
        return [check.plan(answers) for check in checks]

    def writer(self, plans):
        return WriteBack(plans, self.world.source, self.world.run.id, self.world.model.weights_id)

    def sync(self, other, *writes, answers=None, **more):
        """Tag the products in a run of their own and write that back; return its number and what became of it."""
        self.world.begin()
        plans, counts = self.plans(other, *writes, **more), WriteCounts()
        database, run = self.world.database, self.world.run.id
        record_other_targets(database, self.world.source.id, [plan.target for plan in plans if plan.target])
        for plan in plans:
            if plan.target is None:
                record_write_target(database, run, WriteTarget(plan.table.info.name, plan.table.ids))
        results = [self.seen(product, label) for product, label in (ANSWERS | (answers or {})).items()]
        writer = self.writer(plans)
        replace(self.world.sink, write_back=writer, on_written=counts.add).write(results)
        counts.add(writer.settle(database, self.world.lease)) if not counts.edited else None
        self.world.end()
        return run, counts

    def seen(self, product, label):
        other = LABELS[(LABELS.index(label) + 1) % 3]
        return self.make.good(f"{product}.jpg", labels=(label, other), product_key=product)

    def preview(self, other, *writes, **more):
        return self.writer(self.plans(other, *writes, **more)).preview(self.world.database)

    def undo(self, run, **options):
        return undo_run(self.world.database, run, **options)


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def shop(world, make):
    found = Shop(world, make)
    yield found
    world.end()
    found.drop()


def test_a_row_is_updated_or_added_and_undone(shop):
    shop.execute(
        "INSERT INTO eav (product, attribute, store, value) VALUES (1, 87, 0, NULL)",
        "INSERT INTO eav (product, attribute, store, value) VALUES (1, 87, 1, 30)",
        "INSERT INTO eav (product, attribute, store, value) VALUES (2, 87, 0, 30)",
    )
    before = shop.eav()
    run, counts = shop.sync(EAV)
    written = [(1, 87, 0, 10, None), (1, 87, 1, 30, None), (2, 87, 0, 30, None), (3, 87, 0, 20, None)]
    assert (shop.eav(), counts.written, counts.kept) == (written, {VALUE: 2}, 2)
    assert shop.sync(EAV)[1].written == {}
    assert shop.undo(run).restored == {VALUE: 2}
    assert shop.eav() == before
    assert shop.preview(EAV).written == {VALUE: 2}
    assert shop.sync(EAV)[1].written == {VALUE: 2}
    assert shop.eav() == written


def test_a_category_is_linked_and_moves_with_the_answer(shop):
    shop.execute("INSERT INTO links VALUES (1, 30, 1)", "INSERT INTO links VALUES (2, 20, 5)")
    first, counts = shop.sync(LINKS)
    one = [(1, 10, 7), (1, 30, 1), (2, 20, 5), (3, 20, 7)]
    assert (shop.links(), counts.written) == (one, {"links.category": 2})
    second, counts = shop.sync(LINKS, answers={"1": "Hat"})
    assert shop.links() == [(1, 20, 7), (1, 30, 1), (2, 20, 5), (3, 20, 7)]
    assert (counts.written, counts.removed) == ({"links.category": 2}, 1)
    assert shop.undo(second).restored == {"links.category": 2}
    assert shop.links() == one
    shop.undo(first)
    assert shop.links() == [(1, 30, 1), (2, 20, 5)]


def edit(shop):
    """Do what a colleague does between two nights, in a shop that cataloger has written to or not."""
    shop.execute(
        "DELETE FROM eav WHERE product = 1 AND attribute = 87",
        "DELETE FROM links WHERE product = 3 AND category = 20",
        "INSERT INTO links VALUES (3, 30, 2)",
        "UPDATE products SET category = 2 WHERE id = 2",
        "INSERT INTO eav (product, attribute, store, value) VALUES (2, 99, 0, 1)",
    )
    if shop.rows("SELECT 1 FROM links WHERE product = 2 AND category = 20"):
        shop.execute("UPDATE links SET place = 3 WHERE product = 2 AND category = 20")
    else:
        shop.execute("INSERT INTO links VALUES (2, 20, 3)")
    if shop.rows("SELECT 1 FROM eav WHERE product = 3 AND attribute = 87"):
        shop.execute("UPDATE eav SET value = 30 WHERE product = 3 AND attribute = 87")
    else:
        shop.execute("INSERT INTO eav (product, attribute, store, value) VALUES (3, 87, 0, 30)")


def test_after_undo_the_tables_are_as_a_colleague_alone_has_made_them(shop):
    both = replace(EAV, links=LINKS.links)
    edit(shop)
    twin = shop.everything()
    shop.execute("DELETE FROM eav", "DELETE FROM links", "UPDATE products SET category = NULL")
    first, counts = shop.sync(both, "category=label_1")
    assert counts.written == {VALUE: 3, "links.category": 3, "category": 3}
    edit(shop)
    edited = shop.everything()
    second, counts = shop.sync(both, "category=label_1", answers=dict.fromkeys(ANSWERS, "Sock"))
    assert counts.edited == 3
    ours = [(2, 87, 0, 30, None)]
    assert shop.eav() == sorted([row for row in edited[0] if row[:2] != (2, 87)] + ours, key=str)
    assert {(3, 30, 2), (2, 20, 3)} <= set(shop.links())
    shop.undo(second, skip_edited=True)
    assert shop.everything() == edited
    with pytest.raises(EditedError, match=r"2 \(category\)"):
        shop.undo(first)
    shop.undo(first, skip_edited=True)
    assert shop.everything() == twin


def test_an_undo_in_another_order_ends_the_same(shop):
    first, _ = shop.sync(EAV)
    second, _ = shop.sync(EAV, answers={"1": "Hat"})
    shop.undo(first)
    assert shop.eav() == [(1, 87, 0, 20, None)]
    again = shop.undo(second)
    assert shop.eav() == []
    shop.undo(again.run_id)
    assert shop.eav() == [(1, 87, 0, 20, None)]


def test_what_was_pruned_is_still_our_own(shop):
    shop.sync(LINKS)
    shop.sync(LINKS)
    assert prune_runs(shop.world.database, 1).runs >= 1
    last, _ = shop.sync(LINKS, answers={"1": "Hat"})
    assert [row[:2] for row in shop.links()] == [(1, 20), (2, 20), (3, 20)]
    shop.undo(last)
    assert [row[:2] for row in shop.links()] == [(1, 10), (2, 20), (3, 20)]


def test_several_targets_of_one_table_are_told_apart(shop):
    wheres = ("attribute=1 and store=0", "attribute=2 and store=0")
    run, _ = shop.sync(OtherWrites(("eav:value=label_1", "eav:value=parent_1"), ("product",), wheres))
    assert {row[1:4] for row in shop.eav() if row[0] == 1} == {(1, 0, 10), (2, 0, 2)}
    counts = dict.fromkeys((f"eav.value (attribute={number}, store=0)" for number in (1, 2)), 3)
    assert find_run(shop.world.database, run).written == counts
    assert shop.undo(run).restored == counts
    assert shop.eav() == []


def test_no_row_is_added_where_only_existing_ones_are_to_be_written(shop):
    shop.execute("INSERT INTO eav (product, attribute, store, value) VALUES (1, 87, 0, 30)")
    run, _ = shop.sync(replace(EAV, existing=("eav",)), only_if=("30",))
    assert shop.eav() == [(1, 87, 0, 10, None)]
    shop.undo(run)
    assert shop.eav() == [(1, 87, 0, 30, None)]


@pytest.mark.parametrize(
    ("other", "setup", "message"),
    [
        (LINKS, "DELETE FROM categories WHERE id = 20", "links does not accept '20'"),
        (replace(LINKS, links=("links:product,category",)), "", "place"),
        (replace(LINKS, links=("links:product,kind",)), "", "does not exist; there are: category, place"),
        (replace(LINKS, links=("nowhere:product,kind",)), "", "does not exist"),
        (replace(LINKS, links=("links:product,category,place=first",)), "", "is not a whole number"),
        (replace(EAV, wheres=("attribute = 87",)), "", "store"),
        (replace(EAV, tables=("eav:note=confidence_1",)), "", "needs a column of fractions"),
        (replace(EAV, tables=("eav:value=name_1",)), "", "needs a column of text"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(shop, other, setup, message):
    if setup:
        shop.execute(setup)
    with pytest.raises((UsageError, SourceError), match=message):
        shop.plans(other)
    assert (shop.eav(), shop.links()) == ([], [])


def test_a_table_with_several_rows_a_product_is_refused(shop):
    shop.create("notes (product INTEGER, value INTEGER)")
    shop.execute(*["INSERT INTO notes VALUES (1, 2)"] * 2)
    with pytest.raises(UsageError, match="the product 1 has several rows"):
        shop.plans(OtherWrites(("notes:value=label_1",), ("product",)))


@pytest.mark.parametrize(
    ("other", "writes", "message"),
    [
        (OtherWrites(("eav",), ("product",)), (), "write TABLE:COLUMN=FIELD"),
        (OtherWrites(("eav:value=best",), ("product",)), (), "^--write-table eav: value=best: no such field"),
        (OtherWrites(("eav:value",), ("product",)), (), "^--write-table eav: value: write COLUMN=FIELD"),
        (OtherWrites(("eav:value=label_1",)), (), "needs --write-key"),
        (OtherWrites(("eav", "links"), ("product",)), ("value=label_1",), "its own columns"),
        (OtherWrites((), ("product",)), (), "need --write-table"),
        (OtherWrites(("eav:value=best",), ("product",)), (), "no such field"),
        (replace(EAV, wheres=("attribute > 3",)), (), "write COLUMN = VALUE"),
        (replace(EAV, wheres=("a=1", "b=1")), (), "given once for all"),
        (replace(EAV, existing=("other",)), (), "no --write-table names it"),
        (OtherWrites(links=("links:product",)), (), "write TABLE:PRODUCT_COLUMN,CATEGORY_COLUMN"),
        (OtherWrites(links=("links:product,category,place",)), (), "write TABLE:PRODUCT_COLUMN,CATEGORY_COLUMN"),
        (OtherWrites(links=("links:product,product",)), (), "names a column twice"),
    ],
)
def test_options_that_make_no_sense_are_refused(other, writes, message):
    with pytest.raises(UsageError, match=message):
        other.options(writes)


def test_conditions_are_read_as_values():
    (table,) = replace(EAV, wheres=("a = 'it''s and more' AND \"B c\"=-2.5 and d='' ",)).options(()).tables
    assert table.where == (("a", "it's and more"), ("B c", "-2.5"), ("d", ""))
    (link,) = OtherWrites(links=("t:p,c,kind==Product,'note=a,b'",)).options(()).links
    assert (link.constants, link.values) == ((("kind", "Product"),), (("note", "a,b"),))


def test_rows_of_another_kind_are_none_of_the_links(shop):
    shop.create("tags (product INTEGER, category INTEGER, kind VARCHAR(9))")
    shop.execute("INSERT INTO tags VALUES (1, 10, 'Page')", "INSERT INTO tags VALUES (2, 20, 'Product')")
    run, _ = shop.sync(OtherWrites(links=("tags:product,category,kind==Product",)))
    tags = "SELECT product, category, kind FROM tags"
    assert shop.rows(tags) == [(1, 10, "Page"), (1, 10, "Product"), (2, 20, "Product"), (3, 20, "Product")]
    shop.undo(run)
    assert shop.rows(tags) == [(1, 10, "Page"), (2, 20, "Product")]


def test_a_product_is_linked_with_likely_further_categories_and_with_parents(shop):
    links = OtherWrites(links=("links:product,category=label_1+label_2+parent_1,place=7",))
    run, _ = shop.sync(links, min_confidence=0.2)
    # The rig is 0.75 sure of the best and 0.25 of the second; all three have the parent 2.
    second = {"1": 20, "2": 30, "3": 30}
    best = {"1": 10, "2": 20, "3": 20}
    expected = {(int(p), code, 7) for p in ANSWERS for code in (best[p], second[p], 2)}
    assert set(shop.links()) == expected
    shop.sync(links, min_confidence=0.5)
    assert set(shop.links()) == {row for row in expected if row[1] in (best[str(row[0])], 2)}
    shop.undo(shop.world.run.id)
    assert set(shop.links()) == expected
    shop.undo(run)
    assert shop.links() == []


def test_a_correction_is_the_only_category_of_a_product(shop):
    links = OtherWrites(links=("links:product,category=label_1+label_2,place=7",))
    (plan,) = shop.plans(links, min_confidence=0.1)
    row = SimpleNamespace(
        **{f"label_{n}": None for n in range(1, 6)} | {f"confidence_{n}": None for n in range(1, 6)},
        decision="accept", corrected_label="Sock",
    )  # fmt: skip
    row.label_1, row.confidence_1, row.label_2, row.confidence_2 = "Dress", 0.7, "Hat", 0.3
    assert set(plan.values(row)) == {"30"}


@pytest.mark.parametrize(
    ("link", "more", "message"),
    [
        ("links:product,category=label_1+label_2,place=7", {}, "needs --min-confidence"),
        ("links:product,category=name_1,place=7", {}, "category=name_1: a product is linked with label_1 to _5"),
        ("links:product,category=,category=7", {}, "names a column twice"),
    ],
)
def test_wrong_categories_of_a_link_are_refused(shop, link, more, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        shop.plans(OtherWrites(links=(link,)), **more)


def test_a_table_with_one_category_a_product_is_refused_before_any_work(shop):
    shop.create("tags (product INTEGER PRIMARY KEY, category INTEGER NOT NULL)")
    with pytest.raises(UsageError, match="--write-link tags:product,category"):
        shop.plans(OtherWrites(links=("tags:product,category=label_1+label_2",)), min_confidence=0.5)
    shop.plans(OtherWrites(links=("tags:product,category",)))
