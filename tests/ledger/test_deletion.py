"""Deleting what is missing from a source: its items, their results and answers, and nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from by_url import open_database
from sqlalchemy import insert
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.db.clock import utc_now
from cataloger.history.undo import undo_run
from cataloger.ledger import SourceRef, list_sources
from cataloger.ledger import presence as presences
from cataloger.ledger.presence import Presence
from cataloger.ledger.product_results import ProductResults
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import CorrectionRow, WriteRow

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
TABLES = ("item", "result", "current", "presence", "correction", "product_result", "product_current", "write")


@pytest.fixture
def database(shared_database):
    return shared_database


def image(make, key, label="Dress", product=None):
    return make.good(key, content=label[0], labels=(label, "Belt"), product_key=product)


def scan(world, make, *keys, prefix=""):
    """Look at some keys as a complete scan does."""
    source = SourceRef(world.source.id, world.source.root, prefix, world.source.weights_id)
    answers = ProductResults(world.source, world.run.id, world.model)
    presence = Presence(world.database, source, answers.recompute_for_items)
    world.ledger.on_known = presence.see
    list(world.ledger.plan(make.item(key) for key in keys))
    presence.restore_met(world.run.id)
    presence.remove_missing(world.run.id)
    return presence


def counts(world):
    return {table: world.rows(f"SELECT COUNT(*) FROM cataloger_{table}")[0][0] for table in TABLES}


def keys(world):
    key = "`key`" if world.database.engine.dialect.name in ("mysql", "mariadb") else "key"
    return sorted(key for (key,) in world.rows(f"SELECT {key} FROM cataloger_item"))


def test_gone_items_are_deleted_with_all_that_was_recorded_of_them(world, make):
    world.sink.write([image(make, "a", product="p"), image(make, "b", product="q"), image(make, "c", product="q")])
    world.begin()
    world.sink.write([image(make, "b", "Hat", product="q")])
    ((item, result),) = world.rows(
        "SELECT item_id, MAX(id) FROM cataloger_result GROUP BY item_id HAVING COUNT(*) = 2"
    )
    with world.database.begin() as connection:
        now = utc_now(connection)
        corrected = {"item_id": item, "result_id": result, "label": "Cap", "author": "me", "corrected_at": now}
        connection.execute(insert(CorrectionRow).values(corrected))
        written = {"source_id": world.source.id, "run_id": world.run.id, "column_name": "category", "written_at": now}
        for product in "pq":
            row = {**written, "product_key": product, "product_hash": key_hash(product), "new_value": {"text": "x"}}
            connection.execute(insert(WriteRow).values(row))
    world.begin()
    before = world.views()
    assert scan(world, make, "a").purge_missing() == 2
    assert keys(world) == ["a"]
    assert counts(world) == {
        **dict.fromkeys(("item", "result", "current", "product_result", "product_current", "write"), 1),
        **dict.fromkeys(("presence", "correction"), 0),
    }
    after = world.views()
    assert after["image_top5"] == [row for row in before["image_top5"] if "'a'" in row]
    assert after["product_top5"] == [row for row in before["product_top5"] if "'p'" in row]


def test_a_product_that_has_an_image_left_keeps_its_history(world, make):
    world.sink.write([image(make, "a", product="p"), image(make, "b", product="p")])
    world.begin()
    assert scan(world, make, "a").purge_missing() == 1
    assert world.rows("SELECT v.product_key, v.images FROM cataloger_product_top5 v") == [("p", 1)]
    assert counts(world)["product_result"] == 2


def test_what_went_in_an_earlier_run_is_deleted_too(world, make):
    world.sink.write([image(make, "a"), image(make, "b")])
    world.begin()
    scan(world, make, "a")
    world.begin()
    assert scan(world, make, "a").purge_missing() == 1
    assert keys(world) == ["a"]


def test_nothing_gone_is_nothing_deleted(world, make):
    world.sink.write([image(make, "a"), image(make, "b")])
    before = counts(world)
    world.begin()
    assert scan(world, make, "a", "b").purge_missing() == 0
    assert counts(world) == before


def test_a_scan_of_a_folder_within_deletes_nothing_of_another(world, make):
    """Not even of one whose name differs in case alone, which a database may take for the same."""
    names = ("in/a", "in/b", "IN/c", "inn/d", "i%/e", "i_/f", "top")
    world.sink.write([image(make, name) for name in names])
    world.begin()
    scan(world, make, "in/a")
    world.begin()
    assert scan(world, make, "in/a", prefix="in/").purge_missing() == 1
    assert keys(world) == sorted(set(names) - {"in/b"})
    assert scan(world, make, prefix="i_/").purge_missing() == 1
    assert keys(world) == sorted(set(names) - {"in/b", "i_/f"})


def test_many_are_deleted_page_by_page(world, make, monkeypatch):
    monkeypatch.setattr(presences, "ITEMS_PER_DELETION", 2)
    world.sink.write([image(make, str(number), product=f"p{number // 3}") for number in range(9)])
    world.begin()
    assert scan(world, make, "4").purge_missing() == 8
    assert counts(world) == {
        **dict.fromkeys(TABLES, 1),
        "presence": 0,
        "correction": 0,
        "write": 0,
        "product_result": 2,
    }


def test_items_of_another_source_with_the_same_product_stay(world, make):
    world.sink.write([image(make, "a", product="p")])
    elsewhere = replace(world.source, id=world.source.id + 1)
    world.begin()
    presence = Presence(world.database, elsewhere)
    assert (presence.remove_missing(world.run.id), presence.purge_missing()) == (0, 0)
    assert counts(world)["product_current"] == 1


def test_undoing_runs_after_something_was_deleted_leaves_the_rest_as_ever(world, make):
    world.sink.write([image(make, "a", product="p"), image(make, "b", product="p")])
    world.begin()
    world.sink.write([image(make, "a", "Hat", product="p")])
    world.begin()
    scan(world, make, "a").purge_missing()
    world.end()
    runs = [run for (run,) in world.rows("SELECT id FROM cataloger_run ORDER BY id")]
    undo_run(world.database, runs[2])
    undo_run(world.database, runs[1])
    assert world.rows("SELECT v.key, v.label_1 FROM cataloger_image_top5 v") == [("a", "Dress")]
    assert world.rows("SELECT v.images, v.label_1 FROM cataloger_product_top5 v") == [(1, "Dress")]


# The command


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("sunglasses.png", "t-shirt-black.png", "sub/winter-hat.png"):
        shutil.copy(EXAMPLES / Path(name).name, folder / name)
    return folder


def tag(*arguments, status=0):
    result = CliRunner().invoke(app, ["tag", *map(str, arguments), "--json"])
    assert result.exit_code == status, result.stderr
    return json.loads(result.stdout)


def known():
    database = open_database("sqlite:///cataloger.db")
    ((images, missing),) = [(each.images, each.missing) for each in list_sources(database)]
    database.close()
    return images, missing


def test_what_is_gone_from_a_folder_is_deleted_only_when_that_is_asked_for(photos):
    tag(photos)
    (photos / "sunglasses.png").unlink()
    report = tag(photos)
    assert (report["gone"], report["forgotten"], known()) == (1, 0, (2, 1))
    report = tag(photos, "--forget")
    assert (report["gone"], report["forgotten"], known()) == (0, 1, (2, 0))
    shutil.copy(EXAMPLES / "sunglasses.png", photos / "sunglasses.png")
    assert tag(photos)["planned_by_reason"] == {"new": 1}


def test_nothing_is_deleted_with_a_limit(photos):
    tag(photos)
    (photos / "sunglasses.png").unlink()
    report = tag(photos, "--forget", "--limit", "1")
    assert (report["gone"], report["forgotten"], known()) == (0, 0, (3, 0))


def test_nothing_is_deleted_by_a_dry_run(photos):
    tag(photos)
    (photos / "sunglasses.png").unlink()
    report = tag(photos, "--forget", "--dry-run")
    assert (report["gone"], report["forgotten"], known()) == (1, 0, (3, 0))


def test_nothing_is_deleted_when_only_files_were_named(photos):
    tag(photos)
    (photos / "sunglasses.png").unlink()
    tag(photos / "t-shirt-black.png", "--forget")
    assert known() == (3, 0)


def test_nothing_is_deleted_when_a_folder_could_not_be_read(photos, as_nobody):
    tag(photos)
    (photos / "sunglasses.png").unlink()
    (photos / "sub").chmod(0)
    code = (
        f"import os; os.chdir({str(photos.parent)!r}); from cataloger.cli.app import main; import sys; "
        f"sys.argv = ['cataloger', 'tag', {str(photos)!r}, '--forget', '--json', '--workers', '1']; main()"
    )
    status, output = as_nobody(code)
    (photos / "sub").chmod(0o755)
    assert (status, '"forgotten": 0' in output) == (0, True), output
    assert known() == (3, 0)
