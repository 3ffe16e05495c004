"""The page of a report in a real browser: offline, on a phone, on paper, in the dark, by keyboard."""

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load(TESTS / "cli" / "test_report.py")

pytestmark = pytest.mark.slow

# The contrast of every text with what lies behind it (WCAG 2.2, 1.4.3), the least of all.
CONTRAST = """
() => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const node of document.querySelectorAll("body *")) {
    const words = [...node.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(" ").trim();
    if (!words) continue;
    const style = getComputedStyle(node), svg = node.ownerSVGElement;
    const text = light(parse(svg ? style.fill : style.color)), back = light(behind(node));
    const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    if (contrast < worst[0]) worst = [contrast, words];
  }
  return worst;
}
"""


@pytest.fixture(scope="module", params=["hostile", "examples", "reviewed"])
def path(request):
    """A page of each kind; the fixtures of the other file make them."""
    return request.getfixturevalue(request.param)


hostile, examples, reviewed = pages.hostile, pages.examples, pages.reviewed


def opened(new_page, path, **options):
    """Open a page without a network; return it and everything that it complained of or asked for."""
    page = new_page(offline=True, **options)
    noted = []
    page.on("console", lambda message: noted.append(message.text))
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("dialog", lambda dialog: (noted.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: noted.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(path.as_uri())
    assert noted.pop(0) == path.as_uri()
    return page, noted


@pytest.mark.parametrize("has_scripts", [True, False])
def test_it_opens_offline_and_shows_its_pictures_with_and_without_scripts(new_page, path, has_scripts):
    page, noted = opened(new_page, path, java_script_enabled=has_scripts)
    assert noted == []
    assert page.locator("h1").is_visible()
    assert page.locator("img").count() > 5
    if has_scripts:
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_sticks_out_to_the_side(new_page, path, width):
    page, _ = opened(new_page, path, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_text_stands_out_from_its_background(new_page, path, scheme, media):
    page, _ = opened(new_page, path, color_scheme=scheme)
    page.emulate_media(media=media, color_scheme=scheme)
    contrast, words = page.evaluate(CONTRAST)
    assert contrast >= 4.5, words


def test_every_link_is_reached_by_tab_and_seen_to_be(new_page, path):
    page, _ = opened(new_page, path)
    page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
    stops = page.locator("a, summary, input, button, [tabindex='0']").count()
    for _ in range(stops):
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.dataset.reached = 1")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator("[data-reached]").count() == stops


def test_it_prints(new_page, path):
    page, _ = opened(new_page, path)
    assert page.pdf(format="A4").startswith(b"%PDF")
