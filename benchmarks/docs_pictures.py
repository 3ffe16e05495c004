"""Make the pictures of the pages in docs/ from the drawings of examples/images, which are in the public domain.

    python benchmarks/docs_pictures.py [--output docs]

A shop is made of the drawings: each becomes products in several colours with three images. It is tagged twice, and
some of it is corrected. Of its report, the queue and the survey of its review, and an explanation pictures are made:
report.png, review.png, review-survey.png and explanation.png, each below LARGEST bytes. Look at them before you keep
them. Needs playwright, and chromium on the path.
"""

import argparse
import contextlib
import csv
import io
import re
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from million_rows import run
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page
from review_browser import IS_COMPLETE, IS_DRAWN, chromium

DRAWINGS = Path(__file__).parents[1] / "examples" / "images"
SIDE = 700
HUES = (0, 40, 85, 128, 170, 212)
PAPERS = ("#ffffff", "#eef1f5", "#f6efe6")
SIZE = {"width": 1280, "height": 820}
LARGEST = 200_000
SAID_BELOW = "SF-1040"
NAMED = {
    "cap": "Hat",
    "fedora": "Hat",
    "hat": "Hat",
    "sombrero": "Hat",
    "flip-flops": "Flip flops",
    "ring": "Jewellery",
    "chain": "Jewellery",
    "tennis": "Sports shoes",
}
EXPLAINED = ("t-shirt-print", "straw-tote", "sunglasses")

HAS_EXAMPLES = """() => {
    const images = [...document.querySelectorAll("#examples img")];
    return images.length > 4 && images.every((each) => each.complete && each.naturalWidth);
}"""


def main() -> None:
    """Make the shop, tag it, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        shop = Path(folder)
        url = make_shop(shop)
        run("report", "--db", url, "-o", f"{shop}/report.html", "-q", "--allow-private")
        with contextlib.chdir(DRAWINGS):
            run("explain", *(f"{name}.png" for name in EXPLAINED), "-o", f"{shop}/explanation.html")
        for name in ("report", "explanation"):
            page = opened(browser, f"file://{shop}/{name}.html")
            take(page, arguments.output / f"{name}.png")
        review(browser, url, arguments.output)


def make_shop(shop: Path) -> str:
    """Draw the images of products, tag half of them and then all, and correct some; return the database's URL."""
    url = f"sqlite:///{shop}/shop.db"
    sync = ("sync", "--db", url, "--table", "products", "--id", "sku", "--image", "file", "--image-root", str(shop))
    sync += ("--image-table", "photos", "--image-fk", "sku", "--image-id", "id", "-q")
    with closing(sqlite3.connect(shop / "shop.db")) as connection:
        connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, title TEXT, price TEXT)")
        connection.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, sku TEXT, file TEXT)")
        run("db", "upgrade", "--db", url)
        for number, hue in enumerate(HUES):
            for place, drawing in enumerate(sorted(DRAWINGS.glob("*.png"))):
                add_product(connection, shop, f"SF-{1000 + 20 * number + place}", drawing, hue)
            connection.commit()
            if number in (len(HUES) // 2, len(HUES) - 1):
                run(*sync)
    correct(shop, url)
    return url


def add_product(connection: sqlite3.Connection, shop: Path, sku: str, drawing: Path, hue: int) -> None:
    """Draw three images of a product, and add its rows."""
    title = re.sub("^(red|blue)-", "", drawing.stem).replace("-", " ").capitalize()  # it has other colours here
    connection.execute("INSERT INTO products VALUES (?, ?, ?)", (sku, title, f"{9 + hue % 60}.90 EUR"))
    for view in range(len(PAPERS)):
        name = f"{sku}-{view + 1}.jpg"
        draw(drawing, hue, view).save(shop / name, quality=90)
        connection.execute("INSERT INTO photos (sku, file) VALUES (?, ?)", (sku, name))


def draw(drawing: Path, hue: int, view: int) -> Image.Image:
    """Return a drawing in another colour on paper: as it is, mirrored, or small and turned a little."""
    thing = Image.open(drawing).convert("RGBA")
    shade, saturation, value = thing.convert("RGB").convert("HSV").split()
    shade = shade.point(lambda old: (old + hue) % 256)
    coloured = Image.merge("HSV", (shade, saturation, value)).convert("RGBA")
    coloured.putalpha(thing.getchannel("A"))
    shown = (coloured, ImageOps.mirror(coloured), coloured.rotate(4, expand=True))[view]
    shown.thumbnail((SIDE * (9 - 2 * view) // 10,) * 2)
    paper = Image.new("RGB", (SIDE, SIDE), PAPERS[view])
    paper.paste(shown, ((SIDE - shown.width) // 2, (SIDE - shown.height) // 2), shown)
    return paper


def correct(shop: Path, url: str) -> None:
    """Say what the hats, shoes and jewellery of the first colours are."""
    with closing(sqlite3.connect(shop / "shop.db")) as connection:
        images = connection.execute("SELECT key, product_key FROM cataloger_item ORDER BY product_key, key")
        rows = [(key, label) for key, sku in images if (label := truth(sku)) and sku < SAID_BELOW]
    with (shop / "said.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("key", "label"), *rows])
    run("corrections", "import", f"{shop}/said.csv", "--author", "anna", "--db", url)


def truth(sku: str) -> str | None:
    """Return the category of a product of NAMED, by the number of its drawing; None for any other one."""
    name = sorted(each.stem for each in DRAWINGS.glob("*.png"))[int(sku.removeprefix("SF-")) % 20]
    return next((label for part, label in NAMED.items() if part in name), None)


def review(browser: Browser, url: str, output: Path) -> None:
    """Take the queue and the survey of a review."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        products = dict(connection.execute("SELECT id, product_key FROM cataloger_item").fetchall())
    command = [sys.executable, "-m", "cataloger", "review", "--db", url, "--no-open", "--port", "0"]
    command += ["--show", "title,price", "--link", "https://shop.example/admin?id={key}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip().rstrip("/")
            page = opened(browser, f"{address}/?by=product&category=Hat&decision=review")
            page.wait_for_function(IS_DRAWN)
            page.wait_for_function(IS_COMPLETE)
            page.wait_for_function(HAS_EXAMPLES)
            take(page, output / "review.png")
            page.goto(f"{address}/?by=product&view=survey&category=Jewellery")
            page.wait_for_function("() => document.querySelectorAll('#list li').length > 6")
            for tile in page.locator("#list li").all():
                shown = re.search(r"/image/(\d+)/", tile.inner_html())
                if shown is None or truth(products[int(shown.group(1))]) != "Jewellery":
                    tile.click()
            page.evaluate("scrollTo(0, 0)")
            page.mouse.move(640, 30)
            page.wait_for_function(IS_COMPLETE)
            take(page, output / "review-survey.png")
        finally:
            process.terminate()


def opened(browser: Browser, address: str) -> Page:
    """Open a page in a window of the size of the pictures."""
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.goto(address)
    return page


def take(page: Page, path: Path) -> None:
    """Photograph what is in the window, in few colours where the picture would be too large."""
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        picture.quantize(256).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main()
