"""Renamed folders, manifests and image roots are reported and not tagged again silently; moving keeps the results."""

import csv
import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from by_url import open_database
from sqlalchemy import create_engine, select, text
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import LeaseError, UsageError
from cataloger.history import move_source as relocate
from cataloger.history.move_source import relocate_source
from cataloger.ledger import ModelRef, list_sources, pin_model, register_source
from cataloger.ledger.leases import acquire
from cataloger.ledger.runs import open_run
from cataloger.schema.models import ItemRow, SourceRow

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
NAMES = ("sunglasses.png", "t-shirt-black.png", "winter-hat.png")
URL = "sqlite:///cataloger.db"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(EXAMPLES / name, folder / name)
    return folder


@pytest.fixture
def tagged(photos):
    cataloger("tag", photos)
    return photos


def cataloger(*arguments, status=0):
    """Run a command; return what it has printed, or its error."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return " ".join((result.stderr if status else result.stdout).split())


def tag(*arguments):
    return json.loads(cataloger("tag", *arguments, "--json"))


def rows(query):
    engine = create_engine(URL)
    with closing(engine.connect()) as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def uris():
    return sorted(uri for (uri,) in rows("SELECT uri FROM cataloger_image_top5"))


# A folder


def test_a_renamed_folder_is_said_with_the_command_that_keeps_its_results(tagged):
    new = tagged.rename(tagged.with_name("pictures"))
    output = cataloger("tag", new, status=1)
    assert f"{new} is new, but looks like {tagged}, which no longer exists: 3 of 3 images" in output
    command = f"cataloger sources move '{tagged}' '{new}'"
    assert command in output
    assert rows("SELECT COUNT(*) FROM cataloger_run") == [(1,)]
    assert cataloger("sources", "move", tagged, new) == f"{URL}: {tagged} is now {new}, with 3 images"
    assert uris() == sorted(str(new / name) for name in NAMES)
    report = tag(new)
    assert (report["done"], report["skipped_by_reason"], report["gone"]) == (0, {"unchanged": 3}, 0)
    assert rows("SELECT DISTINCT source FROM cataloger_image_top5") == [(str(new),)]


def test_a_dry_run_says_so_too(tagged):
    new = tagged.rename(tagged.with_name("pictures"))
    assert "looks like" in cataloger("tag", new, "--dry-run", status=1)


def test_a_folder_that_has_moved_is_tagged_again_on_request(tagged):
    new = tagged.rename(tagged.with_name("pictures"))
    assert tag(new, "--accept-move")["planned_by_reason"] == {"new": 3}
    assert [row[0] for row in rows("SELECT root FROM cataloger_source ORDER BY id")] == [str(tagged), str(new)]


def test_a_copy_of_a_folder_that_is_still_there_is_another_source(tagged):
    shutil.copytree(tagged, tagged.with_name("pictures"))
    assert tag(tagged.with_name("pictures"))["done"] == 3


def test_another_folder_with_few_of_the_names_is_another_source(tagged):
    other = tagged.with_name("pictures")
    other.mkdir()
    for path in sorted(EXAMPLES.glob("s*.png"))[:4]:
        shutil.copy(path, other / path.name)
    shutil.rmtree(tagged)
    assert tag(other)["done"] == 4


def test_a_folder_that_grew_while_it_moved_is_known_by_half_of_its_names(tagged):
    new = tagged.rename(tagged.with_name("pictures"))
    for number in range(3):
        shutil.copy(EXAMPLES / "sombrero.png", new / f"{number}.png")
    assert "3 of 6 images have the same names" in cataloger("tag", new, status=1)


def test_a_folder_may_move_into_its_own_name_and_back(tagged):
    away = tagged.rename(tagged.with_name("away"))
    tagged.mkdir()
    inside = away.rename(tagged / "2024")
    cataloger("sources", "move", tagged, inside)
    assert uris() == sorted(str(inside / name) for name in NAMES)
    assert tag(inside)["skipped_by_reason"] == {"unchanged": 3}


def test_a_move_that_was_killed_half_way_is_ended_by_the_same_command(tagged, monkeypatch):
    monkeypatch.setattr(relocate, "PAGE", 1)
    away = tagged.rename(tagged.with_name("away"))
    tagged.mkdir()
    new = away.rename(tagged / "2024")
    with closing(open_database(URL)) as database:
        move_half(database, tagged, new, monkeypatch)
        assert len([uri for uri in uris() if uri.startswith(f"{new}/")]) == 1
        relocate_source(database, str(tagged), str(new))
    assert uris() == sorted(str(new / name) for name in NAMES)


def move_half(database, old, new, monkeypatch):
    """Move a source until the first page of its items has been moved."""
    place = relocate._place
    pages = []

    def stop(*arguments):
        pages.append(arguments)
        if len(pages) == 2:
            raise KeyboardInterrupt
        place(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(relocate, "_place", stop)
        with pytest.raises(KeyboardInterrupt):
            relocate_source(database, str(old), str(new))


def test_names_that_are_not_utf8_move_along(tagged):
    shutil.copy(EXAMPLES / "sombrero.png", os.fsencode(tagged) + b"/caf\xe9.png")
    shutil.copy(EXAMPLES / "sombrero.png", tagged / "100%25.png")
    assert tag(tagged)["done"] == 2
    new = tagged.rename(tagged.with_name("pictures"))
    cataloger("sources", "move", tagged, new)
    assert {f"{new}/caf%E9.png", f"{new}/100%2525.png"} < set(uris())
    assert tag(new)["skipped_by_reason"] == {"unchanged": 5}


# What cannot be moved


def test_an_unknown_name_is_said_with_the_known_ones(tagged):
    output = cataloger("sources", "move", "nowhere", tagged.parent, status=2)
    assert f"there is no source nowhere; there are: {tagged}" in output


def test_a_folder_must_be_there_under_its_new_name(tagged):
    output = cataloger("sources", "move", tagged, "pictures", status=2)
    assert "pictures does not exist: move the folder first, then run this command" in output
    assert uris() == sorted(str(tagged / name) for name in NAMES)


def test_a_name_that_has_results_of_its_own_is_not_taken(tagged):
    other = tagged.with_name("pictures")
    shutil.copytree(tagged, other)
    tag(other)
    assert "is already a source with results of its own" in cataloger("sources", "move", tagged, other, status=2)
    assert "is already a source" in cataloger("sources", "move", tagged, tagged, status=2)


def test_a_name_without_results_is_taken_though_a_run_has_tried_it(tagged):
    new = tagged.with_name("pictures")
    new.mkdir()
    assert "no image found" in cataloger("tag", new, status=1)
    shutil.copytree(tagged, new, dirs_exist_ok=True)
    shutil.rmtree(tagged)
    cataloger("sources", "move", tagged, new)
    assert tag(new)["skipped_by_reason"] == {"unchanged": 3}
    assert rows("SELECT root FROM cataloger_source") == [(str(new),)]


def test_a_source_that_is_being_worked_on_is_not_moved(tagged):
    new = tagged.rename(tagged.with_name("pictures"))
    with closing(open_database(URL)) as database:
        busy = open_run(database, command="tag", options={}, device="cpu")
        lease = acquire(database, 1, busy.id)
        with pytest.raises(LeaseError, match=f"run {busy.id} is working on this source"):
            relocate_source(database, str(tagged), str(new))
        lease.release()
        other = register_source(database, kind="folder", root=str(new))
        lease = acquire(database, other.id, busy.id)
        with pytest.raises(LeaseError, match=f"run {busy.id} is working on this source"):
            relocate_source(database, str(tagged), str(new))
        lease.release()
        assert relocate_source(database, str(tagged), str(new)) == 3
    assert rows("SELECT outcome FROM cataloger_run WHERE command = 'move'") == [("failed",), ("failed",), ("done",)]


# A manifest


def test_a_renamed_manifest_is_said_and_moved(photos):
    manifest = photos / "products.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path",), *((name,) for name in NAMES)])
    assert tag(manifest)["done"] == 3
    folder = photos.rename(photos.with_name("pictures"))
    new = folder / "products.csv"
    output = cataloger("tag", new, status=1)
    assert f"cataloger sources move '{manifest}' '{new}'" in output
    cataloger("sources", "move", manifest, new)
    assert uris() == sorted(str(folder / name) for name in NAMES)
    assert tag(new)["skipped_by_reason"] == {"unchanged": 3}
    assert "does not exist: move the manifest first" in cataloger("sources", "move", new, "none.csv", status=2)


# A table


@pytest.fixture
def shop(photos):
    """A product table with paths below an image root, which was synced."""
    engine = create_engine("sqlite:///shop.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT)"))
        values = [{"sku": str(number), "photo": name} for number, name in enumerate(NAMES)]
        connection.execute(text("INSERT INTO products VALUES (:sku, :photo)"), values)
    engine.dispose()
    sync(photos)
    return photos


def sync(root, *arguments, status=0):
    flags = (
        "--db",
        "sqlite:///shop.db",
        "--ledger-db",
        URL,
        "--table",
        "products",
        "--id",
        "sku",
        "--image",
        "photo",
    )
    given = () if root is None else ("--image-root", root)
    output = cataloger("sync", *flags, "--source-name", "shop", *given, "--json", *arguments, status=status)
    return output if status else json.loads(output)


def moved_without_times(folder):
    new = folder.with_name("pictures")
    shutil.copytree(folder, new)
    for path in new.iterdir():
        os.utime(path, (1, 1))
    return new


def test_an_image_root_with_other_times_is_said_and_nothing_is_tagged(shop):
    new = moved_without_times(shop)
    output = sync(new, status=1)
    assert f"--image-root was {shop} in the last run and is {new} now, and 3 of 3 images have a different" in output
    assert "--accept-move to tag them again" in output
    assert rows("SELECT COUNT(*) FROM cataloger_result") == [(3,)]
    assert "--image-root was" in sync(new, "--dry-run", status=1)
    assert sync(new, "--accept-move")["planned_by_reason"] == {"changed": 3}
    assert sync(new)["skipped_by_reason"] == {"unchanged": 3}


def test_an_image_root_that_kept_the_times_is_taken_as_it_is(shop):
    new = shop.rename(shop.with_name("pictures"))
    assert sync(new)["skipped_by_reason"] == {"unchanged": 3}


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_an_image_root_that_is_not_there_or_empty_stops_the_run_before_it_records_anything(shop, dry_run):
    shop.rename(shop.with_name("elsewhere"))
    assert "does not exist; is the storage mounted?" in sync(shop, *dry_run, status=1)
    assert "does not exist" in sync("nowhere", *dry_run, "--accept-move", status=1)
    shop.mkdir()
    assert "is empty; is the storage mounted?" in sync(shop, *dry_run, status=1)
    assert rows("SELECT COUNT(*) FROM cataloger_result WHERE status <> 'ok'") == [(0,)]
    shop.rmdir()
    shop.with_name("elsewhere").rename(shop)
    assert sync(shop)["skipped_by_reason"] == {"unchanged": 3}


def test_images_that_changed_below_the_same_root_are_tagged(shop):
    for path in shop.iterdir():
        os.utime(path, (1, 1))
    assert sync(shop)["planned_by_reason"] == {"changed": 3}


def test_the_image_root_of_the_last_sync_counts_whatever_was_done_to_the_source_since(shop):
    cataloger("runs", "undo", "1")
    cataloger("runs", "undo", "2")
    cataloger("runs", "prune", "--keep", "1")
    assert "--image-root was" in sync(moved_without_times(shop), status=1)


def test_a_table_gets_its_new_name_to_the_letter(shop):
    cataloger("sources", "move", "shop", "outlet")
    assert rows("SELECT DISTINCT source FROM cataloger_image_top5") == [("outlet",)]
    assert sync(shop, "--source-name", "outlet")["skipped_by_reason"] == {"unchanged": 3}


# Another name

CORRECTED = "SELECT source, label_1, corrected_by FROM cataloger_image_top5 WHERE corrected_by IS NOT NULL"


def correct(tmp_path, source, key=NAMES[0]):
    path = tmp_path / "words.csv"
    path.write_text(f"source,key,label\n{source},{key},Hat\n")
    cataloger("corrections", "import", path, "--author", "ann")


def test_a_folder_keeps_all_that_is_known_of_it_under_another_name(tagged, tmp_path):
    correct(tmp_path, tagged)
    output = cataloger("sources", "rename", tagged, "photos of 2024")
    assert output == f"{URL}: {tagged} is now called photos of 2024, with 3 images"
    assert rows("SELECT DISTINCT source FROM cataloger_image_top5") == [("photos of 2024",)]
    assert rows(CORRECTED) == [("photos of 2024", "Hat", "ann")]
    listed = cataloger("sources", "list")
    assert str(tagged) in listed
    assert "photos of 2024" in listed
    # It stays where it is: later runs go on, commands find it by both, and its first run can be undone.
    assert tag(tagged)["skipped_by_reason"] == {"unchanged": 3}
    for name in (tagged, "photos of 2024"):
        cataloger("corrections", "export", "all.csv", "--source", name)
        assert len(Path("all.csv").read_text().splitlines()) == 2
    (tagged / NAMES[0]).unlink()
    assert tag(tagged)["gone"] == 1
    cataloger("runs", "undo", "4")
    assert rows("SELECT outcome FROM cataloger_run WHERE command = 'rename'") == [("done",)]
    cataloger("sources", "rename", "photos of 2024", tagged)
    assert rows("SELECT DISTINCT source FROM cataloger_image_top5") == [(str(tagged),)]


def test_an_abandoned_folder_gets_another_name_though_it_is_not_there(tagged):
    shutil.rmtree(tagged)
    cataloger("sources", "rename", tagged, "old photos")
    assert rows("SELECT source, uri FROM cataloger_image_top5 ORDER BY uri") == [
        ("old photos", f"{tagged}/{name}") for name in NAMES
    ]


def test_a_name_of_its_own_outlives_a_move(tagged):
    cataloger("sources", "rename", tagged, "best")
    new = tagged.rename(tagged.with_name("pictures"))
    cataloger("sources", "move", "best", new)
    assert uris() == sorted(str(new / name) for name in NAMES)
    assert rows("SELECT DISTINCT source FROM cataloger_image_top5") == [("best",)]


def test_a_folder_that_has_the_new_name_on_the_disk_is_moved(tagged):
    new = tagged.rename(tagged.with_name("pictures"))
    cataloger("sources", "rename", tagged, "pictures")
    assert uris() == sorted(str(new / name) for name in NAMES)
    assert tag(new)["skipped_by_reason"] == {"unchanged": 3}


def test_a_table_is_found_by_its_new_name_with_all_that_is_known_of_it(shop, tmp_path):
    correct(tmp_path, "shop", "0")
    cataloger("sources", "rename", "shop", "outlet")
    assert rows(CORRECTED) == [("outlet", "Hat", "ann")]
    assert sync(shop, "--source-name", "outlet")["skipped_by_reason"] == {"unchanged": 3}
    assert sync(shop)["done"] == 3  # "shop" is another source now
    output = cataloger("sources", "rename", "outlet", "shop", status=2)
    assert "shop is already a source with results of its own" in output


def test_names_that_are_taken_empty_or_unknown_are_refused(tagged):
    other = tagged.with_name("pictures")
    shutil.copytree(tagged, other)
    tag(other)
    cataloger("sources", "rename", other, "best")
    for name, expected in (
        ("best", "best is already a source"),
        (other, "is already a source"),
        (tagged, "is already a source"),
        (" ", "the new name of the source is empty"),
    ):
        assert expected in cataloger("sources", "rename", tagged, name, status=2)
    output = cataloger("sources", "rename", "nowhere", "x", status=2)
    assert f"there is no source nowhere; there are: {tagged}, best" in output
    assert sorted(rows("SELECT name FROM cataloger_source")) == sorted([("best",), (str(tagged),)])


def test_a_source_that_is_being_worked_on_keeps_its_name(tagged):
    with closing(open_database(URL)) as database:
        busy = open_run(database, command="tag", options={}, device="cpu")
        lease = acquire(database, 1, busy.id)
        with pytest.raises(LeaseError, match=f"run {busy.id} is working on this source"):
            relocate.rename_source(database, str(tagged), "best")
        lease.release()
    assert rows("SELECT name FROM cataloger_source") == [(str(tagged),)]


# The list


def test_sources_are_listed_with_their_model_and_images(tagged, shop):
    (tagged / NAMES[0]).unlink()
    tag(tagged)
    listed = json.loads(cataloger("sources", "list", "--json"))
    model = listed[0].pop("model")
    assert listed[0] == {"kind": "folder", "root": str(tagged), "name": str(tagged), "images": 2, "gone": 1}
    assert listed[1] == {"kind": "table", "root": "shop", "name": "shop", "model": model, "images": 3, "gone": 0}
    table = cataloger("sources", "list")
    assert all(part in table for part in ("kind", "shop", "folder", model))


def test_no_source_is_listed_as_none(photos):
    cataloger("db", "upgrade")
    assert "none" in cataloger("sources", "list")
    assert json.loads(cataloger("sources", "list", "--json")) == []


# On each engine


def test_a_source_is_moved_on_each_engine(shared_database, make, tmp_path):
    database = shared_database
    old, new = tmp_path / "old", tmp_path / "new"
    new.mkdir()
    source = register_source(database, kind="folder", root=str(old))
    taken = register_source(database, kind="folder", root=str(new))
    run = open_run(database, command="tag", options={}, device="cpu")
    model = ModelRef("a" * 64, "c" * 64, "shipped", "1.0", "default", ("Dress", "Hat"))
    for each in (source, taken):
        pin_model(database, each, model, run.id)
    places = {"a": f"{old}/a", "in/b": f"{old}/in/b", "c": "/elsewhere/c", "d": f"{old}er/d"}
    with database.begin() as connection:
        for key, uri in places.items():
            values = {"source_id": source.id, "key": key, "key_hash": key, "uri": uri}
            connection.execute(ItemRow.__table__.insert().values(values))
    assert relocate_source(database, str(old), str(new)) == 4
    with database.read() as connection:
        assert sorted(connection.scalars(select(ItemRow.uri))) == sorted(
            [f"{new}/a", f"{new}/in/b", "/elsewhere/c", f"{old}er/d"]
        )
        assert [tuple(row) for row in connection.execute(select(SourceRow.id, SourceRow.root, SourceRow.name))] == [
            (source.id, str(new), str(new))
        ]
    assert [(each.root, each.images) for each in list_sources(database)] == [(str(new), 4)]
    with pytest.raises(UsageError, match="there is no source"):
        relocate_source(database, str(old), str(new))
