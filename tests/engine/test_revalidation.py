"""`cataloger sync --revalidate` against a real server that knows ETags, dates, or nothing."""

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import by_url
import pytest
from by_url import parsed

from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.options import RunOptions, WebOptions
from cataloger.table_options import TableOptions

IMAGES = Path(__file__).parents[2] / "examples" / "images"


class Server(ThreadingHTTPServer):
    """Serves `images`: path -> (bytes, headers); counts the requests by method and path."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.images, self.seen = {}, Counter()

    def show(self, path, name, **headers):
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self.images[path] = ((IMAGES / name).read_bytes(), named)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, *, with_body):
        path = self.path.partition("?")[0]
        self.server.seen[f"{self.command} {path}"] += 1
        body, headers = self.server.images[path]
        self.send_response(405 if "Refuse" in headers and not with_body else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def shop(tmp_path, server):
    server.show("/a", "blue-fedora.png", ETag='"v1"')
    server.show("/b", "sunglasses.png", Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
    server.show("/c", "t-shirt-print.png")
    url = f"sqlite:///{tmp_path}/shop.db"
    by_url.upgrade(url)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, image TEXT, changed TEXT)")
        for path in "abc":
            address = f"http://127.0.0.1:{server.server_port}/{path}?token=s3cret"
            connection.execute("INSERT INTO products VALUES (?, ?, 'today')", (path, address))
    return url


def run(url, *, revalidate=False, dry_run=False, version_column=None):
    table = TableOptions(table="products", ids=("sku",), image="image", version_column=version_column)
    web = WebOptions(allow_private=True, revalidate=revalidate, attempts=1)
    return sync_table(SyncOptions(parsed(url), table, web=web, run=RunOptions(dry_run=dry_run)))


def test_without_it_unchanged_addresses_are_not_asked_for(shop, server):
    assert run(shop).run.done == 3
    server.seen.clear()
    server.show("/a", "winter-hat.png", ETag='"v2"')
    assert dict(run(shop).run.skipped) == {"unchanged": 3}
    assert not server.seen


def test_with_it_only_what_a_server_confirms_is_left_alone(shop, server):
    run(shop)
    server.seen.clear()
    report = run(shop, revalidate=True)
    assert dict(report.run.skipped) == {"unchanged": 2}
    assert server.seen == {"HEAD /a": 1, "HEAD /b": 1, "HEAD /c": 1, "GET /c": 1}


def test_a_new_image_under_an_old_address_is_found(shop, server):
    run(shop)
    server.show("/a", "t-shirt-print.png", ETag='"v2"')
    server.show("/b", "t-shirt-print.png", Last_Modified="Tue, 02 Jan 2024 00:00:00 GMT")
    report = run(shop, revalidate=True)
    assert dict(report.run.planned) == {"changed": 3}
    assert report.run.categories == {"T-shirt": 3}
    assert dict(run(shop, revalidate=True).run.skipped) == {"unchanged": 2}


def test_a_server_that_refuses_the_question_confirms_nothing(shop, server):
    server.show("/a", "blue-fedora.png", ETag='"v1"', Refuse="yes")
    run(shop)
    assert dict(run(shop, revalidate=True).run.planned) == {"changed": 2}


def test_a_plan_asks_too_and_downloads_nothing(shop, server):
    run(shop)
    server.seen.clear()
    assert run(shop, revalidate=True, dry_run=True).plan() == {"changed": 1, "unchanged": 2}
    assert not [request for request in server.seen if request.startswith("GET")]


def test_a_version_column_needs_no_question(shop, server):
    run(shop, version_column="changed")
    server.seen.clear()
    assert dict(run(shop, version_column="changed", revalidate=True).run.skipped) == {"unchanged": 3}
    assert not server.seen


def test_no_query_string_is_recorded(shop, tmp_path):
    run(shop, version_column="image")
    run(shop, revalidate=True)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        dump = "\n".join(line for line in connection.iterdump() if "cataloger_" in line)
    assert "127.0.0.1" in dump
    assert "s3cret" not in dump
