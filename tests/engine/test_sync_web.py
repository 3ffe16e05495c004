"""Image servers that behave badly during `cataloger sync`: good images are tagged, bad ones harm nobody else."""

import http.server
import importlib.util
import signal
import sys
import threading
import time
from pathlib import Path

import by_url
import pytest
from patience import HANGS, wait_until

from cataloger.fetch import http as download


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rig = load(Path(__file__).parents[1] / "sync_rig.py")
web = rig.web
# Wait a tenth of the time between attempts.
HASTY = "from cataloger.fetch import http as download; download.FIRST_WAIT = 0.05\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what becomes of processes is read from /proc"),
]


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """The same in this process."""
    monkeypatch.setattr(download, "FIRST_WAIT", 0.05)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The tables of a run without any fault."""
    folder = tmp_path_factory.mktemp("reference")
    shop = rig.Shop(f"sqlite:///{folder}/shop.db", "path", folder)
    by_url.upgrade(shop.url)
    assert shop.sync()["done"] == 20
    return shop.tables()


@pytest.fixture
def shop(tmp_path):
    """A shop whose images are all over HTTP."""
    url = f"sqlite:///{tmp_path}/shop.db"
    by_url.upgrade(url)
    shop = rig.Shop(url, "url", tmp_path)
    yield shop
    shop.stop()


def add_urls(shop, urls):
    rows = [{"sku": sku, "photo": url} for sku, url in urls.items()]
    shop.execute("INSERT INTO products (sku, photo) VALUES (:sku, :photo)", rows)


def endless(sent):
    """Send bytes without saying how many, until the client hangs up; note them."""

    def send(handler):
        handler.send_head()
        handler.close_connection = True
        for _ in range(1000):
            sent.append(handler.wfile.write(bytes(1_000_000)))

    return send


def test_bad_images_get_stable_codes_and_the_next_sync_tries_again_what_may_have_passed(shop, reference):
    sent = []
    bad = {
        "missing": (web.answer(b"no", 404), "fetch.not_found"),
        "broken": (web.answer(b"no", 500), "fetch.http_status"),
        "short": (web.hang_up(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc"), "fetch.truncated"),
        "slow": (web.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x"), "fetch.timeout"),
        "declared": (web.answer(b"abc", Content_Length=1_000_000_000), "decode.too_many_bytes"),
        "endless": (endless(sent), "decode.too_many_bytes"),
    }
    shop.web.answers |= {f"/{sku}": answer for sku, (answer, _) in bad.items()}
    add_urls(shop, {sku: shop.web.url(f"/{sku}") for sku in bad})
    shop.sync("--download-timeout", "10")
    found = shop.tables()
    assert {sku: found.pop(sku).error_code for sku in bad} == {sku: code for sku, (_, code) in bad.items()}
    assert rig.storm.differences(reference, found) == []
    assert 64 <= len(sent) < 100
    healed = {sku for sku, (_, code) in bad.items() if code.startswith("fetch.")}
    shop.web.answers |= {f"/{sku}": web.answer(rig.pictures()["sombrero"]) for sku in bad}
    assert shop.sync()["planned_by_reason"] == {"retry": 4}
    found = shop.tables()
    assert [found[sku].equals(reference["sombrero"]) for sku in sorted(healed)] == [True] * 4
    assert rig.storm.differences(reference, {sku: row for sku, row in found.items() if sku not in bad}) == []


# An internet in which public addresses lead to this machine, and others nowhere. The name rebind.test is public when
# it is asked for first, and private ever after.
INTERNET = """
import httpcore
from cataloger.fetch import ssrf_guard as addresses
PUBLIC = "93.184.216.34"
table = {"shop.test": [PUBLIC], "rebind.test": [PUBLIC, "127.0.0.1"]}
def resolve(host, port):
    left = table.get(host, [host])
    return [left.pop(0) if len(left) > 1 else left[0]]
class Internet(httpcore.SyncBackend):
    def connect_tcp(self, host, port, *rest):
        assert host == PUBLIC, host
        return super().connect_tcp("127.0.0.1", port, *rest)
addresses.CheckedBackend.__init__.__kwdefaults__.update(resolve=resolve, tcp=Internet())
"""


def test_nobody_is_led_to_a_private_address(shop, reference):
    server = shop.web
    shop.execute("UPDATE products SET photo = REPLACE(photo, '127.0.0.1', 'shop.test')")
    secret = server.url("/secret")
    rebinding = server.url("/secret", host="rebind.test")
    asked = []

    def noted(path, answer):
        return lambda handler: (asked.append(path), answer(handler))

    answers = {
        "/secret": web.answer(rig.pictures()["sombrero"]),
        "/in": web.answer(b"", 302, Location=secret),
        "/metadata": web.answer(b"", 302, Location="http://169.254.169.254/latest"),
        "/again": web.answer(b"", 302, Location=rebinding, Connection="close"),
    }
    server.answers |= {path: noted(path, answer) for path, answer in answers.items()}
    urls = {path: server.url(path, host="shop.test") for path in ("/in", "/metadata")}
    add_urls(shop, {**urls, "/again": server.url("/again", host="rebind.test"), "/direct": secret})
    with rig.syncing(shop.url, HASTY + INTERNET) as child:
        status, _, err = child.end()
    assert status == 0, err
    found = shop.tables()
    bad = ("/in", "/metadata", "/again", "/direct")
    assert [found.pop(sku).error_code for sku in bad] == ["fetch.private_address"] * 4
    assert rig.storm.differences(reference, found) == []
    assert sorted(asked) == ["/again", "/in", "/metadata"]


def start_again(server):
    """Return the same image server, on the same port, after it was down."""
    again = object.__new__(web.Shop)
    http.server.ThreadingHTTPServer.__init__(again, server.server_address, web.Handler)
    again.answers, again.seen, again.stopped = server.answers, [], threading.Event()
    threading.Thread(target=again.serve_forever, args=(0.02,), daemon=True).start()
    return again


def test_a_server_that_is_down_is_an_outage_that_spoils_nothing(shop, reference):
    shop.sync()
    shop.add({f"new-{number}": rig.pictures()["t-shirt-black"] for number in range(90)})
    shop.web.stop()
    told = shop.sync("--force", status=1)
    assert "100 inputs in a row could not be read" in told
    assert "refused (fetch.connection)" in told
    rig.assert_equal(reference, shop, ["done", "failed"])
    shop.web = start_again(shop.web)
    assert shop.sync()["planned_by_reason"] == {"new": 90}
    found = shop.tables()
    assert all(found.pop(f"new-{number}").equals(reference["t-shirt-black"]) for number in range(90))
    assert rig.storm.differences(reference, found) == []


def test_ctrl_c_during_downloads_ends_the_run_soon_and_the_next_one_completes(shop, reference):
    go_on = threading.Event()
    good = dict(shop.web.answers)

    def hold(answer):
        def send(handler):
            if len(shop.web.seen) > 4:
                go_on.wait(HANGS)
            answer(handler)

        return send

    shop.web.answers |= {path: hold(answer) for path, answer in good.items()}
    with shop.syncing() as child:
        wait_until(lambda: len(shop.web.seen) > 10)
        child.process.send_signal(signal.SIGINT)
        start = time.monotonic()
        status, _, err = child.end()
        took = time.monotonic() - start
    go_on.set()
    assert status == 130, err
    assert took < HANGS / 2  # so long are the answers held back
    assert "Traceback" not in err
    assert {row.error_code for row in shop.tables().values()} <= {None, "decode.truncated", "decode.not_image"}
    shop.web.answers |= good
    shop.sync()
    rig.assert_equal(reference, shop, ["interrupted", "done"])


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_passwords_and_query_strings_are_nowhere(url, tmp_path, reference):
    shop = rig.Shop(url, "url", tmp_path)
    secrets = ("hunter2", "topsecret", "p@ss:w/rd%", "p%40ss%3Aw%2Frd%25")
    moved = shop.web.url("/elsewhere?sig=topsecret").replace("//", "//ann:hunter2@")
    shop.web.answers |= {
        "/missing": web.answer(b"topsecret", 404),
        "/moved": web.answer(b"", 302, Location=moved),
        "/elsewhere": web.answer(b"topsecret", 503),
        "/short": web.hang_up(b"HTTP/1.1 200 topsecret\r\nContent-Length: 5000\r\n\r\ntopsecret"),
        "/nonsense": web.hang_up(b"topsecret\r\n\r\n"),
    }
    add_urls(shop, {path: shop.web.url(path) for path in ("/missing", "/moved", "/short", "/nonsense")})
    add_urls(shop, {"/refused": "http://127.0.0.1:1/x", "/bad": "http://127.0.0.1:99999/x"})
    shop.execute("UPDATE products SET photo = REPLACE(photo, '//', '//ann:hunter2@') || '?sig=topsecret#topsecret'")
    output = tmp_path / "out.jsonl"
    with shop.syncing(HASTY, "-vv", "--output", str(output)) as child:
        status, out, err = child.end()
    assert status == 0, err
    assert "hunter2" in rig.rows(url, "SELECT photo FROM products")[0][0]
    assert shop.web.seen[0].headers["Authorization"]
    assert "?sig=topsecret" in shop.web.seen[0].path
    texts = {"stdout": out, "stderr": err, "ledger": rig.dump(url), "output": output.read_text()}
    assert "attempt 1 at http://127.0.0.1:" in rig.words(err)
    assert [(name, secret) for name, text in texts.items() for secret in secrets if secret in text] == []
    found = shop.tables()
    codes = {path: found.pop(path).error_code for path in ("/missing", "/moved", "/short", "/nonsense", "/refused")}
    assert codes == {
        "/missing": "fetch.not_found",
        "/moved": "fetch.http_status",
        "/short": "fetch.truncated",
        "/nonsense": "fetch.connection",
        "/refused": "fetch.connection",
    }
    assert found.pop("/bad").status == "failed"
    assert rig.storm.differences(reference, found) == []
