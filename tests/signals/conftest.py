"""A shop whose nights are watched."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cron_rig import ROOT, Receiver


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def shop(make_tables, tmp_path, monkeypatch):
    """A folder of two photos and a thumbnail, and a database with a table of two shoes, one without its photo."""
    monkeypatch.chdir(tmp_path)
    make_tables("sqlite", tmp_path)
    Path("photos/@eaDir").mkdir(parents=True)
    for name in ("tennis-shoe.png", "flip-flops.png"):
        shutil.copy(ROOT / "examples" / "images" / name, "photos")
    shutil.copy("photos/flip-flops.png", "photos/@eaDir/thumb.png")
    with closing(sqlite3.connect("catalog.db")) as database:
        database.execute("CREATE TABLE shoes (sku INTEGER PRIMARY KEY, photo TEXT)")
        database.execute("INSERT INTO shoes (photo) VALUES ('tennis-shoe.png'), ('no-such.png')")
        database.commit()
    return tmp_path
