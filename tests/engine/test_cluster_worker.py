"""What a worker of a cluster does with a chunk is what the local engine does with it. No Ray here."""

import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cataloger.adaptation import SourceCalibration
from cataloger.engine.executors import Work, bundles
from cataloger.engine.executors.bundles import digest_of, known_bundle, packed, received_bundle
from cataloger.engine.executors.worker import Worker
from cataloger.errors import BundleError
from cataloger.fetch import read_file
from cataloger.inference import Tagger
from cataloger.model import default_bundle_path, keep_bundle, read_bundle
from cataloger.options import Limits, RunOptions, WebOptions
from cataloger.records import Failure, Fetched, Item, Prediction

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "images").glob("*.png"))[:6]
BUNDLE = read_bundle(default_bundle_path())
DIGEST = digest_of(BUNDLE)
WORK = Work(SourceCalibration(BUNDLE.calibration, BUNDLE.labels), RunOptions(), Limits())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The machine's folder for temporary files."""
    monkeypatch.setattr(bundles.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def items(folder):
    """Six pictures, with something bad between them."""
    (folder / "cut.png").write_bytes(EXAMPLES[0].read_bytes()[:500])
    paths = [EXAMPLES[0], folder / "missing.jpg", *EXAMPLES[1:4], folder / "cut.png", *EXAMPLES[4:]]
    return [Item(str(n), path.name, "v", os.fsencode(path)) for n, path in enumerate(paths)]


def test_a_chunk_has_the_answers_of_the_local_engine_in_its_order(tmp_path):
    worker = Worker()
    assert worker.about(DIGEST)["has_bundle"]
    assert worker.start(WORK, DIGEST, None) == {"device": "cpu", "precision": "int8"}
    try:
        chunk = items(tmp_path)
        found = worker.run(chunk)
        assert [result.item for result in found] == chunk
        assert [getattr(result, "code", None) for result in found if not isinstance(result, Prediction)] == [
            "io.missing",
            "decode.truncated",
        ]
        sent = [read_file(each, Limits()) for each in chunk[2:5]]
        assert all(isinstance(each, Fetched) for each in sent)
        assert [result.labels for result in worker.run(sent)] == [result.labels for result in found[2:5]]
        assert worker.run([]) == []
        # Bytes that are alike are decoded once; what is known is answered without decoding, the rest read once.
        os.link(EXAMPLES[0], tmp_path / "link.png")
        alike = [
            Item("a", "a", "v", os.fsencode(EXAMPLES[0])),
            Item("b", "b", "v", os.fsencode(tmp_path / "link.png")),
        ]
        alike += [Item("c", "c", "v", os.fsencode(tmp_path / "missing.jpg"))]
        (hashed,) = set(worker.read(alike))
        strange = replace(found[0].picture(), content_hash=hashed, width=7)
        answers = worker.run(alike, {hashed: strange})
        assert [getattr(each, "width", None) for each in answers] == [7, 7, None]
        assert [each.item for each in answers] == alike
    finally:
        worker.close()
    expected = list(Tagger(device="cpu").predict([EXAMPLES[0], *EXAMPLES[1:]]))
    predicted = [result for result in found if isinstance(result, Prediction)]
    assert [result.labels for result in predicted] == [result.labels for result in expected]
    for mine, theirs in zip(predicted, expected, strict=True):
        np.testing.assert_allclose(mine.confidences, theirs.confidences, rtol=0, atol=1e-5)


@pytest.fixture
def site():
    """A web site with the examples; gives its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=EXAMPLES[0].parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_downloads_keep_their_order_although_they_have_another_version_afterwards(site):
    names = [path.name for path in EXAMPLES[:3]] + ["none.png"]
    chunk = [Item(str(n), f"{site}/{name}", "v", url=f"{site}/{name}") for n, name in enumerate(names)]
    worker = Worker()
    worker.start(replace(WORK, web=WebOptions(allow_private=True)), DIGEST, None)
    try:
        found = worker.run(chunk)
    finally:
        worker.close()
    assert [result.item.key for result in found] == ["0", "1", "2", "3"]
    assert [type(result) for result in found] == [Prediction] * 3 + [Failure]
    assert found[0].item is not chunk[0]


def test_a_bundle_is_kept_once_and_only_as_it_was_sent(tmp_path, folder):
    kept = keep_bundle(BUNDLE, tmp_path / "mine")
    changed = tmp_path / "other"
    keep_bundle(kept, changed)
    (changed / "bundle.json").write_text((changed / "bundle.json").read_text() + "\n")
    bundle = read_bundle(changed)
    digest, files = digest_of(bundle), packed(bundle)
    assert known_bundle(digest) is None
    received = received_bundle(digest, files)
    assert received.path.parent == folder / f"cataloger-bundles-{os.getuid()}"
    assert received.weights_id == BUNDLE.weights_id
    assert received_bundle(digest, None).path == received.path
    (received.path / "model.onnx").write_bytes(b"another model")
    assert known_bundle(digest) is None
    with pytest.raises(BundleError, match="did not arrive as it was sent"):
        received_bundle(digest, files | {"model.onnx": b"a third one"})


def test_a_folder_of_somebody_else_is_not_trusted(folder):
    place = folder / f"cataloger-bundles-{os.getuid()}"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    found = Worker().start(WORK, "0" * 64, {})
    assert "the folder for it is not this user's alone" in found["error"]


def test_a_machine_without_room_for_the_bundle_says_so(folder):
    (folder / f"cataloger-bundles-{os.getuid()}").write_text("a file")
    found = Worker().start(WORK, "0" * 64, {})
    assert found["error"].startswith("the model bundle cannot be kept: ")


def test_a_device_that_is_not_there_is_wrong_usage(monkeypatch):
    from cataloger.inference import backend

    monkeypatch.setattr(backend, "has_cuda_provider", lambda: False)
    monkeypatch.setattr(backend, "_torch_problem", lambda: "torch is not installed")
    found = Worker().start(replace(WORK, run=RunOptions(device="cuda")), DIGEST, None)
    assert found["is_usage"]
    assert found["error"].startswith("--device cuda: ")
