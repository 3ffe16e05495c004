"""The review page in a real browser: keys, mouse, two reviewers at once, and a server that goes away."""

import re
import time

import pytest
from patience import HANGS
from playwright.sync_api import expect

CURRENT = (
    "SELECT i.key, k.verdict, k.label, k.author FROM cataloger_corrected h "
    "JOIN cataloger_correction k ON k.id = h.correction_id JOIN cataloger_item i ON i.id = h.item_id ORDER BY k.id"
)

pytestmark = pytest.mark.slow

PICTURE_IS_DRAWN = """() => {
    const picture = document.getElementById("picture");
    return picture.complete && picture.naturalWidth > 0;
}"""

THUMBNAILS_DRAWN = """() =>
    [...document.querySelectorAll("#list img")].filter((image) => image.complete && image.naturalWidth).length
"""

NAMES = """() => [...document.querySelectorAll("#list li")].map((each) => each.getAttribute("aria-label")).join()"""

UNNAMED = """() =>
    [...document.querySelectorAll("button, input, select")].filter(
        (each) => !each.textContent.trim() && !each.ariaLabel && !(each.labels && each.labels.length),
    ).length
"""

SCROLL_DOWN = """() => {
    scrollTo(0, document.body.scrollHeight);
    return document.getElementById("end").innerText;
}"""

# How many images are laid out at once, and how much scrolling over all of them changes in the document.
SCROLLED = """() => new Promise((done) => {
    let changes = 0, most = 0;
    new MutationObserver((records) => { changes += records.length; }).observe(document.getElementById("list"), {
        childList: true, subtree: true, attributes: true, characterData: true,
    });
    const parts = [...document.querySelectorAll("#list .says")];
    const step = () => {
        most = Math.max(most, parts.filter((part) => part.checkVisibility({contentVisibilityAuto: true})).length);
        scrollBy(0, -5000);
        if (scrollY > 0) requestAnimationFrame(step);
        else done({changes, most});
    };
    requestAnimationFrame(step);
})"""

# WCAG 2.2, contrast ratio of two colours.
PALE_TEXTS = """() => {
    const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    const luminance = (colour) => {
        const [red, green, blue] = colour.match(/[\\d.]+/g).map((x) => linear(x / 255));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const contrast = (node) => {
        const pair = [getComputedStyle(node).color, ground(node)].map(luminance).sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    };
    return [...document.querySelectorAll("p, span, button, label, summary, a, h1, input, select")]
        .filter((node) => node.textContent.trim() && node.checkVisibility() && contrast(node) < 4.5)
        .map((node) => node.outerHTML.slice(0, 80));
}"""


@pytest.fixture
def page(served, open_page):
    return open_page(served.url)


def saved(page):
    """Wait until nothing is on its way any more."""
    expect(page.locator("#saving")).to_have_text("")


def come_to_pass(page, condition):
    """Wait for something while the page goes on."""
    deadline = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        page.wait_for_timeout(100)


def key_of(page):
    return page.inner_text("#key")


def test_a_key_accepts_and_goes_on(served, page):
    first, label = key_of(page), page.inner_text("#answers li:first-child .label")
    page.keyboard.press("a")
    saved(page)
    assert served.rows(CURRENT) == [(first, "label", label, "anna")]
    assert key_of(page) != first
    progress = "1 of 21 reviewed, 1 by you; the model agrees with you on 100% of 1"
    expect(page.locator("#progress")).to_contain_text(progress)


def test_a_number_chooses_a_category(served, page):
    first, label = key_of(page), page.inner_text("#answers li:nth-child(2) .label")
    page.keyboard.press("2")
    saved(page)
    assert served.rows(CURRENT) == [(first, "label", label, "anna")]


def test_a_category_is_searched_and_picked(served, page):
    first = key_of(page)
    page.keyboard.press("/")
    page.keyboard.type("shoe")
    labels = ["Casual shoes", "Formal shoes", "Sports shoes"]
    come_to_pass(page, lambda: page.locator("#found .label").all_inner_texts()[:3] == labels)
    page.keyboard.press("ArrowDown")
    picked = page.inner_text("#found li[aria-selected=true] .label")
    page.keyboard.press("Enter")
    saved(page)
    assert served.rows(CURRENT) == [(first, "label", picked, "anna")]
    expect(page.locator("#found")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("DRESS")
    page.locator("#found li").first.click()
    saved(page)
    assert [row[2] for row in served.rows(CURRENT)] == [picked, "Dress"]


@pytest.fixture
def without_labels(page):
    """The page whose categories have not arrived; their request is in the list."""
    waiting = []
    page.route("**/api/categories/*", lambda route: waiting.append(route))
    page.reload()
    expect(page.locator("#answers li")).to_have_count(5)  # before that no key does anything
    return waiting


def search(page, text):
    """Search for a category before the categories have arrived."""
    page.keyboard.press("/")
    page.keyboard.type(text)
    expect(page.locator("#found li")).to_have_text("the categories are still loading")


def test_categories_that_come_late_are_found_by_what_was_typed_before(page, without_labels):
    search(page, "fedora")
    without_labels.pop().continue_()
    expect(page.locator("#found li .label")).to_have_text(["Hat"])


def test_enter_before_the_categories_have_come_picks_once_they_have(served, page, without_labels):
    first = key_of(page)
    search(page, "dress")
    page.keyboard.press("Enter")
    assert key_of(page) == first
    without_labels.pop().continue_()
    expect(page.locator("#found")).to_be_hidden()
    saved(page)
    assert served.rows(CURRENT) == [(first, "label", "Dress", "anna")]


@pytest.mark.parametrize("key", ["x", "Escape"])
def test_enter_before_the_categories_have_come_is_taken_back_by_what_is_typed_after_it(
    served, page, without_labels, key
):
    search(page, "dress")
    for each in ("Enter", key, "Backspace" if key == "x" else "/"):
        page.keyboard.press(each)
    without_labels.pop().continue_()
    expect(page.locator("#found li").first).not_to_contain_text("loading")
    assert served.rows(CURRENT) == []


def test_categories_that_could_not_be_read_are_asked_for_again(page, without_labels):
    search(page, "fedora")
    without_labels.pop().abort()
    come_to_pass(page, lambda: without_labels)
    without_labels.pop().continue_()
    expect(page.locator("#found li .label")).to_have_text(["Hat"])
    assert all("ERR_FAILED" in complaint for complaint in page.complaints)
    page.complaints.clear()


def test_not_a_product_and_skip(served, page):
    first = key_of(page)
    page.keyboard.press("s")
    second = key_of(page)
    page.keyboard.press("n")
    saved(page)
    assert first != second
    assert served.rows(CURRENT) == [(second, "not_product", None, "anna")]


def test_undo_takes_back_and_restores_the_word_before(served, page):
    first = key_of(page)
    page.keyboard.press("2")
    saved(page)
    label = served.rows(CURRENT)[0][2]
    page.locator("#list li").first.click()
    page.keyboard.press("n")
    saved(page)
    page.keyboard.press("u")
    saved(page)
    assert served.rows(CURRENT) == [(first, "label", label, "anna")]
    page.keyboard.press("u")
    saved(page)
    assert served.rows(CURRENT) == []
    verdicts = served.rows("SELECT verdict FROM cataloger_correction ORDER BY id")
    assert verdicts == [("label",), ("not_product",), ("label",), ("withdrawn",)]


def test_a_key_held_down_says_one_word(served, page):
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    saved(page)
    assert len(served.rows(CURRENT)) == 1


def test_everything_works_with_the_mouse_and_a_click_does_not_stay_on_its_button(served, page):
    first = key_of(page)
    page.click("#not-product")
    second = key_of(page)
    page.keyboard.press("a")
    page.click("#answers li:nth-child(3) button")
    saved(page)
    found = served.rows(CURRENT)
    assert [row[1] for row in found] == ["not_product", "label", "label"]
    assert [row[0] for row in found[:2]] == [first, second]
    page.click("#undo")
    page.click("#skip")
    saved(page)
    assert len(served.rows(CURRENT)) == 2
    page.keyboard.press("Enter")  # decides, and does not skip once more
    saved(page)
    assert len(served.rows(CURRENT)) == 3


def test_a_selection_is_accepted_each_with_its_own_category(served, page):
    items = page.locator("#list li")
    items.nth(2).locator(".tick").click()
    items.nth(6).click(modifiers=["Shift"])
    expect(page.locator("#selected")).to_contain_text("5 selected")
    chosen = page.locator("#list li[aria-selected=true] .says").all_inner_texts()
    expected = [text.rsplit(" ", 1)[0] for text in chosen]
    page.click("#accept-selected")
    saved(page)
    assert [row[2] for row in served.rows(CURRENT)] == expected
    page.keyboard.press("u")
    saved(page)
    assert served.rows(CURRENT) == []


def test_a_whole_selection_gets_one_category(served, page):
    page.keyboard.press("Control+a")
    page.click("#set-selected")
    page.keyboard.type("dress")
    expect(page.locator("#found li .label").first).to_have_text("Dress")
    page.keyboard.press("Enter")
    saved(page)
    assert {row[2] for row in served.rows(CURRENT)} == {"Dress"}
    assert len(served.rows(CURRENT)) == 21
    expect(page.locator("#progress")).to_contain_text("21 of 21")


def test_filters_stand_in_the_address_and_survive_a_reload(served, page):
    for typed, address in (("t-shirt", "category=T-shirt"), ("accept", "decision=accept"), ("95%", "below=0.95")):
        page.keyboard.press("f")
        page.keyboard.type(typed)
        expect(page.locator("#filter-list li").first).to_contain_text(typed, ignore_case=True)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(re.escape(address)))
        expect(page.locator("#end")).to_have_text("End of the queue.")
    address, _, query = page.url.partition("?")
    assert address == f"{served.url}/"
    assert sorted(query.split("&")) == ["below=0.95", "by=image", "category=T-shirt", "decision=accept"]
    texts = page.locator("#list .says").all_inner_texts()
    assert texts
    assert all(text.startswith("T-shirt ") for text in texts)
    page.reload()
    expect(page.locator("#list li")).to_have_count(len(texts))
    chips = page.locator("#chips li")
    expect(chips).to_have_count(3)
    for text in ("category T-shirt", "accept", "95%"):
        expect(chips.filter(has_text=text)).to_have_count(1)
    page.click("#chips li:first-child button")
    expect(page.locator("#chips li")).to_have_count(2)


def test_a_map_shows_while_a_category_is_pointed_at(page):
    heat = page.locator("#heat")
    page.hover("#answers li:nth-child(2) button")
    expect(heat).to_have_attribute("src", re.compile(r"^/map/\d+/2\.png"))
    expect(heat).to_be_visible()
    assert page.evaluate(PICTURE_IS_DRAWN)
    page.hover("h1")
    expect(heat).to_be_hidden()
    page.keyboard.press("m")
    expect(page.locator("#map")).to_have_attribute("aria-pressed", "true")


def test_a_picture_that_is_gone_is_explained(served, page):
    served.change("UPDATE cataloger_item SET key = 'gone.png', uri = '/gone.png' WHERE key = 'winter-hat.png'")
    page.reload()
    page.locator("#list li", has=page.locator(".says", has_text="Hat 32%")).click()
    expect(page.locator("#no-picture")).to_contain_text("No image:")
    page.hover("#answers li:first-child button")
    expect(page.locator("#no-picture")).to_contain_text("No map:")
    assert all("404" in complaint for complaint in page.complaints)
    page.complaints.clear()


def without_claims(page):
    """Have a page go on without learning what others have, as it does while that cannot be recorded."""
    page.route("**/api/claims", lambda route: route.fulfill(status=503, body="the database is locked"))
    page.reload()
    expect(page.locator("#answers li")).to_have_count(5)
    page.complaints[:] = [each for each in page.complaints if "503" not in each]


def test_two_reviewers_at_once_and_the_later_one_decides_with_open_eyes(served, open_page):
    anna, ben = (open_page(served.url, name=name) for name in ("Anna", "Ben Ö"))
    without_claims(ben)
    first = key_of(anna)
    assert key_of(ben) == first
    anna.keyboard.press("a")
    saved(anna)
    ben.keyboard.press("n")
    expect(ben.locator("#conflicts p")).to_contain_text(f"{first}: Anna chose")
    assert [row[3] for row in served.rows(CURRENT)] == ["Anna"]
    ben.click("#conflicts button:has-text('Use mine')")
    saved(ben)
    expect(ben.locator("#conflicts")).to_be_hidden()
    assert served.rows(CURRENT) == [(first, "not_product", None, "Ben Ö")]
    anna.keyboard.press("u")
    expect(anna.locator("#conflicts p")).to_contain_text("Ben Ö chose not a product; you withdrew it")
    expect(anna.locator("#conflicts .who")).to_have_text(["Ben Ö", "you"])
    anna.click("#conflicts button:has-text('Keep theirs')")
    expect(anna.locator("#conflicts")).to_be_hidden()
    assert served.rows(CURRENT) == [(first, "not_product", None, "Ben Ö")]
    ben.close()  # after which it asks for nothing more
    ben.complaints[:] = [each for each in ben.complaints if "503" not in each]


def test_words_wait_for_a_server_that_is_away_and_leaving_warns(catalog, serve, open_page):
    with serve(catalog) as running:
        page = open_page(running.url)
        port = running.authority.split(":")[1]
        running.stop()
    for key in ("a", "2", "n"):
        page.keyboard.press(key)
    expect(page.locator("#saving")).to_contain_text("3 corrections are not saved yet, trying again")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    come_to_pass(page, lambda: asked)
    assert asked == ["beforeunload"]
    with serve(catalog, "--port", port) as running:  # its pages have another token against forgery
        expect(page.locator("#saving")).to_have_text("")
        assert [row[1] for row in running.rows(CURRENT)] == ["label", "label", "not_product"]
        page.close()  # it would go on asking what others have
    assert all("ERR_CONNECTION" in text or "403" in text or "ERR_EMPTY" in text for text in page.complaints)
    page.complaints.clear()


def test_more_than_a_thousand_images_scroll_with_little_work(served, open_page):
    served.copy_rows(60)
    page = open_page(served.url)
    assert page.locator("#list li").count() < 400
    page.wait_for_load_state("networkidle")
    # How many are drawn while scrolling depends on how long the page stays where; before, on what is near the window.
    assert 0 < page.evaluate(THUMBNAILS_DRAWN) < 0.7 * page.locator("#list li").count()
    come_to_pass(page, lambda: page.evaluate(SCROLL_DOWN) == "End of the queue.")
    assert page.locator("#list li").count() == 21 * 61
    scrolled = page.evaluate(SCROLLED)
    assert scrolled["changes"] == 0
    assert 0 < scrolled["most"] < 200
    page.keyboard.press("Control+a")
    page.keyboard.press("Enter")
    expect(page.locator("#saving")).to_have_text("")
    assert len(served.rows(CURRENT)) == 21 * 61


def test_hostile_names_do_nothing_but_show(served, page):
    page.locator("#list li", has_text="Hat").first.click()
    served.change("UPDATE cataloger_result SET label_1 = '<img src=x onerror=alert(1)>' || id")
    page.on("dialog", lambda dialog: page.complaints.append("a dialog opened"))
    page.reload()
    expect(page.locator("#answers li:first-child .label").first).to_contain_text("<img src=x")
    assert page.locator("img[src=x]").count() == 0
    names = page.evaluate(NAMES)
    assert "\u202e" not in names
    assert "onerror" in names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_and_nothing_is_wider_than_a_phone(served, open_page, scheme):
    page = open_page(served.url, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    page.keyboard.press("x")
    page.locator("#accept").tap()
    saved(page)
    assert len(served.rows(CURRENT)) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(PALE_TEXTS) == []


def test_the_whole_page_is_reached_by_keyboard_and_has_names(page):
    names = set()
    for _ in range(50):
        page.keyboard.press("Tab")
        names.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"who", "help", "accept", "not-product", "skip", "undo", "map", "search", "select-all", "LI"} <= names
    assert page.evaluate(UNNAMED) == 0
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


def test_the_page_says_what_labels_for_adapting_are_worth(adapting, open_page):
    page = open_page(adapting.first)
    expect(page.locator("#adapting")).to_have_text("Measured after each 20 labels; 0 so far.")
    page.keyboard.press("a")  # where the model abstains, Enter says that it is no product
    saved(page)
    expect(page.locator("#adapting")).to_have_text("Measured after each 20 labels; 1 so far.")
    expect(page.locator("#progress")).to_contain_text("1 of 21 reviewed")
