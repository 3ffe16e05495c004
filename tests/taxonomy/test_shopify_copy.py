"""Copies of an export of Shopify, night after night: the shop imports them or not, and people edit in between."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from cataloger.errors import LeaseError, UsageError
from cataloger.history import prune_runs, undo_run
from cataloger.ledger import hold_lease
from cataloger.taxonomy import CopyOptions, FeedOptions, copy_export

DRESSES = "Apparel & Accessories > Clothing > Dresses"
HATS = "Apparel & Accessories > Clothing Accessories > Hats"
HEADER = "Handle,Title,Body (HTML),Product Category,Type,Tags,Image Src"
BODY = '"<p>Rot,\r\n""schön""</p>\n"'
ROWS = (
    f"a,A,{BODY},,, neu ,1.jpg\r\n"
    "a,,,,,,2.jpg\r\n"
    '"b",B," =1 ",Uncategorized,Robe,"Sale, dress",3.jpg\r\n'
    "\r\n"
    "c,C,,,,,4.jpg\r\n"
    "a,,x,,,,5.jpg\r\n"
    "person,P,,,,x,6.jpg\r\n"
    ",,no handle,,,,7.jpg\r\n"
    "review,R,,,,,8.jpg"
)
EXPORT = f"\ufeff{HEADER}\r\n{ROWS}"


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def shop(world, make, tmp_path):
    return Shop(world, make, tmp_path)


class Shop:
    """A shop whose export is a file, and the results of its products."""

    def __init__(self, world, make, folder):
        self.world, self.make = world, make
        self.export, self.copy = folder / "products_export.csv", folder / "shopify.csv"
        self.put(EXPORT)
        self.tag(a="Dress", b="Hat", c="Dress", review="Dress")
        self.decide("review", review="review")

    def put(self, text):
        self.export.write_bytes(text.encode())

    def tag(self, **labels):
        self.world.begin()
        goods = [
            self.make.good(f"{key}.jpg", f"v{self.world.run.id}", labels=(label,), product_key=key)
            for key, label in labels.items()
        ]
        self.world.sink.write(goods)
        self.decide("accept", **labels)
        self.world.end()

    def decide(self, decision, **products):
        with self.world.database.begin() as connection:
            for key in products:
                statement = f"UPDATE cataloger_product_result SET decision = '{decision}' WHERE product_key = '{key}'"
                connection.exec_driver_sql(statement)

    def feed(self, *columns, decided=(), **options):
        copy = CopyOptions(self.export, columns, **options)
        return copy_export(self.world.database, self.copy, FeedOptions("shopify", None, None, decided, copy=copy))

    def copied(self):
        """Return the products of the copy: category, type and tags of the first row of each."""
        rows, found = table(self.copy), {}
        for row in rows:
            found.setdefault(row["Handle"], (row["Product Category"], row["Type"], row["Tags"]))
        return found

    def imported(self, *edits):
        """Import the copy, edit the shop, and export it again. edits: pairs of texts in the file."""
        text = self.copy.read_bytes().decode()
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.put(text)


def table(path):
    with io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_only_cells_of_products_with_an_answer_differ(shop):
    report = shop.feed()
    assert shop.copied() == {
        "a": (DRESSES, "Dress", "neu, Dress"),
        "b": ("Uncategorized", "Robe", "Sale, dress, Hat"),
        "c": (DRESSES, "Dress", "Dress"),
        "person": ("", "", "x"),
        "": ("", "", ""),
        "review": ("", "", ""),
    }
    expected = EXPORT.replace(f"a,A,{BODY},,, neu ,", f'a,A,{BODY},{DRESSES},Dress,"neu, Dress",')
    expected = expected.replace('"Sale, dress"', '"Sale, dress, Hat"').replace(
        "c,C,,,,,", f"c,C,,{DRESSES},Dress,Dress,"
    )
    assert shop.copy.read_bytes().decode() == expected
    assert (report.products, dict(report.changed)) == (5, {"Product Category": 2, "Type": 2, "Tags": 3})
    assert (report.kept, report.edited, dict(report.left_out)) == (2, 0, {"unknown": 1, "decision": 1})


def test_nights_with_changed_new_and_deleted_products_and_edits_of_people(shop):
    shop.feed()
    shop.imported(("c,C,", "new,N,,,,,9.jpg\r\nc,C,"))
    assert shop.feed().edited == 0
    assert shop.copied()["new"] == ("", "", "")
    # Everything that we wrote follows the answer; a tag that a person has is no one's but theirs.
    shop.tag(a="Hat", new="Dress", b="Dress")
    shop.imported(('"neu, Dress"', '"dress , neu, Lieblinge"'))
    assert shop.feed().edited == 0
    assert shop.copied()["a"] == (HATS, "Hat", "neu, Lieblinge, Hat")
    assert shop.copied()["b"] == ("Uncategorized", "Robe", "Sale, dress")
    assert shop.copied()["new"] == (DRESSES, "Dress", "Dress")
    # A colleague has another category, another type, and takes a tag away. Product c is deleted.
    before = shop.copy.read_bytes().decode()
    deleted = before[before.index("c,C,") : before.index("a,,x,")]
    shop.imported(
        (f",{HATS},Hat,", ",Own,Hat,"),
        (", Lieblinge, Hat", ", Lieblinge"),
        ("Dress,Dress,9", "Gown,Dress,9"),
        (deleted, ""),
    )
    for label, kind in (("Dress", "Dress"), ("Hat", "Hat")):
        shop.tag(a=label)
        report = shop.feed(overwrite=True)
        assert shop.copied()["a"][:2] == ("Own", kind)
        assert shop.copied()["new"] == (DRESSES, "Gown", "Dress")
        assert report.edited_products[0] == "a"
        assert "c" not in shop.copied()
        shop.imported()
    assert shop.copied()["a"][2] == "neu, Lieblinge"  # not Hat, which the colleague has taken away


def test_a_copy_that_is_not_imported_is_made_again(shop):
    shop.feed()
    first = shop.copy.read_bytes()
    report = shop.feed()
    assert (shop.copy.read_bytes(), report.edited) == (first, 0)
    shop.tag(a="Hat")
    shop.feed()
    assert shop.copied()["a"] == (HATS, "Hat", "neu, Hat")
    # In between the shop itself has set what the copies would have, which is the shop's own then.
    shop.put(EXPORT.replace(",, neu ,", ",Hat,neu,"))
    shop.tag(a="Dress")
    shop.feed()
    assert shop.copied()["a"] == (DRESSES, "Hat", "neu, Dress")


def test_values_of_the_shop_are_replaced_where_that_is_asked_for(shop):
    assert shop.feed("Type", "Product Category", only_if=("uncategorized ", "Uncategorized ")).kept == 1
    assert shop.copied()["b"] == (HATS, "Robe", "Sale, dress")
    before = shop.copy.read_bytes()
    report = shop.feed(overwrite=True, dry_run=True)
    assert (dict(report.changed), shop.copy.read_bytes()) == ({"Product Category": 3, "Type": 3, "Tags": 3}, before)
    shop.feed(overwrite=True)
    assert shop.copied()["b"] == (HATS, "Hat", "Sale, dress, Hat")
    shop.feed(decided=("review",))
    assert [key for key, cells in shop.copied().items() if DRESSES in cells] == ["review"]


def test_after_undo_the_export_is_as_people_alone_have_made_it(shop):
    shop.feed(only_if=("Uncategorized",))
    shop.imported()
    shop.tag(a="Hat", new="Dress")
    edits = (("c,C,", "new,N,,,,,9.jpg\r\nc,C,"), (",Robe,", ",Gown,"))
    own = (f",{DRESSES},Dress,Dress,4.jpg", f",{DRESSES},Own,Mine,4.jpg")  # a colleague: another type, our tag away
    shop.imported(*edits, own)
    shop.feed(only_if=("Uncategorized",))
    assert shop.copied()["new"] == (DRESSES, "Dress", "Dress")
    shop.imported()
    before, runs = (
        shop.copied(),
        shop.world.rows("SELECT id FROM cataloger_run WHERE command = 'tag' ORDER BY id DESC"),
    )
    shop.world.end()
    for (run,) in runs:
        undo_run(shop.world.database, run)
    assert dict(shop.feed(undo=True, dry_run=True).changed) == {"Product Category": 4, "Type": 2, "Tags": 3}
    assert shop.copied() == before
    report = shop.feed(undo=True)
    assert (report.products, report.edited, report.edited_products) == (6, 1, ["c"])
    expected = EXPORT.replace(",,, neu ,", ',,,"neu",')
    for old, new in (*edits, ("c,C,,,,,4.jpg", "c,C,,,Own,Mine,4.jpg")):
        expected = expected.replace(old, new)
    assert shop.copy.read_bytes().decode() == expected
    # What was taken back is the shop's again: nothing is left to take back, and a value stays without --only-if.
    shop.imported()
    assert not shop.feed(undo=True).changed.total()
    shop.tag(b="Dress")
    shop.feed()
    assert shop.copied()["b"] == ("Uncategorized", "Gown", "Sale, dress")


def test_pruning_keeps_what_tells_our_cells_and_a_copy_is_no_run_to_undo(shop):
    shop.feed()
    shop.imported()
    shop.feed()
    run_id = max(run for (run,) in shop.world.rows("SELECT id FROM cataloger_run WHERE command = 'feed'"))
    with pytest.raises(UsageError, match=r"cannot be undone; `cataloger feed --into EXPORT\.csv --undo`"):
        undo_run(shop.world.database, run_id)
    shop.tag(a="Hat")
    prune_runs(shop.world.database, 1)
    shop.feed()
    assert shop.copied()["a"] == (HATS, "Hat", "neu, Hat")
    # The night before is taken back, and with it its category.
    tagged = max(run for (run,) in shop.world.rows("SELECT id FROM cataloger_run WHERE command = 'tag'"))
    shop.imported()
    undo_run(shop.world.database, tagged)
    shop.decide("accept", a="Dress")
    shop.feed()
    assert shop.copied()["a"] == (DRESSES, "Dress", "neu, Dress")


def test_todays_names_of_columns(shop):
    shop.put(
        "Title,URL handle,Description,Product category,Type,Tags,Product image URL\nA,a,,,,,1.jpg\n,a,,,,,2.jpg\n"
    )
    shop.feed()
    assert shop.copy.read_text().splitlines()[1:] == [f"A,a,,{DRESSES},Dress,Dress,1.jpg", ",a,,,,,2.jpg"]


@pytest.mark.parametrize(
    ("text", "columns", "match"),
    [
        (None, (), "there is no such file"),
        ("Title,Type\nA,x\n", (), "no columns Handle and Title"),
        ("Handle,Title\na,A\n", (), "has none of the columns Product Category, Type, Tags"),
        ("Handle,Title,Tags\na,A,\n", ("Type",), "--write Type: .* has no such column; it has Tags"),
        ("Handle;Title;Tags\na;A;x\n", (), "is not as Shopify imports it"),
        ("\nHandle,Title,Tags\na,A,x\n", (), "is not as Shopify imports it"),
        ('Handle,Title,Tags\na,A,x\nb,"B" b,y\n', (), "line 3: the row has a stray quotation mark"),
        ("Handle,Title,Tags\na,A,x\nb,B,x,y\n", (), "line 3: the row has 4 cells"),
        (b"Handle,Title,Tags\na,K\xe4se,x\n", (), "line 2: the row is not UTF-8"),
        ("Handle,URL handle,Title,Tags\na,a,A,x\n", (), "two columns that Shopify reads as one"),
    ],
)
def test_a_file_that_cannot_be_copied_is_refused_and_nothing_is_written(shop, text, columns, match):
    shop.copy.write_text("before")
    shop.export.unlink()
    if text is not None:
        shop.put(text) if isinstance(text, str) else shop.export.write_bytes(text)
    with pytest.raises(UsageError, match=match):
        shop.feed(*columns)
    assert shop.copy.read_text() == "before"
    assert shop.world.rows("SELECT id FROM cataloger_write") == []


def test_the_export_stays_and_two_do_not_write_at_once(shop):
    with pytest.raises(UsageError, match="is the export itself"):
        copy_export(shop.world.database, shop.export, FeedOptions("shopify", copy=CopyOptions(shop.export)))
    shop.world.begin()
    shop.world.lease.release()
    with hold_lease(shop.world.database, shop.world.source.id, shop.world.run.id), pytest.raises(LeaseError):
        shop.feed()
    assert (shop.export.read_bytes().decode(), shop.copy.exists()) == (EXPORT, False)


MEASURED = """
import resource, sys
from pathlib import Path
from cataloger.taxonomy.export_rows import open_export

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_export(Path(sys.argv[1])) as export:
    count = sum(len(block) for block in export.blocks())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_rows(tmp_path: Path):
    def measured(products):
        path = tmp_path / "export.csv"
        with path.open("w") as file:
            file.write(HEADER + "\n")
            for number in range(products):
                file.write(
                    f"product-{number},P,{'<p>x</p>' * 100},,,,{number}.jpg\nproduct-{number},,,,,,{number}b.jpg\n"
                )
        command = [sys.executable, "-c", MEASURED, str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(part) for part in result.stdout.split()]

    few, many = measured(5_000), measured(50_000)
    assert (few[0], many[0]) == (10_000, 100_000)
    assert many[1] - few[1] < 16_000  # kilobytes; the file has 40 MB more
