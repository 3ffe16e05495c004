"""Logs of JSON lines, as programs read them: every line is a record of the documented form."""

import json
import os
import re
from datetime import datetime
from pathlib import Path

import forks
from patience import HANGS

MAIN = "from cataloger.cli.app import main\nmain()"
PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "log.md").read_text().partition("## Events")[2]
EVENTS = set(re.findall(r"^\| `([a-z_.]+)` \| [^|]*(?:debug|info|warning|error|critical|any)", PAGE, re.MULTILINE))
KEYS = ["time", "level", "event", "run_id", "job", "message"]


def records(text):
    """Return what each line says; each is an object of the documented form."""
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        assert list(each)[: len(KEYS)] == KEYS
        assert datetime.fromisoformat(each["time"]).utcoffset() is not None
        assert each["level"] in ("debug", "info", "warning", "error", "critical")
        assert each["event"] in EVENTS
    return found


def run(code, *arguments, **env):
    """Run a program with the environment of the tests but without settings of cataloger; see `forks.run`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CATALOGER_")}
    return forks.run(code, *arguments, env=kept | env, timeout=HANGS)
