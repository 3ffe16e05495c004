"""Nothing of ours has onnxruntime count what is done: it would keep a number of the machine below the user's home."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLASSIFY = "print(*cataloger.Tagger('default', device='cpu').predict(['examples/images/blue-fedora.png']))"
OF_ITS_OWN = {"cataloger/inference/private_onnxruntime.py", "training/export/quantize.py"}
"""The second one imports the first one's before a module that no other name gives."""


def run(home, code):
    """Run code in a process with a home of its own; return what it prints.

    It inherits next to nothing: onnxruntime counts nothing where a variable says that this is a machine of CI.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=True, cwd=ROOT, env=kept | {"HOME": str(home)}, capture_output=True, text=True
    ).stdout


def files(home):
    return sorted(path.relative_to(home) for path in home.rglob("*") if path.is_file())


def test_classifying_leaves_nothing_at_home_and_the_environment_as_it_was(tmp_path):
    code = f"import os; before = dict(os.environ); import cataloger; {CLASSIFY}; assert dict(os.environ) == before"
    assert "Prediction(" in run(tmp_path, code)
    assert files(tmp_path) == []


def test_onnxruntime_by_itself_leaves_something(tmp_path):
    """So that the test above can fail; when it no longer does, our module can go."""
    run(tmp_path, "import onnxruntime")
    if not files(tmp_path):
        pytest.fail("this onnxruntime keeps nothing: is our import of it still needed?")


def test_it_is_imported_in_one_place():
    importing = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    paths = [path for folder in ("cataloger", "training") for path in (ROOT / folder).rglob("*.py")]
    assert {str(path.relative_to(ROOT)) for path in paths if importing.search(path.read_text())} == OF_ITS_OWN
