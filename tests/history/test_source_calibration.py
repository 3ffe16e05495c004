"""Each source has a calibration of its own: two adapted to different shops go on beside each other in one ledger."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from by_url import open_database, parsed
from calibrated import EXAMPLES, STRICT, copy_of, same, views
from sqlalchemy import text

from cataloger.engine.tag import TagOptions, tag_images
from cataloger.errors import BundleError, UsageError
from cataloger.history import recalibrate_results, undo_run
from cataloger.model import Calibration, ScoreMap, default_bundle_path, read_bundle
from cataloger.options import RunOptions, SelectionOptions
from cataloger.training.data import Example, LabelledImages
from cataloger.training.evaluation import EvaluateOptions, evaluate_results

BUNDLE = read_bundle(default_bundle_path(), check=())
LABELS = BUNDLE.labels


def favouring(label, allowed=None):
    """Return a calibration by which every image shows one label, unless its score is far behind."""
    bias = tuple(8.0 if each == label else 0.0 for each in LABELS)
    return replace(STRICT, adaptation=ScoreMap("biases", bias), allowed=allowed)


@pytest.fixture
def shops(tmp_path):
    """Two folders with the same four drawings."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        for path in sorted(EXAMPLES.glob("*.png"))[:4]:
            (folder / path.name).write_bytes(path.read_bytes())
    return folders


@pytest.fixture
def bundles(tmp_path):
    """The default model, adapted to two shops."""
    return [copy_of(BUNDLE, tmp_path / name, favouring(name)) for name in ("Dress", "Hat")]


def tagged(url, folder, model=None, **options):
    return tag_images(TagOptions((str(folder),), db=parsed(url), model=model and str(model), **options))


def recalibrated(url, bundle, source=None):
    with closing(open_database(url)) as database:
        return recalibrate_results(database, bundle, source=source and str(source))


def undone(url, run_id):
    with closing(open_database(url)) as database:
        return undo_run(database, run_id)


def best(url, folder):
    with closing(open_database(url)) as database, database.read() as connection:
        query = text("SELECT label_1 FROM cataloger_image_top5 WHERE source = :source ORDER BY uri")
        return list(connection.scalars(query, {"source": str(folder)}))


def of_source(found, folder):
    return {"image_top5": [row for row in found["image_top5"] if row["source"] == str(folder)]}


def test_two_adapted_sources_have_one_model_in_one_ledger(url, shops, bundles):
    (a, b), (dress, hat) = shops, bundles
    for folder in shops:
        tagged(url, folder)
    plain = views(url)
    assert recalibrated(url, dress, a).recomputed == 4
    second = recalibrated(url, hat, b)
    assert (best(url, a), best(url, b)) == (["Dress"] * 4, ["Hat"] * 4)
    # Every later run goes on with it, also one that names a model of the same weights that is not adapted.
    assert [tagged(url, folder).recomputed for folder in shops] == [0, 0]
    assert tagged(url, a, default_bundle_path()).recomputed == 0
    (a / "new.png").write_bytes((a / sorted(p.name for p in a.iterdir())[0]).read_bytes())
    tagged(url, a)
    assert best(url, a) == ["Dress"] * 5
    (a / "new.png").unlink()
    tagged(url, a)
    undone(url, second.run_id)
    assert best(url, a) == ["Dress"] * 4
    same(of_source(views(url), b), of_source(plain, b))
    assert tagged(url, b).recomputed == 0


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_recalibrating_all_leaves_those_that_are_adapted(url, shops, bundles, tmp_path):
    (a, b), strict = shops, copy_of(BUNDLE, tmp_path / "strict", STRICT)
    for folder in shops:
        tagged(url, folder)
    recalibrated(url, bundles[0], a)
    report = recalibrated(url, strict)
    assert (report.kept, report.sources, report.recomputed) == ([str(a)], 1, 4)
    assert best(url, a) == ["Dress"] * 4
    assert recalibrated(url, strict, a).recomputed == 4
    assert best(url, a) == best(url, b)


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_an_undone_calibration_is_not_taken_up_by_runs_since(url, shops, bundles):
    a = shops[0]
    tagged(url, a)
    plain = best(url, a)
    run = recalibrated(url, bundles[0], a)
    name = sorted(path.name for path in a.iterdir())[0]
    (a / "new.png").write_bytes((a / name).read_bytes())
    tagged(url, a)  # a later night, which found a new image
    undone(url, run.run_id)
    assert tagged(url, a).recomputed == 1
    assert sorted(best(url, a)) == sorted([plain[0], *plain])
    assert tagged(url, a).recomputed == 0


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_a_trial_gives_the_source_nothing_and_the_next_run_mends_it(url, shops, bundles):
    a = shops[0]
    tagged(url, a)
    plain = best(url, a)
    options = TagOptions((str(a),), db=parsed(url), model=str(bundles[0].path))
    report = tag_images(replace(options, run=replace(options.run, limit=1, force=True)))
    assert (report.run.done, report.recomputed) == (1, 0)
    assert best(url, a).count("Dress") == 1 + plain.count("Dress") - (plain[0] == "Dress")
    assert tagged(url, a).recomputed == 1
    assert best(url, a) == plain


def test_a_dry_run_counts_what_would_be_recomputed(url, shops):
    a = shops[0]
    tagged(url, a)

    def planned(**options):
        paths = tuple(str(path) for path in sorted(a.iterdir()))  # four targets of one source
        report = tag_images(TagOptions(paths, db=parsed(url), run=RunOptions(dry_run=True, **options), selection=few))
        return report.plan()

    few = SelectionOptions()
    assert planned() == {"unchanged": 4}
    few = SelectionOptions(labels="Dress,Hat")
    assert planned() == {"unchanged": 4, "recompute": 4}
    assert planned(force=True) == {"forced": 4}
    assert planned(limit=1) == {"unchanged": 4}
    assert tagged(url, a).recomputed == 0  # nothing was kept of it
    assert tagged(url, a, selection=few).recomputed == 4
    assert planned() == {"unchanged": 4}


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_the_calibration_of_a_source_is_named_where_its_results_are_measured(url, shops, bundles):
    a, b = shops
    for folder in shops:
        tagged(url, folder)
    recalibrated(url, bundles[0], a)
    examples = [Example(path.name, path, ("Dress",), "test") for folder in shops for path in sorted(folder.iterdir())]
    data = LabelledImages(("Dress",), tuple(examples))
    found = []
    with closing(open_database(url)) as database:
        for source in (str(a), str(b), None):
            found.append(evaluate_results(database, data, EvaluateOptions(Path("labels.csv")), source=source).subject)
    assert [each.calibration_id for each in found] == [bundles[0].calibration_id, BUNDLE.calibration_id, None]
    assert any("different calibrations" in note for note in found[2].notes)


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_an_unknown_source_is_refused(url, shops, bundles):
    tagged(url, shops[0])
    with pytest.raises(UsageError, match="there is no such source"):
        recalibrated(url, bundles[0], "elsewhere")


def test_labels_that_are_not_allowed_are_no_answer(url, shops, tmp_path):
    allowed = tuple(label for label in LABELS if label in {"Dress", "Hat", "Shirt"})
    bundle = copy_of(BUNDLE, tmp_path / "few", replace(STRICT, allowed=allowed))
    tagged(url, shops[0])
    recalibrated(url, bundle, shops[0])
    with closing(open_database(url)) as database, database.read() as connection:
        rows = connection.execute(text("SELECT * FROM cataloger_image_top5")).mappings().all()
    for row in rows:
        assert {row[f"label_{rank}"] for rank in (1, 2, 3)} == set(allowed)
        assert (row["label_4"], row["confidence_4"]) == (None, None)
        assert sum(row[f"confidence_{rank}"] for rank in (1, 2, 3)) == pytest.approx(1.0)


# --- the bundle


def test_an_adapted_bundle_is_read_as_it_was_written(bundles, tmp_path):
    matrix = tuple(tuple(row) for row in np.eye(len(LABELS)).tolist())
    calibration = Calibration(1.5, 0.9, {"Hat": 0.5}, None, ScoreMap("map", (0.5,) * len(LABELS), matrix))
    made = copy_of(BUNDLE, tmp_path / "map", calibration)
    assert made.calibration == calibration
    assert made.weights_id == BUNDLE.weights_id
    assert made.calibration_id != BUNDLE.calibration_id
    assert made.to_json()["format_version"] == 2  # which versions before this one refuse
    assert BUNDLE.to_json()["format_version"] == 1


@pytest.mark.parametrize(
    ("calibration", "what"),
    [
        (Calibration(adaptation=ScoreMap("biases", (1.0, 2.0))), "an adaptation of 2 labels"),
        (Calibration(allowed=("Dress", "Spacesuit")), "none of the model"),
        (Calibration(allowed=tuple(reversed(LABELS))), "not in its order"),
    ],
)
def test_an_adaptation_of_another_model_is_refused(calibration, what):
    with pytest.raises(UsageError, match=what):
        replace(BUNDLE, calibration=calibration)


@pytest.mark.parametrize("allowed", [("Dress",), ("Dress", "Dress")])
def test_one_label_alone_would_be_certain_for_every_image(allowed):
    with pytest.raises(UsageError, match="two or more labels"):
        Calibration(allowed=allowed)


def test_a_bundle_of_the_old_format_cannot_be_adapted(bundles):
    path = bundles[0].path / "bundle.json"
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 1'))
    with pytest.raises(BundleError, match="needs format 2"):
        read_bundle(bundles[0].path)
