"""The images to label: spread over answers and margins, no product twice, the same every time, on each engine."""

import csv
from collections import Counter
from dataclasses import replace

import pytest

from cataloger.corrections import choose_for_adapting
from cataloger.corrections.csv_export import ExportOptions, export_corrections
from cataloger.corrections.for_adapting import EDGES, _Smallest, band_of, count_by_kind
from cataloger.corrections.labelled_images import Drawn
from cataloger.corrections.store import CorrectionInput, correct
from cataloger.errors import TrainingError, UsageError
from cataloger.ledger import find_tagged_source

ANSWERS = {"Hat": 80, "Dress": 40, "Sock": 6}


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def shop(world, make):
    """Products with two images each, of a frequent, a less frequent and a rare answer, with margins from 0 to 1."""
    results = []
    for label, count in ANSWERS.items():
        rivals = [other for other in ANSWERS if other != label]
        for number in range(count):
            margin = number / count
            best = make.good(
                f"{label}-{number}.jpg", labels=(label, rivals[number % 2]), product_key=f"{label}-{number // 2}"
            )
            results.append(replace(best, confidences=((1 + margin) / 2, (1 - margin) / 2)))
    world.sink.write(results)
    return world


def chosen(world, count):
    """Return the keys of what is chosen, with their products."""
    source = find_tagged_source(world.database, None)
    items = choose_for_adapting(world.database, source, count)
    rows = world.rows("SELECT i.id, i.key, i.product_key FROM cataloger_item i")
    known = {item: (key, product) for item, key, product in rows}
    return [known[item] for item in items]


def say(world, key, label):
    rows = world.rows(
        "SELECT i.id, c.result_id FROM cataloger_item i JOIN cataloger_current c ON c.item_id = i.id "
        f"WHERE i.uri = '/photos/{key}'"
    )
    ((item, result),) = rows
    correct(world.database, [CorrectionInput(item, "label", label, expected=None, result_id=result)], "anna")


def test_each_answer_gets_its_share_of_products_and_none_comes_twice(shop):
    found = chosen(shop, 12)
    assert len({product for _, product in found}) == 12
    answers = Counter(key.split("-")[0] for key, _ in found)
    assert answers["Sock"] == 3  # all products that it has
    assert abs(answers["Hat"] - answers["Dress"]) <= 1
    assert [key.split("-")[0] for key, _ in found[:3]] == ["Hat", "Dress", "Sock"]


def test_it_is_spread_over_margins_and_asks_where_an_answer_wavers(shop):
    numbers = [int(key.split("-")[1].removesuffix(".jpg")) for key, _ in chosen(shop, 60) if key.startswith("Hat")]
    assert {band_of(number / ANSWERS["Hat"]) for number in numbers} == set(range(len(EDGES) + 1))
    # The two products that waver most, one with each rival.
    assert {0, 1} & set(numbers)
    assert min(numbers) <= 1


def test_the_same_ledger_gives_the_same_images_and_fewer_are_the_first_of_more(shop):
    assert chosen(shop, 20) == chosen(shop, 20)
    assert len(chosen(shop, 1000)) == sum(ANSWERS.values()) // 2


def test_products_with_a_label_are_left_out_and_their_answer_waits(shop):
    first = chosen(shop, 3)
    say(shop, first[0][0], "Dress")
    again = chosen(shop, 1000)
    assert first[0][1] not in [product for _, product in again]
    assert len(again) == sum(ANSWERS.values()) // 2 - 1
    assert again[0][0].startswith("Dress")  # Hat has had one


def test_the_catalog_is_counted_by_answer_and_by_margin(shop):
    answers, bands = count_by_kind(shop.database, find_tagged_source(shop.database, None))
    assert answers == ANSWERS
    expected = Counter(band_of(number / count) for count in ANSWERS.values() for number in range(count))
    assert sum(bands.values()) == sum(expected.values())
    assert all(abs(bands[band] - expected[band]) <= len(ANSWERS) for band in expected)  # 0.3 - 0.0 is not 0.3


def test_they_are_exported_best_first(shop, tmp_path):
    count = export_corrections(shop.database, tmp_path / "x.csv", ExportOptions(for_adapting=7))
    with (tmp_path / "x.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (count, [row["key"] for row in rows]) == (7, [key for key, _ in chosen(shop, 7)])
    assert all(row["predicted"] and not row["label"] for row in rows)


def test_other_choices_beside_it_are_wrong_usage():
    for other in ({"what": "predictions"}, {"what": "history"}):
        with pytest.raises(UsageError, match="chooses the images itself"):
            ExportOptions(for_adapting=5, **other)


def test_without_a_tagged_source_there_is_nothing_to_choose(database, tmp_path):
    with pytest.raises(TrainingError, match="no tagged source"):
        export_corrections(database, tmp_path / "x.csv", ExportOptions(for_adapting=5))


def test_what_is_kept_of_a_large_catalog_is_bounded():
    smallest, drawn = _Smallest(10), Drawn(100)
    for number in range(5000):
        group = f"{(number * 2654435761) % 2**32:08x}"
        smallest.add(float((number * 7919) % 5000), number, group)
        drawn.add(group, number)
        assert len(smallest._found) <= 36
        assert len(drawn.values) <= 200
    assert [rank for rank, *_ in smallest.ranked] == list(range(10))
    assert len(drawn.values) >= 100 / 2
    groups = {f"{(number * 2654435761) % 2**32:08x}" for number in drawn.values}
    assert max(groups) < "80000000"  # those below a limit, which a second reading keeps, too


def test_all_images_of_a_product_are_kept_or_none():
    drawn = Drawn(10)
    for number in range(400):
        drawn.add(f"{(number // 4 * 2654435761) % 2**32:08x}", number)
    kept = Counter(number // 4 for number in drawn.values)
    assert set(kept.values()) == {4}
