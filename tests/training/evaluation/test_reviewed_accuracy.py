"""How good results are as people have reviewed them; on every engine."""

import json
from dataclasses import replace

import pytest
from by_url import open_database
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import TrainingError
from cataloger.training.evaluation.reviewed_accuracy import ReviewedAccuracy, read_reviewed
from cataloger.utils import wilson


@pytest.fixture
def database(shared_database):
    return shared_database


def answer(make, key, label="Dress", confidence=0.96, decision="accept", **values):
    other = "Hat" if label != "Hat" else "Sock"
    found = make.good(key, labels=(label, other), **values)
    return replace(found, confidences=(confidence, (1 - confidence) / 2), decision=decision)


def test_words_are_counted_by_decision_confidence_and_category(world, make):
    world.sink.write(
        [
            answer(make, "a"),
            answer(make, "b"),
            answer(make, "c", "Hat", 0.6, "review"),
            answer(make, "d", "Hat", 0.3, "abstain"),
            answer(make, "e", "Sock", 0.8),
            make.bad("f"),
        ]
    )
    for key, said in zip("abcd", ("Dress", "Hat", "Cape", "not_product"), strict=True):
        world.say(key, said)
    found = read_reviewed(world.database)
    assert (found.model, found.sources) == ("shipped 1.0", ("/photos",))
    assert (found.total.images, found.total.reviewed, found.total.right) == (5, 4, 1)
    assert (found.total.share, found.top5) == (wilson(1, 4), 2)
    assert (found.no_product, found.abstained, found.changed) == (1, 1, 0)
    tallies = {name: (each.images, each.reviewed, each.right) for name, each in found.decisions.items()}
    assert tallies == {"accept": (3, 2, 1), "review": (1, 1, 0), "abstain": (1, 1, 0)}
    bands = {band: (each.images, each.reviewed, each.right) for band, each in found.bands.items() if each.images}
    assert bands == {0.0: (1, 1, 0), 0.5: (1, 1, 0), 0.8: (1, 0, 0), 0.95: (2, 2, 1)}
    categories = {name: (each.said, each.named, each.found) for name, each in found.categories.items()}
    assert categories == {"Dress": (1, 2, 1), "Hat": (1, 2, 0), "Cape": (1, 0, 0)}
    assert found.confidence_all == pytest.approx((0.96 * 2 + 0.6 + 0.3 + 0.8) / 5)
    assert found.confidence_reviewed == pytest.approx((0.96 * 2 + 0.6 + 0.3) / 4)


def test_an_image_that_has_changed_since_does_not_count(world, make):
    world.sink.write([answer(make, "a"), answer(make, "b")])
    for key in "ab":
        world.say(key, "Hat")
    world.begin().sink.write([answer(make, "a", version="v2", content="2")])
    found = read_reviewed(world.database)
    assert (found.total.reviewed, found.changed) == (1, 1)


def test_the_model_of_today_is_measured_by_words_on_an_older_one(world, make):
    world.sink.write([answer(make, "a")])
    world.say("a", "Hat")
    world.begin(make.other_model).sink.write([answer(make, "a", "Hat")])
    found = read_reviewed(world.database)
    assert (found.model, found.total.right) == ("other 2.0", 1)


def test_what_was_withdrawn_or_is_gone_does_not_count(world, make):
    world.sink.write([answer(make, "a")])
    world.say("a", "Hat")
    world.say("a", "withdrawn")
    with pytest.raises(TrainingError, match="no current image has a correction"):
        read_reviewed(world.database)


def test_the_weighted_share_undoes_a_queue_that_begins_with_the_least_confident():
    found = ReviewedAccuracy("m", ())
    for band, images, reviewed, right in ((0.0, 100, 100, 40), (0.95, 900, 50, 50)):
        tally = found.bands[band]
        tally.images, tally.reviewed, tally.right = images, reviewed, right
    found.total.images, found.total.reviewed, found.total.right = 1000, 150, 90
    assert found.total.share.value == 0.6
    assert found.weighted.value == pytest.approx(0.1 * 0.4 + 0.9 * 1.0)
    assert found.weighted.low < 0.94 < found.weighted.high
    found.bands[0.95].reviewed = found.bands[0.95].right = 4
    assert found.weighted.value != found.weighted.value  # nan: too few to say


def test_the_command_prints_shares_and_their_intervals(tmp_path, make, make_world):
    url = f"sqlite:///{tmp_path}/x.db"
    database = open_database(url)
    world = make_world(database)
    world.sink.write([answer(make, str(number), confidence=0.3 + number / 20) for number in range(12)])
    for number in range(6):
        world.say(str(number), "Dress" if number else "not_product")
    database.close()

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, ["evaluate", *arguments, "--corrections", "--db", url])
        assert result.exit_code == status, result.output
        return result.stdout

    printed = run()
    for text in (
        "6 of 12 images reviewed (50.0%)",
        "differ from the catalog",
        "0.833 (0.436-0.970)",
        "1 show no product",
    ):
        assert text in printed
    assert json.loads(run("--json"))["accuracy"]["value"] == pytest.approx(5 / 6)
    run("labels.csv", status=2)
