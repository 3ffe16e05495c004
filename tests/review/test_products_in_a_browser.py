"""Products in a real browser: one answer for all images, one that differs, the survey, and what is to be seen."""

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

CURRENT = (
    "SELECT i.uri, k.verdict, k.label FROM cataloger_corrected h "
    "JOIN cataloger_correction k ON k.id = h.correction_id JOIN cataloger_item i ON i.id = h.item_id ORDER BY i.id"
)
WIDTHS = (1400, 390)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SERIOUS = ("serious", "critical")
VIOLATIONS = {"resultTypes": ["violations"]}
"""Of what is right axe is to collect nothing, which takes most of its time."""


def said(served):
    """Return the names of images with what was said of them."""
    return {uri.rpartition("/")[2]: label or verdict for uri, verdict, label in served.rows(CURRENT)}


def words(served):
    """Return what was said, in order of the words; a product may have one file as two images."""
    return sorted(label or verdict for _, verdict, label in served.rows(CURRENT))


def saved(page):
    expect(page.locator("#saving")).to_have_text("")


def look_at(page, title):
    """Go to the product with a title."""
    for _ in range(6):
        if title in page.inner_text("#title"):
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(title)


@pytest.fixture
def page(served_shop, open_page):
    return open_page(served_shop.first, viewport={"width": 1400, "height": 900})


def test_one_answer_is_for_each_image_of_the_product_that_shows_it(served_shop, page):
    look_at(page, "Three hats")
    expect(page.locator("#key")).to_have_text("eu/hats")
    expect(page.locator("#columns")).to_contain_text("9.5")
    assert page.get_attribute("#shop-link", "href") == "https://shop.example/?id=eu%2Fhats"
    expect(page.locator("#film button")).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("beanie")
    expect(page.locator("#found .label").first).to_have_text("Hat")
    page.keyboard.press("Enter")
    saved(page)
    assert set(said(served_shop).values()) == {"Hat"}
    assert set(said(served_shop)) >= {"red-fedora.png", "sombrero.png"}
    expect(page.locator("#progress")).to_contain_text("1 of 4 reviewed")
    page.keyboard.press("u")
    saved(page)
    assert said(served_shop) == {}


def test_an_image_that_differs_gets_an_answer_of_its_own(served_shop, page):
    look_at(page, "Black T-shirt")
    other = page.locator("#film button[aria-label*='sunglasses'], #film button").nth(2)
    other.click()
    expect(page.locator("#about")).to_contain_text("this image alone")
    page.keyboard.press("n")
    saved(page)
    assert list(said(served_shop).values()) == ["not_product"]
    look_at(page, "Black T-shirt")
    page.keyboard.press("a")
    saved(page)
    assert sorted(said(served_shop).values()) == ["T-shirt", "T-shirt", "not_product"]


def test_categories_stand_below_those_of_the_label_map(page):
    page.keyboard.press("/")
    expect(page.locator("#found .branch")).to_have_text(["10", "20"])
    page.keyboard.type("tees")
    expect(page.locator("#found li")).to_have_count(1)
    expect(page.locator("#found .hint")).to_have_text("Tees")


def test_recent_choices_have_keys(served_shop, page):
    page.keyboard.press("/")
    page.keyboard.type("Saree")
    page.keyboard.press("Enter")
    saved(page)
    expect(page.locator("#recent .label")).to_have_text(["Saree"])
    page.keyboard.press("6")
    saved(page)
    assert set(said(served_shop).values()) == {"Saree"}


def test_the_picture_fills_the_screen_and_nothing_moves_for_the_next_one(page):
    def places():
        names = ("#stage", "#accept", "#not-product", "#answers", "#skip", "#undo", "#search")
        return [page.locator(name).bounding_box() for name in names]

    before = places()
    assert before[0]["width"] > 700
    assert before[0]["height"] > 480
    for _ in range(3):
        page.keyboard.press("s")
        assert places() == before


def test_no_button_is_too_narrow_for_what_it_says(page):
    page.evaluate("document.querySelector('#not-product kbd').textContent = 'Enter'")  # as where the model abstains
    for width in (1400, 1280, 1216, 1024, 840):
        page.set_viewport_size({"width": width, "height": 820})
        cut = "(all) => all.filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.innerText)"
        assert page.eval_on_selector_all("#not-product, .actions button, #not-product span", cut) == [], width


def test_full_size_by_key_click_and_drag(page):
    frame = page.locator("#frame")
    page.keyboard.press("z")
    expect(frame).to_have_attribute("style", re.compile("scale"))
    expect(page.locator("#picture")).to_have_attribute("src", re.compile("/2048.jpg"))
    before = frame.get_attribute("style")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=4)
    page.mouse.up()
    assert frame.get_attribute("style") != before
    page.keyboard.press("Escape")
    expect(frame).not_to_have_attribute("style", re.compile("scale"))
    page.mouse.click(box["x"] + 300, box["y"] + 200)
    expect(frame).to_have_attribute("style", re.compile("scale"))


def test_a_survey_accepts_all_but_what_is_clicked_and_takes_it_back(served_shop, open_page):
    page = open_page(f"{served_shop.url}/?view=survey&by=image&category=Hat")
    many = page.locator("#list li").count()
    assert many >= 2
    page.locator("#list li").first.click()
    expect(page.locator("#accept-rest")).to_contain_text(f"Accept the other {many - 1} as Hat")
    page.keyboard.press("Enter")
    saved(page)
    assert words(served_shop) == ["Hat"] * (many - 1)
    page.keyboard.press("u")
    saved(page)
    assert said(served_shop) == {}
    expect(page.locator("#list li")).to_have_count(many)
    page.keyboard.press("Enter")
    saved(page)
    page.click("#to-marked")
    expect(page.locator("#work")).to_be_visible()
    page.keyboard.press("n")
    saved(page)
    assert words(served_shop) == ["Hat"] * (many - 1) + ["not_product"]


def test_a_picture_of_a_survey_is_looked_at_in_full_size_and_not_marked(served_shop, open_page):
    page = open_page(f"{served_shop.url}/?view=survey&by=image&category=Hat", viewport={"width": 1400, "height": 900})
    cards, frame, look = page.locator("#list li"), page.locator("#frame"), page.locator("#look")
    assert cards.count() >= 2
    page.keyboard.press("z")
    expect(look).to_be_visible()
    expect(frame).to_have_attribute("style", re.compile("scale"))
    expect(page.locator("#picture")).to_have_attribute("src", re.compile("/2048.jpg"))
    before, box = frame.get_attribute("style"), page.locator("#stage").bounding_box()
    assert box["width"] > 1300
    page.mouse.move(box["x"] + 700, box["y"] + 400)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, box["y"] + 350, steps=4)
    page.mouse.up()
    assert frame.get_attribute("style") != before
    first = page.inner_text("#look-name")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#look-name")).not_to_have_text(first)
    page.keyboard.press("Enter")  # accepts nothing while one picture is looked at
    expect(frame).to_have_attribute("style", re.compile("scale"))
    assert complaints(page) == []
    page.keyboard.press("Escape")
    expect(look).to_be_hidden()
    expect(cards.nth(1)).to_be_focused()
    cards.first.hover()
    page.keyboard.press("l")
    expect(page.locator("#look-name")).to_have_text(first)
    expect(page.locator("#picture")).to_be_visible()
    assert not re.search("scale", frame.get_attribute("style") or "")
    page.mouse.move(700, 450)
    expect(page.locator("#lens")).to_be_visible()
    page.keyboard.press("z")
    expect(look).to_be_hidden()
    assert page.locator("#list li[aria-selected=true]").count() == 0
    assert said(served_shop) == {}
    expect(page.locator("#work #stage")).to_have_count(1)


def test_a_finger_held_on_a_picture_of_a_survey_sees_it_in_full_size(served_shop, open_page):
    page = open_page(f"{served_shop.url}/?view=survey&by=image&category=Hat", **PHONE)
    card, look, session = page.locator("#list li").nth(1), page.locator("#look"), page.context.new_cdp_session(page)
    box = card.bounding_box()
    finger = {"x": box["x"] + 40, "y": box["y"] + 40}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [finger]})
    expect(look).to_be_visible()
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#frame")).to_have_attribute("style", re.compile("scale"))
    expect(look).to_be_visible()
    assert complaints(page) == []
    page.locator(".look-bar button").tap()
    expect(look).to_be_hidden()
    assert page.locator("#list li[aria-selected=true]").count() == 0
    card.tap()
    expect(card).to_have_attribute("aria-selected", "true")
    expect(look).to_be_hidden()
    assert said(served_shop) == {}


@pytest.fixture
def hats(served_shop, open_page, monkeypatch):
    """A survey of hats, two of them on a page."""
    monkeypatch.setattr("cataloger.review_queue.queue.IMAGES_PER_PAGE", 2)
    page = open_page(f"{served_shop.url}/?view=survey&by=image&category=Hat")
    expect(page.locator("#list li")).to_have_count(2)
    return page


def names(page):
    return page.locator("#list li").evaluate_all("(all) => all.map((each) => each.dataset.item)")


def test_a_page_of_the_survey_that_is_taken_back_is_as_it_was(served_shop, hats):
    first = names(hats)
    hats.keyboard.press("x")
    expect(hats.locator("#accept-rest")).to_contain_text("Accept the other 1 as Hat")
    hats.keyboard.press("Enter")
    saved(hats)
    expect(hats.locator(f"#list li[data-item='{first[0]}']")).to_have_count(0)
    expect(hats.locator("#list li").first).to_be_visible()
    second = names(hats)
    assert second
    assert not set(first) & set(second)
    hats.keyboard.press("u")
    saved(hats)
    expect(hats.locator(f"#list li[data-item='{first[0]}']")).to_have_count(1)
    assert names(hats) == first
    assert said(served_shop) == {}
    expect(hats.locator("#list li").first.locator(".word")).to_have_text("wrong")
    hats.keyboard.press("x")  # the keys work on it at once: it is not wrong after all
    expect(hats.locator("#accept-rest")).to_contain_text("Accept all 2 as Hat")
    hats.keyboard.press("Enter")
    saved(hats)
    expect(hats.locator(f"#list li[data-item='{second[0]}']")).to_have_count(1)
    assert names(hats) == second
    assert set(said(served_shop).values()) == {"Hat"}
    expect(hats.locator("#to-marked")).to_be_hidden()


def test_what_stands_beside_the_field_of_filters_is_chosen_in_it_too(served_shop, open_page):
    page = open_page(f"{served_shop.url}/?category=Hat")
    page.evaluate("localStorage.setItem('cataloger-views', JSON.stringify([['Mine', 'category=T-shirt']]))")
    page.keyboard.press("f")
    expect(page.locator("#filter-list li").first).to_contain_text("decision")
    page.keyboard.type("order by cat")
    expect(page.locator("#filter-list li").first).to_have_text("order by category")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("category=Hat.*order=category|order=category.*category=Hat"))
    expect(page.locator("#list li").first).to_be_visible()
    page.keyboard.press("f")
    page.keyboard.type("mine")
    expect(page.locator("#filter-list li").first).to_have_text("saved view Mine")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/\?category=T-shirt$"))


def test_the_end_of_a_queue_is_said_with_what_is_left(served_shop, page):
    expect(page.locator("#list li")).to_have_count(4)
    page.keyboard.press("s")
    for _ in range(3):
        page.keyboard.press("n")
    saved(page)
    expect(page.locator("#over")).to_contain_text("This was the last one.")
    page.click("#over button")
    expect(page.locator("#over")).to_be_hidden()
    page.keyboard.press("n")
    saved(page)
    expect(page.locator("#over")).to_contain_text("This queue is done.")
    page.goto(served_shop.url)
    expect(page.locator("#end")).to_contain_text("Nothing here to review.")
    page.click("#end a")
    expect(page.locator("#list li")).to_have_count(4)


def test_who_types_is_not_moved_on_when_somebody_else_takes_the_product(served_shop, page):
    taken = page.inner_text("#key")

    def take(route):
        answer = route.fetch()
        current = json.loads(route.request.post_data)["open"]
        if current is None or page.evaluate("document.getElementById('key').textContent") != taken:
            route.fulfill(response=answer)
        else:
            route.fulfill(json={**answer.json(), "taken": [[current, "Ben"]]})

    page.keyboard.press("/")
    page.keyboard.type("ba")
    page.route("**/api/claims", take)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#said")).to_have_text(f"{taken}: Ben has it")
    page.keyboard.type("n")
    expect(page.locator("#search")).to_be_focused()
    assert page.input_value("#search") == "ban"
    page.fill("#search", "beanie")
    page.keyboard.press("Enter")
    expect(page.locator("#key")).not_to_have_text(taken)
    expect(page.locator("#search")).to_have_value("")
    saved(page)
    assert said(served_shop) == {}


def test_a_view_is_saved_and_opened_again(served_shop, open_page):
    page = open_page(f"{served_shop.url}/?category=Hat")
    page.click("#saved")
    page.fill("#saved-name", "Hats of today")
    page.keyboard.press("Enter")
    page.goto(served_shop.url)
    page.click("#saved")
    page.click("#saved-list a")
    page.wait_for_url(re.compile("category=Hat"))


def test_a_phone_saves_a_view_and_nothing_is_cut_off_at_its_top(served_shop, open_page):
    page = open_page(f"{served_shop.url}/?category=Hat", name="Christina-Maria", **PHONE)
    tops = page.eval_on_selector_all("#views, #people, #who, #help", "(all) => all.map((each) => each.offsetTop)")
    assert max(tops) - min(tops) < 10
    left = page.evaluate("document.getElementById('people').getBoundingClientRect().left")
    assert left >= page.evaluate("document.getElementById('views').getBoundingClientRect().right")
    page.tap("#filter")
    page.fill("#filter", "saved view")
    box = page.locator("#filter-list").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.locator("#filter-list li", has_text="save or remove").tap()
    page.fill("#saved-name", "My hats")
    page.tap("#saved-views button[value=save]")
    page.wait_for_function("() => localStorage.getItem('cataloger-views')?.includes('My hats')")
    page.fill("#filter", "my hats")
    expect(page.locator("#filter-list li").first).to_have_text("saved view My hats")


def test_a_finger_swipes_and_sees_no_keys(served_shop, open_page):
    page = open_page(served_shop.url, **PHONE, color_scheme="dark")
    expect(page.locator("#accept kbd")).to_be_hidden()
    before = page.inner_text("#title")
    swipe(page, -150)
    expect(page.locator("#title")).not_to_have_text(before)
    swipe(page, 150)
    saved(page)
    assert said(served_shop)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


SMALL = """(all) => all.filter((each) => each.checkVisibility() && !each.closest("dialog:not([open]), .facts")).map(
    (each) => [each.id || each.innerText, each.getBoundingClientRect()]).filter(
    ([, box]) => box.width < 40 || box.height < 40).map(([name]) => name)"""


@pytest.mark.parametrize("size", [(390, 844), (820, 1180), (1180, 820)])
def test_a_finger_finds_all_it_needs_on_one_screen(served_shop, open_page, size):
    width, height = size
    page = open_page(served_shop.url, viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    for name in ("#stage", "#film", "#answers", "#accept", "#not-product", "#skip", "#undo"):
        box = page.locator(name).bounding_box()
        assert box["y"] + box["height"] <= height, name
    answers, actions = (page.locator(name).bounding_box() for name in ("#answers", ".actions"))
    assert answers["y"] + answers["height"] <= actions["y"] + 1
    assert page.eval_on_selector_all("button, a, input, select", SMALL) == []
    page.click("#to-survey")
    expect(page.locator("#categories a").first).to_be_visible()
    assert page.eval_on_selector_all("button, a, input, select", SMALL) == []


def test_a_finger_scrolls_the_list_of_categories_and_its_tap_chooses_one(served_shop, open_page):
    page = open_page(served_shop.url, viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True)
    page.tap("#search")
    expect(page.locator("#found li").first).to_be_visible()
    move_finger(page, "#found", 0, -120)
    page.wait_for_function("document.getElementById('found').scrollTop > 50")
    assert said(served_shop) == {}
    page.keyboard.type("beanie")
    expect(page.locator("#found li")).to_have_count(1)
    page.locator("#found li").tap()
    saved(page)
    assert set(said(served_shop).values()) == {"Hat"}  # what is below the list is not tapped as well


def swipe(page, distance):
    """Move a finger over the picture, sideways."""
    move_finger(page, "#stage", distance, 0)


def move_finger(page, place, across, down):
    """Touch the middle of something and move the finger."""
    box = page.locator(place).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in range(1, 6):
        points = [{"x": x + across * part / 5, "y": y + down * part / 5}]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_use_it(served_shop, open_page, width, scheme):
    page = open_page(served_shop.url, viewport={"width": width, "height": 860}, color_scheme=scheme)
    page.keyboard.press("/")
    expect(page.locator("#found li").first).to_be_visible()
    found = complaints(page)
    page.goto(f"{served_shop.url}/?view=survey&by=image&category=Hat")
    expect(page.locator("#list li").first).to_be_visible()
    page.locator("#list li").first.click()
    assert found + complaints(page) == []


def complaints(page):
    """Return what axe calls serious, with where it is."""
    found = Axe().run(page, options=VIOLATIONS).response["violations"]
    return [
        json.dumps([each["id"], [node["html"][:120] for node in each["nodes"][:3]]])
        for each in found
        if each["impact"] in SERIOUS
    ]
