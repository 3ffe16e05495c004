"""Decoding in child processes: order, exact attribution of crashes and hangs, nothing left behind."""

import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import wait_until
from PIL import Image as PillowImage

from cataloger.errors import CatalogerError
from cataloger.imaging import decode_pool
from cataloger.imaging.decode_budget import SharedBudget
from cataloger.imaging.decode_pool import DecodePool
from cataloger.imaging.preprocess import load
from cataloger.imaging.shared_decoder import SharedDecoder
from cataloger.imaging.shared_memory import KEPT_BYTES, MARK, SharedMemory
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Fetched, Image, Item

pytestmark = pytest.mark.usefixtures("started_decoders")

SPEC = PreprocessSpec()
LIMITS = Limits(decode_timeout=6.0)
SLOW = 2.0
F_SEAL_FUTURE_WRITE = 0x10  # Python has no name for it

# Decodes like the real one, unless the bytes say what to do instead.
LOADER = """
import os, resource, sys, time
from pathlib import Path
from cataloger.imaging.preprocess import load_bytes

SLOW = 2.0
BROKEN = Path(__file__).with_suffix(".broken")
if BROKEN.exists():
    raise SystemExit
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 100_000_000,) * 2)
seen = 0

def treacherous(data, spec, limits):
    global seen
    seen += 1
    if data.startswith(b"break"):
        BROKEN.touch()
        os.abort()
    if data.startswith(b"first:"):
        if seen > 1:
            os.abort()
        data = data[6:]
    if data.startswith(b"abort"):
        os.abort()
    if data.startswith(b"exit"):
        os._exit(0)
    if data.startswith(b"half"):
        os.write(int(sys.argv[1]), b"\\0\\0\\0")  # not even the length of an answer
        os._exit(0)
    if data.startswith(b"nonsense"):
        answer = data[8:]
        os.write(int(sys.argv[1]), len(answer).to_bytes(4) + answer)
        time.sleep(60)
    if data.startswith(b"sleep"):
        time.sleep(60)
    if data.startswith(b"slow:"):
        time.sleep(SLOW)
        data = data[5:]
    if data.startswith(b"raise"):
        raise RuntimeError("a bug")
    if data.startswith(b"once:"):
        flag = Path(data[5:].decode())
        if not flag.exists():
            flag.touch()
            os.abort()
        data = flag.with_suffix(".png").read_bytes()
    return load_bytes(data, spec, limits)
"""


def photo(seed, kind="JPEG"):
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    PillowImage.fromarray(noise).resize((300, 260)).save(buffer, kind)
    return buffer.getvalue()


PHOTOS = [photo(seed) for seed in range(12)]
HTML = b"<html></html>"


def fetched(*data):
    """Items in order, each with its number as the key."""
    return [
        Fetched(Item(str(number), "", ""), body, hashlib.sha256(body).hexdigest()) for number, body in enumerate(data)
    ]


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A pool whose decoder can be told to misbehave."""
    (tmp_path / "treacherous_loader.py").write_text(LOADER)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), inherited))))
    monkeypatch.setattr(decode_pool, "LOADER", "treacherous_loader:treacherous")
    with DecodePool(SPEC, LIMITS, workers=2) as pool:
        yield pool


def is_alone(result, data):
    """The result is what decoding `data` alone gives."""
    alone = load(data, SPEC)
    size = (result.width, result.height) == (alone.width, alone.height)
    return size and np.array_equal(result.pixels, alone.pixels)


def test_images_come_out_in_order_as_if_decoded_alone(pool):
    results = list(pool.decode(fetched(*PHOTOS)))
    assert [result.item.key for result in results] == [str(number) for number in range(12)]
    assert all(is_alone(result, data) for result, data in zip(results, PHOTOS, strict=True))
    assert results[3].content_hash == hashlib.sha256(PHOTOS[3]).hexdigest()


def test_failures_pass_through_in_their_place(pool):
    failure = Failure(Item("x", "", ""), "io.missing", "gone")
    results = list(pool.decode([*fetched(PHOTOS[0]), failure, *fetched(PHOTOS[1])]))
    assert results[1] is failure
    assert is_alone(results[2], PHOTOS[1])


def test_a_bad_image_carries_its_code_and_its_hash(pool):
    (failure,) = pool.decode(fetched(HTML))
    assert failure.code == "decode.not_image"
    assert failure.content_hash == hashlib.sha256(HTML).hexdigest()


@pytest.mark.parametrize("data", [b"abort", b"exit", b"half", b"raise"])
def test_an_image_that_kills_its_decoder_is_the_only_one_to_fail(pool, data):
    results = list(pool.decode(fetched(*PHOTOS[:5], data, *PHOTOS[5:])))
    assert results[5].code == "decode.crashed"
    assert results[5].item.key == "5"
    assert [type(result) for result in results].count(Image) == 12


def test_an_image_that_hangs_its_decoder_is_the_only_one_to_fail(pool):
    results = list(pool.decode(fetched(*PHOTOS[:5], b"sleep", *PHOTOS[5:])))
    assert results[5].code == "decode.timeout"
    assert [type(result) for result in results].count(Image) == 12


def test_images_that_were_with_one_that_hangs_or_kills_are_decoded_all_the_same(pool):
    results = list(pool.decode(fetched(b"sleep", PHOTOS[0], b"abort", PHOTOS[1], b"exit", HTML, PHOTOS[2], b"half")))
    crashed, timeout = "decode.crashed", "decode.timeout"
    codes = [result.code if isinstance(result, Failure) else None for result in results]
    assert codes == [timeout, None, crashed, None, crashed, "decode.not_image", None, crashed]
    assert [result.item.key for result in results] == [str(number) for number in range(8)]


def test_slow_images_have_their_time_each(tmp_path, pool):
    """Four of them take longer together than one may."""
    slow = [b"slow:" + data for data in PHOTOS[:4]]
    assert all(isinstance(result, Image) for result in pool.decode(fetched(*slow)))


@pytest.mark.parametrize(
    "answer", [b"[1,2", b"1", b"null", b"[[1,2,0]]", b"[[1,2,225]]", b"[[1,2,3,4]]", b"[]", b"[" * 100_000]
)
def test_an_answer_that_is_none_is_blamed_on_its_image(pool, answer):
    results = list(pool.decode(fetched(PHOTOS[0], b"nonsense" + answer, PHOTOS[1])))
    assert results[1].code == "decode.crashed"
    assert is_alone(results[0], PHOTOS[0])
    assert is_alone(results[2], PHOTOS[1])


def test_an_image_is_tried_again_after_a_crash_that_does_not_repeat(pool, tmp_path):
    (tmp_path / "flag.png").write_bytes(PHOTOS[0])
    (result,) = pool.decode(fetched(b"once:" + os.fsencode(tmp_path / "flag")))
    assert is_alone(result, PHOTOS[0])


def test_an_image_is_tried_again_as_the_first_one_of_a_fresh_process(pool):
    wants_to_be_first = b"first:" + PHOTOS[0]
    results = list(pool.decode(fetched(*PHOTOS[:4], wants_to_be_first, *PHOTOS[4:], wants_to_be_first)))
    assert all(isinstance(result, Image) for result in results)


def test_an_image_that_kills_its_decoder_while_that_receives_it_is_the_only_one_to_fail(pool):
    too_much = bytes(60_000_000)  # more than the process may still allocate
    results = list(pool.decode(fetched(*PHOTOS[:3], too_much, *PHOTOS[3:])))
    assert results[3].code == "decode.crashed"
    assert results[3].content_hash == hashlib.sha256(too_much).hexdigest()
    assert [type(result) for result in results].count(Image) == 12


def test_an_image_beyond_the_limit_is_never_handed_over():
    limits = Limits(max_bytes=len(PHOTOS[0]))
    with DecodePool(SPEC, limits, workers=1) as pool:
        first, second = pool.decode(fetched(PHOTOS[0], PHOTOS[0] + b"x"))
    assert is_alone(first, PHOTOS[0])
    assert second.code == "decode.too_many_bytes"


@pytest.mark.parametrize("most", [1_000_000, 3_500_000])
def test_images_near_a_small_limit_do_not_come_into_each_others_way(most):
    """Four of them are more bytes than one image may have."""
    padded = [data + bytes(940_000) for data in PHOTOS[:12]]
    with DecodePool(SPEC, Limits(max_bytes=most), workers=1) as pool:
        results = list(pool.decode(fetched(*padded)))
    assert all(is_alone(result, data) for result, data in zip(results, padded, strict=True))


def test_images_of_a_slow_source_come_out_as_they_come_in(pool):
    """A group is not waited for: its images are seconds apart."""
    given = []

    def slow():
        for item in fetched(*PHOTOS):
            time.sleep(0.15)
            given.append(item)
            yield item

    def given_before_the_first():
        given.clear()
        next(pool.decode(slow()))
        return len(given)

    list(pool.decode(fetched(*PHOTOS * 3)))  # so that its workers take several at a time
    # Beside other processes an image may be decoded while more than usual are given; a group would hold up each try.
    assert any(given_before_the_first() <= 4 for _ in range(20))


def test_a_small_run_uses_all_workers(pool, least_seconds):
    list(pool.decode(fetched(*PHOTOS[:2])))  # so that they have started
    slow = [b"slow:" + data for data in PHOTOS[:2]]
    assert least_seconds(lambda: list(pool.decode(fetched(*slow))), 2 * SLOW) < 2 * SLOW


def test_memory_of_an_unusually_large_image_is_given_back(workers_of):
    padded = PHOTOS[0] + bytes(30_000_000)
    with DecodePool(SPEC, LIMITS, workers=1) as pool:
        (result, _) = pool.decode(fetched(padded, PHOTOS[0]))
        assert is_alone(result, PHOTOS[0])
        (worker,) = workers_of(os.getpid())
        shared = next(path for path in Path(f"/proc/{worker}/fd").iterdir() if "memfd:" in os.readlink(path))
        assert 0 < shared.stat().st_blocks * 512 < 1_000_000


def test_memory_that_the_system_does_not_take_back_is_kept():
    size = KEPT_BYTES + 1
    file = os.fdopen(os.memfd_create("sealed", os.MFD_ALLOW_SEALING), "r+b", buffering=0)
    file.truncate(MARK + size)
    with closing(SharedMemory(file, size)) as memory:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)  # nor may it take pages out any more
        memory.put(b"x")
        memory.forget(size)
        assert memory.take(1) == b"x"


def test_a_run_ends_with_a_clear_error_when_dead_processes_cannot_be_replaced(pool):
    stream = pool.decode(fetched(*PHOTOS[:4], b"break", *PHOTOS[4:]))
    with pytest.raises(CatalogerError, match="a decoding process cannot be started"):
        list(stream)


def test_a_decoder_that_cannot_be_imported_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(decode_pool, "LOADER", "no_such_module:load")
    with (
        DecodePool(SPEC, LIMITS, workers=2) as pool,
        pytest.raises(CatalogerError, match="a decoding process cannot be started"),
    ):
        list(pool.decode(fetched(PHOTOS[0])))


CRAMPED = """
import os, resource
from pathlib import Path
from cataloger.imaging.decode_budget import SharedBudget
from cataloger.imaging.decode_pool import DecodePool
from cataloger.errors import CatalogerError
from cataloger.options import Limits, PreprocessSpec
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
try:
    with DecodePool(PreprocessSpec(), Limits(), workers=30):
        print("started")
except CatalogerError as error:
    print(error)
print(repr(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()))
"""


def test_processes_that_did_start_are_ended_when_one_cannot():
    done = subprocess.run([sys.executable, "-c", CRAMPED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a decoding process cannot be started: Too many open files", "''"]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_killed_from_outside_costs_no_image(pool, workers_of, victim):
    stream = pool.decode(fetched(*PHOTOS))
    results = [next(stream)]
    os.kill(sorted(workers_of(os.getpid()))[victim], signal.SIGKILL)
    results += stream
    assert all(is_alone(result, data) for result, data in zip(results, PHOTOS, strict=True))


def test_nothing_but_bad_images_ends_too(pool):
    codes = {failure.code for failure in pool.decode(fetched(b"abort", HTML, b"abort", b"", b"exit", b"abort"))}
    assert codes == {"decode.crashed", "decode.not_image", "decode.empty"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bad_images_at_any_place_change_no_other_result(pool, data):
    bad = st.sampled_from([b"", HTML, PHOTOS[0][:2000], b"\x89PNG\r\n\x1a\n\0", b"abort"])
    sequence = data.draw(st.lists(st.one_of(st.sampled_from(PHOTOS), bad), max_size=14))
    results = list(pool.decode(fetched(*sequence)))
    assert [result.item.key for result in results] == [str(number) for number in range(len(sequence))]
    for result, body in zip(results, sequence, strict=True):
        assert is_alone(result, body) if body in PHOTOS else isinstance(result, Failure)


def test_a_pool_can_be_used_again_after_a_stream_was_left_early(pool):
    stream = pool.decode(fetched(*PHOTOS))
    next(stream)
    stream.close()
    results = list(pool.decode(fetched(*PHOTOS[4:8])))
    assert all(is_alone(result, data) for result, data in zip(results, PHOTOS[4:8], strict=True))


def test_a_pool_can_be_used_again_when_all_its_workers_were_busy(pool):
    gone = Failure(Item("x", "", ""), "io.missing", "gone")
    stream = pool.decode([gone, *fetched(*PHOTOS[:2])])
    assert next(stream) is gone
    stream.close()
    (result,) = pool.decode(fetched(PHOTOS[4]))
    assert is_alone(result, PHOTOS[4])


def test_the_source_is_read_only_a_little_ahead(pool):
    taken = []

    def endless():
        for number in range(10_000):
            taken.append(number)
            yield from fetched(PHOTOS[0])

    next(pool.decode(endless()))
    assert len(taken) <= 64


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_child_outlives_the_pool(workers_of):
    with DecodePool(SPEC, LIMITS, workers=2) as pool:
        next(pool.decode(fetched(*PHOTOS)))
        assert len(workers_of(os.getpid())) == 2
    assert workers_of(os.getpid()) == set()


PARENT = """
import sys, time
from cataloger.imaging.decode_budget import SharedBudget
from cataloger.imaging.decode_pool import DecodePool
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Fetched, Item
with DecodePool(PreprocessSpec(), Limits(), workers=2) as pool:
    next(pool.decode([Fetched(Item("a", "", ""), b"x", "")]))
    print("ready", flush=True)
    time.sleep(60)
"""


def test_children_die_with_a_parent_that_is_killed(workers_of):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        orphans = workers_of(parent.pid)
        parent.kill()
    assert len(orphans) == 2
    wait_until(lambda: not any(map(is_alive, orphans)), "the end of the children")


def test_ctrl_c_reaches_only_the_parent(pool, workers_of):
    workers = workers_of(os.getpid())
    assert len(workers) == 2
    assert all(os.getpgid(child) != os.getpgrp() for child in workers)  # at once, before Python runs in them
    list(pool.decode(fetched(*PHOTOS)))
    for child in workers:
        os.kill(child, signal.SIGINT)
    assert all(isinstance(result, Image) for result in pool.decode(fetched(*PHOTOS)))


def test_python_files_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the folder of pictures')")
    monkeypatch.chdir(tmp_path)
    with DecodePool(SPEC, LIMITS, workers=1) as pool:
        assert isinstance(next(pool.decode(fetched(PHOTOS[0]))), Image)


def test_workers_import_only_what_decoding_needs():
    heavy = ("typer", "rich", "sqlalchemy", "onnxruntime", "httpx", "torch", "alembic")
    program = f"import sys, cataloger.imaging.decode_worker; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def shared(pool):
    """Decodes single images in two processes that can be told to misbehave."""
    limits = Limits(decode_timeout=1.0)
    with SharedBudget() as budget, SharedDecoder(SPEC, limits, workers=2, budget=budget) as shared:
        yield shared


def test_several_threads_get_their_own_images(shared):
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(shared.decode, fetched(*PHOTOS, b"abort", HTML)))
    assert all(is_alone(result, data) for result, data in zip(results, PHOTOS, strict=False))
    assert [result.code for result in results[12:]] == ["decode.crashed", "decode.not_image"]


def test_a_picture_that_hangs_costs_no_other_one(shared):
    hanging, photo = fetched(b"sleep", PHOTOS[0])
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(shared.decode, hanging)
        assert is_alone(shared.decode(photo), PHOTOS[0])
        assert slow.result().code == "decode.timeout"


def test_closing_does_not_wait_for_a_picture_that_hangs(pool):
    with ThreadPoolExecutor(1) as threads, SharedBudget() as budget:
        shared = SharedDecoder(SPEC, Limits(decode_timeout=600.0), workers=1, budget=budget)
        (hanging,) = fetched(b"sleep")
        slow = threads.submit(shared.decode, hanging)
        while not shared._started or not shared._started[0]._workers or not shared._started[0]._workers[0].chunk:
            time.sleep(0.01)
        (child,) = (worker.process.pid for worker in shared._started[0]._workers)
        shared.close()
        with pytest.raises(CatalogerError):
            slow.result()
        assert not Path(f"/proc/{child}").exists()
        with pytest.raises(CatalogerError):
            shared.decode(hanging)
