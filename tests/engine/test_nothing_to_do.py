"""A run that finds nothing new starts no decoder and loads no model."""

import shutil
from pathlib import Path

import pytest

import cataloger
from cataloger.db import DatabaseURL
from cataloger.engine.executors import local
from cataloger.errors import BundleError
from cataloger.inference.backend import Engine

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return what is started, and a function that tags a folder with one image."""
    (tmp_path / "photos").mkdir()
    shutil.copy(EXAMPLES / "sombrero.png", tmp_path / "photos")
    counts = []
    open_model, pool = Engine.open, local.DecodePool
    monkeypatch.setattr(Engine, "open", lambda *each: (counts.append("model"), open_model(*each))[1])
    monkeypatch.setattr(local, "DecodePool", lambda *each, **how: (counts.append("decoders"), pool(*each, **how))[1])

    def tag():
        options = cataloger.TagOptions(
            paths=(str(tmp_path / "photos"),), db=DatabaseURL.parse(f"sqlite:///{tmp_path / 'catalog.db'}")
        )
        counts.clear()
        report = cataloger.tag(options)
        return report.run.done, counts

    return tmp_path / "photos", tag


def test_only_what_is_new_starts_them(started):
    photos, tag = started
    assert tag() == (1, ["decoders", "model"])
    assert tag() == (0, [])
    shutil.copy(EXAMPLES / "bow-tie.png", photos)
    assert tag() == (1, ["decoders", "model"])
    (photos / "bow-tie.png").unlink()
    assert tag() == (0, [])


def test_a_model_that_cannot_be_loaded_is_not_what_a_source_goes_over_to(started, monkeypatch):
    _, tag = started
    good = Engine.open

    def refuse(*_):
        raise BundleError("damaged")

    monkeypatch.setattr(Engine, "open", refuse)
    with pytest.raises(BundleError):
        tag()
    monkeypatch.setattr(Engine, "open", good)
    assert tag() == (1, ["decoders", "model"])
