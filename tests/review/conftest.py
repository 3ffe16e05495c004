"""A tagged catalog, and the real application that serves it: in a thread, or by the command where that matters."""

import itertools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from by_url import open_results
from patience import HANGS, wait_until
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.review import server
from cataloger.review.security import Access

IMAGES = Path(__file__).parents[2] / "examples" / "images"
NASTY = "<img src=x onerror=alert(1)>&quot;\u202e'.png"


@dataclass
class Served:
    """A running application. url: without query; first: the address that was printed.

    process: None where it runs in a thread of this one.
    """

    first: str
    path: Path
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return self.first.split("?")[0].rstrip("/")

    @property
    def authority(self):
        return self.url.removeprefix("http://")

    def client(self, name=None, **options):
        """Return a client that acts as the page does; name: of the reviewer."""
        client = httpx.Client(base_url=self.url, timeout=HANGS, **options)
        found = re.search(r'data-csrf="([^"]+)"', client.get("/").text)
        if found:
            client.headers.update({"X-CSRF-Token": found[1], "Origin": self.url})
        if name:
            assert client.post("/api/name", json={"name": name}).status_code == 200
        return client

    def rows(self, query):
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def change(self, statement, *values):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, values)

    def copy_rows(self, times):
        """Have every image so many times more, under other keys."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM cataloger_result WHERE status = 'ok'").fetchall()
            numbers = zip(next_ids(connection, "item"), next_ids(connection, "result"), strict=True)
            for turn in range(times):
                for result in found:
                    copy_row(connection, dict(result), *next(numbers), f"{turn}/../")
        self.await_images((times + 1) * len(found))

    def await_images(self, number):
        """Wait until the application has noticed: on a busy machine it reads its ledger again in the background."""
        client = self.client()
        wait_until(lambda: client.get("/api/progress").json()["images"] >= number, "the new images", 0.05)

    def stop(self):
        """Interrupt it as Ctrl-C does; return its exit status and what it wrote on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=HANGS)
        return self.process.returncode, errors


def next_ids(connection, table):
    (last,) = connection.execute(f"SELECT MAX(id) FROM cataloger_{table}").fetchone()
    return itertools.count(last + 1)


def copy_row(connection, result, item_id, result_id, prefix):
    old = connection.execute("SELECT * FROM cataloger_item WHERE id = ?", (result["item_id"],)).fetchone()
    item = dict(old) | {"id": item_id, "key": prefix + old["key"], "key_hash": f"{item_id:064d}"}
    current = {"item_id": item_id, "weights_id": result["weights_id"], "result_id": result_id, "latest_id": result_id}
    result = result | {"id": result_id, "item_id": item_id}
    for name, values in (("item", item), ("result", result), ("current", current)):
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO cataloger_{name} ({', '.join(values)}) VALUES ({marks})"
        connection.execute(statement, list(values.values()))


@contextmanager
def serving_here(path, author, **more):
    """Serve as `cataloger review --author` does, in a thread: a process of its own takes a second to start."""
    first, servers = Future(), []

    class Noted(uvicorn.Server):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            servers.append(self)

    def serve():
        try:
            with closing(open_results(f"sqlite:///{path}")) as database:
                options = server.ReviewOptions(Access("127.0.0.1", None), author, port=0, **more)
                server.serve(database, options, first.set_result)
        except BaseException as error:
            if first.done():
                raise
            first.set_exception(error)

    thread = threading.Thread(target=serve)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn, "Server", Noted)
        thread.start()
        try:
            address = first.result(HANGS)
        finally:
            while thread.is_alive() and not servers:
                time.sleep(0.001)
    try:
        yield Served(address, path)
    finally:
        servers[0].should_exit = servers[0].force_exit = True
        thread.join()


@contextmanager
def serving(path, *arguments):
    """Start `cataloger review`."""
    command = [sys.executable, "-m", "cataloger", "review", "--db", f"sqlite:///{path}", "--no-open", *arguments]
    if "--port" not in arguments:
        command += ["--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CATALOGER_")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    process = subprocess.Popen(command, **pipes)
    try:
        first = process.stdout.readline().strip()
        assert first, process.communicate()[1]
        yield Served(first, path, process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def tagged(tmp_path_factory):
    """A database with the example images, a hostile file name, a broken file and one that is HTML; and its folder."""
    folder = tmp_path_factory.mktemp("review")
    shutil.copytree(IMAGES, folder / "photos", ignore=shutil.ignore_patterns("*.md"))
    shutil.copy(IMAGES / "red-fedora.png", folder / "photos" / NASTY)
    (folder / "photos" / "page.jpg").write_text("<html><script>alert(1)</script></html>")
    (folder / "photos" / "vector.jpg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    )
    arguments = ["tag", str(folder / "photos"), "--db", f"sqlite:///{folder}/catalog.db", "-q"]
    assert CliRunner().invoke(app, arguments).exit_code == 3
    return folder


def copy_of(database, path):
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    return path


PRODUCTS = {
    ("eu", "hats"): ("Three hats", ["red-fedora.png", "sombrero.png", "baseball-cap.png"]),
    ("eu", "shirt"): ("Black T-shirt", ["t-shirt-black.png", "t-shirt-print.png", "sunglasses.png"]),
    ("us", "shoes"): ("Tennis shoes", ["tennis-shoes.png", "tennis-shoe.png", "tennis-shoes.png"]),
    ("us", "rings"): ("Rings", ["wedding-rings.png"]),
}
"""Products of a shop: title and images. The sunglasses are no T-shirt."""


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A database with a product table of composite keys, whose images were tagged."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE products (shop TEXT, sku TEXT, title TEXT, price REAL, PRIMARY KEY (shop, sku))"
        )
        connection.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, shop TEXT, sku TEXT, path TEXT)")
        for key, (title, images) in PRODUCTS.items():
            connection.execute("INSERT INTO products VALUES (?, ?, ?, 9.5)", (*key, title))
            rows = [(*key, image) for image in images]
            connection.executemany("INSERT INTO images (shop, sku, path) VALUES (?, ?, ?)", rows)
    (path.parent / "codes.csv").write_text(
        "label,code,name,parent\nHat,11,Headwear,10\nT-shirt,21,Tees,20\nShirt,22,Shirts,20\n", encoding="utf-8"
    )
    table = ["--table", "products", "--id", "shop", "--id", "sku", "--image-table", "images"]
    links = ["--image-fk", "shop", "--image-fk", "sku"]
    codes = ["--label-map", str(path.parent / "codes.csv"), "--image", "path", "--image-root", str(IMAGES)]
    for arguments in (["db", "upgrade"], ["sync", *table, *links, *codes, "-q"]):
        result = CliRunner().invoke(app, [*arguments, "--db", f"sqlite:///{path}"])
        assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture
def served_shop(shop, tmp_path):
    """An application that shows a shop's products."""
    with serving_here(
        copy_of(shop, tmp_path / "shop.db"), "anna", show=("title", "price"), link="https://shop.example/?id={key}"
    ) as running:
        yield running


@pytest.fixture
def catalog(tagged, tmp_path):
    """Path of a copy of that database, which a test may change."""
    return copy_of(tagged / "catalog.db", tmp_path / "c.db")


@pytest.fixture
def served(catalog):
    """An application of its own for a test that changes something."""
    with serving_here(catalog, "anna") as running:
        yield running


@pytest.fixture
def adapting(catalog):
    """One that has chosen images for an adaptation."""
    with serving_here(catalog, "anna", for_adapting=21) as running:
        yield running


@pytest.fixture(scope="session")
def steady(tagged):
    """One application for all tests in which nothing is to change."""
    with serving_here(copy_of(tagged / "catalog.db", tagged / "steady.db"), "somebody") as running:
        yield running


@pytest.fixture
def serve_here():
    """Serve a database in a thread."""
    return serving_here


@pytest.fixture
def copy_database():
    """Copy a database that others use to a place of its own."""
    return copy_of


@pytest.fixture
def serve():
    """Serve a database with more flags, by the command in a process of its own."""
    return serving


@pytest.fixture
def word():
    """Make the word on a row of the queue as the page sends it."""

    def word(row, label=None, verdict="label"):
        expected = row["word"]["id"] if row["word"] else None
        chosen = (label or row["answers"][0][0]) if verdict == "label" else None
        return {
            "item": row["item"],
            "verdict": verdict,
            "label": chosen,
            "expected": expected,
            "result": row["result"],
        }

    return word


@pytest.fixture
def open_page(contexts):
    """Open an address in a browser of its own; whatever its console complains of fails the test."""
    from playwright.sync_api import expect

    complaints = []

    def open_page(url, *, name=None, **options):
        page = contexts.page(**options)
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.complaints = complaints
        page.goto(url)
        expect(page.locator("#list li").first).to_be_visible()
        if name:
            page.click("#who")
            page.fill("#name-input", name)
            page.click("#name button")
            expect(page.locator("#who")).to_have_text(name)
        return page

    yield open_page
    contexts.clear()
    assert complaints == []
