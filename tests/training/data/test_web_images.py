"""Labelled images on the web, of a real server: what is asked for, what is remembered, and what is refused."""

import hashlib
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cataloger.corrections.store import CorrectionInput, correct
from cataloger.db import DatabaseURL
from cataloger.engine import TagOptions, tag_images
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.options import PreprocessSpec, WebOptions
from cataloger.schema import open_results
from cataloger.training.curation.inventory import take_inventory
from cataloger.training.data import read_dataset
from cataloger.training.evaluation.scoring import score
from cataloger.training.options import DataOptions

EXAMPLES = Path(__file__).parents[3] / "examples" / "images"
NAMES = ("baseball-cap", "blue-fedora", "bow-tie")
SECRET = "7f3a-secret"


@pytest.fixture
def site(tmp_path):
    """The address of a server with some images, and what it was asked for."""
    (tmp_path / "site").mkdir()
    for name in NAMES:
        (tmp_path / "site" / f"{name}.png").write_bytes((EXAMPLES / f"{name}.png").read_bytes())
    asked = Counter()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path / "site")

        def log_request(self, *_):
            asked[self.command, self.path] += 1

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_labels_may_name_images_on_the_web(site, tmp_path):
    address, asked = site
    (tmp_path / "labels.csv").write_text(
        "image,label\n" + "".join(f"{address}/{name}.png?token={SECRET},Hat\n" for name in NAMES)
    )
    options = DataOptions(data=tmp_path / "labels.csv", allow_private=True)
    data = read_dataset(options)
    assert not asked
    assert [each.place for each in data.examples] == [f"{address}/{name}.png" for name in NAMES]

    # Another run downloads what has changed.
    for times in (1, 1):
        inventory = take_inventory(data.examples, PreprocessSpec(), tmp_path / "work", lambda _: None)
        assert not inventory.failures
        assert [asked["GET", f"/{name}.png?token={SECRET}"] for name in NAMES] == [times] * 3
    assert SECRET.encode() not in b"".join(each.read_bytes() for each in (tmp_path / "work").iterdir())
    (tmp_path / "site" / "bow-tie.png").write_bytes((EXAMPLES / "earring.png").read_bytes())
    changed = take_inventory(data.examples, PreprocessSpec(), tmp_path / "work", lambda _: None)
    assert changed.sha256[2] == hashlib.sha256((EXAMPLES / "earring.png").read_bytes()).digest()
    assert [asked["GET", f"/{name}.png?token={SECRET}"] for name in NAMES] == [1, 1, 2]

    # A model is measured by them as by files; and a private address is not asked for unless that was said.
    (tmp_path / "files.csv").write_text("image,label\n" + "".join(f"{name}.png,Hat\n" for name in NAMES))
    bundle = read_bundle(resolve_bundle_path("default"), check=()).at("auto")
    files = DataOptions(data=tmp_path / "files.csv", images=tmp_path / "site")
    ours, theirs = (score(bundle, read_dataset(each).examples, progress=lambda _: None) for each in (options, files))
    assert np.array_equal(ours.logits, theirs.logits)
    before = asked.copy()
    refused = read_dataset(DataOptions(data=tmp_path / "labels.csv"))
    found = take_inventory(refused.examples, PreprocessSpec(), tmp_path / "other", lambda _: None)
    assert {text.rpartition("(")[2] for text in found.failures.values()} == {"fetch.private_address)"}
    assert SECRET not in "".join(found.failures.values())
    assert asked == before


def test_what_people_have_corrected_on_the_web_is_learned_from(site, tmp_path):
    address, _ = site
    url = DatabaseURL.parse(f"sqlite:///{tmp_path}/catalog.db")
    tag_images(TagOptions(tuple(f"{address}/{name}.png" for name in NAMES), url, web=WebOptions(allow_private=True)))
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        ids = connection.execute("SELECT item_id, id FROM cataloger_result ORDER BY item_id").fetchall()
    with closing(open_results(url)) as database:
        said = [CorrectionInput(item, "label", "Hat", None, result) for item, result in ids]
        assert {each.status for each in correct(database, said, "Ann")} == {"saved"}
    (tmp_path / "site" / "bow-tie.png").write_bytes((EXAMPLES / "earring.png").read_bytes())
    data = read_dataset(DataOptions(corrections=True, db=url, allow_private=True))
    assert [each.place for each in data.examples] == [f"{address}/{name}.png" for name in NAMES[:2]]
    assert [(each.kind, each.place) for each in data.problems] == [("changed_image", f"{address}/bow-tie.png")]
