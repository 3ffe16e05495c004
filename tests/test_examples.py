"""The examples run as their first lines say."""

import runpy
import sqlite3
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_three_categories_of_ones_own(tmp_path, capfd):
    pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")
    runpy.run_path(str(EXAMPLES / "finetune" / "run.py"))["main"](tmp_path)
    printed = capfd.readouterr().out
    assert "On the feet     24    6     6" in printed
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        rows = connection.execute("SELECT key, label_1, decision FROM cataloger_image_top5").fetchall()
    assert len(rows) == 18
    assert {label for _, label, _ in rows} <= {"On the head", "On the body", "On the feet"}
    # One of three would be chance.
    assert sum(key.startswith(f"{label}/") for key, label, _ in rows) >= 10
    assert {decision for _, _, decision in rows} <= {"accept", "review", "abstain"}
