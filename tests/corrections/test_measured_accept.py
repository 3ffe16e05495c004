"""How much of what is accepted is right, by labelled images of the source; on every engine."""

from dataclasses import replace

import pytest

from cataloger.adaptation import SourceCalibration
from cataloger.corrections import MeasuredAccept, measure_accept
from cataloger.ledger import model_ref
from cataloger.model import Calibration, ShopFigures, default_bundle_path, read_bundle
from cataloger.utils import wilson

BUNDLE = read_bundle(default_bundle_path(), check=())


@pytest.fixture
def database(shared_database):
    return shared_database


def answer(make, key, decision="accept", **values):
    return replace(make.good(key, **values), decision=decision)


def measured(world):
    return measure_accept(world.database, world.source.id, world.model)


def with_calibration(world, calibration):
    labels = world.model.labels
    return replace(world.model, calibration=SourceCalibration(calibration, labels))


def test_accepted_images_with_a_correction_measure_it(world, make):
    world.sink.write([answer(make, key) for key in "abcdef"] + [answer(make, "g", "review"), answer(make, "h")])
    for key, said in zip("abcdeg", ("Dress", "Dress", "Dress", "Hat", "not_product", "Dress"), strict=True):
        world.say(key, said)
    found = measured(world)
    assert found == MeasuredAccept("/photos", "model", labelled=6, accepted=5, right=3)
    assert (found.precision, found.is_measured) == (wilson(3, 5), False)
    assert found.line() == (
        "accept is not measured here, its thresholds are from the images that the model was validated on "
        "(6 labelled images, 5 accepted)"
    )
    world.say("d", "withdrawn")
    assert measured(world) == MeasuredAccept("/photos", "model", labelled=5, accepted=4, right=3)
    world.begin().sink.write([answer(make, "a", version="v2", content="2")])  # it shows something else now
    assert measured(world) == MeasuredAccept("/photos", "model", labelled=4, accepted=3, right=2)


def test_ten_of_them_are_enough_to_say_a_share(world, make):
    keys = "abcdefghij"
    world.sink.write([answer(make, key) for key in keys])
    for key in keys:
        assert not measured(world).is_measured
        world.say(key, "Hat" if key == "j" else "Dress")
    assert measured(world).is_measured
    share = "90.0% (59.6% to 98.2%)"
    assert measured(world).line() == f"right of what is accepted: {share}, measured on 10 labelled images"


def test_results_of_another_calibration_do_not_count(world, make):
    world.sink.write([answer(make, "a")])
    world.say("a", "Dress")
    stricter = with_calibration(world, Calibration(1.0, 0.99, {"Dress": 0.9}))
    assert measure_accept(world.database, world.source.id, stricter).labelled == 0
    assert measured(world).labelled == 1


@pytest.mark.parametrize(
    ("learned_in", "expected"),
    [
        (ShopFigures("/photos", 80, 60, 57), MeasuredAccept("/photos", "source", 80, 60, 57)),
        (ShopFigures("/elsewhere", 80, 60, 57), MeasuredAccept("/photos", "other_shops", 0, 0, 0)),
    ],
)
def test_what_adapt_has_learned_counts_in_its_own_shop_alone(world, learned_in, expected):
    adapted = with_calibration(world, Calibration(1.0, 0.95, {"Dress": 0.9}, learned_in=learned_in))
    assert measure_accept(world.database, world.source.id, adapted) == expected


def test_thresholds_of_the_shipped_model_are_of_other_shops_and_those_of_a_calibrated_one_are_not(world):
    shipped = model_ref(BUNDLE)
    assert measure_accept(world.database, world.source.id, shipped).thresholds_from == "other_shops"
    older = replace(shipped, calibration=None)
    assert measure_accept(world.database, world.source.id, older).thresholds_from == "other_shops"
    calibrated = model_ref(replace(BUNDLE, calibration=Calibration(1.0, 0.9, {"Hat": 0.7})))
    assert measure_accept(world.database, world.source.id, calibrated).thresholds_from == "model"
