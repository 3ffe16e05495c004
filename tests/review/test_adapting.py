"""A review for an adaptation: the images that were chosen, and after each twenty labels what they are worth."""

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from patience import wait_until
from typer.testing import CliRunner

from cataloger.adaptation import LabelProgress, Measured
from cataloger.cli.app import app
from cataloger.review.adapting import progress_lines
from cataloger.utils import Share, wilson


def say(client, *words):
    answer = client.post("/api/words", json={"words": list(words)})
    assert answer.status_code == 200, answer.text


def queue(client, address):
    return client.get("/api/queue", params=parse_qsl(urlsplit(address).query)).json()["rows"]


def test_the_address_shows_the_chosen_images_in_their_order(adapting, tmp_path):
    rows = queue(adapting.client(), adapting.first)
    assert len(rows) == 21
    arguments = ["corrections", "export", str(tmp_path / "x.csv"), "--for-adapting", "21"]
    assert CliRunner().invoke(app, [*arguments, "--db", f"sqlite:///{adapting.path}"]).exit_code == 0
    exported = (tmp_path / "x.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [row["key"] for row in rows] == [line.split(",")[1] for line in exported]
    # Not only the least confident ones first.
    shares = [row["answers"][0][1] for row in rows]
    assert shares != sorted(shares)


def test_after_twenty_labels_it_says_what_they_are_worth(adapting, word):
    client = adapting.client()
    rows = queue(client, adapting.first)
    say(client, *(word(row) for row in rows[:19]))
    assert client.get("/api/adapting").json() == {
        "labels": 19,
        "measured": 0,
        "lines": ["Measured after each 20 labels; 19 so far."],
        "is_measuring": False,
    }
    say(client, word(rows[19]))
    assert client.get("/api/adapting").json()["is_measuring"]
    assert client.get("/api/progress").json()["images"]  # answered meanwhile
    wait_until(lambda: not client.get("/api/adapting").json()["is_measuring"], "what was measured", 0.1)
    found = client.get("/api/adapting").json()
    assert (found["labels"], found["measured"]) == (20, 20)
    first, second, third = found["lines"]
    # All were accepted as the model has them.
    assert re.fullmatch(r"After 20 labels\. Now: 100% \(\d+ to 100\) right; accepted .+, of these 100% .+", first)
    assert (second, third) == (
        "Adapting to them gains nothing beyond chance yet.",
        "It is too early to tell what more labels would bring.",
    )
    (row,) = queue(client, adapting.first)
    assert row["key"] == rows[20]["key"]


def test_its_order_is_that_of_a_review_that_was_started_for_it(steady):
    answer = steady.client().get("/api/queue", params={"order": "adapting"})
    assert answer.status_code == 400
    assert "--for-adapting" in answer.text
    assert steady.client().get("/api/adapting").json() is None


def test_with_a_label_for_every_product_there_is_nothing_to_choose(served, word):
    client = served.client()
    say(client, *(word(row) for row in queue(client, "/?")))
    result = CliRunner().invoke(
        app, ["review", "--for-adapting", "5", "--db", f"sqlite:///{served.path}", "--port", "0"]
    )
    assert (result.exit_code, "every product" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("gains", "more", "last"),
    [
        (True, 0.031, "20 more labels are expected to bring 3.1 points."),
        (True, 0.004, "More labels hardly pay any more: end here, and run `cataloger adapt --source photos`."),
        (False, -0.01, "More labels hardly pay any more: end here."),
    ],
)
def test_it_says_when_more_labels_stop_paying(gains, more, last):
    some = Measured(wilson(30, 40), wilson(10, 40), Share(float("nan"), float("nan"), float("nan")))
    lines = progress_lines(LabelProgress(40, some, some, gains, more), "photos")
    assert lines[0] == "After 40 labels. Now: 75% (60 to 86) right; accepted 25% (14 to 40), of these none right."
    assert lines[-1] == last
    assert lines[1].startswith("Adapted to them: 75%" if gains else "Adapting to them gains nothing")
