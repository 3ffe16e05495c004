"""Results of a database joined with labels, on every engine."""

import numpy as np
import pytest
from by_url import open_database, open_results

from cataloger.errors import DatabaseError, TrainingError, UsageError
from cataloger.training.assessment import EvaluateOptions, evaluate_results
from cataloger.training.labels import Example, LabelledImages
from cataloger.training.stored_results import read_results


@pytest.fixture
def database(shared_database):
    return shared_database


def example(tmp_path, file, *labels, path=None):
    return Example(file, path or tmp_path / file, labels or ("Dress",), "test")


def test_results_are_found_by_key_path_and_address(world, make, tmp_path):
    picture = tmp_path / "c.jpg"
    world.sink.write(
        [
            make.good("sub/a.jpg", labels=("Hat", "Dress")),
            make.good("b", uri="https://shop.example/b.jpg", labels=("Sock", "Hat")),
            make.good("somewhere/else.jpg", uri=str(picture), labels=("Dress", "Sock")),
        ]
    )
    examples = [
        example(tmp_path, "sub/a.jpg"),
        example(tmp_path, "https://user:pw@shop.example/b.jpg?width=3"),
        example(tmp_path, "c.jpg", path=picture),
    ]
    stored = read_results(world.database, examples)
    assert stored.examples == tuple(examples)
    assert stored.predictions.labels == ("Dress", "Hat", "Sock")
    assert stored.predictions.ranked.tolist() == [[1, 0, -1, -1, -1], [2, 1, -1, -1, -1], [0, 2, -1, -1, -1]]
    assert stored.predictions.confidence[:, :2].tolist() == [[0.75, 0.25]] * 3
    assert np.isnan(stored.predictions.confidence[:, 2:]).all()
    assert (stored.model, stored.weights_id, stored.sources) == ("shipped 1.0", "a" * 64, ("/photos",))


def test_what_has_no_partner_is_counted_and_named(world, make, tmp_path):
    world.sink.write([make.good("a.jpg"), make.good("x.jpg"), make.bad("b.jpg", code="decode.truncated")])
    examples = [example(tmp_path, name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    stored = read_results(world.database, examples)
    assert stored.examples == (examples[0],)
    assert stored.failures == ("b.jpg: tagging it failed (decode.truncated)",)
    assert stored.without_result == ("c.jpg",)
    assert (stored.unlabelled, stored.unlabelled_keys) == (1, ("x.jpg",))


def test_the_path_counts_for_more_than_the_key(world, make, tmp_path):
    picture = tmp_path / "a.jpg"
    world.sink.write(
        [make.good("a.jpg", labels=("Hat",)), make.good("sub/a.jpg", uri=str(picture), labels=("Sock",))]
    )
    stored = read_results(world.database, [example(tmp_path, "a.jpg", path=picture)])
    assert stored.predictions.ranked[0, 0] == 2


def test_results_of_another_model_than_the_pinned_one_do_not_count(world, make, tmp_path):
    world.sink.write([make.good("a.jpg", labels=("Hat",))])
    world.begin(make.other_model).sink.write([make.good("a.jpg", labels=("Sock",))])
    stored = read_results(world.database, [example(tmp_path, "a.jpg")])
    assert (stored.model, stored.predictions.ranked[0, 0]) == ("other 2.0", 2)


def test_the_model_is_measured_and_not_what_people_have_said_since(world, make, tmp_path):
    world.sink.write([make.good("a.jpg", labels=("Hat", "Dress"))])
    world.say("a.jpg", "A label that no model has")
    stored = read_results(world.database, [example(tmp_path, "a.jpg")])
    assert stored.predictions.ranked.tolist() == [[1, 0, -1, -1, -1]]


def test_no_partner_at_all_is_an_error_that_shows_both_names(world, make, tmp_path):
    world.sink.write([make.good("sub/a.jpg")])
    with pytest.raises(TrainingError, match=r"its first image is 'sub/a.jpg', the first label is of 'b.jpg'"):
        read_results(world.database, [example(tmp_path, "b.jpg")])


def test_an_unknown_source_is_an_error_that_names_those_there_are(world, make, tmp_path):
    world.sink.write([make.good("a.jpg")])
    with pytest.raises(UsageError, match=r"--source /other: .* has no such source; it has /photos"):
        read_results(world.database, [example(tmp_path, "a.jpg")], source="/other")
    assert read_results(world.database, [example(tmp_path, "a.jpg")], source="/photos").examples


def test_decisions_and_unknown_ranks_reach_the_figures(world, make, tmp_path):
    world.sink.write([make.good(name) for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")])
    with world.database.begin() as connection:
        connection.exec_driver_sql("UPDATE cataloger_result SET decision = 'review'")
        connection.exec_driver_sql(
            "UPDATE cataloger_result SET decision = 'accept' "
            "WHERE id = (SELECT m FROM (SELECT MIN(id) AS m FROM cataloger_result) q)"
        )
    labels = {"a.jpg": "Dress", "b.jpg": "Dress", "c.jpg": "Hat", "d.jpg": "Sock"}
    examples = tuple(example(tmp_path, name, label) for name, label in labels.items())
    data = LabelledImages(("Dress", "Hat", "Sock"), examples)
    evaluation = evaluate_results(world.database, data, EvaluateOptions(tmp_path / "labels.csv"))
    assert evaluation.findings.overall.top1.value == 0.5
    assert np.isnan(evaluation.findings.overall.top3.value)
    assert "only the best 2 labels were stored" in evaluation.subject.notes[0]
    assert evaluation.findings.decided.images == {"accept": 1, "review": 3, "abstain": 0, "none": 0}
    assert evaluation.findings.decided.coverage.value == 0.25


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(DatabaseError, match="has no results of cataloger"):
        open_results(f"sqlite:///{tmp_path}/none.db")
    assert not list(tmp_path.iterdir())


def test_a_database_without_a_tagged_source_says_so(tmp_path):
    url = f"sqlite:///{tmp_path}/empty.db"
    open_database(url).close()
    opened = open_results(url)
    with pytest.raises(TrainingError, match="has no tagged source"):
        read_results(opened, [example(tmp_path, "a.jpg")])
    opened.close()
