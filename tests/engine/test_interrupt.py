"""Interruption: Ctrl-C, kill -9, a server that dies, a locked database, a full disk.

The real program runs in child processes. Afterwards the same command must end with tables that are equal to those of
a run that nobody interrupted, and no decoding process may be left behind.
"""

import csv
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import forks
import pytest
from by_url import parsed
from patience import HANGS, wait_until
from PIL import Image
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.engine.tag import TagOptions, tag_images
from cataloger.hooks import Hooks

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "images"
POINTS = ["after_decode", "before_commit", "after_commit", "before_close"]
SEED = int(os.environ.get("CATALOGER_TEST_SEED") or random.randrange(1_000_000))
FLAGS = ("--no-progress", "--batch-size", "4", "--workers", "1", "--max-failure-rate", "1")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what becomes of processes is read from /proc"),
]


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


storm = load(ROOT / "benchmarks" / "kill_storm.py")

# `cataloger ARGUMENTS` that writes every 4 results; `at(point, action)` acts when it gets to a point.
RIGGED = """
import os, resource, signal, sys
from cataloger.engine import pipeline
from cataloger.cli.app import main
from cataloger.db import database, connections as session
from cataloger.utils import failpoints

pipeline.WRITE_EVERY_RESULTS = 4
session.BUSY_TIMEOUT = 2.0
database.PATIENCE = 4.0
passed = []

def at(point, action):
    def check():
        passed.append(point)
        # There is something to lose at the second time; a run closes once.
        if len(passed) == (1 if point == "before_close" else 2):
            action()

    failpoints.set_action(point, check)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def pause():
    print("pausing", flush=True)
    sys.stdin.readline()

def fill_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

"""


@dataclass
class Child:
    """A started program; mark: in the environment of it and of all its children."""

    process: subprocess.Popen | forks.Program
    mark: str

    def end(self, told=None):
        """Wait for the end; return exit status, stdout and stderr. No process may be left."""
        out, err = self.process.communicate(told, timeout=HANGS)
        assert storm.survivors(self.mark, HANGS) == []
        return self.process.returncode, out, err


@contextmanager
def started(start):
    """Start a program as the leader of a group, as a shell does; kill what is left of it at the end of the block.

    start: called with the environment.
    """
    mark = uuid.uuid4().hex
    environment = os.environ | {storm.MARK: mark}
    environment.pop("PYTHONUNBUFFERED", None)  # what is buffered is written at the end, when it may be too late
    process = start(environment)
    try:
        yield Child(process, mark)
    finally:
        for left in storm.processes(mark):
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def tagging(folder, url, *flags):
    """Start `cataloger tag`."""
    command = (sys.executable, "-m", "cataloger", "tag", str(folder), "--db", url, *FLAGS, *flags)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return started(lambda env: subprocess.Popen(command, text=True, env=env, start_new_session=True, **pipes))


def rigged(setup, *arguments):
    """Start `cataloger` after a line of code, with its imports behind it."""
    code = f"{RIGGED}{setup}\nmain()"
    return started(lambda env: forks.start(code, *arguments, env=env, start_new_session=True))


def rigged_tagging(setup, folder, url, *flags):
    """Start `cataloger tag` after a line of code."""
    return rigged(setup, "tag", str(folder), "--db", url, *FLAGS, *flags)


def tag_again(folder, url, *flags):
    """Run the command to its end; return its report."""
    with tagging(folder, url, "--json", *flags) as child:
        status, out, err = child.end()
    assert status == 0, err
    return json.loads(out)


def invoke(folder, url, *flags):
    """Run the command to its end in this process, which is quicker; return its report."""
    result = CliRunner().invoke(app, ["tag", str(folder), "--db", url, *FLAGS, "--json", *flags])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def kill_at(point, folder, url, *flags):
    """Run the command until it kills itself at a point."""
    with rigged_tagging(f"at({point!r}, die)", folder, url, *flags) as child:
        status, _, err = child.end()
    assert status == -signal.SIGKILL, err


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 24 images, two of them damaged, two of them the same."""
    folder = tmp_path_factory.mktemp("photos")
    for path in EXAMPLES.glob("*.png"):
        with Image.open(path) as image:
            image.convert("RGBA").convert("RGB").resize((90, 120)).save(folder / f"{path.stem}.jpg")
    whole = (folder / "sombrero.jpg").read_bytes()
    (folder / "sombrero-again.jpg").write_bytes(whole)
    (folder / "sombrero-cut.jpg").write_bytes(whole[:700])
    (folder / "page.jpg").write_text("<html>not found</html>")
    (folder / "new").mkdir()
    (folder / "new" / "sombrero.jpg").write_bytes(whole)
    return folder


@pytest.fixture(scope="module")
def reference(photos, tmp_path_factory):
    """The tables of a run that nobody interrupted."""
    url = f"sqlite:///{tmp_path_factory.mktemp('reference')}/catalog.db"
    assert tag_again(photos, url)["done"] == 22
    found = storm.read_tables(url, photos)
    assert Counter(row.status for row in found.values()) == {"ok": 22, "failed": 2}
    return found


@pytest.fixture
def many(tmp_path):
    """A folder of so many images that a run takes several seconds."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        data = (EXAMPLES / "t-shirt-black.png").read_bytes()
        (folder / f"{number:03}.png").write_bytes(data + bytes([number]))  # the same bytes would be decoded once
    return folder


@pytest.fixture
def sqlite_url(make_tables, tmp_path):
    return make_tables("sqlite", tmp_path)


def recorded(url):
    """Return how many results a SQLite file holds; 0 while it is being made."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(make_url(url).database)) as connection:
        return connection.execute("SELECT COUNT(*) FROM cataloger_result").fetchone()[0]
    return 0


def assert_completes(folder, url, reference, *flags, killed="abandoned"):
    """Run the same command again: the tables are equal, and the killed run ended as said."""
    invoke(folder, url, *flags)
    assert storm.differences(reference, storm.read_tables(url, folder)) == []
    assert storm.outcomes(url) == [killed, "done"]


@contextmanager
def locked(url, child):
    """Lock a SQLite database when a run has come to its pause."""
    assert child.process.stdout.readline() == "pausing\n"
    with closing(sqlite3.connect(make_url(url).database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# Kill -9


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_a_point_is_completed_by_the_next(point, sqlite_url, photos, reference):
    kill_at(point, photos, sqlite_url)
    assert storm.outcomes(sqlite_url) == [None]
    known = storm.read_tables(sqlite_url, photos)
    assert len(known) == {"after_decode": 0, "before_commit": 4, "after_commit": 8, "before_close": 24}[point]
    assert_completes(photos, sqlite_url, reference)


@pytest.mark.parametrize("empty_url", ["postgresql", "mariadb"], indirect=True)
def test_a_run_killed_at_each_point_in_turn_is_completed_on_a_server(url, photos, reference):
    known = []
    for point in POINTS:
        kill_at(point, photos, url)
        known.append(len(storm.read_tables(url, photos)))
    assert known == [0, 4, 12, 24]
    invoke(photos, url)
    assert storm.differences(reference, storm.read_tables(url, photos)) == []
    assert storm.outcomes(url) == ["abandoned"] * 4 + ["done"]


def test_runs_killed_at_random_times_are_completed_by_the_next(tmp_path, photos, reference):
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(5)]

    def start_and_kill(number):
        with rigged_tagging("", photos, urls[number]) as child:
            time.sleep(random.Random(SEED + number).uniform(0.3, 3.0))
            child.process.kill()
            child.end()

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(start_and_kill, range(5)))
    ends = []
    for url in urls:
        invoke(photos, url)
        ends.append((storm.differences(reference, storm.read_tables(url, photos)), storm.outcomes(url)))
    told = f"again with CATALOGER_TEST_SEED={SEED}: {ends}"
    assert [lines for lines, _ in ends] == [[]] * 5, told
    assert all(outcomes[-1] == "done" and None not in outcomes for _, outcomes in ends), told


def test_a_killed_run_that_its_parent_has_not_waited_for_is_dead_all_the_same(sqlite_url, photos, reference):
    with rigged_tagging("at('after_commit', die)", photos, sqlite_url) as child:
        os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOWAIT)
        assert_completes(photos, sqlite_url, reference)


# Ctrl-C

# With the patience that everybody gets; written so often that the first results are not the last.
AS_EVER = "pipeline.WRITE_EVERY_RESULTS, session.BUSY_TIMEOUT, database.PATIENCE = 16, 30.0, 120.0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_what_is_in_flight_and_says_how_to_go_on(number, sqlite_url, many, tmp_path):
    flags = ("--output", str(tmp_path / "out.jsonl"), "--workers", "2")
    with rigged_tagging(AS_EVER, many, sqlite_url, *flags) as child:
        wait_until(lambda: recorded(sqlite_url))
        assert len(storm.processes(child.mark)) == 3  # so that it is no wonder when none is left
        os.killpg(child.process.pid, number)
        status, out, err = child.end()
    assert status == 130
    assert "stopping after the images in progress" in err
    assert "run 1 interrupted, run the same command again to continue" in out
    assert storm.outcomes(sqlite_url) == ["interrupted"]
    assert 0 < recorded(sqlite_url) < 200
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == recorded(sqlite_url)


def test_the_run_after_an_interruption_does_the_rest_alone(sqlite_url, many):
    with rigged_tagging(AS_EVER, many, sqlite_url) as child:
        wait_until(lambda: recorded(sqlite_url))
        child.process.send_signal(signal.SIGINT)
        assert child.end()[0] == 130
    report = invoke(many, sqlite_url)
    assert report["planned_by_reason"]["new"] + report["skipped_by_reason"]["unchanged"] == 200
    assert recorded(sqlite_url) == 200


def test_a_second_ctrl_c_ends_the_run_at_once(sqlite_url, many):
    with rigged_tagging(AS_EVER, many, sqlite_url) as child:
        wait_until(lambda: recorded(sqlite_url))
        os.killpg(child.process.pid, signal.SIGINT)
        assert child.process.stderr.readline() == "\n"
        assert "press Ctrl-C again to stop at once" in child.process.stderr.readline()
        os.killpg(child.process.pid, signal.SIGINT)
        assert_ends_soon(child)
    assert storm.outcomes(sqlite_url) == ["interrupted"]


def assert_ends_soon(child):
    """Wait for the end of a run that was told twice to stop: it neither waits nor works on for long.

    Beside other processes a second may last ten; so may a second of work, but it takes a second of a processor.
    """
    worked, start = processor_seconds(child.process.pid), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, _, err = child.end()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (status, "Traceback" in err) == (130, False)
    assert time.monotonic() - start < 30
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - worked < 2


def processor_seconds(pid):
    """Return what a process has used so far, with its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def test_a_second_ctrl_c_does_not_wait_for_a_large_batch(sqlite_url, many):
    # When the second batch has been decoded, the first one is being classified.
    with rigged_tagging("at('after_decode', pause)", many, sqlite_url, "--batch-size", "100") as child:
        assert child.process.stdout.readline() == "pausing\n"
        interrupt_twice(child)
        assert_ends_soon(child)
    assert storm.outcomes(sqlite_url) == ["interrupted"]


def interrupt_twice(child):
    child.process.send_signal(signal.SIGINT)
    child.process.stderr.readline()
    child.process.send_signal(signal.SIGINT)


def test_a_second_ctrl_c_is_obeyed_while_the_database_is_locked(sqlite_url, photos, reference):
    with rigged_tagging("at('after_commit', pause)", photos, sqlite_url) as child, locked(sqlite_url, child):
        interrupt_twice(child)
        status, _, err = child.end()
    assert (status, "Traceback" in err) == (130, False)
    assert_completes(photos, sqlite_url, reference)


def test_ctrl_c_stops_a_run_properly_although_nobody_reads_its_messages(sqlite_url, photos):
    with rigged_tagging("at('after_commit', pause)", photos, sqlite_url) as child:
        assert child.process.stdout.readline() == "pausing\n"
        child.process.stderr.close()
        child.process.send_signal(signal.SIGINT)
        child.process.stdin.close()
        assert child.process.wait(HANGS) == 130
        assert storm.survivors(child.mark, HANGS) == []
    assert storm.outcomes(sqlite_url) == ["interrupted"]
    assert len(storm.read_tables(sqlite_url, photos)) == 24


@pytest.mark.parametrize("flag", ["--no-progress", "--json"])
def test_an_interrupted_run_tells_its_status_although_nobody_reads_its_report(flag, sqlite_url, photos):
    with rigged_tagging("at('after_commit', pause)", photos, sqlite_url, flag) as child:
        assert child.process.stdout.readline() == "pausing\n"
        child.process.stdout.close()
        child.process.send_signal(signal.SIGINT)
        child.process.stdin.close()
        assert child.process.wait(HANGS) == 130
        assert child.process.stderr.read() == (
            "\nstopping after the images in progress; press Ctrl-C again to stop at once\n"
        )
    assert storm.outcomes(sqlite_url) == ["interrupted"]


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_whose_terminal_is_closed_stops_properly_unless_nohup_started_it(goes_on, sqlite_url, photos):
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if goes_on else ""
    with rigged_tagging(f"{ignore}at('after_commit', pause)", photos, sqlite_url) as child:
        assert child.process.stdout.readline() == "pausing\n"
        child.process.stdout.close()
        child.process.stderr.close()
        for _ in range(2):  # the kernel says it, and the shell
            os.killpg(child.process.pid, signal.SIGHUP)
            time.sleep(0.1)
        child.process.stdin.close()
        assert child.process.wait(HANGS) == (5 if goes_on else 130)
        assert storm.survivors(child.mark, HANGS) == []
    assert storm.outcomes(sqlite_url) == ["done" if goes_on else "interrupted"]
    assert len(storm.read_tables(sqlite_url, photos)) == 24


# The output file


def read_output(path):
    """Return key -> first label of an output file."""
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
        rows = parquet.read_table(path).to_pylist()
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [json.loads(line) for line in file] if path.suffix == ".jsonl" else list(csv.DictReader(file))
    return {row["key"]: row["label_1"] or None for row in rows}


@pytest.mark.parametrize("extension", ["jsonl", "csv", "parquet"])
def test_a_killed_run_leaves_the_output_file_of_before_and_the_next_one_completes_it(
    extension, sqlite_url, photos, reference, tmp_path
):
    output = tmp_path / f"out.{extension}"
    output.write_text("of yesterday")
    # Everything has been written to the temporary file when it is brought to the disk.
    with rigged_tagging("os.fsync = lambda _: die()", photos, sqlite_url, "--output", str(output)) as child:
        assert child.end()[0] == -signal.SIGKILL
    assert output.read_text() == "of yesterday"
    # The file is written when all results are recorded and the run has ended.
    assert_completes(photos, sqlite_url, reference, "--output", str(output), killed="done")
    assert read_output(output) == {key: row.labels[0] for key, row in reference.items()}


def test_the_output_of_an_interrupted_run_keeps_the_images_of_paths_it_did_not_get_to(sqlite_url, photos, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    shutil.copy(photos / "bow-tie.jpg", more / "another.jpg")
    options = TagOptions((str(photos), str(more)), db=parsed(sqlite_url), output=tmp_path / "out.csv")
    tag_images(options)
    complete = read_output(tmp_path / "out.csv")
    hooks = Hooks()
    hooks.stop.set()
    assert tag_images(options, hooks).exit_status == 130
    assert read_output(tmp_path / "out.csv") == complete
    assert "another.jpg" in complete


# What is done again


@pytest.fixture
def few(tmp_path):
    """A folder of three good images and a damaged one."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("sunglasses.png", "t-shirt-black.png", "winter-hat.png"):
        shutil.copy(EXAMPLES / name, folder)
    (folder / "page.jpg").write_text("<html>not found</html>")
    return folder


def test_what_is_unchanged_is_skipped_unless_it_is_asked_for(few, sqlite_url):
    assert invoke(few, sqlite_url)["planned_by_reason"] == {"new": 4}
    again = invoke(few, sqlite_url)
    assert (again["planned_by_reason"], again["skipped_by_reason"]) == ({}, {"unchanged": 3, "failed_before": 1})
    assert invoke(few, sqlite_url, "--retry-failed")["planned_by_reason"] == {"retry": 1}
    assert invoke(few, sqlite_url, "--force")["planned_by_reason"] == {"forced": 4}


def test_a_changed_image_is_tagged_again_and_a_touched_one_ends_up_equal(few, sqlite_url):
    invoke(few, sqlite_url)
    before = storm.read_tables(sqlite_url, few)
    shutil.copy(EXAMPLES / "sombrero.png", few / "sunglasses.png")
    os.utime(few / "winter-hat.png", (1, 1))
    report = invoke(few, sqlite_url)
    assert report["planned_by_reason"] == {"changed": 2}
    after = storm.read_tables(sqlite_url, few)
    assert [line.partition(":")[0] for line in storm.differences(before, after)] == ["sunglasses.png"]
    assert after["sunglasses.png"].labels[0] == "Hat"


# What the machine does


class Server:
    """The throw-away PostgreSQL server, to be killed and started again on the same data and port."""

    def __init__(self, url):
        self.url = url
        engine = create_engine(url)
        with engine.connect() as connection:
            self.folder = Path(connection.scalar(text("SHOW data_directory")))
        engine.dispose()
        self.pid = int((self.folder / "postmaster.pid").read_text().split()[0])
        self.command = Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1]
        self.user = self.folder.stat().st_uid
        self.process = None

    def kill(self):
        """Kill the server and all processes that it has started, as a power cut does."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)  # a dead server that nobody has waited for would keep the next one from starting

    def start(self):
        identity = {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(self.command, cwd=self.folder, **silent, **identity)
        wait_until(self.answers)

    def answers(self):
        engine = create_engine(self.url)
        try:
            with suppress(OperationalError), engine.connect():
                return True
            assert self.process.poll() is None, "the server did not start again"
            return False
        finally:
            engine.dispose()


@pytest.fixture(scope="session")
def mortal_server(postgresql_server):
    """It lives on for the tests that follow, and ends before its data folder is removed."""
    server = Server(postgresql_server)
    yield server
    if server.process:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_server_that_dies_during_a_run_loses_nothing(url, mortal_server, photos, reference):
    with rigged_tagging("at('after_commit', pause)", photos, url) as child:
        assert child.process.stdout.readline() == "pausing\n"
        mortal_server.kill()
        status, _, err = child.end("\n")
    mortal_server.start()
    assert status == 1
    assert err.startswith("cataloger: error: postgresql") or "\ncataloger: error: postgresql" in err
    assert "Traceback" not in err
    assert len(storm.read_tables(url, photos)) == 8
    assert_completes(photos, url, reference)


def test_a_database_that_stays_locked_is_a_clear_error_and_nothing_is_lost(sqlite_url, photos, reference):
    with rigged_tagging("at('after_commit', pause)", photos, sqlite_url) as child, locked(sqlite_url, child):
        status, _, err = child.end("\n")
    assert status == 1
    assert (
        "database is locked: another program has locked it; wait until it has finished or stop it, then run again"
        in err
    )
    assert "Traceback" not in err
    assert len(storm.read_tables(sqlite_url, photos)) == 8
    assert_completes(photos, sqlite_url, reference)


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(sqlite_url, photos, reference):
    with rigged_tagging("at('after_commit', fill_disk)", photos, sqlite_url) as child:
        status, _, err = child.end()
    assert status == 1
    assert "the disk is full or failing" in err
    assert "Traceback" not in err
    assert len(storm.read_tables(sqlite_url, photos)) == 8
    assert_completes(photos, sqlite_url, reference)
