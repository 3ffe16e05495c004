"""What becomes of images that the ledger knows, and that a pattern leaves out."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from cataloger.db import DatabaseURL
from cataloger.engine import TagOptions, tag_images
from cataloger.options import RunOptions

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
THUMBNAILS = 110
"""More than the 100 of a folder that would be taken for one that is out."""


def run(folder, *paths, **options):
    given = RunOptions(workers=1, max_failure_rate=1.0, **options)
    url = DatabaseURL.parse(f"sqlite:///{folder}/catalog.db")
    return tag_images(TagOptions(paths or (str(folder / "photos"),), db=url, run=given))


def rows(folder, query):
    with closing(sqlite3.connect(folder / "catalog.db")) as database:
        return database.execute(query).fetchall()


def test_images_that_a_pattern_leaves_out_leave_the_views_and_come_back(tmp_path):
    thumbnails = tmp_path / "photos" / "new" / "@eaDir"
    thumbnails.mkdir(parents=True)
    shutil.copy(EXAMPLES / "bow-tie.png", tmp_path / "photos" / "new")
    for number in range(THUMBNAILS):
        (thumbnails / f"{number}.jpg").write_bytes(b"no image")
    first = run(tmp_path)
    assert (first.run.done, first.run.failed) == (1, THUMBNAILS)

    left_out = {"exclude": ("@eaDir",)}
    planned = run(tmp_path, dry_run=True, **left_out)
    assert planned.run.left_out == {"excluded": 1}
    night = run(tmp_path, **left_out)
    assert (night.missing, night.exit_status, night.run.outages) == (THUMBNAILS, 0, [])
    assert rows(tmp_path, "SELECT key FROM cataloger_image_top5") == [("new/bow-tie.png",)]
    again = run(tmp_path, **left_out)
    assert (again.missing, again.restored, again.run.skipped) == (0, 0, {"unchanged": 1})

    # A file that is named is tagged; without the pattern all are back, with what is known of them.
    named = run(tmp_path, str(thumbnails / "7.jpg"), **left_out)
    assert (named.restored, named.run.skipped) == (1, {"failed_before": 1})
    back = run(tmp_path)
    assert (back.restored, back.run.done, back.run.failed) == (THUMBNAILS - 1, 0, 0)
    forgotten = run(tmp_path, forget=True, **left_out)
    assert forgotten.purged == THUMBNAILS
    assert rows(tmp_path, "SELECT COUNT(*) FROM cataloger_item") == [(1,)]


def test_a_folder_that_is_out_is_not_hidden_by_a_pattern(tmp_path):
    for name in ("@eaDir", "shoes"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    shutil.copy(EXAMPLES / "bow-tie.png", tmp_path / "photos")
    for number in range(THUMBNAILS):
        (tmp_path / "photos" / "shoes" / f"{number}.jpg").write_bytes(b"no image")
        if number < 5:
            (tmp_path / "photos" / "@eaDir" / f"{number}.jpg").write_bytes(b"no image")
    run(tmp_path)
    os.rename(tmp_path / "photos" / "shoes", tmp_path / "elsewhere")
    night = run(tmp_path, exclude=("@eaDir",))
    assert night.missing == 5
    assert [(each.place, each.images) for each in night.run.outages] == [
        (f"the folder {tmp_path}/photos/shoes", THUMBNAILS)
    ]
