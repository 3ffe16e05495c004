"""A ledger that version 0.1.0 has made goes on: nothing of it reads otherwise, and what it did can be taken back."""

import csv
import json

import pytest
from by_url import current

VIEWS = ("image_top5", "image_labels", "image_codes", "product_top5", "product_images")
LAST_WRITE = 14  # the run that wrote back last, made when the place was kept in its options alone
AT_ANOTHER_TIME = ("run_id", "tagged_at")  # an undo records products anew


def without(names, rows):
    return sorted(({key: row[key] for key in row if key not in names} for row in rows), key=json.dumps)


def rows_of(ledger, name, kept):
    """Return the rows of a view, of the columns that were there: new ones may have joined them."""
    known = set(kept[0])
    return sorted(({key: row[key] for key in row if key in known} for row in ledger.shown(name)), key=json.dumps)


def assert_views(ledger, kept, *, apart_from=()):
    for view in VIEWS:
        expected = kept["views"][view]
        assert expected
        found = without(apart_from, rows_of(ledger, f"cataloger_{view}", expected))
        assert found == without(apart_from, expected), view


def assert_holds(expected, found):
    """All that was answered then is answered now; there may be more keys."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert_holds(value, found[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for each, other in zip(expected, found, strict=True):
            assert_holds(each, other)
    else:
        assert found == expected


def test_dump_has_the_tables_of_its_version(empty_url, tmp_path, load_old_ledger):
    load_old_ledger(empty_url, tmp_path)
    assert current(empty_url) == "0008"


def test_views_and_table_show_what_they_did(old_ledger):
    assert_views(old_ledger, old_ledger.kept)
    assert old_ledger.shown("products") == old_ledger.kept["products"]


def test_runs_are_listed_and_shown(old_ledger):
    expected = old_ledger.kept["runs"]
    assert {run["outcome"] for run in expected} == {"done", "interrupted", "abandoned", None}
    assert sum(run["pruned"] for run in expected) == 4
    assert_holds(expected, old_ledger.answer("runs", "list", "--limit", "100"))
    for run in (each for each in expected if each["id"] in (4, 9, LAST_WRITE, 17)):
        assert_holds(run, old_ledger.answer("runs", "show", str(run["id"])))
    assert "undone by 16" in old_ledger.run("runs", "list")
    assert_holds(old_ledger.kept["sources"], old_ledger.answer("sources", "list"))


def test_what_is_unchanged_is_skipped_and_words_reach_the_table(old_ledger):
    tagged, synced = old_ledger.tag(), old_ledger.sync()
    assert [(each["done"], each["failed"], each["skipped"]) for each in (tagged, synced)] == [(0, 0, 6), (0, 0, 11)]
    assert_views(old_ledger, old_ledger.kept, apart_from=AT_ANOTHER_TIME)
    # What ben said last had not been written yet; what somebody has typed into the table stays.
    before = {row["sku"]: row for row in old_ledger.kept["products"]}
    after = {row["sku"]: row for row in old_ledger.shown("products")}
    assert {sku for sku, row in after.items() if row != before[sku]} == {"EAR-1"}
    assert (after["EAR-1"]["category"], float(after["EAR-1"]["confidence"])) == ("4006", 1.0)
    assert after["SUN-1"]["category"] == "9999"


def test_undoing_a_run_that_wrote_puts_the_cells_back(old_ledger):
    [run] = [run for run in old_ledger.kept["runs"] if run["id"] == LAST_WRITE]
    assert run["options"]["write_target"]["table"] == "products"
    undone = old_ledger.kept["undone"]
    assert undone["products"] != old_ledger.kept["products"]
    report = old_ledger.answer("runs", "undo", str(LAST_WRITE))
    assert report["restored"] == {"category": 1, "confidence": 1}
    assert old_ledger.shown("products") == undone["products"]
    assert_views(old_ledger, undone, apart_from=AT_ANOTHER_TIME)
    old_ledger.run("runs", "undo", str(report["run_id"]))
    assert old_ledger.shown("products") == old_ledger.kept["products"]
    assert_views(old_ledger, old_ledger.kept, apart_from=AT_ANOTHER_TIME)


def test_words_are_exported_and_can_be_taken_back(old_ledger, tmp_path):
    path = tmp_path / "words.csv"
    old_ledger.run("corrections", "export", str(path), "--all")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert_holds(old_ledger.kept["corrections"], rows)
    tie = {"key": "bow-tie.png", "source": str(old_ledger.root / "photos"), "verdict": "withdrawn", "label": ""}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, tie)
        writer.writeheader()
        writer.writerow(tie)
    command = ("corrections", "import", str(path), "--author", "cem")
    assert "ann set Tie since the export" in old_ledger.run(*command, status=3)
    old_ledger.run(*command, "--overwrite")
    [row] = [row for row in old_ledger.shown("cataloger_image_top5") if row["key"] == "bow-tie.png"]
    assert (row["label_1"], row["corrected_by"]) == ("Sunglasses", None)


def test_answers_about_runs_are_the_same(old_ledger, tmp_path):
    kept, run = old_ledger.kept, str(LAST_WRITE)
    against = ("--run", run, "--against", "11", "--min-images", "1")
    assert_holds(kept["check"]["answer"], old_ledger.answer("check", *against, status=kept["check"]["status"]))
    assert_holds(kept["diff"], old_ledger.answer("runs", "diff", "11", run))
    page = tmp_path / "report.html"
    assert_holds(kept["report"], old_ledger.answer("report", "--run", run, "--no-maps", "--output", str(page)))
    assert "data:image" in page.read_text()


@pytest.mark.parametrize("keep", ["1", "3"])
def test_history_is_pruned_further(old_ledger, keep):
    old_ledger.run("runs", "prune", "--keep", keep)
    assert_views(old_ledger, old_ledger.kept)
    tags = [run for run in old_ledger.answer("runs", "list", "--limit", "100") if run["command"] in ("tag", "sync")]
    assert not any(run["pruned"] for run in tags[: int(keep)])
