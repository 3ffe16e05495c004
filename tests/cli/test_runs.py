"""`cataloger runs` as a user runs it: real pictures, the real commands, the real database file."""

import csv
import io
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "images"
PRODUCTS = {"glasses": "a.png", "shirt": "b.png", "hat": "c.png"}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """A manifest that was tagged twice; meanwhile one image became another, one went, one came."""
    folder = tmp_path_factory.mktemp("nights")
    names = ("sunglasses", "t-shirt-black", "winter-hat")
    for name, example in zip(PRODUCTS.values(), names, strict=True):
        shutil.copy(EXAMPLES / f"{example}.png", folder / name)
    write_manifest(folder, PRODUCTS)
    tag(folder)
    shutil.copy(EXAMPLES / "sombrero.png", folder / "b.png")
    shutil.copy(EXAMPLES / "t-shirt-black.png", folder / "d.png")
    write_manifest(folder, {"glasses": "a.png", "shirt": "b.png", "new": "d.png"})
    tag(folder)
    return folder


@pytest.fixture
def catalog(nights, tmp_path, monkeypatch):
    """A copy of the database after these two runs, in the current folder."""
    shutil.copy(nights / "cataloger.db", tmp_path)
    monkeypatch.chdir(tmp_path)
    return nights


def write_manifest(folder, products):
    lines = ["sku,path", *(f"{sku},{name}" for sku, name in products.items())]
    (folder / "products.csv").write_text("\n".join(lines))


def tag(folder, db=None):
    url = f"sqlite:///{db or folder / 'cataloger.db'}"
    invoke("tag", folder / "products.csv", "--product-column", "sku", "--db", url, "-q", "--workers", "1")


def invoke(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


def runs(*arguments, status=0):
    """Run a command of `runs`; return what it says in one line."""
    result = invoke("runs", *arguments, status=status)
    return " ".join((result.stderr if status else result.stdout).split())


def json_of(*arguments, status=0):
    return json.loads(invoke("runs", *arguments, status=status).stdout)


def labels():
    with sqlite3.connect("cataloger.db") as connection:
        return dict(connection.execute("SELECT key, label_1 FROM cataloger_image_top5"))


# list


def test_runs_are_listed_newest_first(catalog):
    listed = json_of("list", "--json")
    assert [(run["id"], run["command"], run["outcome"]) for run in listed] == [(2, "tag", "done"), (1, "tag", "done")]
    assert (listed[0]["counts"]["done"], listed[0]["counts"]["skipped"], listed[0]["counts"]["gone"]) == (2, 1, 1)
    assert [source["root"] for source in listed[0]["sources"]] == [str(catalog / "products.csv")]
    assert len(json_of("list", "--limit", "1", "--json")) == 1
    table = runs("list")
    model = listed[0]["sources"][0]["model"]
    assert all(word in table for word in ("run", "tag", "done", model.split()[0]))


def test_the_list_says_what_was_undone_and_pruned(catalog):
    runs("undo", "2")
    assert "undone by 3" in runs("list")
    assert "undid 2" in runs("list")
    runs("undo", "3")
    runs("prune", "--keep", "1")
    states = {run["id"]: (run["undoes"], run["undone_by"], run["pruned"]) for run in json_of("list", "--json")}
    assert states == {
        1: (None, None, True),
        2: (None, None, False),
        3: (2, 4, False),
        4: (3, None, False),
        5: (None, None, False),
    }


def test_an_empty_database_has_no_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoke("db", "upgrade")
    assert json_of("list", "--json") == []
    assert "none" in runs("list")


# show


def test_a_run_is_shown_with_options_counts_and_times(catalog):
    shown = json_of("show", "1", "--json")
    assert (shown["id"], shown["command"], shown["undoes"], shown["written"]) == (1, "tag", None, {})
    assert shown["options"]["product_column"] == "sku"
    assert shown["counts"]["done"] == 3
    assert shown["seconds"] > 0
    text = runs("show", "1")
    assert text.startswith("run 1 command tag ")  # and not an empty header
    assert "done 3 failed 0 skipped 0 " in text
    for what_did_not_happen in ("interrupted", "gone", "removed from the source", "restored", "False"):
        assert what_did_not_happen not in text
    for part in ("command", "option product column", "seconds", "done", "version, device", "source 1"):
        assert part in text.replace("_", " ")


def test_a_running_run_has_no_end(catalog):
    with sqlite3.connect("cataloger.db") as connection:
        connection.execute("UPDATE cataloger_run SET outcome = NULL, ended_at = NULL, counts = NULL WHERE id = 2")
    shown = json_of("show", "2", "--json")
    assert (shown["outcome"], shown["ended_at"], shown["seconds"], shown["counts"]) == (None, None, None, {})
    assert "running" in runs("show", "2")
    assert "running" in runs("list")


@pytest.mark.parametrize("arguments", [("show", "7"), ("undo", "7"), ("diff", "1", "7"), ("diff", "7", "1")])
def test_an_unknown_run_is_said(catalog, arguments):
    assert "there is no run 7; `cataloger runs list` shows them" in runs(*arguments, status=2)


# diff


def test_what_moved_is_printed_as_tables(catalog):
    text = runs("diff", "1", "2")
    for part in ("same", "moved", "images by category", "T-shirt", "b.png", "shirt", "most frequent moves"):
        assert part in text
    assert "nothing" not in text


def test_what_moved_as_json(catalog):
    found = json_of("diff", "1", "2", "--json")
    assert found == json_of("diff", "1", "2", "--format", "json")
    for kind, moved in (("images", "b.png"), ("products", "shirt")):
        counts = {name: found[kind][name] for name in ("compared", "same", "moved", "new", "gone", "failed")}
        assert counts == {"compared": 4, "same": 1, "moved": 1, "new": 1, "gone": 1, "failed": 0}
        (move,) = found[kind]["moves"]
        assert move["before"] == "T-shirt"
        assert moved in [each["key"] for each in found["moved"]]
    churn = {row["category"]: row for row in found["images"]["churn"]}
    assert churn["T-shirt"] == {"category": "T-shirt", "before": 1, "left": 1, "arrived": 0, "after": 1}
    assert found["confidence_changes"] == []
    assert json_of("diff", "1", "2", "--json", "--examples", "1")["moved"] == found["moved"][:1]


def test_no_cell_of_a_csv_is_a_formula(nights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for example in ("a.png", "b.png"):
        shutil.copy(nights / example, tmp_path / "=cmd|calc.png")
        Path("products.csv").write_text("sku,path\n-7,=cmd|calc.png\n")
        tag(tmp_path)
    lines = invoke("runs", "diff", "1", "2", "--format", "csv").stdout.splitlines()
    found = {(row["kind"], row["key"]) for row in csv.DictReader(lines)}
    assert found == {("image", "'=cmd|calc.png"), ("product", "'-7")}


def test_what_moved_as_csv(catalog):
    lines = list(csv.DictReader(io.StringIO(invoke("runs", "diff", "1", "2", "--format", "csv").stdout)))
    changes = {(line["kind"], line["key"]): (line["change"], line["product_key"]) for line in lines}
    assert changes == {
        ("image", "b.png"): ("moved", "shirt"),
        ("image", "c.png"): ("gone", "hat"),
        ("image", "d.png"): ("new", "new"),
        ("product", "shirt"): ("moved", "shirt"),
        ("product", "hat"): ("gone", "hat"),
        ("product", "new"): ("new", "new"),
    }
    assert {line["before"] for line in lines if line["change"] == "moved"} == {"T-shirt"}
    assert all(0 < float(line["after_confidence"]) <= 1 for line in lines if line["after"])


def test_nothing_to_compare_is_said(catalog):
    text = runs("diff", "1", "1")
    assert "same" in text
    assert "by category" not in text
    assert invoke("runs", "diff", "2", "2", "--format", "csv").stdout.count("\n") == 1
    runs("undo", "2")
    assert "run 3 (`cataloger undo`) has tagged nothing" in runs("diff", "1", "3", status=2)


# undo


def test_a_run_is_undone_and_that_taken_back(catalog):
    after = labels()
    text = runs("undo", "2", "--no-progress")
    assert text.startswith("run 2 is undone current results")
    assert "current results recomputed: 3 images" in text
    assert "product table" not in text
    assert text.endswith("to revert this: cataloger runs undo 3")
    before = labels()
    assert set(before) == {"a.png", "b.png", "c.png"}
    assert before["b.png"] == "T-shirt"
    text = runs("undo", "3", "--no-progress")
    assert text.startswith("run 3 is reverted: run 2 is reapplied current results")
    assert labels() == after


def test_the_report_of_an_undo_as_json(catalog):
    report = json_of("undo", "2", "--json", "--no-progress")
    assert (report["run_id"], report["undone_run_id"], report["counts_again"], report["images"]) == (3, 2, None, 3)
    assert (report["interrupted"], report["exit_status"], report["restored"]) == (False, 0, {})
    assert json_of("show", "3", "--json")["counts"]["images"] == 3


def test_a_quiet_undo_says_nothing(catalog):
    result = invoke("runs", "undo", "2", "-q")
    assert (result.stdout, result.stderr) == ("", "")
    assert len(labels()) == 3


def test_what_cannot_be_undone_is_said(catalog):
    runs("undo", "2", "-q")
    said = runs("undo", "2", status=2)
    assert "run 2 was undone by run 3 already; `cataloger runs undo 3` reverts that" in said
    runs("prune", "--keep", "1")
    assert "run 1 cannot be undone: `cataloger runs prune` has deleted its history" in runs("undo", "1", status=2)
    assert "run 4 is of `cataloger prune`" in runs("undo", "4", status=2)


def test_the_next_run_does_again_what_was_undone(catalog):
    after = labels()
    runs("undo", "2", "-q")
    tag(catalog, "cataloger.db")
    assert labels() == after
    shown = json_of("show", "4", "--json")
    assert (shown["counts"]["done"], shown["counts"]["gone"]) == (2, 1)


# prune


def test_pruning_says_what_was_deleted(catalog):
    before = labels()
    text = runs("prune", "--keep", "1")
    assert text == (
        "deleted the history of 1 run: 0 results of images, 0 of products, 0 written values, "
        "0 notes that an image is missing or restored"
    )
    invoke("tag", catalog / "products.csv", "--product-column", "sku", "-q", "--force", "--workers", "1")
    report = json_of("prune", "--keep", "1", "--json")
    # Of the first run, b.png; the others still hold when the last run is undone.
    assert (report["runs"], report["results"], report["product_results"], report["interrupted"]) == (3, 1, 1, False)
    assert labels() == before


def test_a_number_of_runs_to_keep_is_needed(catalog):
    assert "--keep" in runs("prune", status=2)
    runs("prune", "--keep", "0", status=2)
