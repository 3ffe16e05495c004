"""Two people at once, in two browsers and on two servers over one database."""

import json
import re
from contextlib import ExitStack

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from patience import HANGS, wait_until
from playwright.sync_api import expect
from typer.testing import CliRunner

from cataloger.cli.app import app

pytestmark = pytest.mark.slow

AUTHORS = (
    "SELECT k.author, COUNT(*) FROM cataloger_corrected h JOIN cataloger_correction k ON k.id = h.correction_id "
    "GROUP BY k.author ORDER BY k.author"
)
SERIOUS = ("serious", "critical")


def saved(page):
    expect(page.locator("#saving")).to_have_text("")


def open_people(page):
    page.click("#people")
    expect(page.locator("#now")).to_contain_text("looks at")


@pytest.fixture
def two_servers(catalog, serve_here):
    """Two applications over one database: Anna's and Ben's."""
    with ExitStack() as stack:
        yield [stack.enter_context(serve_here(catalog, name)) for name in ("Anna", "Ben")]


@pytest.fixture
def two_of_a_shop(shop, tmp_path, serve_here, copy_database):
    """The same over a shop, all of whose products two people are to review."""
    path = copy_database(shop, tmp_path / "shop.db")
    with ExitStack() as stack:
        yield [stack.enter_context(serve_here(path, name, double=1.0)) for name in ("Anna", "Ben")]


def test_no_two_people_have_one_product_and_all_is_done_once(two_servers, open_page):
    anna, ben = (open_page(each.url, viewport={"width": 1400, "height": 900}) for each in two_servers)
    first = anna.inner_text("#key")
    assert ben.inner_text("#key") != first
    expect(ben.locator("#list li").first.locator(".word")).to_have_text("with Anna")
    expect(ben.locator("#people")).to_have_text("with Anna")
    ben.locator("#list li").first.click()
    expect(ben.locator("#state")).to_have_text("Anna has this one at the moment")
    ben.keyboard.press("a")
    open_people(ben)
    expect(ben.locator("#now")).to_contain_text(re.compile(f"Anna looks at {re.escape(first)}"))
    assert [each for each in Axe().run(ben).response["violations"] if each["impact"] in SERIOUS] == []
    ben.keyboard.press("Escape")
    assert two_servers[0].rows(AUTHORS) == []
    ben.keyboard.press("ArrowRight")
    many = two_servers[0].client().get("/api/progress").json()["images"]
    for _ in range(many):
        for page in (anna, ben):
            if page.locator("#list li.current.done, #list li.current.taken").count() == 0:
                # Who is quicker than this has a conflict.
                with page.expect_response("**/api/claims", timeout=1000 * HANGS):
                    page.keyboard.press("a")
        if sum(count for _, count in two_servers[0].rows(AUTHORS)) == many:
            break
        anna.wait_for_timeout(50)
    for page in (anna, ben):
        saved(page)
        expect(page.locator("#conflicts")).to_be_hidden()
        expect(page.locator("#progress")).to_contain_text(re.compile(r"with people on \S+ of \d+, with you on"))
    assert sum(count for _, count in two_servers[0].rows(AUTHORS)) == many
    open_people(anna)
    cells = anna.locator("#days tbody tr").all_inner_texts()
    assert sorted(re.split(r"\s+", each)[1] for each in cells) == ["Anna", "Ben"]
    assert sum(int(re.split(r"\s+", each)[3]) for each in cells) == many


def test_what_a_dead_browser_had_is_given_to_another(two_servers, open_page):
    anna = open_page(two_servers[0].url)
    first = anna.inner_text("#key")
    anna.evaluate("() => { window.fetch = () => new Promise(() => {}); }")  # it says no farewell
    anna.close()
    ben = open_page(two_servers[1].url)
    assert ben.inner_text("#key") != first
    two_servers[0].change(
        "UPDATE cataloger_claim SET renewed_at = '2000-01-01 00:00:00.000000' WHERE person = 'Anna'"
    )
    ben.keyboard.press("s")
    expect(ben.locator("#list li").first.locator(".word")).to_have_text("")
    ben.reload()
    expect(ben.locator("#key")).to_have_text(first)


def test_what_a_page_had_that_was_left_is_free_at_once(two_servers, open_page):
    anna = open_page(two_servers[0].url)
    first = anna.inner_text("#key")
    wait_until(lambda: two_servers[0].rows("SELECT * FROM cataloger_claim"), "a claim", 0.1)
    anna.wait_for_load_state("networkidle")  # a claim on its way would arrive after the page has given it back
    anna.goto("about:blank")
    wait_until(lambda: not two_servers[0].rows("SELECT * FROM cataloger_claim"), "the claims to end", 0.1)
    ben = open_page(two_servers[1].url)
    expect(ben.locator("#key")).to_have_text(first)
    ben.reload()
    expect(ben.locator("#key")).to_have_text(first)


def test_the_windows_of_one_person_are_one_line_and_nobody_is_with_oneself(two_servers, open_page):
    first, second = (open_page(two_servers[0].url) for _ in range(2))
    keys = {first.inner_text("#key"), second.inner_text("#key")}
    assert len(keys) == 2
    expect(second.locator("#people")).to_have_text("People")
    open_people(second)
    expect(second.locator("#now li")).to_have_count(1)
    for key in keys:
        expect(second.locator("#now li")).to_contain_text(key)


def test_two_surveys_of_one_category_show_different_products(two_servers, open_page):
    pages = [open_page(f"{each.url}/?view=survey&by=image&category=Hat") for each in two_servers[:1]]
    many = pages[0].locator("#list li").count()
    ben = two_servers[1].client()
    items = [row["item"] for row in ben.get("/api/queue?category=Hat&by=image").json()["rows"]]
    found = ben.post("/api/claims", json={"page": "ben", "items": items, "images": items[:1]}).json()
    assert many == len(items) == len(found["taken"])
    assert {person for _, person in found["taken"]} == {"Anna"}
    assert found["corrections"] == [[items[0], None]]
    pages[0].locator("#list li").first.click()
    pages[0].keyboard.press("Enter")
    saved(pages[0])
    expect(pages[0].locator("#sweep-said")).to_contain_text(f"{many - 1} accepted")
    # What was accepted is free; what was set aside is still Anna's.
    ask = {"page": "ben", "items": items}
    wait_until(lambda: len(ben.post("/api/claims", json=ask).json()["taken"]) == 1, "the claims to end", 0.1)


def test_a_second_person_answers_blindly_and_one_answer_decides(two_of_a_shop, open_page, word):
    anna, ben = (each.client() for each in two_of_a_shop)
    products = anna.get("/api/queue?by=product&order=product").json()["rows"]
    for product in products:
        words = [word(row, "Dress") for row in product["images"]]
        assert all(
            each["status"] == "saved" for each in anna.post("/api/words", json={"words": words}).json()["outcomes"]
        )
    assert anna.get("/api/queue?by=product").json()["rows"] == []
    assert ben.get("/api/progress?by=product").json()["second"] == len(products)
    assert (
        ben.get("/api/queue?by=product&category=Dress").json()["rows"] == []
    )  # what Anna said does not show so either
    page = open_page(two_of_a_shop[1].url, viewport={"width": 390, "height": 844})
    expect(page.locator("#progress")).to_contain_text("4 for a second answer by you")
    for _ in products:
        assert "Dress" not in page.inner_text("#work")
        page.keyboard.press("n")
        saved(page)
    expect(page.locator("#list li.done")).to_have_count(len(products))
    assert {
        row["word"]["by"]
        for each in ben.get("/api/queue?by=product&reviewed=yes").json()["rows"]
        for row in each["images"]
    } == {"Ben"}
    assert two_of_a_shop[0].rows(AUTHORS) == [("Anna", sum(len(each["images"]) for each in products))]
    page.click("#people")
    expect(page.locator("#agreement")).to_contain_text("4 products, 0 of them with the same answer (0.0%)")
    expect(page.locator("#agreement")).to_contain_text("Cohen's kappa 0.00")
    expect(page.locator("#disputed .versus")).to_have_count(4)
    expect(page.locator("#disputed .versus").first.locator(".sides b")).to_have_text(["Dress", "not a product"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [each for each in Axe().run(page).response["violations"] if each["impact"] in SERIOUS] == []
    page.locator("#disputed .versus").first.locator("button").nth(1).click()
    expect(page.locator("#disputed .versus")).to_have_count(3)
    assert [author for author, _ in two_of_a_shop[0].rows(AUTHORS)] == ["Anna", "Ben"]
    result = CliRunner().invoke(app, ["corrections", "list", "--json", "--db", f"sqlite:///{two_of_a_shop[0].path}"])
    listed = json.loads(result.stdout)
    assert (listed["agreement"]["products"], listed["agreement"]["open"]) == (4, 3)
    assert [each["author"] for each in listed["days"]] == ["Anna", "Ben"]


def test_a_part_for_one_person_is_shown_to_no_other(two_servers, open_page):
    ben = open_page(f"{two_servers[1].url}/?category=Hat")
    client = two_servers[0].client()
    items = {row["item"] for row in client.get("/api/queue?category=Hat&by=image").json()["rows"]}
    ben.click("#people")
    expect(ben.locator("#assign-what")).to_contain_text("category Hat")
    ben.fill("#assign-to", "BEN")
    ben.click("#assign")
    expect(ben.locator("#assignments")).to_contain_text(f"BEN: category Hat 0 of {len(items)} products reviewed")
    ben.reload()
    expect(ben.locator("#mine")).to_have_text("Assigned to you: category Hat")
    expect(ben.locator("#list li")).to_have_count(len(items))
    shown = {row["item"] for row in client.get("/api/queue?by=image").json()["rows"]}
    assert shown
    assert not shown & items
    assert client.get("/api/queue?category=Hat&by=image").json()["rows"] == []
    assert {row["item"] for row in client.get("/api/queue?by=image&whose=all").json()["rows"]} == shown | items
    one = next(iter(items))
    assert [row["item"] for row in client.get(f"/api/queue?by=image&image={one}").json()["rows"]] == [one]
    assert client.post("/api/assignments", json={"person": "Anna", "filters": "order=run"}).status_code == 400
    ben.click("#people")
    ben.click("#assignments button")
    expect(ben.locator("#assignments")).to_contain_text("None.")
    assert len(client.get("/api/queue?by=image").json()["rows"]) == len(shown | items)


@pytest.mark.parametrize(
    "sent",
    [
        [],
        {"page": ""},
        {"page": "a", "items": ["1"]},
        {"page": "a", "items": [1] * 201},
        {"page": "a", "open": 2**60},
    ],
)
def test_a_wish_that_is_none_is_refused(steady, sent):
    assert steady.client().post("/api/claims", json=sent).status_code == 400
    assert httpx.get(f"{steady.url}/api/people?zone=2000").status_code == 400
