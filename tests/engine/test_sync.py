"""`cataloger sync` from a product table to the views, on every engine; its faults are tested elsewhere."""

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import by_url
import pytest
from by_url import open_database, open_source, parsed
from sqlalchemy import text

from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.errors import DatabaseError, SchemaError, SourceError, UsageError
from cataloger.options import RunOptions
from cataloger.table_options import TableOptions

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGES = ("blue-fedora.png", "sunglasses.png", "t-shirt-print.png", "winter-hat.png")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in IMAGES:
        shutil.copy(EXAMPLES / "images" / name, folder)
    return folder


@pytest.fixture
def shop(url, photos):
    """URL of a database with a product table of paths and of bytes, and with our tables."""
    binary = "BYTEA" if url.startswith("postgresql") else "LONGBLOB"
    execute(url, f"CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(200), picture {binary})")
    for number, name in enumerate(IMAGES):
        add(url, f"S{number}", name, (photos / name).read_bytes())
    return url


def execute(url, statement, **values):
    with closing(open_source(url)) as database, database.begin() as connection:
        result = connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else result.rowcount


def add(url, sku, photo, picture=None):
    execute(url, "INSERT INTO products VALUES (:sku, :photo, :picture)", sku=sku, photo=photo, picture=picture)


def options(url, photos=None, *, run=None, column="photo", others=None, **table):
    source = TableOptions(table="products", ids=("sku",), image=column, image_root=photos, **table)
    return SyncOptions(parsed(url), source, run=RunOptions(**(run or {})), **(others or {}))


def answers(url):
    """Return product -> best label and confidence, as the view shows them."""
    rows = execute(url, "SELECT product_key, label_1, confidence_1 FROM cataloger_image_top5")
    return {product: (label, pytest.approx(confidence, abs=1e-5)) for product, label, confidence in rows}


def test_the_images_of_a_table_are_tagged_once(shop, photos):
    report = sync_table(options(shop, photos))
    assert (report.run.done, report.run.failed, report.exit_status) == (4, 0, 0)
    labels = {product: label for product, (label, _) in answers(shop).items()}
    assert labels == {"S0": "Hat", "S1": "Sunglasses", "S2": "T-shirt", "S3": "Hat"}
    again = sync_table(options(shop, photos))
    assert (again.run.attempted, dict(again.run.skipped)) == (0, {"unchanged": 4})


def test_bytes_in_the_table_get_the_answers_of_the_same_files(shop, photos):
    sync_table(options(shop, photos))
    from_files = answers(shop)
    report = sync_table(options(shop, column="picture", others={"model": "default"}))
    assert report.run.done == 4
    rows = execute(shop, "SELECT source, product_key, label_1, confidence_1 FROM cataloger_image_top5")
    from_bytes = {product: (label, confidence) for source, product, label, confidence in rows if "#picture" in source}
    assert from_bytes == from_files
    again = sync_table(options(shop, column="picture"))
    assert (again.run.attempted, dict(again.run.skipped)) == (0, {"unchanged": 4})


def test_what_is_unchanged_is_not_opened(shop, photos):
    sync_table(options(shop, photos))
    for name in IMAGES:
        status = (photos / name).stat()
        (photos / name).write_bytes(bytes(status.st_size))  # no image any more, but nothing that a look can tell
        os.utime(photos / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sync_table(options(shop, photos)).run.attempted == 0


def test_only_what_is_new_or_changed_is_done(shop, photos):
    sync_table(options(shop, photos))
    add(shop, "S9", "blue-fedora.png")
    execute(shop, "UPDATE products SET photo = 'sunglasses.png' WHERE sku = 'S0'")
    report = sync_table(options(shop, photos))
    assert dict(report.run.planned) == {"new": 1, "changed": 1}
    assert answers(shop)["S0"][0] == "Sunglasses"


def test_changed_bytes_are_noticed(shop, photos):
    sync_table(options(shop, column="picture"))
    shorts = (photos / "t-shirt-print.png").read_bytes()
    execute(shop, "UPDATE products SET picture = :new WHERE sku = 'S0'", new=shorts)
    report = sync_table(options(shop, column="picture"))
    assert dict(report.run.planned) == {"changed": 1}
    assert answers(shop)["S0"] == answers(shop)["S2"]


def test_force_and_retry_failed(shop, photos):
    (photos / "broken.png").write_bytes(b"no image")
    add(shop, "S9", "broken.png")
    report = sync_table(options(shop, photos))
    assert (report.run.done, report.run.failed, report.exit_status) == (4, 1, 3)
    assert dict(sync_table(options(shop, photos)).run.skipped) == {"unchanged": 4, "failed_before": 1}
    assert dict(sync_table(options(shop, photos, run={"retry_failed": True})).run.planned) == {"retry": 1}
    assert dict(sync_table(options(shop, photos, run={"force": True})).run.planned) == {"forced": 5}


def test_what_is_gone_leaves_the_views_and_comes_back(shop, photos):
    sync_table(options(shop, photos))
    before = answers(shop)
    execute(shop, "DELETE FROM products WHERE sku IN ('S1', 'S2')")
    plan = sync_table(options(shop, photos, run={"dry_run": True}))
    assert plan.plan() == {"unchanged": 2, "gone": 2}
    assert answers(shop) == before
    report = sync_table(options(shop, photos))
    assert (report.missing, set(answers(shop))) == (2, {"S0", "S3"})
    add(shop, "S1", IMAGES[1])
    report = sync_table(options(shop, photos))
    assert (report.run.attempted, report.restored, set(answers(shop))) == (0, 1, {"S0", "S1", "S3"})


def test_what_the_same_condition_leaves_out_or_nobody_has_leaves_the_views(shop, photos):
    execute(shop, "ALTER TABLE products ADD active INTEGER DEFAULT 1")
    active = options(shop, photos, where="active = 1")
    sync_table(active)
    execute(shop, "DELETE FROM products WHERE sku = 'S0'")
    execute(shop, "UPDATE products SET active = 0 WHERE sku = 'S1'")
    assert sync_table(options(shop, photos, where="sku = 'S3'")).missing == 0
    assert sync_table(active).missing == 0  # the look at one product came between
    assert sync_table(options(shop, photos, where="active = 1", run={"dry_run": True})).plan()["gone"] == 2
    report = sync_table(active)
    assert (report.missing, set(answers(shop))) == (2, {"S2", "S3"})
    execute(shop, "UPDATE products SET active = 1 WHERE sku = 'S1'")
    report = sync_table(active)
    assert (report.run.attempted, report.restored, set(answers(shop))) == (0, 1, {"S1", "S2", "S3"})


@pytest.mark.parametrize("part", [{"where": "sku < 'S2'"}, {"run": {"limit": 1}}])
def test_a_look_at_a_part_makes_nothing_gone(shop, photos, part):
    sync_table(options(shop, photos))
    execute(shop, "UPDATE products SET photo = NULL WHERE sku = 'S0'")
    report = sync_table(options(shop, photos, **part))
    assert report.missing == 0
    assert len(answers(shop)) == 4


def test_an_empty_table_is_an_error_and_nothing_is_gone(shop, photos):
    sync_table(options(shop, photos))
    execute(shop, "UPDATE products SET photo = NULL")
    with pytest.raises(SourceError, match="no rows with an image; photo is empty in all 4 of them"):
        sync_table(options(shop, photos))
    assert len(answers(shop)) == 4


def test_rows_without_an_image_are_counted(shop, photos):
    execute(shop, "UPDATE products SET photo = '' WHERE sku = 'S0'")
    report = sync_table(options(shop, photos))
    assert (report.run.done, dict(report.run.skipped)) == (3, {"no_image": 1})


def test_a_plan_needs_no_tables_of_ours_and_writes_nothing(shop, photos):
    by_url.downgrade(shop, "base")
    plan = sync_table(options(shop, photos, run={"dry_run": True}))
    assert (plan.plan(), plan.run_id) == ({"new": 4}, None)
    (warning,) = plan.warnings
    assert "has no tables of cataloger: run `cataloger db upgrade --db" in warning
    assert "p@ss" not in warning
    assert by_url.current(shop) is None
    with pytest.raises(SchemaError, match="has no tables of cataloger: run `cataloger db upgrade"):
        sync_table(options(shop, photos))


def test_results_may_be_kept_in_another_database(shop, photos, tmp_path):
    by_url.downgrade(shop, "base")
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    report = sync_table(options(shop, photos, others={"ledger_db": parsed(ledger)}))
    assert report.run.done == 4
    assert len(answers(ledger)) == 4
    assert by_url.current(shop) is None
    assert execute(ledger, "SELECT COUNT(*) FROM cataloger_run WHERE outcome = 'done'") == [(1,)]


def test_the_results_go_to_a_file_too(shop, photos, tmp_path):
    sync_table(options(shop, photos, others={"output": tmp_path / "out.csv"}))
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [(row["product_key"], row["label_1"]) for row in csv.DictReader(file)][1] == ("S1", "Sunglasses")


def write_map(path, labels):
    path.write_text("label,code,name,parent\n" + "".join(f"{label},{label.upper()},,All\n" for label in labels))
    return path


def test_labels_are_shown_in_the_codes_of_the_shop(shop, photos):
    codes = EXAMPLES / "shop" / "codes.csv"
    sync_table(options(shop, photos, others={"label_map": codes}))
    view = "SELECT v.product_key, v.code, v.name, v.parent FROM cataloger_image_codes v WHERE v.rank = 1"
    rows = execute(shop, view + " ORDER BY v.product_key")
    assert rows[0] == ("S0", "4003", "Hats & Caps", "Accessories")
    assert [row[1] for row in rows] == ["4003", "4007", "1012", "4003"]
    assert execute(shop, "SELECT COUNT(*) FROM cataloger_image_codes") == [(4 * 5,)]


def test_codes_for_a_single_label_are_an_error_before_any_work(shop, photos, tmp_path):
    codes = write_map(tmp_path / "codes.csv", ["Hat"])
    for run in ({"dry_run": True}, {}):
        with pytest.raises(UsageError, match="the source sells are 'Hat' of the model's 50"):
            sync_table(options(shop, photos, run=run, others={"label_map": codes}))
    assert execute(shop, "SELECT COUNT(*) FROM cataloger_run") == [(0,)]
    assert execute(shop, "SELECT COUNT(*) FROM cataloger_source") == [(0,)]


def test_a_map_is_kept_until_there_is_another(shop, photos, tmp_path):
    sync_table(options(shop, photos, others={"label_map": EXAMPLES / "shop" / "codes.csv"}))
    sync_table(options(shop, photos))
    assert execute(shop, "SELECT COUNT(*) FROM cataloger_label_map") == [(50,)]
    with (EXAMPLES / "shop" / "codes.csv").open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    sync_table(options(shop, photos, others={"label_map": write_map(tmp_path / "codes.csv", labels)}))
    rows = execute(shop, "SELECT DISTINCT v.code FROM cataloger_image_codes v WHERE v.rank = 1 AND v.label = 'Hat'")
    assert rows == [("HAT",)]


def test_the_run_is_recorded_without_the_password(shop, photos):
    report = sync_table(options(shop, photos, where="sku <> 'nothing'"))
    rows = execute(shop, "SELECT command, options, counts FROM cataloger_run")
    assert rows[0][0] == "sync"
    assert "p@ss" not in str(rows)
    assert "p%40ss" not in str(rows)
    recorded = rows[0][1] if isinstance(rows[0][1], dict) else json.loads(rows[0][1])
    assert recorded["table"]["where"] == "sku <> 'nothing'"
    assert report.run_id == 1


def test_two_tables_are_two_sources(shop, photos):
    sync_table(options(shop, photos))
    execute(shop, "CREATE TABLE others (sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(200))")
    execute(shop, "INSERT INTO others SELECT sku, photo FROM products WHERE sku = 'S0'")
    source = TableOptions(table="others", ids=("sku",), image="photo", image_root=photos)
    report = sync_table(SyncOptions(parsed(shop), source))
    assert (report.run.done, report.missing) == (1, 0)
    assert execute(shop, "SELECT COUNT(*) FROM cataloger_image_top5") == [(5,)]


def test_a_named_source_survives_a_move_of_the_database(tmp_path, photos):
    results = []
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    for name in ("old", "new"):
        url = f"sqlite:///{tmp_path}/{name}.db"
        open_database(url).close()
        execute(url, "CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(200))")
        execute(url, "INSERT INTO products VALUES ('S0', 'sunglasses.png')")
        results.append(sync_table(options(url, photos, name="catalog", others={"ledger_db": parsed(ledger)})))
    assert [report.run.done for report in results] == [1, 0]


def test_a_wrong_address_is_told_at_once(tmp_path):
    start = time.monotonic()
    with pytest.raises(DatabaseError, match="no database server answers there"):
        sync_table(
            options(
                "postgresql://shop@127.0.0.1:1/shop", others={"ledger_db": parsed(f"sqlite:///{tmp_path}/ledger.db")}
            )
        )
    assert time.monotonic() - start < 60  # half of what a server that was there is waited for


def test_a_missing_file_is_not_made_a_database(tmp_path):
    with pytest.raises(DatabaseError, match=r"shop.db does not exist or is empty"):
        sync_table(options(f"sqlite:///{tmp_path}/shop.db"))
    assert not (tmp_path / "shop.db").exists()


# The command


def command(*arguments, cwd=None):
    command = [sys.executable, "-m", "cataloger", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_the_command_prints_what_it_did(shop, photos):
    flags = ("--db", shop, "--table", "products", "--id", "sku", "--image", "photo", "--image-root", photos)
    done = command("sync", *flags, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 4
    assert "p@ss" not in done.stdout + done.stderr
    again = command("sync", *flags)
    assert "nothing to do: 4 unchanged" in again.stdout
    assert again.stderr == ""
    execute(shop, "DELETE FROM products WHERE sku = 'S3'")
    plan = command("sync", *flags, "--dry-run")
    counts, last = plan.stdout.splitlines()[:-1], plan.stdout.splitlines()[-1]
    assert " ".join(counts).split() == ["plan", "images", "unchanged", "3", "gone", "1"]
    assert last == "accept is not measured here, its thresholds are from other shops (0 labelled images)"


def test_the_flags_may_stand_in_the_configuration(tmp_path, photos):
    url = f"sqlite:///{tmp_path}/shop.db"
    open_database(url).close()
    execute(url, "CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(200))")
    execute(url, "INSERT INTO products VALUES ('S0', 'sunglasses.png')")
    table = f'table = "products"\nid = ["sku"]\nimage = "photo"\nimage-root = "{photos}"\n'
    (tmp_path / "cataloger.toml").write_text(f'db = "{url}"\n[sync]\n{table}')
    done = command("sync", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 1


def test_a_wrong_name_is_one_line_that_offers_the_right_one(shop):
    done = command("sync", "--db", shop, "--table", "product", "--id", "sku", "--image", "photo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cataloger: error: --table product: the table does not exist; did you mean products?\n"


def test_a_product_of_several_images_has_one_answer(shop, photos):
    shutil.copy(EXAMPLES / "images" / "t-shirt-small-print.png", photos)
    several = "t-shirt-print.png|t-shirt-small-print.png|sunglasses.png"
    execute(shop, "UPDATE products SET photo = :several WHERE sku = 'S0'", several=several)
    sync_table(options(shop, photos, image_list="|"))
    rows = execute(shop, "SELECT product_key, images, label_1 FROM cataloger_product_top5 ORDER BY product_key")
    assert rows == [("S0", 3, "T-shirt"), ("S1", 1, "Sunglasses"), ("S2", 1, "T-shirt"), ("S3", 1, "Hat")]
    rows = execute(shop, "SELECT uri, label, product_label, disagrees FROM cataloger_product_images")
    odd = [(Path(uri).name, label, product_label) for uri, label, product_label, disagrees in rows if disagrees]
    assert odd == [("sunglasses.png", "Sunglasses", "T-shirt")]


def test_our_own_tables_are_not_offered(shop):
    done = command("sync", "--db", shop, "--table", "x", "--id", "sku", "--image", "photo")
    assert done.stderr == "cataloger: error: --table x: the table does not exist; there are: products\n"


def test_the_example_shop_runs(empty_url, capfd):
    main = runpy.run_path(str(EXAMPLES / "shop" / "run.py"))["main"]
    main(empty_url)
    first = capfd.readouterr().out
    assert "TSH-01 | T-shirt, black | 1012 | T-Shirts | Clothing | 0." in first
    assert "p@ss" not in first
    main(empty_url)
    assert "nothing to do: 20 unchanged" in capfd.readouterr().out
