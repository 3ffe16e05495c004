"""The report page: whole, self-contained, safe with hostile names, true to the figures."""

import base64
import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
pytest.importorskip("jinja2", reason="the extra 'train' is not installed")

from cataloger.training.data.examples import Example
from cataloger.training.evaluation.charts import CHARTS, RARE, Palette, coverage_chart
from cataloger.training.evaluation.evaluate import Evaluation, Subject
from cataloger.training.evaluation.findings import assess
from cataloger.training.evaluation.html_report import of_100, render_page, write_report

PICTURES = Path(__file__).parents[3] / "examples" / "images"
HOSTILE = '"><script>alert(1)</script>\x1b[31m$x_{1}$ & <b>'
LABELS = ("Hat", "Shirt", HOSTILE)
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects elements and text, and notices tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def subject(**values):
    given = {"model": "shop 1", "weights_id": "a" * 64, "calibration_id": "b" * 64, "labels": "labels.csv"}
    return Subject(**given | {"split": "test", "images": 4} | values)


@pytest.fixture(scope="module")
def make_predictions_of():
    import numpy as np

    from cataloger.training.metrics.predictions import Predictions

    def make(*answers, decisions=None):
        ranked = [[LABELS.index(label), *(i for i in range(3) if LABELS[i] != label)] for label, _ in answers]
        confidence = [[value, (1 - value) / 2, (1 - value) / 2] for _, value in answers]
        return Predictions(LABELS, np.array(ranked), np.array(confidence), decisions)

    return make


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, make_predictions_of):
    """Four pictures, three of them wrong, with names and labels that want to break the page."""
    folder = tmp_path_factory.mktemp("photos")
    names = ["plain.png", "<img src=x onerror=alert(1)>.png", "http:evil.example.png", "gone.png"]
    for name, picture in zip(names, ("winter-hat", "silk-shirt", "straw-tote"), strict=False):
        shutil.copy(PICTURES / f"{picture}.png", folder / name)
    labels = ("Hat", "Hat", HOSTILE, "Shirt")
    examples = tuple(
        Example(name, folder / name, (label,), "test") for name, label in zip(names, labels, strict=True)
    )
    answers = (("Hat", 0.95), (HOSTILE, 0.92), ("Shirt", 0.6), ("Hat", 0.5))
    failures = ("<i>bad.png</i>: the file is empty (decode.empty)",)
    return Evaluation(subject(failures=failures), assess(examples, make_predictions_of(*answers)), examples)


@pytest.fixture(scope="module")
def html(evaluation):
    return render_page(evaluation)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_parses_and_every_element_is_closed(page):
    assert page.open == []
    assert {"html", "head", "body", "main", "h1", "table", "img"} <= {tag for tag, _ in page.elements}


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object"), tag
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
        assert "url(http" not in attributes.get("style", "")
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_hostile_names_stay_text(page, html):
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert "<img src=x onerror=alert(1)>.png" in page.words
    assert r'"><script>alert(1)</script>\x1b[31m$x_{1}$ & <b>' in page.words
    assert "<i>bad.png</i>: the file is empty" in page.words
    assert "\x1b" not in html


def test_the_headline_tells_the_figures_in_words(page):
    assert "1 of 4 photos get the right category" in page.words
    assert "1 of 2 right where it is sure (confidence 90% or more), which is for 50.0% of all photos" in page.words
    assert "Only 4 photos were measured" in page.words
    assert "1 photos have no answer" in page.words


def test_mistakes_come_with_their_pictures_in_their_own_shape(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [each["alt"] for each in pictures] == ["<img src=x onerror=alert(1)>.png", "http:evil.example.png"]
    assert page.words.count("no picture") == 1  # gone.png
    for attributes, name in zip(pictures, ("silk-shirt", "straw-tote"), strict=True):
        data = base64.b64decode(attributes["src"].removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as small, Image.open(PICTURES / f"{name}.png") as original:
            assert max(small.size) == 192
            assert small.width / small.height == pytest.approx(original.width / original.height, rel=0.02)


@pytest.fixture(scope="module")
def many(make_predictions_of, evaluation):
    """A hundred photos, of which a quarter is wrong."""
    examples = evaluation.examples[:2] * 50
    answers = (("Hat", 0.95), ("Hat", 0.7), ("Hat", 0.4), ("Shirt", 0.6)) * 25
    findings = assess(examples, make_predictions_of(*answers), mistakes=0)
    return Evaluation(subject(images=100), findings, examples)


def test_every_chart_has_a_text_and_takes_its_colours_from_the_page(many):
    html = render_page(many)
    page = Page(html)
    charts = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(charts) == 2
    assert all(each["role"] == "img" and len(each["aria-label"]) > 20 for each in charts)
    assert "var(--accent)" in html
    assert "#0102" not in html
    ids = [attributes["id"] for tag, attributes in page.elements if "id" in attributes and tag == "clippath"]
    assert len(ids) == len(set(ids))


def test_few_photos_give_no_curves_and_the_page_says_so(page, many):
    assert not [tag for tag, _ in page.elements if tag == "svg"]
    assert "Curves are left out: with fewer than 100 photos they would show chance." in page.words
    assert "Does its confidence mean what it says" not in page.words
    fewer = replace(many.findings, overall=replace(many.findings.overall, images=99))
    assert "Curves are left out" in Page(render_page(replace(many, findings=fewer))).words
    assert "Curves are left out" not in Page(render_page(many)).words


def test_the_curve_begins_where_enough_photos_are_taken_and_its_label_is_off_it(many, make_predictions_of):
    axes = coverage_chart(many.findings, Palette()).axes[0]
    assert min(axes.lines[0].get_xdata()) >= RARE / 100
    (label,) = axes.texts
    assert label.get_text() == "confidence 90% or more"
    assert label.xyann[1] < 20  # points above the axis
    answers = [("Hat", 0.95)] * (RARE - 1) + [("Hat", 0.7)] * (101 - RARE)
    few = assess(many.examples, make_predictions_of(*answers), mistakes=0)
    assert not coverage_chart(few, Palette()).axes[0].texts


def test_figures_that_are_no_shares_have_intervals_of_their_kind(page):
    for name in ("Macro F1", "Weighted F1", "bins"):
        assert re.search(name + r" 0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)", page.words)
    assert "none has 20 of them" in page.words


def test_the_tile_says_what_calibration_error_chance_alone_gives(many):
    by_chance = 100 * many.findings.overall.ece_by_chance
    assert (
        f"(calibration error, ECE); with this many photos {by_chance:.1f} are chance alone"
        in Page(render_page(many)).words
    )


def test_groups_are_sorted_and_found_as_categories_are(many):
    findings = replace(many.findings, groups={"sneakers": many.findings.overall, "socks": many.findings.overall})
    html = render_page(replace(many, findings=findings))
    table = html[html.index('id="groups"') : html.index('id="categories"')]
    assert 'class="scroll limited"' in table
    assert table.count("data-sort=") == 6
    assert table.count("<tr data-find>") == 2
    assert 'class="sortable whole-words"' in table  # which no narrow screen breaks
    assert ".whole-words :is(th, td) { overflow-wrap: break-word; }" in html


def test_the_matrix_is_shaded_by_the_share_of_its_row(many):
    page = Page(render_page(many))
    cells = {
        a["class"]: a["style"] for tag, a in page.elements if tag == "td" and a.get("class") in ("right", "wrong")
    }
    assert cells == {"right": "--part:0.75", "wrong": "--part:0.25"}


def test_the_files_are_real_and_none_is_left_from_more_photos(evaluation, many, tmp_path):
    write_report(many, tmp_path)
    for name in CHARTS:
        with Image.open(tmp_path / f"{name}.png") as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 200
            assert len(picture.convert("L").getcolors()) > 20  # something has been drawn
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    write_report(evaluation, tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"confusion.png", "classes.png"}


def test_accepted_photos_take_the_place_of_sure_ones(make_predictions_of, evaluation):
    decisions = ("accept", "accept", "accept", "review")
    answers = (("Hat", 0.95), ("Hat", 0.92), ("Shirt", 0.6), ("Hat", 0.5))
    findings = assess(evaluation.examples, make_predictions_of(*answers, decisions=decisions))
    words = Page(render_page(Evaluation(subject(), findings, evaluation.examples))).words
    assert "2 of 3 right of the photos that it accepts by itself (20.8 to 93.9%), which are 75.0% of all" in words


def test_a_single_photo_that_is_right_makes_a_page(make_predictions_of, evaluation):
    examples = evaluation.examples[:1]
    findings = assess(examples, make_predictions_of(("Hat", 0.95)), mistakes=0)
    words = Page(render_page(Evaluation(subject(images=1), findings, examples))).words
    assert "None: every first answer is right." in words
    assert "Nothing: no photo with one label was taken for something else." in words


def test_photos_with_several_labels_alone_make_a_page(make_predictions_of, evaluation):
    examples = (Example("plain.png", evaluation.examples[0].path, ("Hat", "Shirt"), "test"),)
    findings = assess(examples, make_predictions_of(("Hat", 0.5)))
    words = Page(render_page(Evaluation(subject(images=1), findings, examples))).words
    assert "No photo has exactly one label, so confidences cannot be checked." in words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.914, "91 of 100"),
        (0.999, "more than 99 of 100"),
        (1.0, "100 of 100"),
        (0.001, "fewer than 1 of 100"),
        (0.0, "0 of 100"),
    ],
)
def test_the_last_bit_to_all_or_none_is_not_rounded_away(share, words):
    assert of_100(share) == words
