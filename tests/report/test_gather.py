"""The data of a report: counts of everything, samples of few images, always the same ones."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

import pytest
from by_url import open_database
from sqlalchemy import insert, select, update
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import UsageError
from cataloger.report.changes import MOVED
from cataloger.report.gather import LEAST, THUMBNAILS, ReportOptions, gather_report, places
from cataloger.report.review_links import ReviewLinks
from cataloger.report.sentences import sentences
from cataloger.report.tasks import tasks
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import CurrentRow, ItemRow, ResultRow, RunRow

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
URL = "sqlite:///cataloger.db"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The examples in a folder of their own, which is the parent's only one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "photos", ignore=shutil.ignore_patterns("*.md"))
    return tmp_path / "photos"


def cataloger(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result.stderr if status else result.stdout


def told(url=URL, **options):
    with closing(open_database(url)) as database:
        return gather_report(database, ReportOptions(**options))


def test_the_counts_are_those_of_the_view(photos):
    (photos / "broken.png").write_bytes(b"not an image")
    cataloger("tag", "photos", "-q", status=3)
    report = told()
    with closing(open_database(URL)) as database, database.read() as connection:
        rows = connection.exec_driver_sql("SELECT label_1, decision, confidence_1 FROM cataloger_image_top5").all()
    good = [row for row in rows if row.label_1]
    assert (report.images, report.failed, report.tagged) == (21, 1, 20)
    for each in report.categories:
        mine = [row for row in good if row.label_1 == each.label]
        assert each.images == len(mine)
        assert each.decisions == {d: sum(r.decision == d for r in mine) for d in {row.decision for row in mine}}
    assert sum(each.images for each in report.categories) == 20
    for number, share in enumerate(report.coverage()):
        assert share == pytest.approx(sum(row.confidence_1 >= number / 20 for row in good) / 20)
    (failure,) = report.failures
    assert (failure.code, failure.images, failure.examples[0].key) == ("decode.not_image", 1, "broken.png")
    assert "not an image" in failure.examples[0].error_text


def test_a_gallery_shows_the_least_confident_first_and_some_of_the_rest():
    assert places(3, 12) == [1, 2, 3]
    assert places(12, 12) == list(range(1, 13))
    assert places(8431, 12) == [1, 2, 3, 4, 5, 6, 7, 8, 2113, 4219, 6325, 8431]
    assert places(2, 1) == [1]
    assert places(5, 0) == []


@pytest.mark.parametrize(("count", "shown"), [(13, 12), (1_000_000, 100), (100, 99), (7, 5)])
def test_no_image_is_twice_in_a_gallery(count, shown):
    found = places(count, shown)
    assert len(set(found)) == len(found) == shown
    assert found == sorted(found)
    assert (found[0], max(found) <= count) == (1, True)


def test_galleries_and_the_least_confident_are_in_order_and_found_in_the_ledger(photos):
    cataloger("tag", "photos", "-q")
    report = told(images=3)
    least = [shown.answers[0][1] for shown in report.least]
    assert least == sorted(least)
    hats = report.categories[0]
    assert (hats.label, hats.images, len(hats.shown)) == ("Hat", 5, 3)
    assert {shown.answers[0][0] for shown in hats.shown} == {"Hat"}
    assert [shown.answers[0][1] for shown in hats.shown] == sorted(shown.answers[0][1] for shown in hats.shown)
    assert hats.shown[0] == next(shown for shown in report.least if shown.answers[0][0] == "Hat")
    assert all(shown.item_id and shown.content_hash for shown in report.least)


def test_a_run_that_is_named_tells_what_it_found_itself_and_none_what_holds_now(photos):
    cataloger("tag", "photos", "-q")
    shutil.copy(photos / "sombrero.png", photos / "another.png")
    (photos / "earring.png").unlink()
    cataloger("tag", "photos", "-q")
    first, second, now = told(run_id=1), told(run_id=2), told()
    assert (first.images, second.images, now.images) == (20, 1, 20)
    assert (first.holds_now, now.holds_now, now.run.id) == (False, True, 2)
    assert [shown.key for shown in second.least] == ["another.png"]
    assert second.least[0].item_id


def test_what_moved_since_the_run_before_is_told(photos):
    cataloger("tag", "photos", "-q")
    assert told().moves is None
    shutil.copy(photos / "sombrero.png", photos / "t-shirt-black.png")
    shutil.copy(photos / "sombrero.png", photos / "another.png")
    cataloger("tag", "photos", "-q")
    moves = told().moves
    assert (moves.since.id, moves.counts, moves.moves) == (
        1,
        {"moved": 1, "new": 1, "same": 19},
        (("T-shirt", "Hat", 1),),
    )
    moved = moves.examples[0].difference
    assert (moved.key, moved.item_id > 0) == ("t-shirt-black.png", True)


def test_a_run_that_was_undone_is_not_the_newest_one_nor_the_one_before(photos):
    cataloger("tag", "photos", "-q")
    cataloger("tag", "photos", "-q", "--force")
    cataloger("runs", "undo", 2, "-q")
    assert told().run.id == 1
    shutil.copy(photos / "winter-hat.png", photos / "new.png")
    cataloger("tag", "photos", "-q")
    assert (told().run.id, told().moves.since.id) == (4, 1)


def test_products_whose_images_disagree_are_shown_with_those_first(photos):
    names = ("t-shirt-print.png", "t-shirt-black.png", "winter-hat.png")
    (photos / "list.csv").write_text("path,sku\n" + "".join(f"{name},A <b>\n" for name in names) + "sombrero.png,B\n")
    cataloger("tag", photos / "list.csv", "--product-column", "sku", "-q")
    report = told()
    (product,) = report.products
    found = (report.disagreeing, product.product_key, product.label, product.images_in_all)
    assert found == (1, "A <b>", "T-shirt", 3)
    assert (product.images[0].label, product.images[0].disagrees) == ("Hat", True)
    assert told(run_id=1).products == report.products


def test_a_run_of_several_sources_is_told_together_or_one_by_one(photos):
    shutil.copytree(photos, "more")
    cataloger("tag", "photos", "more", "-q")
    assert (told().images, len(told().sources)) == (40, 2)
    one = told(source=str(photos))
    assert (one.images, {shown.source for shown in one.least}) == (20, {str(photos)})
    with pytest.raises(UsageError, match="run 1 has no source nowhere; it has"):
        told(source="nowhere")


def test_a_run_that_tagged_nothing_cannot_be_told(photos):
    with pytest.raises(UsageError, match="no run of `cataloger tag` or `sync` to report on yet"):
        told()
    cataloger("tag", "photos", "-q")
    cataloger("runs", "undo", 1, "-q")
    with pytest.raises(UsageError, match=r"run 2 \(`cataloger undo`\) has tagged nothing"):
        told(run_id=2)
    with pytest.raises(UsageError, match="there is no run 9"):
        told(run_id=9)


def copy_rows(database, count):
    """Give a source so many more images, as if they had been tagged; a third of them have a category of their own."""
    with database.begin() as connection:
        item = dict(connection.execute(select(ItemRow.__table__).limit(1)).mappings().one())
        result = dict(connection.execute(select(ResultRow.__table__).limit(1)).mappings().one())
        for start in range(1000, 1000 + count, 10_000):
            numbers = range(start, min(start + 10_000, 1000 + count))
            names = {number: f"copy {number}" for number in numbers}
            items = [{**item, "id": n, "key": names[n], "key_hash": key_hash(names[n])} for n in numbers]
            labels = {n: f"Kind {n % 300}" if n % 3 == 0 else "Hat" for n in numbers}
            results = [
                {**result, "id": n, "item_id": n, "label_1": labels[n], "confidence_1": n % 997 / 997}
                for n in numbers
            ]
            pointers = [
                {"item_id": n, "weights_id": result["weights_id"], "result_id": n, "latest_id": n} for n in numbers
            ]
            for table, rows in ((ItemRow, items), (ResultRow, results), (CurrentRow, pointers)):
                connection.execute(insert(table), rows)


@pytest.mark.slow
def test_a_hundred_thousand_images_are_counted_and_a_bounded_number_is_shown(photos):
    cataloger("tag", "photos", "-q")
    with closing(open_database(URL)) as database:
        copy_rows(database, 100_000)
    report = told(images=100)
    assert (report.images, sum(report.histogram)) == (100_020, 100_020)
    assert len(report.categories) > 100
    items = list(report.shown_items())
    assert 100 < len(items) <= THUMBNAILS + LEAST + MOVED
    assert items == list(told(images=100).shown_items())


@pytest.mark.parametrize("empty_url", ["postgresql", "mariadb"], indirect=True)
def test_the_same_is_told_from_every_engine(photos, url):
    (photos / "broken.png").write_bytes(b"not an image")
    cataloger("tag", "photos", "-q", status=3)
    cataloger("tag", "photos", "-q", "--db", url, status=3)
    for options in ({"images": 3}, {"images": 3, "run_id": 1}):
        one, other = told(**options).as_json(), told(url, **options).as_json()
        for values in (one, other):
            del values["run"]
        assert json.dumps(one) == json.dumps(other)


def at_night(database, run_id, days):
    """Have a run have begun and ended so many days earlier."""
    with database.begin() as connection:
        run = connection.execute(select(RunRow.started_at, RunRow.ended_at).where(RunRow.id == run_id)).one()
        earlier = [each - timedelta(days=days) for each in run]
        values = {"started_at": earlier[0], "ended_at": earlier[1]}
        connection.execute(update(RunRow).where(RunRow.id == run_id).values(values))


def test_after_a_night_without_work_the_last_run_that_found_something_is_shown(photos):
    cataloger("tag", "photos", "-q")
    assert told().latest is None
    (photos / "earring.png").unlink()
    for _ in range(3):
        cataloger("tag", "photos", "-q")
    report = told()
    assert (report.run.id, report.latest.id, report.images) == (2, 4, 19)
    assert report.moves.counts == {"same": 19, "gone": 1}
    assert told(run_id=1).latest is None
    (photos / "new.png").write_bytes((photos / "sombrero.png").read_bytes())
    cataloger("tag", "photos", "-q")
    assert (told().run.id, told().latest) == (5, None)


def test_a_night_in_which_a_missing_image_is_missing_again_found_nothing(photos):
    (photos.parent / "list.csv").write_text("path\nphotos/sombrero.png\nphotos/gone.png\n")
    for _ in range(3):
        cataloger("tag", "list.csv", "-q", "--max-failure-rate", 1)
    report = told()
    assert (report.run.id, report.latest.id, report.failed) == (1, 3, 1)
    shutil.copy(photos / "earring.png", photos / "gone.png")
    cataloger("tag", "list.csv", "-q")
    assert (told().run.id, told().latest) == (4, None)


def test_what_changed_in_a_week_is_told_in_sentences(photos):
    spare = photos.parent / "spare.png"
    (photos / "earring.png").rename(spare)
    cataloger("tag", "photos", "-q")
    (photos / "straw-tote.png").unlink()
    cataloger("tag", "photos", "-q")
    spare.rename(photos / "earring.png")
    cataloger("tag", "photos", "-q")
    with closing(open_database(URL)) as database:
        for run_id, days in ((1, 14), (2, 7)):
            at_night(database, run_id, days)
    report = told()
    assert (report.moves.since.id, report.week.since.id) == (2, 2)
    assert sentences(report.week) == ["1 image is new."]
    shutil.copy(photos / "sombrero.png", photos / "t-shirt-black.png")
    cataloger("tag", "photos", "-q")
    cataloger("tag", "photos", "-q")
    (photos.parent / "words.csv").write_text("key,label\nearring.png,Hat\n")
    cataloger("corrections", "import", "words.csv", "--author", "ann")
    report = told()
    assert (report.run.id, report.moves.since.id, report.week.since.id) == (4, 3, 2)
    assert sentences(report.week) == [
        "1 image is new.",
        "1 image moved to another category.",
        "People corrected or confirmed 1 image.",
    ]
    assert sentences(replace(report.week, counts={"same": 19}, corrected=0)) == ["Nothing has changed."]


def test_the_accuracy_of_a_category_is_that_of_the_model_by_those_who_looked(photos):
    cataloger("tag", "photos", "-q")
    hats = {shown.key: shown.item_id for shown in next(c for c in told().categories if c.label == "Hat").shown}
    right, wrong, none, *_ = sorted(hats)
    (photos.parent / "words.csv").write_text(
        f"key,label,verdict\n{right},Hat,\n{wrong},Dress,\n{none},,not_product\n"
    )
    cataloger("corrections", "import", "words.csv", "--author", "ann")
    found = {each.label: each.accuracy for each in told().categories}
    assert (found["Hat"].judged, found["Hat"].agreed) == (3, 1)
    assert found["Hat"].share.low == pytest.approx(0.0615, abs=1e-3)
    assert not any(accuracy for label, accuracy in found.items() if label != "Hat")


def test_what_there_is_to_do_leads_to_the_images_and_is_nothing_when_all_is_done(photos):
    (photos / "broken.png").write_bytes(b"not an image")
    cataloger("tag", "photos", "-q", status=3)
    report = told()
    found = {task.what: task for task in tasks(report, ReviewLinks.of(report, "https://shop.example/review/"))}
    assert found["failed"].count == 1
    assert found["to review"].count == report.decisions["review"]
    query = f"by=image&decision=review&source={quote_plus(str(photos))}"
    assert sorted(urlsplit(found["to review"].href).query.split("&")) == sorted(query.split("&"))
    assert found["to review"].href.startswith("https://shop.example/review/?")
    done = replace(report, failed=0, decisions={"accept": 20}, measured=())
    assert tasks(done, ReviewLinks.of(report, "")) == []
