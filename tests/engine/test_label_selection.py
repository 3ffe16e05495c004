"""What a shop sells: other labels can be no answer; changing it needs no inference, is kept, and can be undone."""

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from by_url import open_database, open_source, parsed
from calibrated import same, views
from sqlalchemy import text

from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.engine.tag import TagOptions, tag_images
from cataloger.errors import UsageError
from cataloger.history import undo_run
from cataloger.model import default_bundle_path, read_bundle
from cataloger.options import RunOptions, SelectionOptions
from cataloger.table_options import TableOptions

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
IMAGES = ("blue-fedora.png", "sunglasses.png", "summer-shorts.png", "winter-hat.png")
LABELS = read_bundle(default_bundle_path(), check=()).labels
FEW = "Shorts,Shirt,Dress,Sunglasses,Jeans,Skirt"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in IMAGES:
        shutil.copy(EXAMPLES / name, folder)
    return folder


def tag(url, photos, run=None, **selection):
    chosen = SelectionOptions(**selection)
    return tag_images(TagOptions((str(photos),), db=parsed(url), selection=chosen, run=RunOptions(**(run or {}))))


def rows(url, query):
    with closing(open_source(url)) as database, database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def labels_of(url):
    columns = ", ".join(f"label_{rank}" for rank in range(1, 6))
    return {label for row in rows(url, f"SELECT {columns} FROM cataloger_image_top5") for label in row}


def test_labels_that_are_not_sold_are_no_answer_and_it_can_be_undone(url, photos, tmp_path):
    tag(url, photos)
    before = views(url)
    report = tag(url, photos, labels=FEW)
    assert (report.run.attempted, report.recomputed) == (0, 4)
    assert labels_of(url) <= set(FEW.split(","))
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    tag(fresh, photos, labels=FEW)
    same(views(url), views(fresh))
    assert tag(url, photos).recomputed == 0  # it is kept with the source
    assert labels_of(url) <= set(FEW.split(","))
    with closing(open_database(url)) as database:
        undo_run(database, report.run_id)
    assert views(url) == before
    assert tag(url, photos).recomputed == 0
    assert views(url) == before


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_what_is_sold_is_changed_part_by_part(url, photos):
    tag(url, photos, labels=FEW)
    assert tag(url, photos, exclude_labels="Sunglasses, Shorts").recomputed == 4
    assert labels_of(url) <= set(FEW.split(",")) - {"Sunglasses", "Shorts"} | {None}
    tag(url, photos, exclude_labels="none")
    assert "Sunglasses" in labels_of(url)
    assert tag(url, photos, labels="all").recomputed == 4
    plain = tag(url, photos)
    assert plain.recomputed == 0
    assert "Hat" in labels_of(url)


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_labels_come_from_a_file_too(url, photos, tmp_path):
    lines, template = tmp_path / "sold.txt", tmp_path / "sold.csv"
    lines.write_text("# sold here\n" + "\n".join(FEW.split(",")) + "\n\n")
    codes = ["sold" if label in FEW.split(",") else "ignore" for label in LABELS]
    pairs = zip(LABELS, codes, strict=True)
    template.write_text("label,code,name,parent\n" + "".join(f"{label},{code},,\n" for label, code in pairs))
    tag(url, photos, labels=str(lines))
    assert labels_of(url) <= set(FEW.split(",")) | {None}
    assert tag(url, photos, labels=str(template)).recomputed == 0  # the same labels


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"labels": "Shrit,Dress"}, "'Shrit' is no label of the model (is it 'Shirt'?)"),
        ({"labels": "sold.txt"}, "neither a file nor a label of the model"),
        ({"labels": "Dress"}, "it takes at least two"),
        ({"labels": "Dress,Hat", "exclude_labels": "Hat"}, "it takes at least two"),
    ],
)
def test_what_is_wrong_with_the_labels_is_said_before_any_work(url, photos, selection, message):
    with pytest.raises(UsageError) as caught:
        tag(url, photos, **selection)
    assert message in str(caught.value)
    assert rows(url, "SELECT COUNT(*) FROM cataloger_result") == [(0,)]


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_dry_run_changes_nothing(url, photos):
    tag(url, photos)
    before = views(url)
    tag(url, photos, labels=FEW, run={"dry_run": True})
    assert views(url) == before
    assert rows(url, "SELECT is_mixed FROM cataloger_source") == [(0,)]


# --- product tables: departments and label maps


@pytest.fixture
def shop(url, photos):
    """A product table with departments: two in one, one in another, one in none."""
    with closing(open_source(url)) as database, database.begin() as connection:
        connection.execute(
            text("CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(200), dept VARCHAR(50))")
        )
        for number, (name, department) in enumerate(zip(IMAGES, ("Men ", "men", "LEGS", None), strict=True)):
            values = {"sku": f"S{number}", "photo": name, "dept": department}
            connection.execute(text("INSERT INTO products VALUES (:sku, :photo, :dept)"), values)
    return url


def execute(url, statement):
    with closing(open_source(url)) as database, database.begin() as connection:
        connection.execute(text(statement))


def sync(url, photos, label_map=None, run=None, **selection):
    table = TableOptions(table="products", ids=("sku",), image="photo", image_root=photos)
    options = SyncOptions(parsed(url), table, label_map=label_map, selection=SelectionOptions(**selection))
    return sync_table(replace(options, run=RunOptions(**(run or {}))))


def best(url):
    found = rows(
        url, "SELECT product_key, label_1, label_2, label_3 FROM cataloger_product_top5 ORDER BY product_key"
    )
    return {product: set(labels) - {None} for product, *labels in found}


DEPARTMENTS = 'men = ["Shirt", "Jeans"]\n"legs" = ["Shorts", "Jeans", "Skirt"]\n'


def test_departments_narrow_the_labels_of_each_product(shop, photos, tmp_path):
    file = tmp_path / "departments.toml"
    file.write_text(DEPARTMENTS)
    sync(shop, photos)
    plain, dry = best(shop), {"dry_run": True}
    assert sync(shop, photos, run=dry, department_column="dept", departments=file).recomputed == 3
    report = sync(shop, photos, department_column="dept", departments=file)
    assert (report.run.attempted, report.recomputed) == (0, 3)
    expected = {"S0": {"Shirt", "Jeans"}, "S1": {"Shirt", "Jeans"}, "S2": {"Shorts", "Jeans", "Skirt"}}
    assert best(shop) == {**expected, "S3": plain["S3"]}
    assert sync(shop, photos).recomputed == 0  # column and map are kept with the source
    # A product moves to another department: its answer follows, and nothing is classified.
    execute(shop, "UPDATE products SET dept = 'legs' WHERE sku = 'S1'")
    assert sync(shop, photos, run=dry).recomputed == 1
    moved = sync(shop, photos)
    assert (moved.run.attempted, moved.recomputed) == (0, 1)
    assert best(shop)["S1"] == expected["S2"]
    with closing(open_database(shop)) as database:
        undo_run(database, report.run_id)
    sync(shop, photos)
    assert best(shop) == plain


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_departments_of_a_csv_are_within_what_is_sold(shop, photos, tmp_path):
    file = tmp_path / "departments.csv"
    file.write_text("Department;Label\nMen;Shirt\nmen;Jeans\nMen;Hat\nlegs;Shorts\nlegs;Jeans\n")
    sync(shop, photos, department_column="dept", departments=file, exclude_labels="Hat")
    assert best(shop)["S0"] == {"Shirt", "Jeans"}
    assert "Hat" not in best(shop)["S3"]
    assert rows(shop, "SELECT DISTINCT department FROM cataloger_item ORDER BY 1") == [(None,), ("legs",), ("men",)]
    assert sync(shop, photos, departments=Path("none")).recomputed == 3


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_the_departments_of_a_table_of_images_are_those_of_the_products(shop, photos, tmp_path):
    execute(shop, "CREATE TABLE shots (id INTEGER PRIMARY KEY, sku VARCHAR(20), file VARCHAR(200))")
    execute(shop, "INSERT INTO shots SELECT rowid, sku, photo FROM products")
    file = tmp_path / "departments.toml"
    file.write_text(DEPARTMENTS)
    table = TableOptions(
        table="products", ids=("sku",), image="file", image_root=photos, image_table="shots", image_fk=("sku",)
    )
    selection = SelectionOptions(department_column="dept", departments=file)
    report = sync_table(SyncOptions(parsed(shop), table, selection=selection))
    assert report.run.done == 4
    assert best(shop)["S2"] == {"Shorts", "Jeans", "Skirt"}


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("written", "column", "message"),
    [
        ('men = ["Shirt"]\n', "dept", "department 'men'"),
        ('men = "Shirt"\n', "dept", "must be a list of labels"),
        ('men = ["Shirt", "Spacesuit"]\n', "dept", "'Spacesuit' is no label of the model"),
        ("", "dept", "names no department"),
        (DEPARTMENTS, None, "needs --department-column"),
        (DEPARTMENTS, "division", "division"),
        (None, "dept", "cannot be read"),
    ],
)
def test_what_is_wrong_with_departments_is_said_before_any_work(shop, photos, tmp_path, written, column, message):
    file = tmp_path / "departments.toml"
    if written is not None:
        file.write_text(written)
    with pytest.raises(Exception, match=message):
        sync(shop, photos, department_column=column, departments=file)
    assert rows(shop, "SELECT COUNT(*) FROM cataloger_item") == [(0,)]


def test_a_label_map_leaves_out_what_the_shop_does_not_sell(shop, photos, tmp_path, caplog):
    sold = [label for label in LABELS if label in FEW.split(",")]
    others = [label for label in LABELS if label not in sold]
    file = tmp_path / "codes.csv"
    file.write_text("label,code\n" + "".join(f"{label},{label.upper()}\n" for label in sold))
    sync(shop, photos)
    assert sync(shop, photos, label_map=file).recomputed == 4
    assert f"has no line for {len(others)} of the model's 50 labels" in caplog.text
    assert labels_of(shop) <= {*sold, None}
    assert rows(shop, "SELECT COUNT(*) FROM cataloger_image_codes") == [(4 * 5,)]
    caplog.clear()
    file.write_text(file.read_text() + "".join(f"{label},ignore\n" for label in others))
    assert sync(shop, photos, label_map=file).recomputed == 0
    assert sync(shop, photos).recomputed == 0
    assert not caplog.records
