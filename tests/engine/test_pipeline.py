"""The pipeline with real parts: real files, real decoding processes, the shipped model; results go into a list."""

import io
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import wait_until
from PIL import Image as PillowImage

from cataloger.engine import pipeline
from cataloger.engine.executors import LocalExecutor, Stages
from cataloger.engine.pipeline import Parts
from cataloger.engine.rounds import run
from cataloger.engine.run_report import RunReport
from cataloger.errors import DatabaseError, OutageError, SourceError
from cataloger.fetch.prefetch import fetch
from cataloger.hooks import Hooks
from cataloger.imaging.decode_pool import DecodePool
from cataloger.inference.classifier import Scores
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.model.calibration import Calibration
from cataloger.options import Limits, RunOptions
from cataloger.records import Failure, Item, Planned, Prediction

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "images").glob("*.png"))[:8]
BUNDLE = read_bundle(default_bundle_path())
TOLERANCE = 1e-5  # of a confidence, between two runs over the same bytes
THREADS = 2
WORKERS = 2
MISSING = "missing.jpg"


def truncated():
    buffer = io.BytesIO()
    PillowImage.effect_noise((200, 200), 50).save(buffer, "JPEG")
    return buffer.getvalue()[:3000]


BAD = {
    "empty.jpg": (b"", "decode.empty"),
    "page.jpg": (b"<html></html>", "decode.not_image"),
    "cut.jpg": (truncated(), "decode.truncated"),
    "film.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "decode.unsupported"),
}
CODES = {MISSING: "io.missing"} | {name: code for name, (_, code) in BAD.items()}


class Sink(list):
    """Keeps what it is given; one list an item."""

    def write(self, results):
        self.append(results)
        return results

    @property
    def results(self):
        return [result for results in self for result in results]

    @property
    def keys(self):
        return [result.item.key for result in self.results]


class Recorder(OnnxClassifier):
    """The real classifier; remembers the sizes of its batches."""

    def scores(self, pixels):
        self.__dict__.setdefault("sizes", []).append(len(pixels))
        return super().scores(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight good pictures and every kind of bad one."""
    folder = tmp_path_factory.mktemp("photos")
    for path in EXAMPLES:
        picture = PillowImage.open(path).convert("RGBA").convert("RGB").resize((160, 120))
        picture.save(folder / f"{path.stem}.jpg", quality=90)
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def pool():
    with DecodePool(BUNDLE.preprocess, Limits(), workers=WORKERS) as pool:
        yield pool


@pytest.fixture(scope="module")
def classifier():
    return OnnxClassifier(BUNDLE, device="cpu")


GOOD = [f"{path.stem}.jpg" for path in EXAMPLES]


class Plan:
    """Decides by a function, without a database."""

    def __init__(self, decide):
        self.decide = decide

    def plan(self, subjects, *, again=False):
        return self.decide(subjects)

    def release(self, subject):
        pass


class World:
    """Runs the pipeline over named files; a name may come more than once, its key tells which one it is."""

    def __init__(self, folder, pool, classifier):
        self.folder = folder
        self.pool = pool
        self.classifier = classifier
        self.sink = Sink()
        self.report = RunReport()
        self.hooks = Hooks()

    def items(self, names):
        for number, name in enumerate(names):
            yield Item(f"{number}/{name}", name, "v", os.fsencode(self.folder / name))

    def run(self, items, *, plan=None, **options):
        planner = Plan(plan or (lambda items: (Planned(item, True, "new") for item in items)))
        options = RunOptions(**options)
        stages = Stages(
            lambda items: self.pool.decode(fetch(items, Limits())),
            self.classifier,
            THREADS,
            options.batch_size or 8,
            options.top_k,
        )
        with LocalExecutor(stages, self.hooks.stop, self.report.watch) as executor:
            parts = Parts(planner, executor, self.sink)
            run(lambda: items, parts, options, hooks=self.hooks, report=self.report)
        return self.sink.results

    def run_names(self, names, **options):
        return self.run(self.items(names), **options)


@pytest.fixture
def world(folder, pool, classifier):
    return World(folder, pool, classifier)


def name_of(result):
    return result.item.key.partition("/")[2]


@pytest.fixture(scope="module")
def alone(folder, pool, classifier):
    """The prediction of each good picture, each classified in a batch of its own: name -> prediction."""
    results = World(folder, pool, classifier).run_names(GOOD, batch_size=1)
    return {name_of(result): result for result in results}


def agrees(result, expected):
    """The same but for the item, confidences within the tolerance."""
    same = (result.content_hash, result.width, result.height, result.labels) == (
        expected.content_hash,
        expected.width,
        expected.height,
        expected.labels,
    )
    return same and np.allclose(result.confidences, expected.confidences, rtol=0, atol=TOLERANCE)


def is_right(result, alone):
    """A good picture has the prediction that it has alone, a bad one its code."""
    name = name_of(result)
    if name in CODES:
        return isinstance(result, Failure) and result.code == CODES[name]
    return isinstance(result, Prediction) and agrees(result, alone[name])


def no_thread_is_left():
    """After an error a batch may still be computed to its end, but no thread waits for more."""
    wait_until(lambda: not any(t.name.startswith(("fetch", "classify")) for t in threading.enumerate()))
    return True


def test_the_pictures_differ_so_that_a_mix_up_would_show(alone):
    assert all(isinstance(result, Prediction) for result in alone.values())
    assert len({result.content_hash for result in alone.values()}) == len(GOOD)
    assert len({tuple(round(value, 4) for value in result.confidences) for result in alone.values()}) == len(GOOD)


@pytest.mark.parametrize("number", [1, 7, 8, 9, 16, 17])
def test_each_input_gets_one_result_whatever_the_place_of_the_last_batchs_end(world, alone, number):
    world.classifier = Recorder(BUNDLE, device="cpu")
    names = list(itertools.islice(itertools.cycle(GOOD), number))
    results = world.run_names(names)
    assert sorted(world.sink.keys) == sorted(item.key for item in world.items(names))
    assert all(is_right(result, alone) for result in results)
    full, rest = divmod(number, 8)
    assert sorted(world.classifier.sizes, reverse=True) == [8] * full + [rest] * bool(rest)


def test_good_pictures_are_recorded_in_the_order_in_which_they_came(world):
    names = GOOD * 3
    world.run_names(names, batch_size=2)
    assert world.sink.keys == [item.key for item in world.items(names)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(GOOD + 2 * list(CODES)), max_size=20),
    batch_size=st.integers(1, 9),
    top_k=st.integers(1, 5),
)
def test_bad_files_at_any_place_change_no_other_result(folder, pool, classifier, alone, names, batch_size, top_k):
    world, without = (World(folder, pool, classifier) for _ in range(2))
    world.run_names(names, batch_size=batch_size, top_k=top_k)
    without.run([item for item in without.items(names) if item.uri not in CODES], batch_size=batch_size, top_k=top_k)
    assert sorted(world.sink.keys) == sorted(item.key for item in world.items(names))
    expected = {result.item.key: result for result in without.sink.results}
    for result in world.sink.results:
        if name_of(result) in CODES:
            assert result.code == CODES[name_of(result)]
        else:
            assert agrees(result, expected.pop(result.item.key))
            assert result.labels == alone[name_of(result)].labels[:top_k]
    assert not expected


def test_nothing_to_do_writes_nothing(world):
    assert world.run_names([]) == []
    assert len(world.sink) == 0
    assert (world.report.attempted, world.report.failure_rate, world.report.interrupted) == (0, 0.0, False)


def test_a_limit_counts_what_is_done_and_not_what_is_skipped(world):
    def every_other(items):
        for number, item in enumerate(items):
            yield Planned(item, number % 2 == 1, "unchanged" if number % 2 == 0 else "new")

    names = [GOOD[0], "empty.jpg", GOOD[1], GOOD[2], GOOD[3], GOOD[4], GOOD[5], GOOD[6]]
    world.run_names(names, plan=every_other, limit=3)
    assert sorted(world.sink.keys) == [f"1/{names[1]}", f"3/{names[3]}", f"5/{names[5]}"]
    assert (world.report.done, world.report.failed) == (2, 1)
    assert world.report.skipped == {"unchanged": 3}


def test_the_report_counts_what_was_recorded_and_where_the_time_went(world, alone):
    names = [*GOOD, "empty.jpg", "page.jpg", "empty.jpg"]
    world.run_names(names)
    assert (world.report.done, world.report.failed) == (8, 3)
    assert world.report.failures == {"decode.empty": 2, "decode.not_image": 1}
    assert sum(world.report.categories.values()) == 8
    assert all(world.report.categories[result.labels[0]] for result in alone.values())
    assert set(world.report.watch.seconds) == {"planning", "decoding", "classifying", "writing"}


def test_failures_of_the_source_are_recorded_like_others(world):
    failure = Failure(Item("line 3", "list.csv:3", ""), "source.bad_row", "the row has no path")
    results = world.run([failure, *world.items(GOOD[:1])])
    assert failure in results
    assert len(results) == 2


def test_a_request_to_stop_finishes_what_has_begun_and_begins_nothing_more(world, alone, at):
    at("after_decode", world.hooks.stop.set)
    results = world.run_names(GOOD * 50)
    assert world.report.interrupted
    assert 8 <= len(results) < 400
    assert len(results) == world.report.planned["new"]
    assert sorted(world.sink.keys) == sorted(
        item.key for item in itertools.islice(world.items(GOOD * 50), len(results))
    )
    assert all(is_right(result, alone) for result in results)
    assert no_thread_is_left()


@pytest.fixture
def broken(folder):
    """The name of a file that any read of ends with EIO, as on a broken disk; no other file lies in its folder."""
    path = folder / "disk" / "broken.jpg"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("/proc/self/mem")
    return "disk/broken.jpg"


def test_storage_that_is_down_stops_the_run_and_none_of_its_failures_is_recorded(world, broken):
    told = (
        f"the folder {world.folder}/disk is out: 10 inputs in a row could not be read, the last one disk/broken.jpg"
    )
    with pytest.raises(OutageError, match=told):
        world.run_names([broken] * 40, outage_after=10)
    assert world.sink.results == []
    assert (world.report.attempted, world.report.skipped) == (0, {"outage": 40})
    assert no_thread_is_left()


def test_storage_that_goes_down_keeps_nothing_else_from_being_done(world, alone, broken):
    results = world.run_names([*GOOD, *[broken] * 40, *GOOD], outage_after=10)
    assert all(is_right(result, alone) and isinstance(result, Prediction) for result in results)
    assert sorted(world.sink.keys) == sorted(
        item.key for item in world.items([*GOOD, *[broken] * 40, *GOOD]) if item.uri != broken
    )
    assert [(each.place, each.images) for each in world.report.outages] == [(f"the folder {world.folder}/disk", 40)]


def test_broken_files_in_a_folder_that_can_be_read_are_no_outage(world, broken):
    (world.folder / "disk" / GOOD[0]).write_bytes((world.folder / GOOD[0]).read_bytes())
    world.run_names([f"disk/{GOOD[0]}", *[broken] * 40], outage_after=10)
    (world.folder / "disk" / GOOD[0]).unlink()
    assert (world.report.done, world.report.failures) == (1, {"io.error": 40})
    assert world.report.outages == []


def test_one_failure_less_than_an_outage_is_recorded(world, broken):
    world.run_names([*[broken] * 9, "empty.jpg"], outage_after=10)
    assert world.report.failures == {"io.error": 9, "decode.empty": 1}


def test_no_number_of_missing_files_is_an_outage(world, alone):
    names = [*[MISSING] * 30, *GOOD, *[MISSING] * 30]
    results = world.run_names(names, outage_after=10)
    assert len(results) == len(names)
    assert all(is_right(result, alone) for result in results)
    assert world.report.outages == []


def test_missing_files_among_good_ones_are_no_outage_however_large_the_batch(world, alone):
    names = [GOOD[0], MISSING] * 20
    results = world.run_names(names, outage_after=10, batch_size=64)
    assert (world.report.done, world.report.failed) == (20, 20)
    assert all(is_right(result, alone) for result in results)


def test_a_source_that_breaks_off_stops_the_run_with_its_own_error(world, alone):
    def broken():
        yield from world.items(GOOD * 12)
        raise SourceError("the share is not mounted")

    with pytest.raises(SourceError, match="the share is not mounted"):
        world.run(broken())
    assert len(set(world.sink.keys)) == len(world.sink.keys) == world.report.done
    assert all(is_right(result, alone) for result in world.sink.results)
    assert no_thread_is_left()


class Full(Sink):
    """Takes one write and no second one."""

    def write(self, results):
        if self:
            raise DatabaseError("the disk is full")
        return super().write(results)


def test_an_error_of_the_sink_stops_the_run_and_leaves_no_thread_or_process(folder, classifier, workers_of):
    before = workers_of(os.getpid())
    with DecodePool(BUNDLE.preprocess, Limits(), workers=WORKERS) as pool:
        world = World(folder, pool, classifier)
        world.sink = Full()
        assert len(workers_of(os.getpid()) - before) == WORKERS
        with pytest.raises(DatabaseError, match="the disk is full"):
            world.run_names(GOOD * 40)
    assert world.report.done == len(world.sink.results) > 0
    assert no_thread_is_left()
    assert workers_of(os.getpid()) == before


def test_an_error_of_the_classifier_stops_the_run_and_leaves_no_thread(world):
    class Broken(OnnxClassifier):
        def scores(self, pixels):
            raise MemoryError("no memory for a batch")

    world.classifier = Broken(BUNDLE, device="cpu")
    with pytest.raises(MemoryError, match="no memory for a batch"):
        world.run_names(GOOD * 10)
    assert world.sink.results == []
    assert no_thread_is_left()


def test_the_source_is_read_only_a_bounded_way_ahead_of_what_is_recorded(world, monkeypatch):
    monkeypatch.setattr(pipeline, "WRITE_EVERY_RESULTS", 64)
    taken = itertools.count(1)
    ahead = []

    def counted():
        for item in world.items(GOOD * 50):
            ahead.append(next(taken) - len(world.sink.results))
            yield item

    world.run(counted())
    assert world.report.done == 400
    # 128 being read and 8 more to come, 24 being decoded, 4 batches of 8, at most 64 + 8 that wait for a write
    assert max(ahead) <= 128 + 8 + 24 + 32 + 72


class Brightness:
    """A classifier that costs next to nothing, to get thousands of images through."""

    labels = ("dark", "bright")
    calibration = Calibration()
    device = "cpu"

    def scores(self, pixels):
        mean = pixels.mean(axis=(1, 2, 3)).astype(np.float32) / 255
        return Scores(np.stack([1 - mean, mean], axis=1))


def memory():
    """Bytes in use by this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_the_number_of_images(world, monkeypatch):
    monkeypatch.setattr(pipeline, "WRITE_EVERY_RESULTS", 64)

    class Forgetful(Sink):
        seen = 0
        used = ()

        def write(self, results):
            self.seen += len(results)
            self.used = (*self.used, (self.seen, memory()))
            return results

    world.classifier, world.sink = Brightness(), Forgetful()
    world.run_names(itertools.islice(itertools.cycle(GOOD), 2500))
    assert world.sink.seen == 2500
    warm = max(used for seen, used in world.sink.used if seen <= 500)
    late = max(used for seen, used in world.sink.used if seen > 500)
    assert late - warm < 40_000_000  # the pixels of the images in between would be 300 million
