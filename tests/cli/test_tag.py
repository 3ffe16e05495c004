"""`cataloger tag` as a user runs it: the real command, then the real database file."""

import csv
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.model.bundle import MODEL_INT8, default_bundle_path, read_bundle, seal

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "images"
runner = CliRunner()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("sunglasses.png", "t-shirt-black.png", "winter-hat.png"):
        shutil.copy(EXAMPLES / name, folder / name)
    return folder


def cataloger(*arguments, **options):
    return runner.invoke(app, [str(argument) for argument in arguments], **options)


def rows(query, database="cataloger.db"):
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


def test_a_folder_is_tagged_into_the_default_database(photos):
    result = cataloger("tag", "photos", "--quiet")
    assert (result.exit_code, result.stdout) == (0, "")
    found = rows(
        "SELECT key, status, label_1, confidence_1, confidence_5, source FROM cataloger_image_top5 ORDER BY key"
    )
    assert [row[0] for row in found] == ["sunglasses.png", "t-shirt-black.png", "winter-hat.png"]
    assert all(row[1] == "ok" and 0 < row[4] <= row[3] <= 1 and row[5] == str(photos) for row in found)
    assert [row[2] for row in found[:2]] == ["Sunglasses", "T-shirt"]


def test_the_labels_view_has_a_row_a_rank(photos):
    cataloger("tag", "photos", "-q")
    found = rows("SELECT rank, COUNT(*), MIN(confidence) > 0 FROM cataloger_image_labels GROUP BY rank ORDER BY rank")
    assert found == [(rank, 3, 1) for rank in range(1, 6)]


def test_a_second_run_skips_what_is_unchanged_and_says_so(photos):
    cataloger("tag", "photos", "-q")
    report = json.loads(cataloger("tag", "photos", "--json").stdout)
    assert (report["done"], report["skipped_by_reason"], report["exit_status"]) == (0, {"unchanged": 3}, 0)


def test_changed_files_and_forced_ones_are_done_again(photos):
    cataloger("tag", "photos", "-q")
    shutil.copy(EXAMPLES / "silk-shirt.png", photos / "sunglasses.png")
    report = json.loads(cataloger("tag", "photos", "--json").stdout)
    assert report["planned_by_reason"] == {"changed": 1}
    assert json.loads(cataloger("tag", "photos", "--force", "--json").stdout)["planned_by_reason"] == {"forced": 3}
    assert rows("SELECT COUNT(*) FROM cataloger_image_top5") == [(3,)]


def test_the_summary_has_counts_rate_times_and_categories(photos):
    text = cataloger("tag", "photos").stdout
    for part in ("done", "failed", "skipped", "images/s", "time waited for", "most frequent category", "Sunglasses"):
        assert part in text


@pytest.fixture
def only_fp32(tmp_path):
    """The shipped model without its integers."""
    folder = tmp_path / "only-fp32"
    shutil.copytree(default_bundle_path(), folder)
    (folder / MODEL_INT8).unlink()
    seal(replace(read_bundle(folder, check=()), int8_tolerance=None))
    return folder


def test_integers_are_used_where_the_model_has_them(photos, only_fp32):
    cataloger("tag", "photos", "-q", "--db", "sqlite:///int8.db")
    cataloger("tag", "photos", "-q", "--db", "sqlite:///fp32.db", "--precision", "fp32")
    cataloger("tag", "photos", "-q", "--db", "sqlite:///only.db", "--model", only_fp32)
    for database, precision in (("int8.db", "int8"), ("fp32.db", "fp32"), ("only.db", "fp32")):
        assert rows("SELECT DISTINCT precision FROM cataloger_result", database) == [(precision,)]
    query = "SELECT key, label_1, confidence_1 FROM cataloger_image_top5 ORDER BY key"
    assert rows(query, "fp32.db") == rows(query, "only.db")
    for exact, rounded in zip(rows(query, "fp32.db"), rows(query, "int8.db"), strict=True):
        assert exact[:2] == rounded[:2]
        assert exact[2] == pytest.approx(rounded[2], abs=0.15)


def test_a_model_without_int8_says_what_makes_one_before_any_work(photos, only_fp32):
    result = cataloger("tag", "photos", "--precision", "int8", "--model", only_fp32)
    assert result.exit_code == 2
    assert "has no int8 model, only fp32; `cataloger models quantize` makes one" in " ".join(result.stderr.split())
    assert not Path("cataloger.db").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(photos):
    result = cataloger("tag", "photos", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.split() == ["plan", "images", "new", "3"]
    assert not Path("cataloger.db").exists()


def test_fewer_categories_on_request(photos):
    cataloger("tag", "photos", "--top-k", "2", "-q")
    assert rows("SELECT COUNT(label_2), COUNT(label_3) FROM cataloger_image_top5") == [(3, 0)]


def test_a_limit_bounds_what_is_attempted(photos):
    assert json.loads(cataloger("tag", "photos", "--limit", "2", "--json").stdout)["done"] == 2
    assert json.loads(cataloger("tag", "photos", "--json").stdout)["done"] == 1


@pytest.mark.parametrize("extension", ["jsonl", "csv", "parquet"])
def test_the_output_file_holds_what_the_view_holds(photos, extension):
    if extension == "parquet":
        pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    assert cataloger("tag", "photos", "-q", "--output", f"out.{extension}").exit_code == 0
    expected = rows("SELECT key, label_1, confidence_1 FROM cataloger_image_top5 ORDER BY key")
    assert [(r["key"], r["label_1"], float(r["confidence_1"])) for r in read(f"out.{extension}")] == expected


def test_keys_and_products_that_look_like_formulas_come_back_from_a_csv(photos):
    names = {"=cmd|calc.png": "=1+1", "-2.png": "-7", "+1.png": "+49", "@x.png": "@a", "'=y.png": "'-1"}
    for name in names:
        shutil.copy(photos / "sunglasses.png", name)
    lines = [json.dumps({"path": name, "sku": sku}) for name, sku in names.items()]
    Path("first.jsonl").write_text("\n".join(lines))
    cataloger("tag", "first.jsonl", "--product-column", "sku", "-q", "-o", "out.csv")
    flags = ("--path-column", "key", "--product-column", "product_key", "--db", "sqlite:///again.db")
    assert cataloger("tag", "out.csv", "-q", *flags).exit_code == 0
    again = rows("SELECT key, product_key FROM cataloger_image_top5", "again.db")
    assert dict(again) == names
    assert {row["key"][0] for row in read("out.csv")} == {"'"}


def read(name):
    if name.endswith("parquet"):
        from pyarrow import parquet

        return parquet.read_table(name).to_pylist()
    with Path(name).open(encoding="utf-8", newline="") as file:
        return [json.loads(line) for line in file] if name.endswith("jsonl") else list(csv.DictReader(file))


def test_the_output_is_complete_although_the_run_skipped_everything(photos):
    cataloger("tag", "photos", "-q")
    cataloger("tag", "photos", "-q", "-o", "out.csv")
    assert len(read("out.csv")) == 3


def test_single_files_of_a_known_folder_are_the_same_items(photos):
    cataloger("tag", "photos", "-q")
    report = json.loads(cataloger("tag", "photos/winter-hat.png", "--json", "-o", "one.csv").stdout)
    assert report["skipped_by_reason"] == {"unchanged": 1}
    assert [row["key"] for row in read("one.csv")] == ["winter-hat.png"]


def test_a_folder_inside_a_known_one_reuses_its_keys(photos):
    (photos / "new").mkdir()
    shutil.copy(EXAMPLES / "bow-tie.png", photos / "new")
    cataloger("tag", "photos", "-q")
    report = json.loads(cataloger("tag", "photos/new", "--json").stdout)
    assert report["skipped_by_reason"] == {"unchanged": 1}
    assert rows("SELECT COUNT(*) FROM cataloger_source") == [(1,)]


def test_a_manifest_names_images_and_products(photos):
    Path("list.csv").write_text("sku,photo\nA1,photos/sunglasses.png\nB2,photos/winter-hat.png\n")
    result = cataloger("tag", "list.csv", "--path-column", "photo", "--product-column", "sku", "-q")
    assert result.exit_code == 0
    found = rows("SELECT key, product_key FROM cataloger_image_top5 ORDER BY key")
    assert found == [("photos/sunglasses.png", "A1"), ("photos/winter-hat.png", "B2")]


@pytest.mark.parametrize(("flag", "names_all"), [("-v", False), ("-vv", True)])
def test_verbose_names_images_that_fail_and_twice_verbose_all(photos, flag, names_all):
    (photos / "page.jpg").write_text("<html>")
    text = " ".join(cataloger("tag", "photos", flag).stderr.split())
    assert f"failed: {photos / 'page.jpg'}: decode.not_image: " in text
    assert (f"{photos / 'winter-hat.png'}: Hat 0.3" in text) == names_all


def test_damaged_files_are_recorded_and_too_many_exit_with_3(photos):
    (photos / "page.jpg").write_text("<html>not found</html>")
    (photos / "empty.jpg").write_bytes(b"")
    result = cataloger("tag", "photos", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["failures"] == {"decode.empty": 1, "decode.not_image": 1}
    failed = rows("SELECT key, error_code, label_1 FROM cataloger_image_top5 WHERE status = 'failed' ORDER BY key")
    assert failed == [("empty.jpg", "decode.empty", None), ("page.jpg", "decode.not_image", None)]


def test_what_went_wrong_is_said_on_stderr_even_of_a_quiet_run(photos):
    """Cron sends a mail when something is printed."""
    (photos / "page.jpg").write_text("<html>not found</html>")
    result = cataloger("tag", "photos", "--quiet")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "cataloger: 1 of 4 images failed, more than --max-failure-rate 0.01 allows: decode.not_image 1\n"
    )
    assert cataloger("tag", "photos", "--quiet").stderr == ""


def test_the_summary_names_the_first_file_of_each_failure_and_where_all_are(photos):
    for name in ("page.jpg", "about.jpg"):
        (photos / name).write_text("<html>not found</html>")
    text = cataloger("tag", "photos").stdout
    assert "decode.not_image" in text
    assert str(photos / "about.jpg") in text
    assert str(photos / "page.jpg") not in text
    assert "all failures: `cataloger report`" in text


def test_a_run_that_failed_says_why_in_its_record(photos):
    Path("list.csv").write_text("path\n")
    assert cataloger("tag", "list.csv").exit_code == 1
    shown = cataloger("runs", "show", "1").stdout
    assert f"the manifest {photos.parent}/list.csv has no rows" in shown


def test_the_report_of_a_run_whose_history_was_ended_says_so(photos):
    for _ in range(3):
        cataloger("tag", "photos", "-q", "--force")
    cataloger("runs", "prune", "--keep", "1")
    told = cataloger("report", "--run", "1", "--no-maps")
    assert "0 of 0 images" in told.stdout
    assert "its history was deleted by `cataloger runs prune`" in told.stderr
    assert cataloger("report", "--no-maps").stderr == ""


def test_known_failures_are_skipped_and_do_not_count_until_they_are_tried_again(photos):
    (photos / "page.jpg").write_text("<html>not found</html>")
    assert cataloger("tag", "photos", "-q").exit_code == 3
    again = cataloger("tag", "photos", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["skipped_by_reason"] == {"unchanged": 3, "failed_before": 1}
    retried = json.loads(cataloger("tag", "photos", "--retry-failed", "--json").stdout)
    assert retried["planned_by_reason"] == {"retry": 1}


def test_the_allowed_failure_rate_is_the_users(photos):
    (photos / "empty.jpg").write_bytes(b"")
    assert cataloger("tag", "photos", "-q", "--max-failure-rate", "0.5").exit_code == 0


def test_flag_beats_environment_beats_configuration_beats_default(photos):
    Path("cataloger.toml").write_text('db = "sqlite:///config.db"\n[tag]\ntop-k = 1\n')
    cataloger("tag", "photos", "-q")
    cataloger("tag", "photos", "-q", env={"CATALOGER_DB": "sqlite:///env.db"})
    cataloger("tag", "photos", "-q", "--db", "sqlite:///flag.db", env={"CATALOGER_DB": "sqlite:///env.db"})
    assert sorted(path.name for path in Path().glob("*.db")) == ["config.db", "env.db", "flag.db"]
    assert rows("SELECT COUNT(label_1), COUNT(label_2) FROM cataloger_image_top5", "config.db") == [(3, 0)]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["tag"], 2, "Missing argument"),
        (["tag", "nowhere"], 1, "nowhere does not exist"),
        (["tag", "photos", "--db", "nonsense"], 2, "not a database URL"),
        (["tag", "photos", "--db", "sqlite:///none/x.db"], 1, "make it first"),
        (["tag", "photos", "--output", "out.xlsx"], 2, ".jsonl, .csv or .parquet"),
        (["tag", "photos", "--model", "nowhere"], 2, "no model at nowhere"),
        (["tag", "photos", "--top-k", "9"], 2, "--top-k"),
        (["tag", "photos", "--device", "tpu"], 2, "--device"),
        (["tag", "photos", "--device", "cuda"], 2, "no CUDA support"),
        (["--config", "none.toml", "tag", "photos"], 2, "none.toml"),
        (["tagg"], 2, "Did you mean 'tag'"),
    ],
)
def test_what_cannot_work_is_one_clear_error(photos, arguments, status, message):
    result = cataloger(*arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not Path("cataloger.db").exists()


def test_a_folder_without_images_is_an_error_that_says_what_was_looked_for(photos):
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("x")
    result = cataloger("tag", "texts")
    assert result.exit_code == 1
    assert "no image found" in result.stderr
    assert "1 other files and folders were left out" in result.stderr


def test_a_database_without_the_tables_names_the_command_that_makes_them(photos):
    with sqlite3.connect("shop.db") as connection:
        connection.execute("CREATE TABLE products (id INTEGER)")
    result = cataloger("tag", "photos", "--db", "sqlite:///shop.db")
    assert result.exit_code == 1
    assert "cataloger db upgrade --db 'sqlite:///shop.db'" in result.stderr
    assert cataloger("db", "upgrade", "--db", "sqlite:///shop.db").exit_code == 0
    assert cataloger("tag", "photos", "--db", "sqlite:///shop.db", "-q").exit_code == 0


def test_a_source_goes_on_with_the_model_that_it_began_with(photos, tmp_path):
    shutil.copytree(default_bundle_path(), tmp_path / "mine")
    relabel(tmp_path / "mine")
    cataloger("tag", "photos", "-q", "--model", "mine")
    assert json.loads(cataloger("tag", "photos", "--json").stdout)["skipped_by_reason"] == {"unchanged": 3}
    adopted = json.loads(cataloger("tag", "photos", "--json", "--model", "default").stdout)
    assert adopted["planned_by_reason"] == {"model": 3}
    back = json.loads(cataloger("tag", "photos", "--json", "--model", "mine").stdout)
    assert back["skipped_by_reason"] == {"unchanged": 3}


def test_a_trial_with_a_limit_does_not_take_a_source_over(photos, tmp_path):
    shutil.copytree(default_bundle_path(), tmp_path / "mine")
    relabel(tmp_path / "mine")
    cataloger("tag", "photos", "-q", "--limit", "1")
    cataloger("tag", "photos", "-q")
    trial = json.loads(cataloger("tag", "photos", "--json", "--model", "mine", "--limit", "2").stdout)
    assert (trial["done"], len(trial["warnings"])) == (2, 1)
    assert "--limit makes this a trial" in trial["warnings"][0]
    assert rows("SELECT COUNT(*) FROM cataloger_image_top5 WHERE label_1 LIKE 'X%'") == [(0,)]
    assert json.loads(cataloger("tag", "photos", "--json").stdout)["skipped_by_reason"] == {"unchanged": 3}
    cataloger("runs", "undo", "2")
    assert rows("SELECT COUNT(*) FROM cataloger_image_top5 WHERE label_1 LIKE 'X%'") == [(0,)]


def test_a_pinned_model_that_is_gone_is_an_error_that_offers_both_ways(photos, tmp_path):
    shutil.copytree(default_bundle_path(), tmp_path / "mine")
    relabel(tmp_path / "mine")
    cataloger("tag", "photos", "-q", "--model", "mine")
    shutil.rmtree(tmp_path / "mine")
    result = cataloger("tag", "photos")
    assert result.exit_code == 2
    assert "--model DIR keeps it if you name its new folder, --model default switches to" in result.stderr


def relabel(bundle):
    """Make another model of a copy: its labels carry an X."""
    from dataclasses import replace

    from cataloger.model.bundle import read_bundle, seal

    original = read_bundle(bundle)
    seal(replace(original, name="other", labels=tuple("X" + label for label in original.labels)))


def test_a_run_that_only_recomputes_says_so_and_its_source_is_named_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.copy(EXAMPLES / "blue-fedora.png", "photos")
    CliRunner().invoke(app, ["tag", "photos"])
    found = CliRunner().invoke(app, ["tag", "photos", "--labels", "Shirt,Socks"]).stdout
    assert "recomputed from stored scores, no image read: 1 result" in found
    assert "nothing to do" not in found
    for name in ("photos", "./photos/", str(tmp_path / "photos")):
        assert CliRunner().invoke(app, ["corrections", "list", "--source", name]).exit_code == 0
    assert CliRunner().invoke(app, ["corrections", "list", "--source", "other"]).exit_code == 2
