"""One picture, many rows: it is fetched, decoded and classified once, and each row has a result of its own."""

import os
import shutil
import sqlite3
import tracemalloc
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import by_url
import numpy as np
import pytest
from sync_rig import web

from cataloger.db import DatabaseURL
from cataloger.engine import TagOptions, tag_images
from cataloger.engine.executors import SharedAnswers, SharedBytes, SharedPlaces, pictures
from cataloger.engine.sync import SyncOptions, sync_table
from cataloger.fetch import http as download
from cataloger.fetch import prefetch
from cataloger.history import KnownPictures
from cataloger.hooks import ignore
from cataloger.imaging import decode_pool
from cataloger.inference import Tagger
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.calibration import Calibration
from cataloger.options import RunOptions, SelectionOptions, WebOptions
from cataloger.records import Failure, Fetched, Image, Item, Prediction
from cataloger.table_options import TableOptions
from cataloger.utils import failpoints

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
NAMES = ("baseball-cap", "blue-fedora", "bow-tie", "summer-shorts")
RESULTS = """
SELECT p.sku, i.status, i.error_code, i.label_1, i.label_2, i.decision, round(i.confidence_1, 3), hex(r.scores),
  r.content_hash, r.width, r.decoder IS NOT NULL
FROM products p LEFT JOIN cataloger_image_top5 i ON i.product_key = p.sku
LEFT JOIN cataloger_item item ON item.key = i.key
LEFT JOIN cataloger_current c ON c.item_id = item.id LEFT JOIN cataloger_result r ON r.id = c.result_id
ORDER BY p.sku
"""
DEPARTMENTS = 'men = ["Shirt", "Jeans"]\nlegs = ["Shorts", "Jeans", "Skirt"]\n'


class Shop:
    """A product table in SQLite, and what a sync over it costs in the things that are shared."""

    def __init__(self, folder, monkeypatch):
        self.path = folder / "shop.db"
        self.folder = folder / "photos"
        self.folder.mkdir()
        self.cost = Counter()
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, photo TEXT, dept TEXT)")
        by_url.upgrade(f"sqlite:///{self.path}")
        self._count(monkeypatch, prefetch, "read_file", lambda *_: ("read", 1))
        self._count(monkeypatch, decode_pool._Worker, "give", lambda _, chunk, __: ("decoded", len(chunk)))
        self._count(monkeypatch, OnnxClassifier, "scores", lambda _, images: ("classified", len(images)))

    def _count(self, monkeypatch, owner, name, what):
        original = getattr(owner, name)

        def counted(*arguments, **options):
            self.cost.update(dict([what(*arguments)]))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    def add(self, *rows):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany("INSERT INTO products VALUES (?, ?, ?)", [(*row, None)[:3] for row in rows])

    def sync(self, run=None, selection=None, **table):
        self.cost.clear()
        options = TableOptions("products", ("sku",), "photo", **{"image_root": self.folder, **table})
        web_options = WebOptions(allow_private=True, attempts=1)
        options = SyncOptions(DatabaseURL.parse(f"sqlite:///{self.path}"), options, web=web_options)
        return sync_table(replace(options, run=run or RunOptions(), selection=selection or SelectionOptions())).run

    def rows(self, query=RESULTS):
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    return Shop(tmp_path, monkeypatch)


def sku(number):
    return f"S{number:03}"


@pytest.fixture(scope="module")
def expected():
    """The answer for each of the pictures alone."""
    results = Tagger(device="cpu").predict([EXAMPLES / f"{name}.png" for name in NAMES])
    return dict(zip(NAMES, results, strict=True))


def test_rows_that_share_a_picture_cost_what_one_costs(shop, expected):
    for name in NAMES:
        shutil.copy(EXAMPLES / f"{name}.png", shop.folder)
    (shop.folder / "cut.png").write_bytes((EXAMPLES / "bow-tie.png").read_bytes()[:500])
    os.link(shop.folder / "bow-tie.png", shop.folder / "hard.png")
    os.symlink("bow-tie.png", shop.folder / "soft.png")
    photos = [f"{NAMES[number % 3]}.png" for number in range(40)]
    photos += ["hard.png", "soft.png", "summer-shorts.png", *3 * ["cut.png"], *2 * ["none.png"]]
    shop.add(*((sku(number), photo) for number, photo in enumerate(photos)))

    report = shop.sync()

    assert (report.done, report.failed) == (43, 5)
    assert report.failures == {"decode.truncated": 3, "io.missing": 2}
    assert shop.cost["read"] == len({*photos})
    assert (shop.cost["decoded"], shop.cost["classified"]) == (5, 4)
    found = {row[0]: row[1:] for row in shop.rows()}
    for number, photo in enumerate(photos):
        status, code, label_1, label_2, decision, confidence, scores, hashed, width, has_decoder = found[sku(number)]
        name = {"hard": "bow-tie", "soft": "bow-tie"}.get(photo[:-4], photo[:-4])
        if name not in expected:
            assert (status, label_1, has_decoder) == ("failed", None, 0)
            assert code == ("io.missing" if name == "none" else "decode.truncated")
            continue
        alone = expected[name]
        assert (status, label_1, label_2, decision) == ("ok", *alone.labels[:2], alone.decision)
        assert (hashed, width, has_decoder) == (alone.content_hash, alone.width, 1)
        assert confidence == pytest.approx(alone.confidences[0], abs=0.002)
        np.testing.assert_allclose(
            np.frombuffer(bytes.fromhex(scores), "<f4"), np.frombuffer(alone.scores, "<f4"), atol=1e-4
        )
    assert len(shop.rows("SELECT * FROM cataloger_product_top5")) == 43
    assert shop.sync(RunOptions(limit=1)).attempted == 1  # one of those that are missing, again
    again = shop.sync()
    assert again.skipped == {"unchanged": 43, "failed_before": 3}
    assert shop.cost["decoded"] == 0


def test_the_answer_of_each_row_follows_its_department(shop, tmp_path):
    shutil.copy(EXAMPLES / "summer-shorts.png", shop.folder)
    rows = [(sku(n), "summer-shorts.png", ("men", "legs", None, "men")[n]) for n in range(4)]
    shop.add(*rows)
    file = tmp_path / "departments.toml"
    file.write_text(DEPARTMENTS)
    selection = SelectionOptions(department_column="dept", departments=file)

    shop.sync(selection=selection)

    assert (shop.cost["read"], shop.cost["decoded"], shop.cost["classified"]) == (1, 1, 1)
    found = shop.rows("SELECT label_1, label_2, label_3 FROM cataloger_image_top5 ORDER BY product_key")
    assert [set(row) - {None} for row in found[:2]] == [{"Shirt", "Jeans"}, {"Shorts", "Jeans", "Skirt"}]
    assert found[3] == found[0]
    assert set(found[2]) - {"Shirt", "Jeans", "Shorts", "Skirt"}  # of all labels
    assert len({row[7] for row in shop.rows()}) == 1  # the scores are those of the picture
    shared = shop.rows("SELECT calibration_id FROM cataloger_result ORDER BY item_id")
    assert [shared[n] == shared[0] for n in range(4)] == [True, False, False, True]


def test_a_picture_that_is_known_is_answered_without_the_model(shop, monkeypatch):
    for name in NAMES:
        shutil.copy(EXAMPLES / f"{name}.png", shop.folder)
    shop.add(*((sku(number), f"{name}.png") for number, name in enumerate(NAMES)))
    shop.sync()
    before = shop.rows()
    for name in NAMES[:3]:
        shutil.copy(EXAMPLES / f"{name}.png", shop.folder / f"new-{name}.png")
    shop.add(*((sku(100 + number), f"new-{name}.png") for number, name in enumerate(NAMES[:3])))

    report = shop.sync()
    assert (report.done, report.skipped) == (3, {"unchanged": 4})
    assert (shop.cost["read"], shop.cost["decoded"], shop.cost["classified"]) == (3, 0, 0)
    assert [row[1:] for row in shop.rows()[4:]] == [row[1:] for row in before[:3]]

    # A folder of copies is another source, and its labels are its own.
    tagged = tag_images(
        TagOptions(
            (str(shop.folder),),
            db=DatabaseURL.parse(f"sqlite:///{shop.path}"),
            selection=SelectionOptions(labels="Shirt,Hat,Shorts"),
        )
    )
    assert tagged.run.done == 7
    assert shop.cost["classified"] == 0
    folder = "SELECT DISTINCT label_1 FROM cataloger_image_top5 WHERE source LIKE '%/photos'"
    assert {label for (label,) in shop.rows(folder)} <= {"Shirt", "Hat", "Shorts"}

    # Not where the model is to be asked, nor by what another precision or decoder has made of it.
    shop.sync(RunOptions(force=True))
    assert (shop.cost["decoded"], shop.cost["classified"]) == (4, 4)
    shutil.copy(EXAMPLES / "bow-tie.png", shop.folder / "newer.png")
    shop.add((sku(200), "newer.png"))
    with closing(sqlite3.connect(shop.path)) as connection, connection:
        connection.execute("UPDATE cataloger_result SET decoder = 'pillow 0.9' WHERE run_id > 0")
    shop.sync()
    assert shop.cost["classified"] == 1


def test_an_ended_run_is_continued_to_the_same_tables(shop, tmp_path, monkeypatch, at):
    (tmp_path / "other").mkdir()
    other = Shop(tmp_path / "other", monkeypatch)
    for each in (shop, other):
        for name in NAMES:
            shutil.copy(EXAMPLES / f"{name}.png", each.folder)
        (each.folder / "cut.png").write_bytes((EXAMPLES / "bow-tie.png").read_bytes()[:500])
        photos = [*NAMES, "cut"]
        each.add(*((sku(number), f"{photos[number % 5]}.png") for number in range(60)))
    other.sync()
    monkeypatch.setattr("cataloger.engine.pipeline.WRITE_EVERY_RESULTS", 10)
    commits = Counter()

    def end_later():
        commits["all"] += 1
        if commits["all"] == 3:
            raise KeyboardInterrupt

    at("before_commit", end_later)
    with pytest.raises(KeyboardInterrupt):
        shop.sync()
    failpoints.clear()
    assert 0 < shop.rows("SELECT count(*) FROM cataloger_result")[0][0] < 60
    shop.sync()
    assert shop.rows() == other.rows()
    assert shop.rows("SELECT count(*) FROM cataloger_result") == [(60,)]


def test_an_address_is_asked_once_and_a_dead_one_is_not_an_outage(shop, monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    server = web.Shop()
    try:
        data = (EXAMPLES / "bow-tie.png").read_bytes()
        good = [f"/{n}.png" for n in range(4)]
        answers = {path: web.answer(data, ETag='"one"') for path in good}
        answers |= {"/busy.png": web.answer(status=503), "/gone.png": web.answer(status=404)}
        asked = Counter()

        def noted(path):
            return lambda handler: (asked.update([path]), answers[path](handler))

        server.answers |= {path: noted(path) for path in answers}
        paths = [*12 * ["/busy.png"], *6 * good, *3 * ["/gone.png"]]
        shop.add(*((sku(number), server.url(path)) for number, path in enumerate(paths)))
        report = shop.sync(RunOptions(outage_after=5), image_root=None)
        assert asked == dict.fromkeys(answers, 1)
        assert report.outages == []
        assert (report.done, report.failures) == (24, {"fetch.http_status": 12, "fetch.not_found": 3})
        assert (shop.cost["decoded"], shop.cost["classified"]) == (1, 1)
        # Each row has the version that the server sent, so that a later look at it costs headers alone.
        tokens = shop.rows("SELECT DISTINCT version_token FROM cataloger_result WHERE status = 'ok'")
        assert all(" v:" in token for (token,) in tokens)
    finally:
        server.stop()


# --- the two classes that share, with pictures that cost nothing

LABELS = ("Dress", "Hat")
SCORES = np.array([2.0, 1.0], "<f4").tobytes()


def answers():
    calibration = Calibration(1.0)
    return SharedAnswers(LABELS, lambda _: calibration, 2)


def item(key, path="/photos/a.jpg", version="1-2"):
    return Item(key, path, version, os.fsencode(path))


def prediction(subject, content="a"):
    return Prediction(subject, content * 64, 1, 1, LABELS, (0.7, 0.3), (2.0, 1.0), 2.3, SCORES)


class Asked:
    """An executor that answers when some have come. answer: the result of an item."""

    device = "cpu"

    def __init__(self, answer=prediction, ahead=3):
        self.asked = []
        self.answer = answer
        self.ahead = ahead

    def run(self, items, on_image, /):
        waiting = []
        for each in items:
            waiting.append(each)
            self.asked.append(each)
            if len(waiting) == self.ahead:
                yield [self.answer(one) for one in waiting]
                waiting = []
        yield [self.answer(one) for one in waiting]


def test_any_number_of_rows_of_few_pictures_flow_through_in_bounded_memory():
    count, inner = 12_000, Asked()
    taken = Counter()

    def rows():
        for number in range(count):
            taken["all"] += 1
            yield item(f"k{number}", f"/photos/{number % 2}.jpg")

    ahead = 0
    seen = Counter()
    tracemalloc.start()
    try:
        for results in SharedPlaces(inner, answers()).run(rows(), ignore):
            seen.update({"all": len(results)})
            ahead = max(ahead, taken["all"] - seen["all"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen["all"] == count
    assert len(inner.asked) == 2
    assert ahead <= pictures.MOST_WAITING + 2
    assert peak < 8_000_000


def test_what_is_kept_of_pictures_is_bounded():
    inner = Asked()
    shared = SharedPlaces(inner, answers())
    count = pictures.KEPT + 500
    rows = [item(f"k{number}", f"/photos/{number}.jpg") for number in range(count)]
    tracemalloc.start()
    try:
        for _ in shared.run(iter(rows), ignore):
            pass
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 10_000_000
    late = [*rows[-10:], *rows[:10]]
    inner.asked.clear()
    assert sum(len(results) for results in shared.run(iter(late), ignore)) == 20
    assert inner.asked == rows[:10]  # what was forgotten is asked for again


def test_a_failure_that_may_pass_is_shared_with_those_that_wait_and_asked_again_later():
    def broken(subject):
        return Failure(subject, "fetch.timeout", "no answer in time", may_be_outage=True)

    inner = Asked(broken)
    shared = SharedPlaces(inner, answers())
    results = [each for some in shared.run(map(item, "abc"), ignore) for each in some]
    assert [(each.item.key, each.is_shared, each.may_be_outage) for each in results] == [
        ("a", False, True),
        ("b", True, True),
        ("c", True, True),
    ]
    list(shared.run([item("d")], ignore))
    assert [each.key for each in inner.asked] == ["a", "d"]


def test_another_version_of_a_file_is_another_picture():
    inner = Asked()
    rows = [item("a"), item("b", version="1-3"), item("c", "/photos/b.jpg"), item("d")]
    results = [each for some in SharedPlaces(inner, answers()).run(iter(rows), ignore) for each in some]
    assert [each.key for each in inner.asked] == ["a", "b", "c"]
    assert [each.item for each in sorted(results, key=lambda each: each.item.key)] == rows


def test_what_has_no_result_when_a_run_ends_keeps_nobody_waiting_in_the_next():
    class Stopped(Asked):
        def run(self, items, on_image, /):
            yield from (Asked.run(self, items, on_image) if self.asked else ([] for _ in items))

    inner = Stopped()
    shared = SharedPlaces(inner, answers())
    assert [each for some in shared.run([item("a"), item("b")], ignore) for each in some] == []
    inner.asked.append(None)
    assert len([each for some in shared.run([item("c"), item("d")], ignore) for each in some]) == 2


def fetched(key, content="a"):
    return Fetched(item(key), b"", content * 64)


def test_bytes_that_are_alike_are_decoded_once_and_not_too_many_wait():
    shared = SharedBytes(answers())
    shared.begin()
    many = pictures.MOST_ALIKE + 40
    new = list(shared.new([[fetched(f"k{number}") for number in range(many)]]))
    assert [each.item.key for each in new] == ["k0", *(f"k{number}" for number in range(many - 39, many))]
    results = shared.settle([prediction(new[0].item)])
    assert {each.item.key for each in results} == {f"k{number}" for number in range(many - 39)}
    assert [each.item.key for each in shared.settle([prediction(new[1].item)])] == [new[1].item.key]
    (answer,) = shared.new([[fetched("late")]])
    assert (answer.item.key, answer.labels) == ("late", LABELS)
    # What a worker died of has told no hash; those that waited for it are released all the same.
    (first,) = shared.new([[fetched("x", "b"), fetched("y", "b")]])
    lost = Failure(first.item, "io.worker_lost", "four workers ended")
    assert [(each.item.key, each.code) for each in shared.settle([lost])] == [
        ("x", "io.worker_lost"),
        ("y", "io.worker_lost"),
    ]
    assert isinstance(next(shared.new([[fetched("z", "b")]])), Fetched)


def test_recorded_pictures_are_asked_for_together_and_only_where_there_are_some():
    class Recorded:
        def __init__(self):
            self.has_any = False
            self.asked = []

        def find(self, hashes):
            self.asked.append(hashes)
            return {each: prediction(item("")).picture() for each in hashes if each.startswith("a")}

    recorded = Recorded()
    shared = SharedBytes(answers(), recorded, kept=2)
    list(shared.new([[fetched("1", "a")]]))
    assert recorded.asked == []
    recorded.has_any = True
    shared.begin()
    found = list(shared.new([[fetched("2", "a"), fetched("3", "b"), fetched("4", "a")], [fetched("5", "b")]]))
    assert recorded.asked == [["a" * 64, "b" * 64]]
    assert [type(each) for each in found] == [Prediction, Fetched, Prediction]
    # In a first run, what it has recorded itself is found again once it does not know it any more.
    recorded.has_any = False
    first = SharedBytes(answers(), recorded, kept=2)
    for number, content in enumerate("cde"):
        (new,) = first.new([[fetched(str(number), content)]])
        first.settle([prediction(new.item, content)])
    del recorded.asked[:]
    list(first.new([[fetched("9", "c")]]))
    assert recorded.asked == [["c" * 64]]


def test_only_results_of_the_same_model_precision_and_decoder_are_known(world, make):
    def good(key, content, **values):
        subject = make.good(key, content=content)
        return replace(subject, scores=np.zeros(3, "<f4").tobytes(), decoder="pillow 1", **values)

    results = [
        good("a.jpg", "1", familiarity=0.5),
        good("b.jpg", "1", familiarity=0.5),
        replace(good("c.jpg", "2"), decoder="pillow 2"),
        replace(good("d.jpg", "3"), scores=b""),
        make.bad("e.jpg", content="4"),
        good("f.jpg", "5"),
    ]
    world.sink.write(results)
    known = KnownPictures(world.database, world.model, "pillow 1")
    assert known.has_any
    found = known.find([str(number) * 64 for number in range(1, 7)])
    assert found == {"1" * 64: results[0].picture(), "5" * 64: results[5].picture()}
    assert KnownPictures(world.database, make.other_model, "pillow 1").find(["1" * 64]) == {}
    fp32 = replace(world.model, precision="fp32" if world.model.precision != "fp32" else "int8")
    assert KnownPictures(world.database, fp32, "pillow 1").find(["1" * 64]) == {}


def test_images_and_results_that_are_there_pass_through_a_pool_in_order():
    from cataloger.options import Limits, PreprocessSpec

    data = (EXAMPLES / "bow-tie.png").read_bytes()
    done = prediction(item("done"))
    with decode_pool.DecodePool(PreprocessSpec(), Limits(), workers=1) as pool:
        found = list(pool.decode([Fetched(item("a"), data, "a" * 64), done, Fetched(item("b"), data, "a" * 64)]))
    assert [type(each) for each in found] == [Image, Prediction, Image]
    assert found[1] is done
    assert found[0].decoder.startswith("pillow ")
