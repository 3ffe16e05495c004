"""The pages that show, in a real browser: accessible at two widths in light and dark, and usable without a script."""

import os
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from typer.testing import CliRunner

from cataloger.cli.app import app

pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
SIZES = ((1400, 900), (390, 844))
SCHEMES = ("light", "dark")
VIOLATIONS = {"resultTypes": ["violations"]}
"""Of what is right axe is to collect nothing, which takes most of its time."""
PAGES = {
    "report": "#categories tbody tr",
    "evaluation": "#categories tbody tr",
    "explanation": ".maps img",
    "data": "#categories tbody tr",
}
"""What is seen at once on each page."""
SCREENS = 3
"""That the page of a report takes before its details."""

pytestmark = pytest.mark.slow

BEFORE_DETAILS = """() => document.querySelector("#confidence").getBoundingClientRect().top + scrollY"""
ORDER = (
    """(column) => [...document.querySelectorAll("#categories tbody tr")].map((row) => row.cells[column].innerText)"""
)


HOSTILE = "javascript:alert(1)//'\"><script>alert(2)</script><img src=x onerror=alert(3)>\u202e$x_{1}$"


def cataloger(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output + repr(result.exception)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report of products, some with hostile names, corrected in part; and an evaluation of enough photos."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(EXAMPLES, folder / "photos", ignore=shutil.ignore_patterns("*.md"))
    names = sorted(path.name for path in (folder / "photos").iterdir())
    rows = [f"photos/{name},P{number // 4}\n" for number, name in enumerate(names)]
    (folder / "photos" / os.fsdecode(b"<img src=x>caf\xe9.png")).write_bytes(b"no image")
    rows.append(os.fsdecode(b"photos/<img src=x>caf\xe9.png,<b>P9\n"))
    (folder / "list.csv").write_text("path,sku\n" + "".join(rows), errors="surrogateescape")
    db = f"sqlite:///{folder}/a.db"
    tag = ("tag", folder / "list.csv", "--product-column", "sku", "--db", db, "-q", "--max-failure-rate", 1)
    cataloger(*tag)
    labels = [f"photos/{names[0]},Shoes,\n", f"photos/{names[4]},T-shirt,\n", f"photos/{names[1]},,not_product\n"]
    (folder / "words.csv").write_text("key,label,verdict\n" + "".join(labels))
    cataloger("corrections", "import", folder / "words.csv", "--author", "ann", "--new-labels", "--db", db)
    cataloger(*tag)
    cataloger("report", "--db", db, "-o", folder / "report.html", "-q")
    cataloger("explain", *explained(folder / "photos"), "-o", folder / "explanation.html", status=3)
    (folder / "labels.csv").write_text(labelled(names))
    cataloger("inspect", folder / "labels.csv", "--work", folder / "work")
    (folder / "work" / "data.html").rename(folder / "data.html")
    (folder / "evaluation.html").write_text(evaluation_page(folder / "photos", names), encoding="utf-8")
    return folder


def labelled(names):
    """Return a manifest with a copy in another split and of another label, and hostile names."""
    given = [f"photos/{name},{'Hat' if number % 2 else '<b>Shoes'},train" for number, name in enumerate(names)]
    copy = "<img src=x onerror=alert(1)>.png,Sunglasses,val"
    return "\n".join(["image,label,split", *given, copy, "<i>gone.png,Hat,train", ""])


def explained(photos):
    """Return photos to explain: one with a hostile name, and a file that is none."""
    hostile = photos.parent / "<img src=x onerror=alert(1)>.png"
    shutil.copyfile(EXAMPLES / "sunglasses.png", hostile)
    return [photos / "blue-fedora.png", hostile, photos / os.fsdecode(b"<img src=x>caf\xe9.png")]


def evaluation_page(photos, names):
    """Return the page of an evaluation in which a third of 120 photos is wrong."""
    import numpy as np

    from cataloger.training.data.examples import Example
    from cataloger.training.evaluation.evaluate import Evaluation, Subject
    from cataloger.training.evaluation.findings import assess
    from cataloger.training.evaluation.html_report import render_page
    from cataloger.training.metrics.predictions import Predictions

    labels = (HOSTILE, *(f"Category {number} <b>" for number in range(1, 20)))
    ranked = [[number % 20, *(other for other in range(20) if other != number % 20)] for number in range(120)]
    examples = tuple(
        Example(f"{HOSTILE}/{name}", photos / name, (labels[(number + (number % 3 == 0)) % 20],), "test")
        for number, name in enumerate(names * 6)
    )
    confidence = [[0.4 + number % 12 / 20, *[0.01] * 19] for number in range(120)]
    findings = assess(examples, Predictions(labels, np.array(ranked), np.array(confidence), None), mistakes=6)
    given = {"model": f"shop {HOSTILE}", "weights_id": "a" * 64, "calibration_id": "b" * 64, "labels": "labels.csv"}
    return render_page(Evaluation(Subject(**given, split="test", images=120), findings, examples))


@pytest.fixture
def opened(contexts, pages):
    """Open one of the pages; what its console complains of fails the test."""
    complaints = []

    def opened(name, size=SIZES[0], **options):
        page = contexts.page(viewport={"width": size[0], "height": size[1]}, **options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.goto(f"file://{pages}/{name}.html")
        return page

    yield opened
    contexts.clear()
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(opened, name):
    for size in SIZES:
        for scheme in SCHEMES:
            page = opened(name, size, color_scheme=scheme)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            found = Axe().run(page, options=VIOLATIONS).response["violations"]
            serious = [
                (each["id"], node["html"][:120])
                for each in found
                if each["impact"] in ("serious", "critical")
                for node in each["nodes"][:3]
            ]
            assert serious == [], (size, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
            page.close()


def test_hostile_names_are_text_and_lead_nowhere(opened):
    page = opened("evaluation")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    shown = HOSTILE.replace("\u202e", "")
    assert shown.partition("<img")[0] in page.inner_text("body")
    assert page.evaluate("[...document.scripts].filter((each) => each.text.includes('alert')).length") == 0
    assert page.locator("[onerror], a[href^='javascript:' i]").count() == 0
    assert page.evaluate("document.body.innerText.includes('\\u202e')") is False


def test_a_report_comes_to_its_details_after_three_screens(opened):
    for size in SIZES:
        assert opened("report", size).evaluate(BEFORE_DETAILS) <= SCREENS * size[1], size


def test_a_table_is_sorted_by_a_click_and_the_other_way_by_the_next(opened):
    page = opened("report")
    counts = [int(text) for text in page.evaluate(ORDER, 1)]
    page.click("#categories th:nth-child(2) button")
    page.click("#categories th:nth-child(2) button")
    assert [int(text) for text in page.evaluate(ORDER, 1)] == sorted(counts)
    assert page.get_attribute("#categories th:nth-child(2)", "aria-sort") == "ascending"
    page.click("#categories th:nth-child(1) button")
    names = page.evaluate(ORDER, 0)
    assert names == sorted(names, key=str.lower)


def test_a_search_opens_what_it_finds_and_leaves_the_rest_as_it_was(opened):
    page = opened("report")
    shown = page.locator("#galleries details[open]")
    assert shown.count() == 0
    page.keyboard.press("/")
    page.keyboard.type("FEDORA")
    assert page.locator("#galleries li[data-find]:visible").count() == 1
    assert page.inner_text("#found").endswith(" found")
    assert page.locator("#work").is_hidden()
    page.keyboard.press("Escape")
    assert page.locator("#work").is_visible()
    assert shown.count() == 0


def test_a_search_for_what_is_not_there_says_so_and_where_to_look(opened):
    page = opened("report")
    note = page.locator("main .notice", has_text="Nothing that this page shows")
    page.fill("#find", "<b>no such")
    assert "contains “<b>no such”. Its pictures are samples" in note.inner_text()
    page.fill("#find", "fedora")
    assert note.is_hidden()
    page = opened("evaluation")
    page.fill("#find", "no such")
    assert page.locator("main .notice:visible").inner_text() == "Nothing that this page shows contains “no such”."


def test_an_explanation_says_all_in_words_too_and_runs_nothing_of_a_name(opened):
    page = opened("explanation")
    page.on("dialog", lambda _: pytest.fail("a name of a file was run"))
    assert page.locator("#image-2 h2").inner_text() == "<img src=x onerror=alert(1)>.png"
    alts = page.eval_on_selector_all("#image-1 .maps img", "(images) => images.map((each) => each.alt)")
    assert alts[0] == "blue-fedora.png"
    assert [text.split(" speak for ")[1].split(",")[0] for text in alts[1:]] == page.eval_on_selector_all(
        "#image-1 .maps .label", "(labels) => labels.map((each) => each.innerText)"
    )
    assert page.locator("#image-1 .answer").count() == 5
    assert "decode.not_image" in page.inner_text("#failures")


def test_the_page_of_labelled_images_shows_what_contradicts_itself_side_by_side(opened):
    page = opened("data")
    page.on("dialog", lambda _: pytest.fail("a name of a file was run"))
    page.click("a[href='#kind-conflict_bytes']")
    alike = page.locator("#kind-conflict_bytes .gallery li")
    alike.first.wait_for(state="visible")
    assert [text.split("\n")[0] for text in alike.all_inner_texts()] == ["<b>Shoes, train", "Sunglasses, val"]
    assert alike.locator("img").evaluate_all("(images) => images.every((each) => each.naturalWidth > 100)")
    assert page.locator("#examples details").count() == 3
    assert "<i>gone.png" in page.text_content("#kind-unreadable")


def test_a_link_of_the_navigation_opens_its_details(opened):
    page = opened("report")
    page.click("nav.sections a[href='#least']")
    page.locator("#least li").first.wait_for(state="visible")
    page.click("#categories tbody a >> nth=0")
    page.locator("#galleries li").first.wait_for(state="visible")


def test_what_is_closed_is_printed_all_the_same(opened):
    page = opened("report", java_script_enabled=False)
    page.emulate_media(media="print")
    assert page.locator("#galleries li img").first.is_visible()
    assert page.locator("nav.sections").is_hidden()


def test_a_matrix_fits_a_sheet_and_no_arrow_to_sort_by_is_printed(opened):
    page = opened("evaluation", (718, 1000))  # what A4 leaves between its margins
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    arrow = "getComputedStyle(document.querySelector('th button'), '::after').content"
    assert page.evaluate(arrow) == "none"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_without_a_script(opened, name):
    page = opened(name, java_script_enabled=False)
    assert page.locator("h1").is_visible()
    assert page.locator(PAGES[name]).first.is_visible()
    assert page.locator("#find").is_hidden()
    if name == "report":
        page.click("#failures summary")
        assert page.locator("#failures li").first.is_visible()
