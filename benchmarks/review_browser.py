"""How long a reviewer waits in a real browser: for the page, and for the next image after a key.

    python benchmarks/review_browser.py FOLDER [--db photos.db] [--images 5000]

The images of a folder are tagged, unless the database is there already; then `cataloger review` serves a copy of it,
and Chromium opens it with an empty cache. A page is there when its large picture is drawn, and complete when all
thumbnails in sight are, too. A key has been answered when the picture of the next image is drawn: measured in the
page, from the time stamp of the key to the frame after the picture was decoded. Keys come so many seconds after the
last answer, each interval with images that have not been shown before.
Printed: milliseconds, the median, the 95th percentile and the longest. Needs playwright, and chromium on the path.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from million_rows import run
from playwright.sync_api import Browser, Page, sync_playwright
from review_rows import serving

ITEMS = 100
LOADS = 5
INTERVALS = {0.25: "", 0.0: "order=category"}
"""Seconds between keys, and which images; two reviewers have others again."""
TOGETHER = ("decision=accept", "decision=accept&order=category")
KEYS = {"accept": "a", "choose the second": "2", "skip": "s", "undo": "u"}

IS_DRAWN = """() => {
    const picture = document.getElementById("picture");
    return picture.src && picture.complete && picture.naturalWidth > 0;
}"""
IS_COMPLETE = """() => [...document.querySelectorAll("#list img")].every(
    (image) => image.getBoundingClientRect().top > innerHeight || (image.complete && image.naturalWidth > 0),
)"""
# Answers when the picture after the next key is drawn.
WATCH = """() => {
    window.waited = new Promise((done) => addEventListener("keydown", ({timeStamp}) => {
        const picture = document.getElementById("picture"), before = picture.src;
        const look = () => {
            if (picture.src === before || !picture.complete || !picture.naturalWidth) requestAnimationFrame(look);
            else picture.decode().then(() => requestAnimationFrame((now) => done(now - timeStamp)));
        };
        requestAnimationFrame(look);
    }, {once: true, capture: true}));
}"""


def main() -> None:
    """Tag, serve, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--db", type=Path, help="file of the tagged images; made if it is not there")
    parser.add_argument("--images", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.db or Path(folder, "tagged.db")
        if not kept.exists():
            run(
                "tag", arguments.folder, "--db", f"sqlite:///{kept.resolve()}", "--limit", str(arguments.images), "-q"
            )
        copy = shutil.copy(kept, Path(folder, "copy.db"))
        with serving(f"sqlite:///{copy}") as (address, _), chromium() as browser:
            print(f"{'milliseconds':40} median     95%  longest", flush=True)
            load(browser, address)
            work(browser, address)
            work_together(browser, address)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Browser, address: str) -> tuple[Page, float, float]:
    """Open the page with an empty cache; return it, and milliseconds until it was there, and complete."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(address)
    since = "performance.now()"
    page.wait_for_function(IS_DRAWN)
    drawn = float(page.evaluate(since))
    page.wait_for_function(IS_COMPLETE)
    return page, drawn, float(page.evaluate(since))


def load(browser: Browser, address: str) -> None:
    """Time the page, the first time and when the server has drawn its pictures before."""
    times = []
    for _ in range(1 + LOADS):
        page, drawn, complete = opened(browser, address)
        times.append((drawn, complete))
        page.context.close()
    show("the page, for the first reviewer", [times[0][0]])
    show("... complete", [times[0][1]])
    show("the page, later", [drawn for drawn, _ in times[1:]])
    show("... complete", [complete for _, complete in times[1:]])


def work(browser: Browser, address: str) -> None:
    """Time each key at each interval."""
    for interval, query in INTERVALS.items():
        page, _, _ = opened(browser, f"{address}/?{query}")
        for name, key in KEYS.items():
            show(f"{name}, {interval} s between", pressed([page], key, interval))
        page.context.close()


def work_together(browser: Browser, address: str) -> None:
    """Time two reviewers who accept at the same moment."""
    pages = [opened(browser, f"{address}/?{query}")[0] for query in TOGETHER]
    for interval in INTERVALS:
        show(f"two reviewers accept, {interval} s between", pressed(pages, KEYS["accept"], interval))


def pressed(pages: list[Page], key: str, interval: float) -> list[float]:
    """Press a key in all pages, many times; return what each waited."""
    waited = []
    for _ in range(ITEMS):
        pages[0].wait_for_timeout(1000 * interval)
        for page in pages:
            page.evaluate(WATCH)
        for page in pages:
            page.keyboard.press(key)
        waited += [float(page.evaluate("window.waited")) for page in pages]
    return waited


def show(name: str, milliseconds: list[float]) -> None:
    """Print one line of the table."""
    ordered = sorted(milliseconds)
    figures = statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]
    print(f"{name:40} " + " ".join(f"{each:7.0f}" for each in figures), flush=True)


if __name__ == "__main__":
    main()
