"""How many products a minute a person gets through in `cataloger review`, image by image, by product, and otherwise.

    python benchmarks/review_pace.py PHOTOS [--db pace.db] [--products 5000]

The photos of a folder are tagged, unless the database is there already, and become products of three images each.
A scripted person then works by the rules of each mode (image by image was the only one of version 0.1.0), RIGHT of
the model's answers being right, and IN_FIVE more among the best five. What the person needs is not waited for but
added up, by the keystroke-level model (Card, Moran and Newell, 1983): LOOK to make up one's mind, GLANCE at each
picture of a survey, KEY and POINT. What the page needs is measured, from the key to the frame in which the next
product is drawn: milliseconds, the median and the 95th percentile, beside products a minute. Keys come PAUSE after
the last answer. Needs playwright, and chromium on the path.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from million_rows import chunks, run
from playwright.sync_api import Page
from review_browser import IS_DRAWN, WATCH, chromium
from review_rows import serving
from sqlalchemy import Connection, insert, select

from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import CurrentRow, ItemRow, ResultRow

PRODUCTS = 60
PAGES = 10
IMAGES_OF_A_PRODUCT = 3
RIGHT, IN_FIVE = 0.85, 0.12
LOOK, GLANCE, KEY, POINT = 1.35, 0.25, 0.2, 1.1
LETTERS = 4
PAUSE = 0.25

# Answers with the milliseconds until the next page of a survey is there, and until its pictures in sight are drawn.
WATCH_SURVEY = """() => {
    window.waited = new Promise((done) => addEventListener("keydown", ({timeStamp}) => {
        const first = () => document.querySelector("#list li")?.dataset.item, before = first();
        let shown = 0;
        const look = (now) => {
            const tiles = [...document.querySelectorAll("#list li")];
            if (!shown && tiles.length && first() !== before) shown = now - timeStamp;
            const inSight = tiles.map((each) => each.querySelector("img")).filter(
                (image) => image && image.getBoundingClientRect().top < innerHeight);
            if (!tiles.length && document.getElementById("end").textContent) done([0, 0, 0]);  // nothing is left
            else if (shown && inSight.every((image) => image.complete)) done([shown, now - timeStamp, tiles.length]);
            else requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    }, {once: true, capture: true}));
}"""


def main() -> None:
    """Tag, serve, work, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--db", type=Path, help="file of the products; made if it is not there")
    parser.add_argument("--products", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.db or Path(folder, "pace.db")
        if not kept.exists():
            make_products(kept, arguments.folder, arguments.products)
        with serving(f"sqlite:///{kept.resolve()}") as (address, _), chromium() as browser:
            print(f"{'':16} products a minute, median and 95% in milliseconds", flush=True)
            chance = random.Random(1)
            for work in (by_image, by_queue, by_search, by_survey):
                page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
                work(page, address, chance)
                page.context.close()


def make_products(path: Path, folder: str, products: int) -> None:
    """Tag a folder, and make products of three images that show its photos."""
    url = f"sqlite:///{path.resolve()}"
    run("tag", folder, "--db", url, "-q")
    database = open_database(DatabaseURL.parse(url))
    with database.begin() as connection:
        items = {row["id"]: row for row in connection.execute(select(ItemRow.__table__)).mappings()}
        good = select(ResultRow.__table__).where(ResultRow.status == "ok")
        results = connection.execute(good).mappings().all()
        offset = 1 + max(*items, *(row["id"] for row in results))
        for chunk in chunks(iter(range(products * IMAGES_OF_A_PRODUCT))):
            copy_images(connection, items, results, [(offset + number, number) for number in chunk])
    database.close()


def copy_images(connection: Connection, items: Any, results: Any, numbers: list[tuple[int, int]]) -> None:
    """Give the images of products, by (id, number), the photos and answers that were tagged, by turns."""
    rows = []
    for identity, number in numbers:
        product = number // IMAGES_OF_A_PRODUCT
        result = results[product % len(results)]
        item = items[result["item_id"]]
        key = f"{number}/../{item['key']}"  # another name of the same file
        names = {"key": key, "key_hash": key_hash(key), "product_key": f"sku-{product}"}
        item = {**item, "id": identity, **names, "product_hash": key_hash(f"sku-{product}")}
        pointer = {"item_id": identity, "weights_id": result["weights_id"]}
        pointer |= {"result_id": identity, "latest_id": identity}
        rows.append((item, {**result, "id": identity, "item_id": identity}, pointer))
    for table, values in zip((ItemRow, ResultRow, CurrentRow), zip(*rows, strict=True), strict=True):
        connection.execute(insert(table), list(values))


def opened(page: Page, address: str) -> None:
    """Open the page and wait for its first picture."""
    page.goto(address)
    page.wait_for_function(IS_DRAWN)


def by_image(page: Page, address: str, chance: random.Random) -> None:
    """Decide about one image after the other, as many as a product has for each product."""
    decide(page, f"{address}/?by=image&decision=accept&order=product", chance, "image by image", IMAGES_OF_A_PRODUCT)


def by_queue(page: Page, address: str, chance: random.Random) -> None:
    """Decide about one product after the other."""
    decide(page, f"{address}/?by=product&decision=accept", chance, "queue", 1)


def decide(page: Page, address: str, chance: random.Random, name: str, times: int) -> None:
    """Accept, choose one of the best five, or search; so many times a product."""
    opened(page, address)
    needed, waited = 0.0, []
    for _ in range(PRODUCTS * times):
        page.wait_for_timeout(1000 * PAUSE)
        draw = chance.random()
        keys = ["a"] if draw < RIGHT else [str(chance.randint(2, 5))] if draw < RIGHT + IN_FIVE else search(chance)
        needed += LOOK + KEY * len(keys)
        waited.append(pressed(page, keys))
    show(name, PRODUCTS, needed, waited)


def by_search(page: Page, address: str, chance: random.Random) -> None:
    """Name the category of each product by typing its first letters."""
    opened(page, f"{address}/?by=product")
    needed, waited = 0.0, []
    for _ in range(PRODUCTS):
        page.wait_for_timeout(1000 * PAUSE)
        keys = search(chance)
        needed += LOOK + KEY * len(keys)
        waited.append(pressed(page, keys))
    show("search", PRODUCTS, needed, waited)


def search(chance: random.Random) -> list[str]:
    """Return the keys that search a category."""
    return ["/", *chance.choice(("dress", "shirt", "socks", "watch"))[:LETTERS], "Enter"]


def pressed(page: Page, keys: list[str]) -> float:
    """Press keys; return milliseconds from the last one until the next product is drawn."""
    for key in keys[:-1]:
        page.keyboard.press(key)
    page.evaluate(WATCH)
    page.keyboard.press(keys[-1])
    return float(page.evaluate("window.waited"))


def by_survey(page: Page, address: str, chance: random.Random) -> None:
    """Click what is wrong on each page, and accept the rest; what was clicked is decided as in the queue."""
    page.goto(f"{address}/?by=product&view=survey")
    page.wait_for_function("() => document.querySelectorAll('#list li').length > 0")
    needed, shown, drawn, products = 0.0, [], [], 0
    for _ in pages(page):
        page.wait_for_timeout(1000 * PAUSE)
        tiles = page.locator("#list li")
        many = tiles.count()
        wrong = [index for index in range(many) if chance.random() > RIGHT]
        for index in wrong:
            tiles.nth(index).click()
        page.evaluate(WATCH_SURVEY)
        page.keyboard.press("Enter")
        first, all_in_sight, following = page.evaluate("window.waited")
        if following:
            shown.append(float(first))
            drawn.append(float(all_in_sight))
        products += many
        needed += GLANCE * many + KEY + len(wrong) * (POINT + LOOK + KEY)
    show("survey", products, needed, shown)
    show("... its pictures", products, needed, drawn)


def pages(page: Page) -> Iterator[int]:
    """Count pages of the survey, as long as there is another one."""
    for number in count():
        if number == PAGES or not page.locator("#list li").count():
            return
        yield number


def show(name: str, products: int, needed: float, waited: list[float]) -> None:
    """Print one line of the table."""
    ordered = sorted(waited)
    pace = 60 * products / (needed + sum(waited) / 1000)
    median, slow = statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]
    print(f"{name:16} {pace:8.1f} {median:8.0f} {slow:8.0f}", flush=True)


if __name__ == "__main__":
    main()
