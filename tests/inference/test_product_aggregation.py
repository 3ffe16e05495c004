"""One answer from several images: what agrees, what disagrees, and what cannot be decided."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger.inference.product_aggregation import RankedAnswer, combine

LABELS = ("Dress", "Hat", "Shirt", "Sock", "Top", "Tie", "Watch")


def image(**confidences):
    pairs = sorted(confidences.items(), key=lambda pair: -pair[1])
    return RankedAnswer(tuple(label for label, _ in pairs), tuple(value for _, value in pairs))


def test_one_image_speaks_for_itself():
    only = image(Hat=0.6, Sock=0.2)
    found = combine([only], LABELS)
    assert (found.answer, found.disagreeing) == (only, frozenset())


def test_images_that_agree_make_the_answer_surer():
    found = combine([image(Top=0.5, Shirt=0.4, Dress=0.05), image(Top=0.6, Dress=0.3, Shirt=0.05)], LABELS)
    assert found.answer.labels[0] == "Top"
    assert found.answer.confidences[0] > 0.6
    # By hand: the two images leave 0.05 for the other four labels, 0.0125 each.
    roots = {"Top": 0.5 * 0.6, "Shirt": 0.4 * 0.05, "Dress": 0.05 * 0.3, "others": 0.0125 * 0.0125}
    total = sum(math.sqrt(roots[label]) for label in ("Top", "Shirt", "Dress")) + 4 * math.sqrt(roots["others"])
    assert found.answer.confidences[0] == pytest.approx(math.sqrt(0.3) / total)


def test_an_image_that_disagrees_is_left_out():
    dresses = [image(Dress=0.9, Top=0.08), image(Dress=0.8, Top=0.15)]
    chart = image(Watch=0.97, Tie=0.02)
    found = combine([dresses[0], chart, dresses[1]], LABELS)
    assert found.disagreeing == {1}
    assert found.answer == combine(dresses, LABELS).answer


def test_two_images_that_disagree_cannot_be_decided():
    found = combine([image(Dress=0.99), image(Watch=0.97)], LABELS)
    assert found.disagreeing == frozenset()
    assert found.answer.labels[:2] == ("Dress", "Watch")
    assert found.answer.confidences[0] == pytest.approx((0.99 + 0.03 / 6) / 2)


def test_half_of_the_images_outvotes_nobody():
    halves = [image(Dress=0.99), image(Dress=0.99), image(Watch=0.98), image(Watch=0.98)]
    found = combine(halves, LABELS)
    assert found.disagreeing == frozenset()
    assert found.answer.confidences[0] < 0.6


def test_an_unsure_image_does_not_disagree():
    found = combine([image(Dress=0.9), image(Dress=0.9), image(Top=0.4, Dress=0.3)], LABELS)
    assert found.disagreeing == frozenset()


def test_ties_are_broken_by_the_order_of_labels():
    found = combine([image(Sock=0.5, Hat=0.5), image(Hat=0.5, Sock=0.5)], LABELS)
    assert found.answer.labels[:2] == ("Hat", "Sock")


def test_certainty_about_different_things_is_no_error():
    found = combine([image(Dress=1.0), image(Dress=1.0), image(Watch=1.0)], LABELS)
    assert (found.answer.labels[0], found.disagreeing) == ("Dress", {2})


@st.composite
def answers(draw):
    weights = draw(st.lists(st.floats(0.001, 1.0), min_size=5, max_size=5))
    rest = draw(st.floats(0.0, 1.0))
    labels = draw(st.permutations(LABELS))[:5]
    values = sorted((weight / (sum(weights) + rest) for weight in weights), reverse=True)
    return RankedAnswer(tuple(labels), tuple(values))


@given(st.lists(answers(), min_size=1, max_size=6))
def test_any_images_give_an_answer_whose_order_is_theirs(images):
    found = combine(images, LABELS)
    confidences = found.answer.confidences
    assert len(found.answer.labels) == len(set(found.answer.labels)) == 5
    assert list(confidences) == sorted(confidences, reverse=True)
    assert 0.0 <= sum(confidences) <= 1.0 + 1e-9
    assert 2 * len(found.disagreeing) < len(images) or not found.disagreeing
    again = combine(images[::-1], LABELS)
    assert again.answer.confidences == pytest.approx(confidences)


def judged(label, decision, confidence=0.9):
    return RankedAnswer((label, "Tie"), (confidence, (1 - confidence) / 2), decision)


@pytest.mark.parametrize(
    ("images", "label", "expected"),
    [
        ([judged("Dress", "accept")], "Dress", "accept"),
        ([judged("Dress", "accept"), judged("Dress", "review", 0.6)], "Dress", "accept"),
        ([judged("Dress", "review", 0.6), judged("Dress", "review", 0.6)], "Dress", "review"),
        ([judged("Dress", "accept"), judged("Dress", "accept"), judged("Hat", "accept")], "Dress", "review"),
        ([judged("Dress", "accept"), judged("Hat", "abstain", 0.99)], "Dress", "accept"),
        ([judged("Hat", "abstain"), judged("Hat", "abstain")], "Hat", "abstain"),
        ([judged("Dress", "accept"), *[judged("Hat", "abstain")] * 2], "Hat", "abstain"),
        ([judged("Dress", "review", 0.6), *[judged("Dress", "abstain")] * 2], "Dress", "abstain"),
        ([*[judged("Dress", "accept")] * 2, *[judged("Hat", "abstain")] * 2], "Dress", "accept"),
        ([*[judged("Dress", "accept")] * 2, *[judged("Hat", "abstain")] * 3], "Hat", "abstain"),
        ([judged("Dress", "review", 0.6), judged("Dress", "abstain")], "Dress", "review"),
        ([judged("Dress", None), *[judged("Dress", "abstain")] * 2], "Dress", None),
        ([judged("Dress", "accept"), judged("Dress", None)], "Dress", None),
    ],
)
def test_a_product_is_decided_by_its_images(images, label, expected):
    found = combine(images, LABELS)
    assert (found.answer.labels[0], found.decision) == (label, expected)


@pytest.mark.parametrize(
    ("doubted", "disagrees"),
    [
        (judged("Watch", "abstain", 0.99), True),
        (judged("Dress", "abstain", 0.3), False),
        (RankedAnswer(("Watch", "Dress"), (0.9, 0.06), "abstain"), False),
        (RankedAnswer(("Watch", "Tie"), (0.4, 0.2), "abstain"), False),  # 0.08 each for the five others
    ],
)
def test_an_image_that_the_model_abstains_from_has_no_say_and_disagrees_if_it_shows_another_category(
    doubted, disagrees
):
    found = combine([judged("Dress", "accept"), doubted], LABELS)
    assert found.answer.confidences == combine([judged("Dress", "accept")], LABELS).answer.confidences
    assert found.disagreeing == ({1} if disagrees else set())
