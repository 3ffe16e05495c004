"""Which runs are compared, and that the databases count the answers of a run, on each engine."""

from dataclasses import replace

import numpy as np
import pytest

from cataloger.drift.check import CheckOptions, _counts, check_run, side_of_bundle
from cataloger.drift.statistics import ANSWERS, EDGES, Profile
from cataloger.errors import BundleError, UsageError
from cataloger.history.prune import prune_runs
from cataloger.history.undo import undo_run
from cataloger.ledger import pin_model, register_source
from cataloger.ledger.product_results import ProductResults
from cataloger.ledger.runs import open_run
from cataloger.model.bundle import Bundle, default_bundle_path, read_bundle
from cataloger.options import DriftLimits

IMAGES = 20
ENOUGH = DriftLimits(min_images=IMAGES)


@pytest.fixture
def database(shared_database):
    return shared_database


def night(world, make, labels, *, failed=0, outcome="done", **options):
    """Tag an image for each label in a run of its own, and some that fail; return the run's number."""
    if world.lease is None:
        world.begin(options.pop("model", None))
    results = [answer(make, f"{world.run.id} {n}", label, **options) for n, label in enumerate(labels)]
    world.sink.write(results + [make.bad(f"{world.run.id} bad {n}") for n in range(failed)])
    world.end(outcome)
    return world.run.id


def answer(make, key, label, confidence=0.75, decision="accept"):
    made = make.good(key, labels=(label, "Belt"))
    return replace(made, confidences=(confidence, 0.1), decision=decision)


def compare(world, **options):
    return check_run(world.database, CheckOptions(**{"limits": ENOUGH, **options}))


def runs_of(report):
    return report.now.run, report.reference and report.reference.run


USUAL = ["Dress"] * 12 + ["Hat"] * 6 + ["Sock"] * 2
OTHERS = ["Sock"] * 18 + ["Hat"] * 2


# what is counted


def test_the_database_counts_what_the_run_said(world, make):
    night(world, make, USUAL)
    world.begin()
    confidences = np.concatenate([EDGES, np.random.default_rng(0).uniform(size=30), [1.0]])
    labels = [("Dress", "Hat", "Sock")[n % 3] for n in range(len(confidences))]
    decisions = [("accept", "review", "abstain", None)[n % 4] for n in range(len(confidences))]
    rows = zip(labels, confidences, decisions, strict=True)
    world.sink.write(
        [answer(make, str(n), label, float(value), decision) for n, (label, value, decision) in enumerate(rows)]
        + [make.bad("bad 1"), make.bad("bad 2", code="io.timeout", content=None)]
    )
    world.end()
    expected = Profile.of(
        {label: labels.count(label) for label in set(labels)},
        confidences,
        {decision: decisions.count(decision) for decision in ("accept", "review", "abstain")},
    )
    found = compare(world).now.profile
    assert found.total == pytest.approx(expected.total)
    assert found.squares == pytest.approx(expected.squares)
    assert replace(found, total=0.0, squares=0.0) == replace(expected, total=0.0, squares=0.0, failed=2)


def test_what_the_run_skipped_does_not_count(world, make):
    night(world, make, USUAL)
    night(world, make, OTHERS)
    report = compare(world)
    assert report.now.profile.answered == report.reference.profile.answered == IMAGES
    assert [measure.name for measure in report.drifted] == ["category mix"]
    assert report.categories[0].label == "Dress"
    assert (report.categories[0].reference, report.categories[0].now) == (12, 0)


def test_a_night_like_the_one_before_has_not_drifted(world, make):
    first, second = night(world, make, USUAL), night(world, make, reversed(USUAL))
    report = compare(world)
    assert runs_of(report) == (second, first)
    assert not report.drifted
    assert report.verdict.endswith("no drift")


def test_failures_and_decisions_trip(world, make):
    night(world, make, USUAL * 5)
    night(world, make, USUAL * 5, failed=40)
    night(world, make, USUAL * 5, decision="abstain")
    assert [each.name for each in compare(world, run=2 + first_run(world)).drifted] == ["abstain"]
    assert [each.name for each in compare(world, run=1 + first_run(world)).drifted] == ["failed"]


def first_run(world):
    return world.rows("SELECT min(id) FROM cataloger_run")[0][0]


# which runs


def test_the_run_before_is_the_last_one_with_enough_images(world, make):
    big = night(world, make, USUAL)
    night(world, make, OTHERS[:5])
    now = night(world, make, OTHERS)
    assert runs_of(compare(world)) == (now, big)


def test_a_night_of_few_images_is_not_judged(world, make):
    night(world, make, USUAL)
    night(world, make, OTHERS[:-1])
    report = compare(world)
    assert not report.drifted
    assert report.verdict.endswith("too few images to judge")


def test_the_first_night_has_nothing_to_compare_with(world, make):
    run = night(world, make, USUAL)
    report = compare(world)
    assert runs_of(report) == (run, None)
    assert "nothing to compare with yet" in report.verdict


def test_a_night_without_news_is_not_compared(world, make):
    before = night(world, make, USUAL)
    world.begin()
    world.end()
    now = night(world, make, OTHERS)
    world.begin()
    world.end()
    idle = world.run.id
    report = compare(world)
    assert runs_of(report) == (now, before)
    assert report.drifted
    assert f"run {idle} is newer, but tagged nothing; it was not compared" in report.notes


def test_runs_that_were_undone_count_neither_as_newest_nor_as_before(world, make):
    first, second, third = (night(world, make, labels) for labels in (USUAL, OTHERS, USUAL))
    undo_run(world.database, second)
    assert runs_of(compare(world)) == (third, first)
    undo_run(world.database, third)
    assert runs_of(compare(world)) == (first, None)


def test_a_newer_run_that_did_not_end_well_is_named(world, make):
    night(world, make, USUAL)
    run = night(world, make, USUAL)
    cut = night(world, make, OTHERS, outcome="failed")
    report = compare(world)
    assert report.now.run == run
    assert report.notes == (f"run {cut} is newer, but failed; it was not compared",)


def test_runs_that_cannot_be_compared_are_refused_with_the_reason(world, make):
    first, second, third = (night(world, make, USUAL) for _ in range(3))
    cut = night(world, make, USUAL, outcome="interrupted")
    undone_by = undo_run(world.database, second).run_id
    open_one = open_run(world.database, command="sync", options={}, device="cpu").id
    reasons = {
        second: f"run {undone_by} has undone it",
        cut: "ended as interrupted",
        undone_by: "`cataloger undo` tags no images",
        open_one: "still running",
        third: "against itself",
        999_999: "there is no run 999999",
    }
    for run, reason in reasons.items():
        with pytest.raises(UsageError, match=reason):
            compare(world, run=third, against=str(run))
    assert runs_of(compare(world, run=third, against=str(first))) == (third, first)


def test_a_pruned_run_is_refused_and_passed_over(world, make):
    first, second = night(world, make, USUAL), night(world, make, OTHERS)
    prune_runs(world.database, 1)
    assert runs_of(compare(world)) == (second, None)
    with pytest.raises(UsageError, match=f"run {first} cannot be compared: `cataloger runs prune` has deleted"):
        compare(world, against=str(first))


def test_a_database_without_a_finished_run_is_an_error(world):
    with pytest.raises(UsageError, match="no finished run of tag or sync"):
        compare(world)


# which sources


@pytest.fixture
def two_sources(world, make):
    """Runs over /photos alone, and over /photos and /elsewhere, which holds socks; their numbers."""
    alone = night(world, make, USUAL)
    both = []
    for _ in range(2):
        world.begin()
        elsewhere = register_source(world.database, kind="folder", root="/elsewhere")
        pin_model(world.database, elsewhere, world.model, world.run.id)
        sink = replace(world.sink, products=ProductResults(elsewhere, world.run.id, world.model))
        sink.write([answer(make, f"{world.run.id} sock {n}", "Sock") for n in range(IMAGES)])
        both.append(night(world, make, USUAL))
    return alone, *both


def test_all_sources_of_a_run_are_compared_with_the_last_run_of_them_all(world, make, two_sources):
    alone = night(world, make, USUAL)
    assert runs_of(compare(world)) == (alone, two_sources[2])
    report = compare(world, run=two_sources[2])
    assert runs_of(report) == two_sources[:0:-1]
    assert report.now.profile.answered == 2 * IMAGES
    assert runs_of(compare(world, run=two_sources[1])) == (two_sources[1], None)


def test_one_source_of_a_run_can_be_compared_alone(world, two_sources):
    report = compare(world, run=two_sources[1], source="/photos")
    assert runs_of(report) == (two_sources[1], two_sources[0])
    assert report.now.profile.labels == {"Dress": 12, "Hat": 6, "Sock": 2}
    assert compare(world, source="/elsewhere").now.profile.labels == {"Sock": IMAGES}


def test_sources_that_the_other_run_lacks_are_left_out_and_named(world, two_sources):
    report = compare(world, run=two_sources[1], against=str(two_sources[0]))
    assert report.now.profile.answered == IMAGES
    assert report.notes == (f"not in run {two_sources[0]}, and left out: /elsewhere",)


def test_sources_that_no_run_or_not_this_one_has_worked_on_are_refused(world, two_sources):
    with pytest.raises(UsageError, match="no finished run of tag or sync of /nowhere"):
        compare(world, source="/nowhere")
    with pytest.raises(UsageError, match="has not worked on /elsewhere; its sources: /photos"):
        compare(world, run=two_sources[0], source="/elsewhere")
    with pytest.raises(UsageError, match="has none of the sources: /elsewhere"):
        compare(world, source="/elsewhere", against=str(two_sources[0]))


# models


def test_another_model_is_said_and_categories_are_compared_over_those_of_both(world, make):
    night(world, make, USUAL)
    night(world, make, ["Cape"] * IMAGES, model=replace(make.other_model, labels=("Dress", "Hat", "Cape")))
    report = compare(world)
    assert {each.label for each in report.categories} == {"Dress", "Hat", "Sock", "Cape"}
    assert report.notes[0] == "another model: shipped 1.0 -> other 2.0"
    assert [note.rpartition(": ")[2] for note in report.notes[1:]] == ["Sock", "Cape"]


def test_another_calibration_is_said(world, make):
    model = world.model
    night(world, make, USUAL)
    night(world, make, USUAL, model=replace(model, calibration_id="d" * 64))
    assert "another calibration of the same model" in compare(world).notes[0]


def test_the_shipped_model_records_its_answers():
    bundle = read_bundle(default_bundle_path(), check=())
    profile = side_of_bundle(bundle).profile
    assert profile.answered == sum(profile.decisions.values()) == bundle.provenance["data"]["images"]["val"]
    assert profile.labels.keys() <= set(bundle.labels)
    assert 0.5 < profile.mean < 1.0
    assert profile.failed is None


def test_a_run_is_compared_with_what_its_model_records(world, make):
    run = night(world, make, USUAL)
    report = compare(world, against="default")
    assert runs_of(report) == (run, None)
    assert report.reference.title == "the labelled images of fashion-50 0.5"
    assert report.reference.profile.answered > 1000
    found = {measure.name: measure.verdict for measure in report.measures}
    assert (found["category mix"], found["failed"]) == ("drifted", "not recorded")


def with_answers(provenance) -> Bundle:
    return replace(read_bundle(default_bundle_path(), check=()), provenance=provenance)


def test_a_model_that_records_no_answers_is_refused_with_the_way_out():
    with pytest.raises(UsageError, match=r"has no record of its answers.*`cataloger calibrate"):
        side_of_bundle(with_answers({}))


@pytest.mark.parametrize("damage", [{"labels": []}, {"confidences": [1]}, {"total": "much"}, {"failed": {}}])
def test_a_damaged_record_of_answers_is_an_error(damage):
    values = {**read_bundle(default_bundle_path(), check=()).provenance[ANSWERS], **damage}
    with pytest.raises(BundleError, match="its record of answers is damaged"):
        side_of_bundle(with_answers({ANSWERS: values}))


def test_what_a_check_reads_does_not_grow_with_the_catalog(world, make):
    """A row for each combination of what is counted, however many images there are."""
    night(world, make, USUAL)
    night(world, make, USUAL * 20)
    with world.database.read() as connection:
        found = [
            connection.execute(_counts(run, [world.source.id])).all() for run in (world.run.id - 1, world.run.id)
        ]
    assert len(found[0]) == len(found[1]) == 3
    assert [sum(row.images for row in rows) for rows in found] == [IMAGES, 20 * IMAGES]
