"""Several runs over one source: `--shard`. What none of them can do alone is done once, by the last one."""

import shutil
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from by_url import open_source, parsed
from calibrated import same, views
from sqlalchemy import text

from cataloger.engine import SyncOptions, TagOptions, sync_table, tag_images
from cataloger.errors import LeaseError, SourceError
from cataloger.hooks import Hooks
from cataloger.options import RunOptions, Shard, WriteOptions
from cataloger.table_options import TableOptions
from cataloger.utils import failpoints

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "images").glob("*.png"))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in EXAMPLES[:12]:
        shutil.copy(path, folder)
    (folder / "cut.png").write_bytes(EXAMPLES[0].read_bytes()[:500])
    return folder


def tag(url, photos, shard=None, **options):
    run = RunOptions(shard=shard and Shard.parse(shard), max_failure_rate=1.0, **options)
    return tag_images(TagOptions((str(photos),), db=parsed(url), run=run))


def rows(url, query):
    with closing(open_source(url)) as database, database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def shards_of(url):
    return rows(url, "SELECT number, shards, is_done FROM cataloger_shard ORDER BY number")


def test_shards_at_once_make_the_tables_of_one_run(url, photos, tmp_path):
    with ThreadPoolExecutor(3) as threads:
        reports = list(threads.map(lambda shard: tag(url, photos, shard), ("1/3", "2/3", "3/3")))
    assert sum(report.run.done for report in reports) == 12
    assert sum(report.run.failed for report in reports) == 1
    assert [report.settled for report in reports].count(True) == 1
    assert shards_of(url) == []
    whole = f"sqlite:///{tmp_path}/whole.db"
    tag(whole, photos)
    same(views(url), views(whole))
    assert tag(url, photos).run.skipped == {"unchanged": 12, "failed_before": 1}


@pytest.fixture
def ledger(make_tables, tmp_path):
    return make_tables("sqlite", tmp_path)


def test_presence_is_settled_once_by_the_last_shard_and_not_by_a_dead_one(ledger, photos, at):
    tag(ledger, photos)
    gone = photos / EXAMPLES[0].name
    gone.unlink()
    (photos / "cut.png").unlink()
    shutil.copy(EXAMPLES[12], photos)
    shutil.copy(EXAMPLES[13], photos)
    present = "SELECT count(*) FROM cataloger_item WHERE gone_run_id IS NULL"

    assert tag(ledger, photos, "1/2").missing == 0
    at("before_commit", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tag(ledger, photos, "2/2", force=True)
    failpoints.clear()
    assert shards_of(ledger) == [(1, 2, 1), (2, 2, 0)]
    assert rows(ledger, present)[0][0] >= 13
    with pytest.raises(LeaseError, match="divided into 2 parts"):
        tag(ledger, photos, "1/4")

    stopped = Hooks()
    stopped.stop.set()
    last = RunOptions(shard=Shard(2, 2))
    assert not tag_images(TagOptions((str(photos),), db=parsed(ledger), run=last), stopped).settled
    assert shards_of(ledger)[1][2] == 0
    report = tag(ledger, photos, "2/2")
    assert (report.settled, report.missing) == (True, 2)
    assert rows(ledger, present) == [(13,)]
    assert shards_of(ledger) == []
    runs = rows(ledger, "SELECT id, outcome FROM cataloger_run ORDER BY id")
    assert [outcome for _, outcome in runs[:3]] == ["done", "done", "interrupted"]


def test_a_run_without_shard_settles_what_shards_have_left(ledger, photos):
    tag(ledger, photos, "1/3")
    (photos / EXAMPLES[0].name).unlink()
    report = tag(ledger, photos)
    assert not report.settled
    assert shards_of(ledger) == []
    assert rows(ledger, "SELECT count(*) FROM cataloger_item WHERE gone_run_id IS NULL") == [(12,)]


def test_a_shard_without_images_is_done_and_a_source_without_any_is_an_error(ledger, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(EXAMPLES[0], folder)
    done = [tag(ledger, folder, f"{number}/4") for number in range(1, 5)]
    assert Counter(report.run.done for report in done) == {0: 3, 1: 1}
    assert [report.settled for report in done] == [False, False, False, True]
    planned = [tag(ledger, folder, f"{number}/4", dry_run=True, force=True) for number in range(1, 5)]
    assert sum(sum(report.run.planned.values()) for report in planned) == 1
    (folder / EXAMPLES[0].name).unlink()
    with pytest.raises(SourceError):
        tag(ledger, folder, "1/4")


def test_answers_of_products_are_written_back_once_all_shards_are_through(ledger, photos):
    path = ledger.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT, category TEXT)")
        values = [(f"S{number}", f"{photo.name}|{EXAMPLES[0].name}") for number, photo in enumerate(EXAMPLES[1:9])]
        connection.executemany("INSERT INTO products (sku, photo) VALUES (?, ?)", values)
    table = TableOptions("products", ("sku",), "photo", image_root=photos, image_list="|")

    def sync(shard, **options):
        run = RunOptions(shard=shard and Shard.parse(shard), **options)
        write = WriteOptions((("category", "label_1"),), only_decision=("accept", "review", "abstain"))
        return sync_table(SyncOptions(parsed(ledger), table, write=write, run=run))

    written = "SELECT count(*) FROM products WHERE category IS NOT NULL"
    assert sync("2/2").run.done
    assert rows(ledger, written) == [(0,)]
    report = sync("1/2", force=True)
    assert report.settled
    assert rows(ledger, written) == [(8,)]
    assert rows(ledger, "SELECT count(*) FROM cataloger_result") == [(16,)]
    assert rows(ledger, "SELECT count(*) FROM cataloger_product_top5 WHERE images = 2") == [(8,)]
    assert "duplicate" not in report.run.skipped
    again = sync(None)
    assert again.run.skipped == {"unchanged": 16}
    assert again.writes.written == {}
