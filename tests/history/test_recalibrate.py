"""A database follows a new calibration: as if everything had been tagged with it, and nothing was."""

import shutil
from contextlib import closing
from dataclasses import replace

import pytest
from by_url import open_database, parsed
from calibrated import EXAMPLES, STRICT, copy_of, same, views
from sqlalchemy import text

from cataloger.engine.tag import TagOptions, tag_images
from cataloger.errors import UsageError
from cataloger.history import recompute, undo
from cataloger.history.recalibrate import recalibrate_results
from cataloger.hooks import Hooks
from cataloger.model.bundle import default_bundle_path, read_bundle

SUMS = "SELECT r.log_sum_exp FROM cataloger_result r WHERE r.status = 'ok'"


@pytest.fixture
def photos(tmp_path):
    """Six drawings, two of them of one product, and a file that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted(EXAMPLES.glob("*.png"))[:6]:
        shutil.copyfile(path, folder / path.name)
    (folder / "broken.png").write_bytes(b"no picture")
    names = sorted(path.name for path in folder.iterdir())
    rows = [f"{name},{'p1' if index < 2 else f'p{index}'}" for index, name in enumerate(names)]
    (folder / "list.csv").write_text("\n".join(["path,product", *rows]) + "\n")
    return folder


@pytest.fixture
def strict(tmp_path):
    return copy_of(read_bundle(default_bundle_path()), tmp_path / "strict", STRICT)


def tagged(url, photos, bundle):
    options = TagOptions(
        (str(photos / "list.csv"),), db=parsed(url), model=str(bundle.path), product_column="product"
    )
    return tag_images(options)


def run(url, bundle, hooks=None):
    with closing(open_database(url)) as database:
        return recalibrate_results(database, bundle, hooks)


def test_the_database_is_as_if_tagged_with_the_new_calibration(url, photos, strict, tmp_path):
    tagged(url, photos, read_bundle(default_bundle_path()))
    report = run(url, strict)
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    tagged(fresh, photos, strict)
    same(views(url), views(fresh))
    assert (report.recomputed, report.unchanged, report.left) == (6, 0, 0)
    assert sum(report.decisions.values()) == 6


def test_a_limit_of_the_raw_scores_decides_from_stored_scores_as_when_tagging(url, photos, tmp_path):
    bundle = read_bundle(default_bundle_path())
    tagged(url, photos, bundle)
    with closing(open_database(url)) as database:
        sums = sorted(row.log_sum_exp for row in database.rows(text(SUMS)))
    limited = replace(STRICT, least_log_sum_exp=sums[2])
    report = run(url, copy_of(bundle, tmp_path / "limited", limited))
    assert report.decisions["abstain"] == 2
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    tagged(fresh, photos, read_bundle(tmp_path / "limited"))
    same(views(url), views(fresh))


def test_nothing_is_classified_again_afterwards(url, photos, strict):
    tagged(url, photos, read_bundle(default_bundle_path()))
    run(url, strict)
    report = tagged(url, photos, strict)
    assert (report.run.attempted, report.warnings) == (0, [])


def test_a_second_time_there_is_nothing_to_do(url, photos, strict):
    tagged(url, photos, read_bundle(default_bundle_path()))
    run(url, strict)
    before = views(url)
    report = run(url, strict)
    assert (report.recomputed, report.unchanged) == (0, 6)
    assert views(url) == before


def test_it_can_be_taken_back(url, photos, strict):
    tagged(url, photos, read_bundle(default_bundle_path()))
    before = views(url)
    report = run(url, strict)
    assert views(url) != before
    with closing(open_database(url)) as database:
        undo.undo_run(database, report.run_id)
    assert views(url) == before


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_run_that_is_stopped_goes_on_with_the_next(url, photos, strict):
    tagged(url, photos, read_bundle(default_bundle_path()))
    hooks = Hooks()
    hooks.stop.set()
    assert run(url, strict, hooks).interrupted
    assert run(url, strict).recomputed == 6


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_it_says_how_many_results_are_renewed_so_far(url, photos, strict, monkeypatch):
    monkeypatch.setattr(recompute, "PAGE", 4)
    tagged(url, photos, read_bundle(default_bundle_path()))
    told = []
    run(url, strict, Hooks(progress=told.append))
    assert told == [4, 6]


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_run_with_another_calibration_recomputes_what_it_finds(url, photos, strict, tmp_path):
    tagged(url, photos, read_bundle(default_bundle_path()))
    before = views(url)
    report = tagged(url, photos, strict)
    assert (report.run.attempted, report.recomputed) == (0, 6)
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    tagged(fresh, photos, strict)
    same(views(url), views(fresh))
    assert tagged(url, photos, strict).recomputed == 0
    with closing(open_database(url)) as database:
        undo.undo_run(database, report.run_id)
    assert views(url) == before


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_changed_image_is_tagged_once_and_the_others_are_recomputed(url, photos, strict, tmp_path):
    tagged(url, photos, read_bundle(default_bundle_path()))
    names = [line.partition(",")[0] for line in (photos / "list.csv").read_text().splitlines()[1:]]
    good = [name for name in names if name != "broken.png"]
    shutil.copyfile(photos / good[1], photos / good[0])
    report = tagged(url, photos, strict)
    assert (report.run.done, report.recomputed) == (1, 5)
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    tagged(fresh, photos, strict)
    same(views(url), views(fresh))


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_source_keeps_its_calibration_where_the_bundle_that_is_found_has_another(url, photos, strict):
    tagged(url, photos, strict)
    before = views(url)
    options = TagOptions((str(photos / "list.csv"),), db=parsed(url), product_column="product")
    report = tag_images(options)  # with the default model, which has these weights
    assert report.recomputed == 0
    assert views(url) == before
    (warning,) = report.warnings
    assert "cataloger recalibrate" in warning


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_results_that_kept_too_little_stay_and_are_counted(url, photos, strict):
    tagged(url, photos, read_bundle(default_bundle_path()))
    with closing(open_database(url)) as database, database.begin() as connection:
        connection.execute(text("UPDATE cataloger_result SET scores = NULL WHERE id IN (1, 2)"))
    report = run(url, strict)
    with closing(open_database(url)) as database, database.read() as connection:
        failed = connection.scalar(text("SELECT COUNT(*) FROM cataloger_result WHERE id < 3 AND status = 'failed'"))
    assert (report.recomputed, report.left) == (4 + failed, 2 - failed)


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_calibration_of_other_weights_is_refused(url, photos, strict):
    tagged(url, photos, strict)
    with closing(open_database(url)) as database, database.begin() as connection:
        connection.execute(text("UPDATE cataloger_source SET weights_id = NULL"))
    with pytest.raises(UsageError, match="a calibration is only valid for its weights"):
        run(url, strict)
