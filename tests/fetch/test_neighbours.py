"""Downloads among proxies, authorities of one's own, and hosts that want to know who asks: with real servers."""

import base64
import http.client
import http.server
import json
import os
import pickle
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import forks
import pytest
from patience import HANGS

from cataloger.errors import CatalogerError, ConfigError, ImageError, UsageError
from cataloger.fetch.download_buffer import Downloaded
from cataloger.fetch.host_places import HostPlaces
from cataloger.fetch.http import Downloader
from cataloger.options import Limits, WebOptions
from cataloger.records import Failure, Item
from cataloger.utils.urls import without_query

IMAGE = (Path(__file__).parents[2] / "examples" / "images" / "t-shirt-black.png").read_bytes()
NAME = "photos.shop.example"
"""No name that anybody resolves but our proxy."""
MAIN = "from cataloger.cli.app import main\nmain()"
SECRET = "s3cret-of-the-host"


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine. seen: (method, target, headers) of each request."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.seen = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_):
        pass  # the client hung up, which is its right

    def stop(self):
        self.shutdown()
        self.server_close()


class SiteHandler(http.server.BaseHTTPRequestHandler):
    """Sends an image; /to/URL leads to an address, other paths of /none are not there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.command, self.path, self.headers))
        leads_to = self.path.removeprefix("/to/") if self.path.startswith("/to/") else None
        body = IMAGE if leads_to is None else b""
        self.send_response(200 if leads_to is None else 302)
        if leads_to is not None:
            self.send_header("Location", leads_to)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    """A proxy for which every name is this machine. With `server.refuses`, the status that it answers."""

    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        self.server.seen.append((self.command, self.path, self.headers))
        if self._refused():
            return
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as upstream:
            self.send_response(200, "Connection established")
            self.end_headers()
            pair = {self.connection: upstream, upstream: self.connection}
            while pair:
                for readable in select.select(list(pair), [], [], HANGS)[0]:
                    part = readable.recv(65536)
                    if not part:
                        pair = {}
                        break
                    pair[readable].sendall(part)
        self.close_connection = True

    def do_GET(self):
        self.server.seen.append((self.command, self.path, self.headers))
        if self._refused():
            return
        host, _, rest = self.path.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=HANGS)
        connection.request("GET", f"/{rest}", headers=dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name in ("Location", "Content-Length"):
            if answer.getheader(name):
                self.send_header(name, answer.getheader(name))
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    def _refused(self):
        if self.server.refuses:
            self.send_response(self.server.refuses, f"not with {SECRET}" if self.server.refuses == 403 else None)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return bool(self.server.refuses)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = Server(SiteHandler)
    yield server
    server.stop()


@pytest.fixture
def proxy():
    server = Server(ProxyHandler)
    server.refuses = 0
    yield server
    server.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A folder with ca.pem, and server.pem with server.key of a server that it vouches for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        (pytest.fail if os.environ.get("CATALOGER_NO_SKIPS") == "1" else pytest.skip)("openssl is not installed")
    folder = tmp_path_factory.mktemp("authority")

    def make(name, *more):
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
        command = [openssl, "req", "-x509", *key, "-days", "2", "-subj", f"/CN=our {name}", "-out", f"{name}.pem"]
        subprocess.run([*command, *more], cwd=folder, check=True, capture_output=True, timeout=HANGS)

    make("ca")
    names = f"subjectAltName=DNS:{NAME},IP:127.0.0.1"
    make("server", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", names, "-addext", "basicConstraints=CA:FALSE")
    return folder


@pytest.fixture
def tls_site(authority):
    server = Server(SiteHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield server
    server.stop()


def url(server, path="/a.png", host=NAME, scheme="http"):
    return f"{scheme}://{host}:{server.server_port}{path}"


def fetched(address, **options):
    """Return the bytes of an image, or the failure."""
    options = {"attempts": 1, **options}
    with Downloader(WebOptions(**options), Limits()) as downloader:
        found = downloader.get(Item("key", without_query(address), "", url=address))
        return found.read().data if isinstance(found, Downloaded) else found


def code(found):
    assert isinstance(found, Failure), found
    return found.code


# Proxies


def test_a_proxy_finds_names_that_nobody_here_knows(site, tls_site, authority, proxy):
    given = {"proxy": f"http://shop:p%40ss@127.0.0.1:{proxy.server_port}", "ca_file": authority / "ca.pem"}
    given["headers"] = (f"X-Shop@{NAME}={SECRET}",)
    assert fetched(url(site), **given) == IMAGE
    assert fetched(url(tls_site, scheme="https"), **given) == IMAGE
    (plain, tunnel) = proxy.seen
    assert plain[:2] == ("GET", url(site))
    assert tunnel[:2] == ("CONNECT", f"{NAME}:{tls_site.server_port}")
    basic = "Basic " + base64.b64encode(b"shop:p@ss").decode()
    assert [headers["Proxy-Authorization"] for *_, headers in proxy.seen] == [basic, basic]
    assert "X-Shop" not in tunnel[2], "what is for the host goes through the tunnel"
    assert [server.seen[0][2]["X-Shop"] for server in (site, tls_site)] == [SECRET, SECRET]
    assert "Proxy-Authorization" not in tls_site.seen[0][2]


@pytest.mark.parametrize(
    "host",
    ["10.0.0.5", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:10.0.0.5]", "169.254.169.254", "intranet",
     "localhost", "LocalHost.", "printer.local", "db.internal", "a.localdomain", "b.home.arpa", "c.localhost"],
)  # fmt: skip
def test_a_proxy_is_not_asked_for_what_is_not_public_by_its_name(host, site, proxy):
    through = {"proxy": f"http://127.0.0.1:{proxy.server_port}"}
    assert code(fetched(f"http://{host}/a.png", **through)) == "fetch.private_address"
    assert proxy.seen == []
    assert code(fetched(url(site, f"/to/http://{host}/a.png"), **through)) == "fetch.private_address"
    assert len(proxy.seen) == 1, "nor is it after a redirect"
    proxy.refuses = 404
    assert code(fetched(f"http://{host}/a.png", allow_private=True, **through)) == "fetch.not_found"
    assert len(proxy.seen) == 2


def test_the_environment_names_proxies_only_when_it_is_asked(site, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("no_proxy", "other.example,127.0.0.1")
    assert fetched(url(site, host="127.0.0.1"), allow_private=True) == IMAGE
    assert code(fetched(url(site), allow_private=True)) == "fetch.connection", "nobody knows the name"
    assert proxy.seen == []
    assert fetched(url(site), proxy="env") == IMAGE
    assert len(proxy.seen) == 1
    assert fetched(url(site, host="127.0.0.1"), proxy="env", allow_private=True) == IMAGE
    assert len(proxy.seen) == 1, "NO_PROXY holds"
    assert code(fetched(url(site, host="127.0.0.1"), proxy="env")) == "fetch.private_address", "and is no way around"
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    assert fetched(url(site), proxy="env") == IMAGE
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(UsageError, match="HTTPS_PROXY is not the URL of an HTTP proxy"):
        WebOptions(proxy="env")


def test_a_proxy_that_does_not_do_it_is_a_failure_without_its_password(proxy, tls_site, monkeypatch):
    monkeypatch.setenv("SHOP_PROXY", f"http://shop:{SECRET}@127.0.0.1:{proxy.server_port}")
    for status in (407, 502):
        proxy.refuses = status
        found = fetched(url(tls_site, scheme="https"), proxy="env:SHOP_PROXY")
        assert (code(found), str(status) in found.message) == ("fetch.connection", True)
        assert SECRET not in found.message
    proxy.stop()
    found = fetched(url(tls_site, scheme="https"), proxy="env:SHOP_PROXY")
    assert (code(found), SECRET in found.message) == ("fetch.connection", False)


# Authorities


def test_an_authority_of_ones_own_is_trusted_when_it_is_named(tls_site, authority, tmp_path):
    address = url(tls_site, host="127.0.0.1", scheme="https")
    assert code(fetched(address, allow_private=True)) == "fetch.tls"
    assert fetched(address, allow_private=True, ca_file=authority / "ca.pem") == IMAGE
    other = url(tls_site, host="localhost", scheme="https")
    assert code(fetched(other, allow_private=True, ca_file=authority / "ca.pem")) == "fetch.tls", "of no name"
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(UsageError, match=r"no\.pem holds no certificates in PEM"):
        fetched(address, ca_file=tmp_path / "no.pem")
    with pytest.raises(UsageError, match=r"none\.pem is no file"):
        WebOptions(ca_file=tmp_path / "none.pem")


# Who asks


def test_hosts_get_the_headers_that_are_for_them(site, monkeypatch, tmp_path):
    monkeypatch.setenv("TOKEN", f" {SECRET}\n")
    (tmp_path / "key").write_text("from a file")
    other = Server(SiteHandler)
    given = {
        "headers": (
            *("Referer=https://shop.example/", "Authorization@127.0.0.1=env:TOKEN"),
            *(f"X-Key@localhost=file:{tmp_path / 'key'}", "X-Empty="),
        ),
        "user_agent": "Our shop, admin@shop.example",
        "allow_private": True,
    }
    try:
        assert fetched(url(site, f"/to/{url(other, host='localhost')}", host="127.0.0.1"), **given) == IMAGE
        assert fetched(url(site, "/to//a.png", host="127.0.0.1"), **given) == IMAGE
    finally:
        other.stop()
    first, again, last = (headers for *_, headers in site.seen)
    assert first["Authorization"] == again["Authorization"] == last["Authorization"] == SECRET
    assert (first["Referer"], first["X-Empty"], first["X-Key"]) == ("https://shop.example/", "", None)
    assert first["User-Agent"] == "Our shop, admin@shop.example"
    ((*_, elsewhere),) = other.seen
    assert (elsewhere["Authorization"], elsewhere["Referer"], elsewhere["X-Empty"]) == (None, None, None)
    assert (elsewhere["X-Key"], elsewhere["User-Agent"]) == ("from a file", first["User-Agent"])


@pytest.mark.parametrize(
    "options",
    [
        {"headers": (f"no header {SECRET}",)},
        {"headers": (f"X Y={SECRET}",)},
        {"headers": (f"Host={SECRET}",)},
        {"headers": (f"Content-Length={SECRET}",)},
        {"headers": (f"X-Shop={SECRET}\r\nX-Other: 1",)},
        {"headers": (f"X-Shop={SECRET}\u2028x",)},
        {"headers": ("X-Shop=env:NOT_SET_ANYWHERE",)},
        {"headers": (f"X-Shop=env:https://u:{SECRET}@h",)},
        {"headers": ("X-Shop=file:/no/such/file",)},
        {"user_agent": f"{SECRET}\nX: 1"},
        {"user_agent": " "},
        {"proxy": f"ftp://u:{SECRET}@proxy.example"},
        {"proxy": f"http://u:{SECRET}@[broken"},
        {"proxy": f"http://u:{SECRET}@proxy.example:0"},
        {"proxy": ""},
        {"rate_per_host": 0.0},
        {"rate_per_host": float("nan")},
    ],
)
def test_what_cannot_be_asked_is_told_without_the_secret(options):
    with pytest.raises(CatalogerError) as caught:
        WebOptions(**options)
    assert isinstance(caught.value, (UsageError, ConfigError))
    assert SECRET not in str(caught.value)


def test_no_secret_is_shown_or_recorded(monkeypatch):
    monkeypatch.setenv("TOKEN", SECRET)
    web = WebOptions(
        headers=("X-A=env:TOKEN", f"X-B@cdn.example={SECRET}"), proxy=f"http://u:{SECRET}@proxy.example:3128"
    )
    assert SECRET not in repr(web)
    record = web.as_json()
    assert SECRET not in json.dumps(record)
    assert (record["headers"], record["proxy"]) == (["X-A", "X-B@cdn.example"], "http://proxy.example:3128")
    assert WebOptions(proxy="env").as_json()["proxy"] == "env"


def test_a_machine_of_a_cluster_gets_the_values_and_its_share(monkeypatch):
    monkeypatch.setenv("TOKEN", "env:LOOKS_LIKE_ANOTHER")
    monkeypatch.setenv("SHOP_PROXY", "proxy.example:3128")
    web = WebOptions(headers=("X-A=env:TOKEN",), proxy="env:SHOP_PROXY", per_host=9, rate_per_host=6.0)
    sent = pickle.dumps(web.share(4))
    monkeypatch.delenv("TOKEN")
    monkeypatch.delenv("SHOP_PROXY")
    there = pickle.loads(sent)
    assert (there.per_host, there.rate_per_host) == (2, 1.5)
    ((name, value),) = [(each.name, each.value) for each in there.request_headers()]
    assert (name, value) == ("X-A", "env:LOOKS_LIKE_ANOTHER")
    assert there.proxy_choice()("https", NAME, 443) == "http://proxy.example:3128"
    assert "LOOKS_LIKE" not in repr(there)


def test_a_secret_is_in_nothing_that_the_command_leaves(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(f"file-{SECRET}")
    flags = ("--header", "Authorization@127.0.0.1=env:TOKEN", "--header", "X-Key=file:key", "--allow-private")
    images = [url(site, host="127.0.0.1"), url(site, "/to/http://127.0.0.1:9/", host="127.0.0.1")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("CATALOGER_")}
    env |= {"TOKEN": SECRET, "CATALOGER_WORKERS": "1"}
    arguments = ("tag", *images, *flags, "--user-agent", "Our shop", "--json", "-vv")
    status, out, err = forks.run(MAIN, *arguments, env=env, timeout=HANGS)
    assert (status, json.loads(out)["done"]) == (3, 1)
    assert "attempt 4" in err
    assert site.seen[0][2]["Authorization"] == SECRET
    assert site.seen[0][2]["X-Key"] == f"file-{SECRET}"
    left = [out, err, *(path.read_bytes().decode("latin-1") for path in tmp_path.glob("*.db*"))]
    assert len(left) >= 3
    assert not any(SECRET in text for text in left)
    assert "Authorization@127.0.0.1" in left[2], "the run records which header it was"


# The rate


def test_requests_to_a_host_keep_their_distance(site):
    given = WebOptions(allow_private=True, attempts=1, rate_per_host=20.0)
    address = url(site, host="127.0.0.1")
    with Downloader(given, Limits()) as downloader:
        begin = time.monotonic()
        threads = [
            threading.Thread(target=downloader.get, args=(Item(str(number), address, "", url=address),))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANGS)
        seconds = time.monotonic() - begin
    assert len(site.seen) == 6
    assert seconds >= 5 / 20.0


def test_each_host_has_a_rate_of_its_own_and_a_stop_ends_the_wait():
    places, ended = HostPlaces(8, 0.001), []
    with places.take("a"), places.take("b"):
        pass

    def wait():
        with suppress(ImageError), places.take("a"):
            return
        ended.append("stopped")

    waiting = threading.Thread(target=wait)
    waiting.start()
    places.stop()
    waiting.join(HANGS)
    assert ended == ["stopped"]
    assert places.all_free()
