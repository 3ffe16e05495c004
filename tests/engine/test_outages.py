"""What is broken keeps nothing else from being done, and an outage is told from that: real files, real hosts."""

import http.server
import importlib.util
import shutil
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import pytest
from by_url import parsed, upgrade
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from cataloger.engine import SyncOptions, TagOptions, losses, source_model, sync_table, tag_images
from cataloger.engine import backlog as backlogs
from cataloger.engine.executors import local
from cataloger.errors import OutageError, SourceError
from cataloger.fetch import http as download
from cataloger.fetch import prefetch
from cataloger.imaging.decode_pool import DecodePool
from cataloger.inference.backend import Engine
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.options import Limits, RunOptions, WebOptions
from cataloger.table_options import TableOptions

AFTER = 10
"""Signs of an outage in a row that suspend a place, instead of a hundred."""


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


web = load(Path(__file__).parents[1] / "fetch" / "test_http.py")


@pytest.fixture(scope="module")
def machine():
    """Decoding processes and a model that all runs of this file share."""
    bundle = read_bundle(default_bundle_path())
    with DecodePool(bundle.preprocess, Limits(), workers=2) as pool:
        yield pool, OnnxClassifier(bundle, device="cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch, machine):
    """Runs start neither processes nor a model of their own, and wait less between two attempts."""
    pool, classifier = machine

    monkeypatch.setattr(Engine, "open", lambda _self, _bundle: classifier)
    for module in (local, source_model):
        monkeypatch.setattr(module, "DecodePool", lambda *_, **__: nullcontext(pool))
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A small picture as bytes."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    PillowImage.effect_noise((32, 32), 50).convert("RGB").save(path)
    return path.read_bytes()


def lenient(**run):
    """Return the options of a run that takes any share of failures, and follows links."""
    return RunOptions(max_failure_rate=1, follow_links=True, **run)


class Shop:
    """A product table `products` in SQLite, a folder `photos` and some hosts."""

    def __init__(self, folder, empty, picture):
        self.folder = folder / "photos"
        self.root = None
        self.file = folder / "shop.db"
        self.db = f"sqlite:///{self.file}"
        self.picture = picture
        self.hosts, self.listeners = [], []
        shutil.copy(empty, self.file)
        self.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT)")

    def host(self):
        self.hosts.append(web.Shop())
        return self.hosts[-1]

    def start_again(self, host):
        """Let a host answer that was stopped, on the same port; return it."""
        again = object.__new__(web.Shop)
        http.server.ThreadingHTTPServer.__init__(again, host.server_address, web.Handler)
        again.answers, again.seen, again.stopped = host.answers, [], threading.Event()
        threading.Thread(target=again.serve_forever, args=(0.02,), daemon=True).start()
        self.hosts.append(again)
        return again

    def stop(self):
        for host in self.hosts:
            with suppress(OSError):
                host.stop()
        for listener in self.listeners:
            listener.close()

    def execute(self, statement, values=()):
        with closing(sqlite3.connect(self.file)) as connection, connection:
            return connection.executemany(statement, values) if values else connection.execute(statement).fetchall()

    def add(self, photos):
        """Add products, in the order of their SKUs: SKU -> photo."""
        self.execute("INSERT OR REPLACE INTO products VALUES (?, ?)", list(photos.items()))

    def file_of(self, name, data=None):
        """Put a photo into the folder; return what the table says of it."""
        self.root = self.folder
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(self.picture if data is None else data)
        return name

    def page(self, host, name, answer=None):
        host.answers[f"/{name}"] = answer or web.answer(self.picture)
        return host.url(f"/{name}")

    def sync(self, *, web_options=None, **run):
        options = SyncOptions(
            parsed(self.db),
            TableOptions("products", ("sku",), "photo", image_root=self.root, name="shop"),
            web=web_options or WebOptions(allow_private=True, attempts=1, timeout=30),
            run=lenient(outage_after=run.pop("outage_after", AFTER), **run),
        )
        return sync_table(options)

    def tag(self, *folders, **run):
        paths = tuple(str(folder) for folder in folders or (self.folder,))
        return tag_images(TagOptions(paths, parsed(self.db), run=lenient(**run)))

    def unmount(self, name):
        """Leave an empty folder where one was; return what mounts it again."""
        away = self.folder.parent / "away"
        (self.folder / name).rename(away)
        (self.folder / name).mkdir()

        def mount():
            (self.folder / name).rmdir()
            away.rename(self.folder / name)

        return mount

    def shown(self):
        """Return product or file -> "ok" or the code of its failure, as the view shows it."""
        query = "SELECT coalesce(product_key, key), coalesce(error_code, status) FROM cataloger_image_top5"
        return dict(self.execute(query))

    def recorded(self, run_id):
        """Return the products or files that have a result of one run."""
        query = (
            "SELECT coalesce(i.product_key, i.key) FROM cataloger_result r JOIN cataloger_item i ON i.id = r.item_id "
            f"WHERE r.run_id = {run_id}"
        )
        return {key for (key,) in self.execute(query)}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database with nothing in our tables."""
    path = tmp_path_factory.mktemp("empty") / "shop.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def shop(tmp_path, empty, picture):
    shop = Shop(tmp_path, empty, picture)
    yield shop
    shop.stop()


# What is dead: how it is put there, and the code that it ends with.


def missing_file(shop, _host, name):
    return name


def unreadable_file(shop, _host, name):
    """Any read of it ends with EIO, as of a broken disk. The link leads out of the folder; `lenient` follows it."""
    shop.file_of(name)
    (shop.folder / name).unlink()
    (shop.folder / name).symlink_to("/proc/self/mem")
    return name


def long_name(_shop, _host, name):
    return name.zfill(3000)


def damaged_file(shop, _host, name):
    return shop.file_of(name, b"<html>sold out</html>")


def status(number):
    return lambda shop, host, name: shop.page(host, name, web.answer(b"no", number))


def broken_off(shop, host, name):
    return shop.page(host, name, web.hang_up())


def leads_nowhere(shop, host, name):
    return shop.page(host, name, web.answer(b"", 302, Location="http://127.0.0.1:1/"))


FILES = {
    "missing": (missing_file, "io.missing"),
    "unreadable": (unreadable_file, "io.error"),
    "long name": (long_name, "io.error"),
    "damaged": (damaged_file, "decode.not_image"),
}
PAGES = {
    "404": (status(404), "fetch.not_found"),
    "410": (status(410), "fetch.not_found"),
    "403": (status(403), "fetch.http_status"),
    "500": (status(500), "fetch.http_status"),
    "broken off": (broken_off, "fetch.connection"),
    "leads nowhere": (leads_nowhere, "fetch.connection"),
}
ORDERS = {
    "leading": "d" * 25 + "g" * 5,
    "trailing": "g" * 5 + "d" * 25,
    "scattered": "dgdddgddd" * 3,
    "everywhere": "d" * 12 + "dgddg" * 2 + "d" * 12,
}
KINDS = {name: (*kind, False) for name, kind in FILES.items()} | {n: (*k, True) for n, k in PAGES.items()}
CASES = [(kind, "everywhere") for kind in KINDS if kind not in ("410", "403")]
CASES += [(kind, order) for kind in ("missing", "500") for order in ("leading", "trailing", "scattered")]


@pytest.mark.parametrize(("kind", "order"), CASES)
def test_dead_images_keep_no_new_product_from_its_result_in_any_night(shop, kind, order):
    put, code, is_on_web = KINDS[kind]
    host = shop.host() if is_on_web else None

    def good(name):
        return shop.page(host, name) if host else shop.file_of(name)

    rows = {f"A{n:04}": (good if what == "g" else lambda name: put(shop, host, name))(f"{n}.png")
            for n, what in enumerate(ORDERS[order])}  # fmt: skip
    shop.add(rows)
    expected = {sku: "ok" if what == "g" else code for sku, what in zip(rows, ORDERS[order], strict=True)}
    for night in range(3):
        shop.add({f"Z{night}": good(f"new-{night}.png"), f"0{night}": good(f"first-{night}.png")})
        expected |= {f"Z{night}": "ok", f"0{night}": "ok"}
        report = shop.sync()
        assert report.run.outages == []
        assert shop.shown() == expected


def test_more_than_is_kept_in_memory_is_found_by_a_second_scan(shop, monkeypatch):
    monkeypatch.setattr(backlogs, "KEPT", 3)
    host = shop.host()
    dead = {f"A{n:02}": shop.page(host, f"dead-{n}", web.answer(b"", 500 if n % 2 else 404)) for n in range(40)}
    shop.add(
        dead | {f"B{n:02}": missing_file(shop, host, f"{n}.png") for n in range(10)} | {"C": shop.file_of("c.png")}
    )
    expected = {sku: "fetch.http_status" if int(sku[1:]) % 2 else "fetch.not_found" for sku in dead}
    expected |= {f"B{n:02}": "io.missing" for n in range(10)} | {"C": "ok"}
    for night in range(3):
        shop.add({f"Z{night}": shop.page(host, f"new-{night}")})
        expected |= {f"Z{night}": "ok"}
        assert shop.sync().run.outages == []
        assert shop.shown() == expected


# What is out


def refused(shop):
    host = shop.host()
    host.stop()
    return host.url


def unknown(_shop):
    return lambda path: f"http://nowhere.invalid{path}"


def hanging(shop):
    """A host that accepts connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    shop.listeners.append(listener)
    return lambda path: f"http://127.0.0.1:{listener.getsockname()[1]}{path}"


@pytest.mark.parametrize(
    ("make", "message"),
    [(refused, "fetch.connection"), (unknown, "fetch.connection"), (hanging, "fetch.timeout")],
)
def test_one_host_of_three_that_is_out_spoils_nothing(shop, make, message):
    first, second, url = shop.host(), shop.host(), make(shop)
    shop.add({f"{n:02}-out": url(f"/{n}") for n in range(AFTER + 5)})
    hosts = {"a": first, "b": second}
    good = {f"{n:02}-{name}": shop.page(host, f"{n}") for n in range(4) for name, host in hosts.items()}
    shop.add(good)
    report = shop.sync(web_options=WebOptions(allow_private=True, attempts=1, timeout=5, per_host=16))
    assert shop.shown() == dict.fromkeys(good, "ok")
    [outage] = report.run.outages
    assert outage.place == f"the host {url('').removeprefix('http://')}"
    assert outage.images == AFTER + 5
    assert f"{AFTER} inputs in a row could not be read" in outage.reason
    assert message in outage.reason
    assert report.exit_status == 3
    assert any(outage.place in line for line in report.shortfalls())
    assert report.run.skipped == {"outage": AFTER + 5}


def test_a_host_that_comes_back_gets_its_results_in_that_night(shop):
    first, second = shop.host(), shop.host()
    hosts = {"a": first, "b": second}
    old = {f"{name}{n}": shop.page(host, f"{n}") for n in range(6) for name, host in hosts.items()}
    shop.add(old)
    assert shop.sync().exit_status == 0
    second.stop()
    new = {f"{name}{n}": shop.page(host, f"{n}") for n in range(100, 100 + AFTER) for name, host in hosts.items()}
    shop.add(new)
    report = shop.sync(force=True)
    assert [each.place for each in report.run.outages] == [f"the host 127.0.0.1:{second.server_port}"]
    assert shop.shown() == dict.fromkeys([*old, *(sku for sku in new if sku[0] == "a")], "ok")
    assert shop.recorded(report.run_id).isdisjoint(sku for sku in new if sku[0] == "b")
    shop.start_again(second)
    report = shop.sync()
    assert (report.run.planned, report.exit_status) == ({"new": AFTER}, 0)
    assert shop.shown() == dict.fromkeys([*old, *new], "ok")


def test_when_no_host_answers_the_run_stops(shop):
    hosts = [refused(shop) for _ in range(AFTER + 2)]
    shop.add({f"{n:02}": url("/") for n, url in enumerate(hosts)})
    with pytest.raises(OutageError, match=f"every host is out: {AFTER} inputs in a row could not be read"):
        shop.sync()
    assert shop.shown() == {}


def test_old_failures_of_a_host_that_is_there_are_put_off_and_are_no_outage(shop, monkeypatch):
    monkeypatch.setattr(prefetch, "LOOK_AHEAD", 4)
    host = shop.host()
    dead = {f"{n:02}": shop.page(host, str(n), web.answer(b"", 500)) for n in range(8 * AFTER)}
    shop.add(dead | {"!": shop.page(host, "!")})
    assert shop.sync().run.failures == {"fetch.http_status": 8 * AFTER}
    report = shop.sync()
    assert report.run.outages == []
    assert report.run.skipped["put_off"] >= AFTER
    assert report.run.skipped["put_off"] + report.run.failed == 8 * AFTER
    assert shop.shown() == dict.fromkeys(dead, "fetch.http_status") | {"!": "ok"}


def fill(shop, folders, number):
    """Put photos into each folder; return product -> photo."""
    return {f"{folder}/{n:03}": shop.file_of(f"{folder}/{n:03}.png") for folder in folders for n in range(number)}


def test_a_folder_of_a_table_that_is_not_mounted_spoils_nothing(shop):
    old = fill(shop, ["disk/a", "disk/b"], 50) | fill(shop, ["rest"], 10)
    shop.add(old)
    shop.sync()
    mount = shop.unmount("disk")
    shop.add({"0": "disk/a/new.png", "new": shop.file_of("rest/new.png")})
    (shop.folder / "rest" / "000.png").unlink()
    report = shop.sync()
    [outage] = report.run.outages
    assert outage.place == f"the folder {shop.folder}/disk"
    assert outage.reason == "100 of 100 images that were there in the last run are missing"
    assert (report.exit_status, report.missing) == (3, 0)
    assert shop.recorded(report.run_id) == {"new", "rest/000"}
    assert shop.shown() == dict.fromkeys([*old, "new"], "ok")
    mount()
    shop.file_of("disk/a/new.png")
    report = shop.sync()
    assert shop.recorded(report.run_id) == {"0", "rest/000"}
    assert shop.shown() == dict.fromkeys([*old, "new", "0"], "ok")


def test_a_folder_within_a_folder_that_is_not_mounted_leaves_its_images_in_the_views(shop):
    old = set(fill(shop, ["disk/a", "disk/b"], 50).values()) | set(fill(shop, ["rest"], 10).values())
    shop.tag()
    mount = shop.unmount("disk")
    (shop.folder / "rest" / "000.png").unlink()
    shop.file_of("rest/new.png")
    report = shop.tag()
    [outage] = report.run.outages
    assert outage.place == f"the folder {shop.folder}/disk"
    assert (report.exit_status, report.missing) == (3, 1)
    expected = {*old, "rest/new.png"} - {"rest/000.png"}
    assert shop.shown() == dict.fromkeys(expected, "ok")
    assert shop.tag(dry_run=True).plan() == {"unchanged": 10}
    mount()
    report = shop.tag()
    assert (report.run.attempted, report.exit_status, report.restored) == (0, 0, 0)
    assert shop.shown() == dict.fromkeys(expected, "ok")


@pytest.fixture
def few(monkeypatch):
    """Ten images are enough to judge a folder or host, instead of a hundred."""
    monkeypatch.setattr(losses, "FEWEST", 10)
    return 10


def test_deleted_files_leave_when_somebody_says_so(shop, few):
    old = fill(shop, ["a"], few) | fill(shop, ["b"], few)
    shop.tag()
    shutil.rmtree(shop.folder / "a")
    assert shop.tag().missing == 0
    report = shop.tag(accept_missing=True)
    assert (report.missing, report.exit_status) == (few, 0)
    assert shop.shown() == dict.fromkeys([photo for photo in old.values() if photo[0] == "b"], "ok")


@pytest.mark.parametrize(("number", "is_out"), [(5, False), (6, True)])
def test_more_than_half_of_the_files_of_a_folder_must_be_missing(shop, few, number, is_out):
    shop.add(fill(shop, ["a"], few))
    shop.sync()
    for n in range(number):
        (shop.folder / "a" / f"{n:03}.png").unlink()
    shop.add({"new": shop.file_of("a/new.png")})
    report = shop.sync()
    assert bool(report.run.outages) == is_out
    assert report.run.failures == ({} if is_out else {"io.missing": number})
    assert shop.shown()["new"] == "ok"
    report = shop.sync(accept_missing=True)
    assert (report.run.outages, report.run.failures) == ([], {"io.missing": number})


@pytest.mark.parametrize(("number", "is_out"), [(5, False), (6, True)])
@pytest.mark.parametrize("way", ["force", "revalidate"])
def test_more_than_half_of_the_addresses_of_a_host_must_be_missing(shop, few, number, is_out, way):
    first, second = shop.host(), shop.host()
    hosts = {"a": first, "b": second}
    shop.add({f"{name}{n}": shop.page(host, str(n)) for n in range(few) for name, host in hosts.items()})
    shop.sync()
    first.answers |= {f"/{n}": web.answer(b"", 404) for n in range(number)}
    report = shop.sync(
        force=way == "force",
        web_options=WebOptions(allow_private=True, attempts=1, revalidate=way == "revalidate"),
    )
    assert [each.place for each in report.run.outages] == [f"the host 127.0.0.1:{first.server_port}"] * is_out
    assert report.run.failures == ({} if is_out else {"fetch.not_found": number})
    assert set(shop.shown().values()) == {"ok"}


def test_a_root_that_goes_away_in_the_middle_of_a_run_leaves_no_failure_behind(shop, at, monkeypatch):
    monkeypatch.setattr(prefetch, "LOOK_AHEAD", 4)
    monkeypatch.setattr(prefetch, "GROUPS", {"file": (1, 1)})
    shop.add(fill(shop, ["a"], 40))
    for n, path in enumerate((shop.folder / "a").iterdir()):  # the same bytes would be decoded once
        path.write_bytes(shop.picture + bytes([n]))
    at("after_decode", lambda: shop.folder.exists() and shop.folder.rename(shop.folder.parent / "away"))
    with pytest.raises(SourceError, match="is the storage mounted"):
        shop.sync()
    assert set(shop.shown().values()) <= {"ok"}
    at("after_decode", lambda: None)
    (shop.folder.parent / "away").rename(shop.folder)
    shop.sync()
    assert shop.shown() == dict.fromkeys([f"a/{n:03}" for n in range(40)], "ok")


def test_a_folder_that_cannot_be_read_keeps_no_other_folder_from_being_tagged(shop, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "good.png").write_bytes(shop.picture)
    for n in range(AFTER):
        unreadable_file(shop, None, f"{n}.png")
    with pytest.raises(OutageError, match=f"the folder {shop.folder} is out"):
        shop.tag(shop.folder, other, outage_after=AFTER)
    assert shop.shown() == {"good.png": "ok"}


# Any table, any three nights


def slow(shop, host, name):
    return shop.page(host, name, lambda _handler: time.sleep(8))


def damaged_page(shop, host, name):
    return shop.page(host, name, web.answer(b"<html>"))


def compressed(shop, host, name):
    return shop.page(host, name, web.answer(shop.picture, Content_Encoding="gzip"))


def boundless(shop, host, name):
    return shop.page(host, name, web.answer(b"abc", Content_Length=10**12))


def bad_address(_shop, _host, name):
    return f"http://127.0.0.1:99999/{name}"


WHAT = {
    "good page": lambda shop, host, name: shop.page(host, name),
    "good file": lambda shop, _host, name: shop.file_of(name),
    **{name: put for name, (put, _) in (FILES | PAGES).items()},
    "damaged page": damaged_page,
    "compressed": compressed,
    "boundless": boundless,
    "bad address": bad_address,
    "slow": slow,
}
ROWS = 24
"""At most twice the signs that suspend a place, so that every image that waits then is tried."""


def changes(*without):
    """Give the changes of one night: place in the table -> (which of two hosts, what is there; None removes it)."""
    kinds = st.sampled_from([*(kind for kind in WHAT if kind not in without), "good page", "good file", None])
    return st.dictionaries(st.integers(0, ROWS - 1), st.tuples(st.integers(0, 1), kinds), max_size=ROWS)


def nights(*without):
    """Give three nights: whether the second host is up, and the changes before."""
    first = st.fixed_dictionaries({"is_up": st.booleans(), "changes": changes(*without)})
    return st.lists(first, min_size=3, max_size=3)


def live_through(shop, plan, timeout):
    """Sync night after night; whatever is good and can be reached has its result, and what had one keeps it."""
    hosts = [shop.host(), shop.host()]
    shop.add({"keep": shop.file_of("keep.png")})
    table, were_ok = {}, set()
    for number, night in enumerate(plan):
        for place, (host, what) in night["changes"].items():
            sku = f"P{place:02}"
            were_ok.discard(sku)
            shop.execute("DELETE FROM products WHERE sku = ?", [(sku,)])
            table.pop(sku, None)
            if what is not None:
                shop.add({sku: WHAT[what](shop, hosts[host], f"{place}-{number}.png")})
                table[sku] = (host, what)
        if not night["is_up"]:
            hosts[1].stop()
        with suppress(OutageError):
            shop.sync(outage_after=ROWS // 2, web_options=WebOptions(allow_private=True, attempts=1, timeout=timeout))
        if not night["is_up"]:
            hosts[1] = shop.start_again(hosts[1])
        shown = shop.shown()
        there = {sku for sku, (host, what) in table.items() if what == "good file" or host == 0 or night["is_up"]}
        expected = {sku for sku in there if table[sku][1] in ("good page", "good file")} | were_ok
        assert {sku: shown.get(sku) for sku in expected} == dict.fromkeys(expected, "ok")
        were_ok = {sku for sku in table if shown.get(sku) == "ok"}


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=nights("slow"))
def test_every_good_image_has_its_result_in_the_night_it_appeared(tmp_path_factory, empty, picture, plan):
    shop = Shop(tmp_path_factory.mktemp("shop"), empty, picture)
    live_through(shop, plan, timeout=30)
    shop.stop()


def test_slow_images_keep_no_good_one_from_its_result(shop):
    rows = {0: (0, "slow"), 1: (0, "good page"), 2: (0, "404"), 3: (0, "slow"), 4: (1, "slow"), 5: (1, "good page")}
    more = {6: (0, "good page"), 7: (1, "good page"), 8: (1, "good file")}
    live_through(shop, [{"is_up": True, "changes": rows}, {"is_up": True, "changes": more}], timeout=4)


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=nights())
def test_every_good_image_has_its_result_however_slow_others_are(tmp_path_factory, empty, picture, plan):
    shop = Shop(tmp_path_factory.mktemp("shop"), empty, picture)
    live_through(shop, plan, timeout=5)
    shop.stop()
