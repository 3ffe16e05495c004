"""The log as JSON lines: real processes, whose stderr is read as a program reads it."""

import ast
import json
import os
import re
import shutil
import signal
from pathlib import Path

import forks
import pytest
from log_lines import EVENTS, MAIN, records, run
from patience import HANGS

from cataloger.signals import asks_for_json
from cataloger.signals.json_stderr import LONGEST_LINE, record_of

ROOT = Path(__file__).parents[2]


SAY = (b"event", b"EVENT", b"tell(", b"as_line(", b"log_step(")
"""In every file that names an event."""


def test_every_event_of_the_code_is_documented_and_no_other():
    name = re.compile(r"(?:run|job|image|signal)\.[a-z_]+|error|crash|stderr|log")
    found = set()
    for path in (ROOT / "cataloger").rglob("*.py"):
        text = path.read_bytes()
        if not any(word in text for word in SAY):
            continue
        for node in ast.walk(ast.parse(text)):
            strings = []
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                strings = [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "event"]
            elif isinstance(node, ast.Call):
                called = getattr(node.func, "id", "")
                place = {"tell": 1, "as_line": 1, "_log_plan": 1, "log_step": 1, "_event": 0}.get(called)
                strings = [] if place is None else node.args[place : place + 1]
            elif isinstance(node, ast.Assign) and path.parent.name == "signals":
                strings = [node.value] if getattr(node.targets[0], "id", "") in ("EVENT", "OTHER") else []
            texts = {each.value for each in strings if isinstance(each, ast.Constant)}
            assert all(name.fullmatch(text) for text in texts), path
            found |= texts
    assert found == EVENTS


@pytest.mark.parametrize(
    "line",
    [
        b"plain",
        b"\xff\xfe bytes",
        b'{"time": broken',
        b'{"other": 1}',
        b"[1, 2]",
        b"tab\tand \x1b[31mred",
        "\u2028é".encode(),
    ],
)
def test_any_line_becomes_a_record(line):
    made = record_of(line)
    assert made.endswith(b"\n")
    assert made.count(b"\n") == 1
    assert made.isascii()
    (found,) = records(made.decode())
    assert found["event"] == "stderr"
    assert record_of(made.rstrip(b"\n")) == made, "a record stays as it is"
    assert record_of(b" \r") == b""


WRITERS = f"""
import logging, os, subprocess, sys, warnings
from cataloger.signals import begin_log, turn_into_lines
from cataloger.cli.streams import tolerate_lost_output
tolerate_lost_output()
begin_log("json", verbose=1)
turn_into_lines()
turn_into_lines()
print("data", flush=True)
print("printed", file=sys.stderr)
os.write(2, b"by a library in C\\n")
subprocess.run(["sh", "-c", "echo by a child >&2; printf 'no end' >&2"])
os.write(2, b"\\n" + b"x" * {LONGEST_LINE + 70_000} + b"\\n")
warnings.warn("old")
logger = logging.getLogger("cataloger.some.part")
logger.info("caf\\u00e9 \\udcff\\n%s", "two lines", extra={{"event": "image.failed", "key": "a"}})
logger.debug("not shown")
if os.fork() == 0:
    logger.warning("by a fork")
    os._exit(0)
os.wait()
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("caught")
raise RuntimeError("nobody has foreseen this")
"""


def test_whoever_writes_to_stderr_writes_json():
    status, out, err = run(WRITERS)
    assert (status, out) == (1, "data\n")
    found = records(err)
    texts = [each["message"] for each in found]
    for text in ("printed", "by a library in C", "by a child", "no end", "by a fork", "caught"):
        assert texts.count(text) == 1
    assert any("UserWarning: old" in text for text in texts)
    assert sum(text.count("x") for text in texts if set(text) == {"x"}) == LONGEST_LINE + 70_000
    assert "caf\u00e9 \\udcff\ntwo lines" in texts
    assert "not shown" not in texts
    named = next(each for each in found if each["event"] == "image.failed")
    assert (named["level"], named["key"], named["logger"]) == ("info", "a", "cataloger.some.part")
    caught = next(each for each in found if each["message"] == "caught")
    assert "ZeroDivisionError" in caught["traceback"]
    assert (found[-1]["event"], found[-1]["level"]) == ("crash", "critical")
    assert found[-1]["traceback"].endswith("nobody has foreseen this\n")


def test_what_signals_end_is_still_logged():
    code = (
        WRITERS.partition('print("data"')[0]
        + "print('here', file=sys.stderr, flush=True)\nimport time\ntime.sleep(900)"
    )
    program = forks.start(code, start_new_session=True)
    try:
        assert json.loads(program.stderr.readline())["message"] == "here"
        os.killpg(program.pid, signal.SIGTERM)
        program.wait(HANGS)
        assert program.returncode == -signal.SIGTERM
        assert program.stderr.read() == "", "the reader has ended with the last writer"
    finally:
        program.kill()
        program.wait()
        program.close()


@pytest.mark.parametrize(
    ("arguments", "environment", "defaults", "wanted"),
    [
        ([], {}, {}, False),
        (["tag", "--log-format", "json"], {}, {}, True),
        (["tag", "--log-format=json"], {}, {}, True),
        (["tag", "--log-format"], {}, {}, False),
        (["tag", "json"], {}, {}, False),
        (["tag"], {"CATALOGER_LOG_FORMAT": "json"}, {}, True),
        (["tag", "--log-format", "text"], {"CATALOGER_LOG_FORMAT": "json"}, {"log_format": "json"}, False),
        (["tag"], {"CATALOGER_LOG_FORMAT": "text"}, {"log_format": "json"}, False),
        (["tag"], {"CATALOGER_LOG_FORMAT": ""}, {"log_format": "json"}, True),
    ],
)
def test_flags_win_over_variables_and_these_over_the_file(arguments, environment, defaults, wanted):
    assert asks_for_json(arguments, environment, defaults) is wanted


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    shutil.copy(ROOT / "examples" / "images" / "t-shirt-black.png", "photos")
    Path("photos/broken.png").write_bytes(b"no image")
    return tmp_path


def test_a_run_tells_what_it_does_with_each_image(photos):
    status, out, err = run(MAIN, "tag", "photos", "--json", "--log-format", "json", "-vv")
    assert (status, json.loads(out)["run_id"]) == (3, 1)
    found = records(err)
    assert {(each["run_id"], each["job"]) for each in found} == {(1, None)}
    steps = [each for each in found if each.get("key") == "t-shirt-black.png"]
    assert [each["event"] for each in steps] == ["image.planned", "image.decoded", "image.tagged"]
    assert (steps[0]["reason"], steps[1]["width"] > 0, steps[2]["answers"][0][0]) == ("new", True, "T-shirt")
    (failed,) = [each for each in found if each["event"] == "image.failed"]
    assert (failed["key"], failed["code"], failed["is_transient"]) == ("broken.png", "decode.not_image", False)
    ends = {each["event"]: each for each in found if each["event"].startswith("run.")}
    assert list(ends) == ["run.began", "run.shortfall", "run.ended"]
    assert {name: ends["run.ended"][name] for name in ("exit_status", "done", "failed", "skipped", "dry_run")} == {
        "exit_status": 3,
        "done": 1,
        "failed": 1,
        "skipped": 0,
        "dry_run": False,
    }
    status, _, err = run(MAIN, "tag", "photos", "--log-format", "json", "-vv")
    skipped = [(each["key"], each["reason"]) for each in records(err) if each["event"] == "image.skipped"]
    assert skipped == [("broken.png", "failed_before"), ("t-shirt-black.png", "unchanged")]
    status, _, err = run(MAIN, "tag", "photos", "--force", "--quiet", CATALOGER_LOG_FORMAT="json")
    assert [(each["event"], each["run_id"]) for each in records(err)] == [("run.shortfall", 3)]


def test_what_is_wrong_with_a_call_is_json_too(photos):
    status, out, err = run(MAIN, "tag", "photos", "--log-format", "json", "--no-such-flag")
    assert (status, out) == (2, "")
    assert any("--no-such-flag" in each["message"] for each in records(err))
    Path("cataloger.toml").write_text('[tag]\nlog-format = "json"\n')
    status, _, err = run(MAIN, "tag", "nothing")
    assert status == 1
    assert [(each["event"], each["level"], each["run_id"]) for each in records(err)] == [("error", "error", None)]
    assert run(MAIN, "tag", "nothing", "--log-format", "text")[2].startswith("cataloger: error: ")
    status, _, err = run(MAIN, "runs", "show", "1", "--db", "sqlite:///no.db", CATALOGER_LOG_FORMAT="json")
    assert (status, [each["event"] for each in records(err)]) == (1, ["error"])
