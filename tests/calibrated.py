"""Copies of a model with another calibration, and what a ledger shows of their answers."""

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from by_url import open_database
from sqlalchemy import text

from cataloger.model import CARD, Bundle, Calibration, new_bundle, read_bundle, seal

EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
STRICT = Calibration(2.5, 0.9, {"Hat": 0.3, "Shirt": 0.5}, least_familiarity=-1.0)


def copy_of(bundle: Bundle, target: Path, calibration: Calibration) -> Bundle:
    """Write the same model with another calibration."""
    with new_bundle(target) as folder:
        for name in bundle.files:
            shutil.copyfile(bundle.path / name, folder / name)
        (folder / CARD).write_text("another calibration\n")
        seal(replace(bundle, calibration=calibration, path=folder))
    return read_bundle(target)


def views(url):
    """Return what the views show of images and products, but for the numbers of runs and the times."""
    found = {}
    with closing(open_database(url)) as database, database.read() as connection:
        for name in ("image_top5", "product_top5"):
            rows = connection.execute(text(f"SELECT v.* FROM cataloger_{name} v")).mappings()
            plain = ({key: row[key] for key in row if key not in ("run_id", "tagged_at", "model")} for row in rows)
            found[name] = sorted(plain, key=lambda row: str(row.get("key") or row["product_key"]))
    return found


def same(found, expected):
    """Compare views: labels and decisions are equal, confidences as good as that."""
    for name, rows in expected.items():
        assert len(found[name]) == len(rows)
        for row, wanted in zip(found[name], rows, strict=True):
            assert row == {
                key: pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
                for key, value in wanted.items()
            }
