"""stdout and stderr that are full, closed or unread: what is said, and the exit status."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from PIL import Image

from cataloger.cli.streams import TolerantOutput

FULL = "cataloger: error: the output cannot be written: No space left on device\n"
CLOSED = "cataloger: error: the output cannot be written: Bad file descriptor\n"
UNREAD = "cataloger: error: the output cannot be written: Broken pipe\n"
LOST = {">/dev/full": FULL, ">&-": CLOSED}

MAIN = "import sys; sys.argv[0] = 'cataloger'; from cataloger.cli.app import main; main()"


def run(shell, *arguments, **environment):
    """Run a command with a redirection of the shell; return its exit status and what it wrote to stderr."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | environment
    reading, writing = os.pipe()
    os.close(reading)
    redirection = shell.replace("| nobody", "")
    command = ["sh", "-c", f'exec "$0" -c "$@" {redirection}', sys.executable, MAIN, *arguments]
    stdout = subprocess.DEVNULL if redirection else writing
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=own)
    os.close(writing)
    return done.returncode, done.stderr


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photos" / "a.png")
    return tmp_path


def test_a_reader_that_has_left_is_told():
    assert run("| nobody", "models", "show", "--json") == (5, UNREAD)


@pytest.mark.parametrize("shell", LOST)
def test_a_run_whose_report_is_lost_is_done_and_says_so(photos, shell):
    status, err = run(shell, "tag", "photos", "--json", "--no-progress")
    assert (status, err) == (5, LOST[shell])
    with closing(sqlite3.connect("cataloger.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM cataloger_image_top5 WHERE status = 'ok'").fetchone() == (1,)
        assert database.execute("SELECT outcome FROM cataloger_run").fetchall() == [("done",)]


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("models", "list"), ("--show-completion", "bash")],
    ids=" ".join,
)
def test_what_only_prints_says_that_it_could_not(tmp_path, arguments):
    environment = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert run(">/dev/full", *arguments, **environment) == (5, FULL)


def test_completion_in_a_shell_that_has_gone_is_no_traceback(tmp_path):
    asked = {"_CATALOGER_COMPLETE": "complete_bash", "COMP_WORDS": "cataloger ta", "COMP_CWORD": "1"}
    status, err = run(">&-", **asked)
    assert (status, err) == (5, CLOSED)


def test_nothing_is_lost_where_nothing_is_printed(photos):
    assert run(">&-", "tag", "photos", "--quiet") == (0, "")


def test_the_status_of_the_work_comes_first(photos):
    (photos / "photos" / "b.png").write_bytes(b"")
    status, err = run(">/dev/full", "tag", "photos", "--no-progress")
    assert (status, FULL in err, "decode.empty 1" in err) == (3, True, True)


@pytest.mark.parametrize("shell", ["2>/dev/full", "<&- >&- 2>&-"])
def test_messages_that_are_lost_change_no_status(photos, shell):
    (photos / "photos" / "b.png").write_bytes(b"")
    assert run(shell, "tag", "photos", "--no-progress", "-v") == (3, "")
    with closing(sqlite3.connect("cataloger.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_unbuffered_output_that_is_lost_is_told_too(photos):
    assert run(">/dev/full", "models", "list", PYTHONUNBUFFERED="1") == (5, FULL)


def test_everything_arrives_where_nothing_is_wrong(tmp_path):
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as raw, io.TextIOWrapper(io.BufferedWriter(TolerantOutput(raw))) as text:
        text.write("é" * 100_000)
        text.flush()
    assert path.read_text() == "é" * 100_000


def test_a_pipe_that_does_not_wait_loses_nothing(tmp_path):
    """Programs that start others hand them such pipes; writing to a full one is an error for most programs."""
    code = "import os,sys; os.set_blocking(1, False); from cataloger.cli import app; app.main()"
    command = [sys.executable, "-c", code, "models", "show", "--json"]
    slow = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    with slow:
        assert json.loads(slow.stdout.read())["format_version"] == 1
        assert (slow.wait(), slow.stderr.read()) == (0, b"")


def test_the_first_error_is_kept_and_the_rest_dropped():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as raw:
        output = TolerantOutput(raw)
        assert output.write(b"abc") == 3
        assert isinstance(output.lost, BrokenPipeError)
        first = output.lost
        assert output.write(b"abc") == 3
        assert output.lost is first
