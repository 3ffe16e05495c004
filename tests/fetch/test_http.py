"""Downloading from a real server that behaves badly in every way we know, over addresses that are checked."""

import base64
import errno
import gzip
import hashlib
import http.server
import itertools
import logging
import os
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpcore
import httpx
import pytest
from patience import HANGS, wait_until

import cataloger
from cataloger.errors import UsageError
from cataloger.fetch import http as download
from cataloger.fetch.download_buffer import Downloaded
from cataloger.fetch.http import Downloader
from cataloger.fetch.ssrf_guard import CheckedBackend
from cataloger.options import Limits, WebOptions
from cataloger.records import Failure, Item
from cataloger.utils.urls import without_query

PUBLIC = "93.184.216.34"
IMAGE = b"\xff\xd8\xff an image"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the shop says for the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append(self)
        self.server.answers[self.path.partition("?")[0]](self)

    def send_head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_):
        pass


class Shop(http.server.ThreadingHTTPServer):
    """A web server; `seen` holds the handler of each request."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {"/image": answer(IMAGE)}
        self.seen = []
        self.stopped = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path="/image", *, host="127.0.0.1", scheme="http"):
        return f"{scheme}://{host}:{self.server_port}{path}"

    def handle_error(self, *_):
        pass  # the client hung up, which is its right

    def stop(self):
        self.stopped.set()
        self.shutdown()
        self.server_close()


def answer(body=b"", status=200, **headers):
    def send(handler):
        handler.send_head(status, **{"Content_Length": len(body), **headers})
        handler.wfile.write(body)

    return send


def each(*answers):
    """Answer the first request with the first, and so on; the last stays."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda handler: next(left)(handler)


def drip(head, part, seconds=0.05):
    """Send `head`, then `part` again and again until the client hangs up or the server is stopped."""

    def send(handler):
        handler.wfile.write(head)
        while not handler.server.stopped.wait(seconds):
            handler.wfile.write(part)
        handler.close_connection = True

    return send


def hang_up(sent=b""):
    def send(handler):
        handler.wfile.write(sent)
        handler.close_connection = True

    return send


@pytest.fixture
def shop():
    server = Shop()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    """Wait a tenth of the time between attempts."""
    monkeypatch.setattr(download, "FIRST_WAIT", download.FIRST_WAIT / 10)


def item(url):
    return Item("key", without_query(url), "", url=url)


def web(**options):
    return WebOptions(**{"allow_private": True, "attempts": 1, **options})


def get(url, *, limits=None, backend=None, **options):
    with Downloader(web(**options), limits or Limits(), backend=backend) as downloader:
        return downloader.get(item(url))


def data(outcome):
    assert isinstance(outcome, Downloaded), outcome
    return outcome.read().data


def code(outcome):
    assert isinstance(outcome, Failure), outcome
    return outcome.code


class Internet(httpcore.SyncBackend):
    """The network as it would be if every address led to this machine; keeps what was asked for."""

    def __init__(self):
        self.connected = []
        self.streams = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append(host)
        self.streams.append(super().connect_tcp("127.0.0.1", port, timeout, local_address, socket_options))
        return self.streams[-1]

    def open(self):
        return [stream for stream in self.streams if stream.get_extra_info("socket").fileno() >= 0]


def names(table):
    """Resolve by a table from names to addresses; an address is itself."""
    return lambda host, port: table.get(host, [host])


# What arrives


def test_an_image_is_downloaded_and_hashed(shop):
    wanted = item(shop.url())
    with Downloader(web(), Limits()) as downloader:
        fetched = downloader.get(wanted).read()
    assert (fetched.item, fetched.data) == (wanted, IMAGE)
    assert fetched.content_hash == hashlib.sha256(IMAGE).hexdigest()


def test_the_server_gets_the_query_and_learns_who_asks_and_that_nothing_may_be_compressed(shop):
    get(shop.url("/image?width=9&sig=a%2Fb"))
    (request,) = shop.seen
    assert request.path == "/image?width=9&sig=a%2Fb"
    assert request.headers["User-Agent"] == f"fashion-cataloger/{cataloger.__version__}"
    assert request.headers["Accept-Encoding"] == "identity"


def test_a_path_that_is_not_ascii_is_escaped(shop):
    shop.answers["/h%C3%BCte%20neu"] = answer(b"hat")
    assert data(get(shop.url("/hüte neu"))) == b"hat"


@pytest.mark.parametrize("body", [b"", b"<!doctype html><title>Sold out</title>"])
def test_what_is_no_image_passes_on_to_the_decoder(shop, body):
    shop.answers["/image"] = answer(body)
    assert data(get(shop.url())) == body


def test_chunked_bodies_and_those_that_end_with_the_connection_arrive(shop):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    shop.answers |= {"/chunked": hang_up(chunked), "/close": hang_up(b"HTTP/1.0 200 OK\r\n\r\nabcde")}
    assert [data(get(shop.url(path))) for path in ("/chunked", "/close")] == [b"abcde", b"abcde"]


def test_large_bodies_wait_outside_of_memory(shop):
    body = os.urandom(30_000_000)
    shop.answers["/image"] = lambda handler: answer(body)(handler)
    with Downloader(web(), Limits()) as downloader:
        tracemalloc.start()
        waiting = [downloader.get(item(shop.url())) for _ in range(3)]
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 10_000_000
    assert [one.size for one in waiting] == [len(body)] * 3
    assert all(data(one) == body for one in waiting)


def test_a_body_can_be_read_once(shop):
    downloaded = get(shop.url())
    downloaded.read()
    with pytest.raises(ValueError, match="closed"):
        downloaded.read()


def test_a_body_that_nobody_wants_can_be_closed(shop):
    downloaded = get(shop.url())
    downloaded.close()
    assert downloaded.body.closed


def test_a_full_disk_is_this_machines_failure(shop, monkeypatch, tmp_path):
    shop.answers["/image"] = answer(bytes(3_000_000))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    failure = get(shop.url(), attempts=3)
    assert failure.code == "io.error"
    assert "temporary file" in failure.message
    assert len(shop.seen) == 1


def test_many_threads_each_get_their_own_image(shop):
    shop.answers |= {f"/{number}": answer(b"%d" % number * 1000) for number in range(200)}
    with Downloader(web(), Limits()) as downloader, ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda n: downloader.get(item(shop.url(f"/{n}"))), range(200)))
    assert [data(one) for one in found] == [b"%d" % number * 1000 for number in range(200)]


def test_connections_are_used_again_also_after_a_missing_image_and_a_redirect(shop):
    shop.answers |= {"/gone": answer(b"no", 404), "/moved": answer(b"there", 302, Location="/image")}
    with Downloader(web(), Limits()) as downloader:
        for path in ("/image", "/gone", "/moved", "/image"):
            downloader.get(item(shop.url(path)))
    assert len(shop.seen) == 5
    assert len({request.client_address for request in shop.seen}) == 1


def test_a_connection_that_the_server_has_closed_costs_nothing(shop):
    def close_silently(handler):
        answer(IMAGE)(handler)
        handler.close_connection = True

    shop.answers["/image"] = close_silently
    with Downloader(web(), Limits()) as downloader:
        for _ in range(3):
            assert data(downloader.get(item(shop.url()))) == IMAGE
            time.sleep(0.05)


def test_cookies_are_not_kept(shop):
    shop.answers["/image"] = answer(IMAGE, Set_Cookie="session=1; Path=/")
    with Downloader(web(), Limits()) as downloader:
        found = [data(downloader.get(item(shop.url()))) for _ in range(2)]
    assert found == [IMAGE, IMAGE]
    assert shop.seen[1].headers["Cookie"] is None


def test_a_proxy_of_the_environment_is_not_used(shop, monkeypatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert data(get(shop.url())) == IMAGE


def test_user_info_is_sent_as_basic_authentication(shop):
    get(shop.url().replace("//", "//ann:p%40ss@"))
    expected = "Basic " + base64.b64encode(b"ann:p@ss").decode()
    assert shop.seen[0].headers["Authorization"] == expected


# Status codes and retries


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_image_is_asked_for_once(shop, status):
    shop.answers["/image"] = answer(b"no", status)
    failure = get(shop.url(), attempts=4)
    assert failure.code == "fetch.not_found"
    assert str(status) in failure.message
    assert len(shop.seen) == 1


@pytest.mark.parametrize("status", [206, 300, 304, 400, 401, 403, 451])
def test_another_status_is_named_and_asked_for_once(shop, status):
    shop.answers["/image"] = answer(b"" if status == 304 else b"no", status)
    failure = get(shop.url(), attempts=4)
    assert failure.code == "fetch.http_status"
    assert str(status) in failure.message
    assert len(shop.seen) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_a_passing_status_is_tried_again(shop, status):
    shop.answers["/image"] = each(answer(b"later", status), answer(IMAGE))
    assert data(get(shop.url(), attempts=2)) == IMAGE
    assert len(shop.seen) == 2


def test_attempts_end(shop):
    shop.answers["/image"] = answer(b"no", 503)
    failure = get(shop.url(), attempts=3)
    assert failure.code == "fetch.http_status"
    assert "503 Service Unavailable" in failure.message
    assert failure.is_transient
    assert len(shop.seen) == 3


def test_waits_double_and_are_random(shop, monkeypatch):
    asked = []
    monkeypatch.undo()
    monkeypatch.setattr(download.random, "uniform", lambda low, high: asked.append((low, high)) or 0.0)
    shop.answers["/image"] = answer(b"no", 500)
    get(shop.url(), attempts=9)
    assert asked == [(0.0, high) for high in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)]


def test_retry_after_in_seconds_is_honoured(shop, least_seconds):
    def wait():
        shop.answers["/image"] = each(answer(b"", 429, Retry_After="1"), answer(IMAGE))
        assert data(get(shop.url(), attempts=2)) == IMAGE

    assert 1.0 <= least_seconds(wait, 3.0) < 3.0


def test_retry_after_as_a_date_is_honoured(shop, least_seconds):
    def busy(handler):
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        answer(b"", 503, Retry_After=moment)(handler)

    def wait():
        shop.answers["/image"] = each(busy, answer(IMAGE))
        assert data(get(shop.url(), attempts=2)) == IMAGE

    assert 0.9 <= least_seconds(wait, 4.0) < 4.0  # a date has whole seconds


@pytest.mark.parametrize("value", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_has_a_cap(shop, monkeypatch, value, least_seconds):
    monkeypatch.setattr(download, "MAX_RETRY_AFTER", 0.2)

    def wait():
        shop.answers["/image"] = each(answer(b"", 429, Retry_After=value), answer(IMAGE))
        assert data(get(shop.url(), attempts=2)) == IMAGE

    assert 0.2 <= least_seconds(wait, 2.0) < 2.0


@pytest.mark.parametrize("value", ["soon", "-5", "", "1.5", "Mon, 01 Jan 1990 00:00:00 GMT", "²"])
def test_retry_after_that_says_nothing_does_not_matter(shop, value, least_seconds):
    def go_on():
        shop.answers["/image"] = each(answer(b"", 429, Retry_After=value), answer(IMAGE))
        assert data(get(shop.url(), attempts=2)) == IMAGE

    assert least_seconds(go_on, 1.5) < 1.5


# Connections that break or last too long


TRUNCATED = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
)


@pytest.mark.parametrize("sent", TRUNCATED)
def test_a_truncated_body_is_tried_again_and_never_an_image(shop, sent):
    shop.answers["/image"] = each(hang_up(sent), answer(IMAGE))
    assert code(get(shop.url(), attempts=1)) == "fetch.truncated"
    shop.answers["/image"] = each(hang_up(sent), answer(IMAGE))
    assert data(get(shop.url(), attempts=2)) == IMAGE


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-secret\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad secret header\r\n\r\n"])
def test_an_answer_that_is_none_is_a_failure_of_the_connection_and_not_quoted(shop, sent):
    shop.answers["/image"] = hang_up(sent)
    failure = get(shop.url(), attempts=2)
    assert failure.code == "fetch.connection"
    assert "secret" not in failure.message
    assert len(shop.seen) == 2


def test_nobody_listens(shop):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        failure = get(f"http://127.0.0.1:{probe.getsockname()[1]}/image", attempts=2)
    assert failure.code == "fetch.connection"
    assert "refused" in failure.message


def test_a_name_that_does_not_resolve_is_tried_again():
    calls = []

    def resolve(host, port):
        calls.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    failure = get("http://shop.test/image", attempts=2, backend=CheckedBackend(resolve=resolve))
    assert failure.code == "fetch.connection"
    assert "Temporary failure" in failure.message
    assert calls == ["shop.test", "shop.test"]


SLOW = {
    "body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "header": drip(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "header without end": drip(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "informational answers": drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "silence": drip(b"", b""),
    "error page": drip(b"HTTP/1.1 503 Busy\r\nContent-Length: 5000\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("how", [how for how in SLOW if how != "error page"])
def test_a_slow_drip_ends_in_time(shop, how, least_seconds):
    shop.answers["/image"] = SLOW[how]

    def end():
        assert code(get(shop.url(), timeout=0.4)) == "fetch.timeout"

    assert 0.4 <= least_seconds(end, 1.5) < 1.5


def test_a_slow_error_page_ends_in_time(shop, least_seconds):
    shop.answers["/image"] = SLOW["error page"]

    def end():
        assert code(get(shop.url(), timeout=6.0)) == "fetch.http_status"

    assert least_seconds(end, 30.0) < 30.0


def test_redirects_share_the_time_of_one_attempt(shop, least_seconds):
    def slow_redirect(handler):
        time.sleep(0.3)
        answer(b"", 302, Location="/next")(handler)

    shop.answers |= {"/image": slow_redirect, "/next": slow_redirect}

    def end():
        assert code(get(shop.url(), timeout=0.5)) == "fetch.timeout"

    assert least_seconds(end, 1.2) < 1.2


def test_each_attempt_has_the_whole_time(shop):
    shop.answers["/image"] = each(SLOW["silence"], answer(IMAGE))
    assert data(get(shop.url(), timeout=10.0, attempts=2)) == IMAGE


def test_a_connection_that_is_not_accepted_ends_in_time(least_seconds):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
        time.sleep(0.1)
        failures = []
        seconds = least_seconds(
            lambda: failures.append(get(f"http://127.0.0.1:{port}/image", connect_timeout=0.3)), 1.5
        )
        for one in waiting:
            one.close()
    assert {failure.code for failure in failures} == {"fetch.timeout"}
    assert all("0.3 seconds" in failure.message for failure in failures)
    assert seconds < 1.5


# Size and encoding


def test_the_limit_of_bytes_is_inclusive(shop):
    limits = Limits(max_bytes=len(IMAGE))
    assert data(get(shop.url(), limits=limits)) == IMAGE
    failure = get(shop.url(), limits=Limits(max_bytes=len(IMAGE) - 1))
    assert failure.code == "decode.too_many_bytes"
    assert not failure.is_transient


def test_a_gigabyte_that_is_declared_is_not_read(shop, least_seconds):
    shop.answers["/image"] = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x")

    def refuse():
        shop.seen.clear()
        assert code(get(shop.url(), attempts=3)) == "decode.too_many_bytes"

    assert least_seconds(refuse, 1.0) < 1.0
    assert len(shop.seen) == 1


def test_a_gigabyte_without_a_length_is_given_up_at_the_limit(shop):
    sent = []

    def flood(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        handler.close_connection = True
        for _ in range(1000):
            handler.wfile.write(bytes(1_000_000))
            sent.append(1_000_000)

    shop.answers["/image"] = flood
    failure = get(shop.url(), attempts=3, limits=Limits(max_bytes=2_000_000))
    assert (failure.code, len(shop.seen)) == ("decode.too_many_bytes", 1)
    assert "2,000,000 bytes" in failure.message
    assert sum(sent) < 50_000_000  # what the buffers of both sides hold


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(shop):
    bomb = gzip.compress(bytes(50_000_000))
    shop.answers["/image"] = answer(bomb, Content_Encoding="gzip")
    tracemalloc.start()
    failure = get(shop.url(), attempts=3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (failure.code, len(shop.seen)) == ("fetch.encoding", 1)
    assert peak < 10_000_000


NO_COMPRESSION = [
    "Identity",
    "aws-chunked",
    "none",
    "binary",
    "utf-8",
    "8bit",
    "",
    ",",
    "aws-chunked, identity",
    "x-own",
]


@pytest.mark.parametrize("encoding", NO_COMPRESSION)
def test_a_body_that_is_not_compressed_is_taken_whatever_its_encoding_is_called(shop, encoding):
    shop.answers["/image"] = answer(IMAGE, Content_Encoding=encoding)
    assert data(get(shop.url())) == IMAGE


@pytest.mark.parametrize("encoding", ["br", "Deflate", "x-gzip", "aws-chunked,gzip", "zstd, identity"])
def test_what_is_compressed_is_refused_by_its_name(shop, encoding):
    shop.answers["/image"] = answer(IMAGE, Content_Encoding=encoding)
    failure = get(shop.url())
    assert failure.code == "fetch.encoding"
    assert "compressed" in failure.message


# Redirects and addresses


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["/image", "image?x=1", "//127.0.0.1:{port}/image", "http://127.0.0.1:{port}/image"]
)
def test_redirects_are_followed(shop, status, location):
    shop.answers["/old"] = answer(b"", status, Location=location.format(port=shop.server_port))
    assert data(get(shop.url("/old"))) == IMAGE


def test_five_redirects_are_followed_and_a_loop_is_not(shop):
    shop.answers |= {f"/{n}": answer(b"", 302, Location=f"/{n + 1}") for n in range(5)}
    shop.answers["/5"] = answer(IMAGE)
    assert data(get(shop.url("/0"))) == IMAGE
    shop.seen.clear()
    shop.answers["/5"] = answer(b"", 302, Location="/0")
    assert code(get(shop.url("/0"), attempts=3)) == "fetch.redirect"
    assert len(shop.seen) == 6


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("ftp://shop.test/image", "fetch.scheme"),
        ("file:///etc/passwd", "fetch.scheme"),
        ("data:image/png;base64,AAAA", "fetch.redirect"),
        ("gopher://127.0.0.1:70/", "fetch.scheme"),
        ("http://[::1/image", "fetch.redirect"),
        ("http://shop.test:x/", "fetch.redirect"),
        ("http://shop.test:99999/", "fetch.bad_url"),
    ],
)
def test_redirects_to_anything_else_are_refused(shop, location, expected):
    shop.answers["/image"] = answer(b"", 302, Location=location)
    assert code(get(shop.url(), attempts=3)) == expected
    assert len(shop.seen) == 1


@pytest.mark.parametrize(
    "target", ["127.0.0.1", "[::1]", "169.254.169.254", "intern.test", "2130706433", "localhost"]
)
def test_a_redirect_to_a_private_address_is_refused_before_a_connection(shop, target):
    table = {"shop.test": [PUBLIC], "intern.test": ["10.0.0.7"], "2130706433": ["127.0.0.1"], "localhost": ["::1"]}
    internet = Internet()
    shop.answers["/old"] = answer(b"", 302, Location=shop.url(host=target))
    backend = CheckedBackend(resolve=names(table), tcp=internet)
    failure = get(shop.url("/old", host="shop.test"), backend=backend, attempts=3)
    assert failure.code == "fetch.private_address"
    assert internet.connected == [PUBLIC]
    assert len(shop.seen) == 1


def test_a_private_address_is_refused_unless_allowed(shop):
    assert code(get(shop.url(), allow_private=False)) == "fetch.private_address"
    assert not shop.seen
    assert data(get(shop.url(), allow_private=True)) == IMAGE


def test_a_name_that_turns_private_is_refused_at_every_connection(shop):
    answers = itertools.chain([[PUBLIC]], itertools.repeat(["127.0.0.1"]))
    resolved = []

    def rebind(host, port):
        resolved.append(host)
        return next(answers)

    internet = Internet()
    shop.answers["/image"] = answer(IMAGE, Connection="close")
    backend = CheckedBackend(resolve=rebind, tcp=internet)
    with Downloader(WebOptions(attempts=1), Limits(), backend=backend) as downloader:
        first = downloader.get(item(shop.url(host="shop.test")))
        assert (data(first), resolved, internet.connected) == (IMAGE, ["shop.test"], [PUBLIC])
        second = downloader.get(item(shop.url(host="shop.test")))
    assert code(second) == "fetch.private_address"
    assert internet.connected == [PUBLIC]
    assert len(shop.seen) == 1


def test_a_kept_connection_stays_with_the_address_that_was_checked(shop):
    answers = itertools.chain([[PUBLIC]], itertools.repeat(["127.0.0.1"]))
    internet = Internet()
    backend = CheckedBackend(resolve=lambda host, port: next(answers), tcp=internet)
    with Downloader(WebOptions(attempts=1), Limits(), backend=backend) as downloader:
        found = [data(downloader.get(item(shop.url(host="shop.test")))) for _ in range(3)]
    assert found == [IMAGE] * 3
    assert internet.connected == [PUBLIC]


def test_a_password_does_not_follow_a_redirect_to_another_host(shop):
    backend = CheckedBackend(resolve=names({"a.test": [PUBLIC], "b.test": [PUBLIC]}), tcp=Internet())
    shop.answers["/old"] = answer(b"", 302, Location=shop.url(host="b.test"))
    get(shop.url("/old", host="ann:secret@a.test"), backend=backend)
    first, second = shop.seen
    assert first.headers["Authorization"] is not None
    assert second.headers["Host"].startswith("b.test")
    assert second.headers["Authorization"] is None


# URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://shop.test/image", "fetch.scheme"),
        ("file:///etc/passwd", "fetch.scheme"),
        ("javascript:alert(1)", "fetch.scheme"),
        ("", "fetch.bad_url"),
        ("shop.test/image", "fetch.bad_url"),
        ("http:///image", "fetch.bad_url"),
        ("http://", "fetch.bad_url"),
        ("http://[::1/image", "fetch.bad_url"),
        ("http://shop.test:99999/", "fetch.bad_url"),
        ("http://shop.test:0/", "fetch.bad_url"),
        ("http://shop.test/\n", "fetch.bad_url"),
        ("http://ann:sec/ret@shop.test/", "fetch.bad_url"),
        ("http://shop.test/\udcff", "fetch.bad_url"),
        ("http://a..b/", "fetch.connection"),
        ("http://" + "a" * 300 + "/", "fetch.connection"),
    ],
)
def test_what_cannot_be_downloaded_fails_without_a_word_of_it(url, expected):
    failure = get(url)
    assert failure.code == expected
    assert "sec" not in failure.message


# Secrets


def test_no_secret_reaches_a_log_a_message_or_a_representation(shop, caplog):
    caplog.set_level(logging.DEBUG)
    shop.answers |= {
        "/gone": answer(b"", 404),
        "/busy": answer(b"", 503, X_Token="s3cret"),
        "/moved": answer(b"", 302, Location="/image?token=s3cret"),
        "/away": answer(b"", 302, Location="ftp://u:s3cret@shop.test/x?token=s3cret"),
        "/loop": answer(b"", 302, Location="/loop?token=s3cret", Set_Cookie="s3cret=s3cret"),
        "/cut": hang_up(TRUNCATED[0]),
    }
    paths = ("/image", *(path for path in shop.answers if path != "/image"))
    urls = [shop.url(f"{path}?token=s3cret#s3cret").replace("//", "//s3cret:s3cret@") for path in paths]
    urls += ["http://s3cret:s3cret@127.0.0.1:1/?s3cret", "ftp://s3cret@shop.test/", "http://u:s3cret/@h/"]
    outcomes = [get(url, attempts=2) for url in urls]
    assert len(shop.seen) >= 12
    codes = {outcome.code for outcome in outcomes if isinstance(outcome, Failure)}
    assert codes >= {"fetch.not_found", "fetch.http_status", "fetch.scheme", "fetch.redirect", "fetch.connection"}
    assert "s3cret" not in repr(outcomes)
    assert "attempt 1 at http://127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text


def test_other_users_of_httpx_still_log(shop, caplog):
    caplog.set_level(logging.DEBUG)
    get(shop.url())
    assert not [record for record in caplog.records if "GET" in record.getMessage()]
    httpx.get(shop.url("/image?mine"), trust_env=False)
    assert "/image?mine" in caplog.text


# Concurrency and the stop


class Crowd:
    """An answer that takes a while, comes to three at once, and counts how many are waiting for it at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.together = threading.Barrier(3)
        self.now = self.most = 0

    def __call__(self, handler):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.together.wait(HANGS)
        time.sleep(0.1)
        with self.lock:
            self.now -= 1
        answer(IMAGE)(handler)


def test_a_host_gets_no_more_connections_at_once_than_allowed(shop):
    shop.answers["/image"] = crowd = Crowd()
    with Downloader(web(per_host=3), Limits()) as downloader, ThreadPoolExecutor(12) as threads:
        found = list(threads.map(downloader.get, [item(shop.url())] * 15))
    assert [data(one) for one in found] == [IMAGE] * 15
    assert crowd.most == 3
    assert len({request.client_address for request in shop.seen}) == 3


def test_hosts_do_not_wait_for_each_other(shop):
    both = threading.Barrier(2)

    def meet(handler):
        both.wait(HANGS)
        answer(IMAGE)(handler)

    shop.answers["/image"] = meet
    backend = CheckedBackend(resolve=names({"a.test": [PUBLIC], "b.test": [PUBLIC]}), tcp=Internet())
    items = [item(shop.url(host=host)) for host in ("a.test", "b.test")]
    with Downloader(web(per_host=1), Limits(), backend=backend) as downloader, ThreadPoolExecutor(2) as threads:
        assert [data(one) for one in threads.map(downloader.get, items)] == [IMAGE, IMAGE]


def test_waiting_for_a_place_does_not_count_as_time_of_the_server(shop):
    def slow(handler):
        time.sleep(2.0)
        answer(IMAGE)(handler)

    shop.answers["/image"] = slow
    with Downloader(web(per_host=1, timeout=6.0), Limits()) as downloader, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(downloader.get, [item(shop.url())] * 4))
    assert [data(one) for one in found] == [IMAGE] * 4


def test_a_failure_gives_its_place_back(shop):
    shop.answers["/cut"] = hang_up(TRUNCATED[0])
    with Downloader(web(per_host=1, timeout=30), Limits(max_bytes=50)) as downloader:
        for _ in range(3):
            assert code(downloader.get(item(shop.url("/cut")))) == "fetch.truncated"
        assert data(downloader.get(item(shop.url()))) == IMAGE


def stopped_once_asked(shop, downloader, *urls):
    """Stop while the URLs are on their way; return what comes of them and how long that takes from then on."""
    with ThreadPoolExecutor(len(urls)) as threads:
        outcomes = [threads.submit(downloader.get, item(url)) for url in urls]
        wait_until(lambda: shop.seen)
        time.sleep(3.0)  # for what it does with the answer
        start = time.monotonic()
        downloader.close()
        return [outcome.result() for outcome in outcomes], time.monotonic() - start


def test_a_stop_ends_the_wait_before_the_next_attempt(shop):
    shop.answers["/image"] = answer(b"", 429, Retry_After="50")
    (failure,), seconds = stopped_once_asked(shop, Downloader(web(attempts=4), Limits()), shop.url())
    assert failure.code == "fetch.http_status"
    assert seconds < 30  # of the 50
    assert len(shop.seen) == 1


def test_a_stop_ends_what_is_being_transferred_and_what_waits_for_a_place(shop):
    shop.answers["/image"] = SLOW["body"]
    outcomes, seconds = stopped_once_asked(
        shop, Downloader(web(per_host=1, attempts=4, timeout=60), Limits()), *[shop.url()] * 3
    )
    assert sorted(code(outcome) for outcome in outcomes) == [
        "fetch.connection",
        "fetch.connection",
        "fetch.truncated",
    ]
    assert seconds < 30  # of the minute that it may take
    assert len(shop.seen) == 1


def test_nothing_is_downloaded_after_the_stop_and_stopping_twice_is_fine(shop):
    downloader = Downloader(web(), Limits())
    downloader.close()
    downloader.close()
    assert code(downloader.get(item(shop.url()))) == "fetch.connection"
    assert not shop.seen


def test_the_end_closes_the_connections_that_were_kept(shop):
    internet = Internet()
    with Downloader(web(), Limits(), backend=CheckedBackend(allow_private=True, tcp=internet)) as downloader:
        downloader.get(item(shop.url()))
        assert len(internet.open()) == 1
    assert not internet.open()


def test_a_stop_leaves_no_connection_open_once_the_transfers_have_ended(shop):
    shop.answers["/slow"] = SLOW["body"]
    internet = Internet()
    downloader = Downloader(web(), Limits(), backend=CheckedBackend(allow_private=True, tcp=internet))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(downloader.get, [item(shop.url())] * 2))
    shop.seen.clear()
    stopped_once_asked(shop, downloader, shop.url("/slow"), shop.url("/slow"), shop.url("/slow"))
    assert len(internet.streams) >= 3
    assert not internet.open()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for shop.test alone, as the path of one file with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        (pytest.fail if os.environ.get("CATALOGER_NO_SKIPS") == "1" else pytest.skip)("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subject = ("-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-days", "2")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "key.pem"))
    command = [openssl, "req", "-x509", *key, *subject, "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return both


@pytest.fixture
def secure_shop(certificate):
    server = Shop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    yield server
    server.stop()


@pytest.fixture
def trusted(monkeypatch, certificate):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def secure_get(shop, path="/image", *, host="shop.test", **options):
    backend = CheckedBackend(resolve=names({"shop.test": [PUBLIC], "other.test": [PUBLIC]}), tcp=Internet())
    return get(shop.url(path, host=host, scheme="https"), backend=backend, **options)


@pytest.mark.usefixtures("trusted")
def test_the_certificate_is_that_of_the_name_although_we_connect_to_an_address(secure_shop):
    assert data(secure_get(secure_shop)) == IMAGE
    failure = secure_get(secure_shop, host="other.test", attempts=3)
    assert failure.code == "fetch.tls"
    assert "other.test" in failure.message
    assert len(secure_shop.seen) == 1


def test_a_certificate_of_nobody_we_know_is_refused(secure_shop):
    failure = secure_get(secure_shop, attempts=3)
    assert failure.code == "fetch.tls"
    assert "certificate" in failure.message
    assert not secure_shop.seen


def test_a_server_that_speaks_no_tls_is_refused(shop):
    assert code(secure_get(shop, timeout=60)) == "fetch.tls"


@pytest.mark.usefixtures("trusted")
def test_a_handshake_that_is_cut_off_is_a_broken_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut():
            connection, _ = server.accept()
            connection.recv(100_000)
            connection.close()

        threading.Thread(target=cut, daemon=True).start()
        backend = CheckedBackend(resolve=names({"shop.test": [PUBLIC]}), tcp=Internet())
        url = f"https://shop.test:{server.getsockname()[1]}/"
        assert code(get(url, backend=backend, timeout=60)) == "fetch.connection"


@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_https_to_http_is_refused(secure_shop, shop):
    secure_shop.answers["/old"] = answer(b"", 302, Location=shop.url("/image?token=s3cret"))
    failure = secure_get(secure_shop, "/old", attempts=3)
    assert failure.code == "fetch.redirect"
    assert "s3cret" not in failure.message
    assert not shop.seen


@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_http_to_https_is_followed(secure_shop, shop):
    shop.answers["/old"] = answer(b"", 301, Location=secure_shop.url(host="shop.test", scheme="https"))
    backend = CheckedBackend(resolve=names({"shop.test": [PUBLIC]}), tcp=Internet())
    assert data(get(shop.url("/old", host="shop.test"), backend=backend)) == IMAGE


@pytest.mark.usefixtures("trusted")
def test_a_stop_ends_a_transfer_over_tls(secure_shop):
    secure_shop.answers["/image"] = SLOW["body"]
    backend = CheckedBackend(resolve=names({"shop.test": [PUBLIC]}), tcp=Internet())
    downloader = Downloader(web(timeout=60), Limits(), backend=backend)
    url = secure_shop.url(host="shop.test", scheme="https")
    (failure,), seconds = stopped_once_asked(secure_shop, downloader, url)
    assert (failure.code, len(secure_shop.seen)) == ("fetch.truncated", 1)
    assert seconds < 30  # of the minute that it may take


# Options


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_host": 0},
        {"per_host": 101},
        {"timeout": 0.0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"connect_timeout": -1.0},
        {"attempts": 0},
        {"attempts": 21},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        WebOptions(**wrong)


HOSTILE = (
    "https://shop:SECRET@xn--127/a.jpg?sig=SECRET",
    "http://xn--a/SECRET",
    "http://xn--/SECRET",
    "http://xn--\u00e9/SECRET",
    "http://[fe80::1%\ufb01]/SECRET",
    "http://[fe80::1%25eth0]/SECRET",
    "http://[::ffff:1.2.3.4.5]/SECRET",
    "http://\u2488com/SECRET",
    "http://a\u3002b/SECRET",
    "http://\u00df.test/SECRET",
    "http://shop.test:\u0661/SECRET",
    "http://0x7f.1/SECRET",
    "http://shop.test\\@evil.test/SECRET",
    "http://%00/SECRET",
    "http://%zz/SECRET",
    "http://a" + ".a" * 500 + "/SECRET",
    "http://shop.test/" + "SECRET" * 20_000,
    "http://\u202eshop.test/SECRET",
    "http://\U0001f600.test/SECRET",
    "http://-/SECRET",
    "http://_/SECRET",
    "http://xn--80ak6aa92e-.com/SECRET",
)


def mutated(count):
    """Yield addresses with characters exchanged, added and left out."""
    chance = random.Random(7)
    parts = [
        "xn--",
        "xn--a",
        "%",
        "%25",
        "[",
        "]",
        ":",
        "@",
        "\\",
        "\ufb01",
        "\u00df",
        "\u3002",
        "\u0661",
        "\ud800",
        " ",
        "\t",
        "0x",
        "::",
    ]
    for _ in range(count):
        url = list(
            "http://ann:SECRET@[fe80::1%eth0]:80/a.jpg?sig=SECRET"
            if chance.random() < 0.3
            else "https://www.shop.test:443/a.jpg?sig=SECRET"
        )
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(4, len(url))
            url[place : place + chance.randint(0, 2)] = chance.choice(parts)
        yield "".join(url)


def test_no_address_raises_or_shows_its_secrets():
    def nowhere(host, port):
        raise OSError(errno.ENOENT, "nowhere")

    backend = CheckedBackend(resolve=nowhere)
    with Downloader(web(), Limits(), backend=backend) as downloader:
        for url in (*HOSTILE, *mutated(1500)):
            failure = downloader.get(item(url))
            assert isinstance(failure, Failure), url
            assert failure.code in ("fetch.bad_url", "fetch.scheme", "fetch.connection"), (url, failure)
            assert "SECRET" not in failure.message
            assert downloader.validators(item(url)) == ""


@pytest.mark.parametrize("location", ["http://xn--a/x", "http://[fe80::1%\ufb01]/", "//xn--127/", "http://\\xn--/"])
def test_a_redirect_to_a_host_that_cannot_be_decoded_is_refused(shop, location):
    shop.answers["/image"] = answer(b"", 302, Location=location.encode().decode("latin-1"))
    assert code(get(shop.url(), attempts=3)) in ("fetch.redirect", "fetch.bad_url", "fetch.connection")


def test_what_a_library_raises_in_a_way_that_is_not_foreseen_is_a_failure_of_that_image(shop, monkeypatch):
    """Broken where no test of ours has found a way to break it from outside."""
    with Downloader(web(), Limits()) as downloader:
        with monkeypatch.context() as patch:
            patch.setattr(httpx.Response, "iter_raw", lambda _: 1 / 0)
            failure = downloader.get(item(shop.url("/image?SECRET")))
        assert (failure.code, failure.is_transient) == ("fetch.error", True)
        assert failure.message == "the download failed unexpectedly (ZeroDivisionError)"
        assert data(downloader.get(item(shop.url()))) == IMAGE


@pytest.mark.parametrize(
    ("answers", "may_be_outage"),
    [
        (answer(b"", 404), False),
        (answer(b"", 410), False),
        (answer(b"", 403), False),
        (answer(b"", 301), False),
        (answer(b"", 429), True),
        (answer(b"", 500), True),
        (hang_up(), True),
        (hang_up(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc"), True),
    ],
)
def test_only_a_failure_that_says_nothing_of_the_image_may_be_an_outage(shop, answers, may_be_outage):
    shop.answers["/image"] = answers
    assert get(shop.url()).may_be_outage is may_be_outage


def test_a_name_that_is_unknown_may_be_an_outage_and_an_address_that_is_none_cannot():
    assert get("http://nowhere.invalid/a.png").may_be_outage
    assert not get("http://127.0.0.1:99999/a.png").may_be_outage
    assert not get("http://127.0.0.1/a.png", allow_private=False).may_be_outage


def test_a_host_that_was_silent_for_some_images_gets_one_attempt_each_until_it_answers(shop):
    shop.answers |= {"/silent": hang_up()}

    def requests(downloader, path):
        before = len(shop.seen)
        downloader.get(item(shop.url(path)))
        return len(shop.seen) - before

    with Downloader(web(attempts=2), Limits()) as downloader:
        assert [requests(downloader, "/silent") for _ in range(10)] == [2] * 8 + [1] * 2
        assert requests(downloader, "/image") == 1
        assert requests(downloader, "/silent") == 2
