"""Bundles changed at random: each loads as it should, or is refused with one line; nothing else ever happens.

SEED is fixed, so that a failure can be repeated; `make test-long` tries more of them.
"""

import json
import random
import resource

import numpy as np
import pytest
from small_bundles import SIZE, edit, put, small_bundle, stamped

from cataloger.errors import BundleError
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import GOLDEN, MANIFEST, MODEL, read_bundle
from cataloger.model.golden import read_golden
from cataloger.model.side_files import check_side_files
from cataloger.utils import limit_memory

SEED = 20_261_127
PIXELS = np.zeros((1, SIZE, SIZE, 3), np.uint8)
CONFIG = {
    "label_names": ["Hat", "Shirt", "Sock"],
    "num_classes": 3,
    "id2label": {"0": "Hat", "1": "Shirt", "2": "Sock"},
}
ODD = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e300, 1e-320, float("nan"), float("inf"), "",
    " ", "x", "\n", "\x1b[2J", "\u202e", "\ud800", "é", "e\u0301", "../x", "/etc/passwd", "a" * 300, "0" * 64, [],
    [[]], {}, [None], {"": None}, ["Hat"] * 3, {"a": {"b": {}}},
)  # fmt: skip


def places(value, path=()):
    """Yield the way to every value within one."""
    yield path
    for key, part in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(part, (*path, key))


def changed(values, chance):
    """Change one value somewhere: replace it, take it away, double it, or wrap it."""
    *way, last = chance.choice([path for path in places(values) if path])
    parent = values
    for key in way:
        parent = parent[key]
    what = chance.randrange(5)
    if what == 0:
        del parent[last]
    elif what == 1 and isinstance(parent, list):
        parent.append(parent[last])
    elif what == 2:
        parent[last] = [parent[last]]
    elif what == 3 and isinstance(parent, dict):
        parent[chance.choice([str(each) for each in ODD])] = chance.choice(ODD)
    else:
        parent[last] = chance.choice(ODD)
    return values


def mangled(data, chance):
    """Change bytes somewhere: flip, cut, repeat, insert."""
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    what = chance.randrange(4)
    if what == 0:
        return data[:start] + bytes([chance.randrange(256)]) + data[start + 1 :]
    if what == 1:
        return data[:start]
    if what == 2:
        return data[:end] + data[start:]
    return data[:start] + chance.choice([b"\xff" * 9, b"[" * 5000, b'"', b"{", b"NaN", b"9" * 5000]) + data[start:]


def outcome(action):
    """Return "used" or "refused"; a refusal is one line that can be printed."""
    try:
        action()
    except BundleError as error:
        message = str(error)
    else:
        return "used"
    assert message.isprintable(), repr(message)
    assert len(message) < 1500
    return "refused"


def tried(bundle, rounds, mutate, use):
    """Change a bundle again and again, from the same state; return what came of it, by count."""
    chance = random.Random(SEED)
    kept = {path: path.read_bytes() for path in bundle.path.iterdir()}
    found = {"used": 0, "refused": 0}
    for _ in range(rounds):
        mutate(chance)
        found[outcome(use)] += 1
        for path, data in kept.items():
            path.write_bytes(data)
    return found


@pytest.fixture(autouse=True)
def _bounded_memory():
    """Models run here, a process for each would take minutes; changed sizes may ask for any memory."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit_memory(2**30)
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.fixture
def bundle(tmp_path):
    made = small_bundle(tmp_path / "model")
    put(made, "config.json", json.dumps(CONFIG).encode())
    return read_bundle(made.path)


MANY = [pytest.param(120, id="some"), pytest.param(30_000, id="many", marks=pytest.mark.long)]


@pytest.mark.parametrize("rounds", MANY)
def test_values_of_a_manifest(bundle, rounds):
    path = bundle.path / MANIFEST
    values = json.loads(path.read_text())

    def mutate(chance):
        new = json.loads(json.dumps(values))
        for _ in range(chance.randrange(1, 4)):
            changed(new, chance)
        path.write_text(json.dumps(stamped(new) if chance.randrange(3) else new))

    found = tried(bundle, rounds, mutate, lambda: OnnxClassifier(read_bundle(bundle.path)).scores(PIXELS))
    assert min(found.values()) > 0  # neither everything nor nothing is refused


@pytest.mark.parametrize("rounds", MANY)
def test_bytes_of_a_manifest(bundle, rounds):
    path = bundle.path / MANIFEST
    data = path.read_bytes()
    found = tried(
        bundle,
        rounds,
        lambda chance: path.write_bytes(mangled(data, chance)),
        lambda: read_bundle(bundle.path),
    )
    assert found["refused"] > rounds // 2


def use_of(bundle, name):
    """Return what reads a file of a bundle."""

    def use():
        found = read_bundle(bundle.path)
        if name == MODEL:
            OnnxClassifier(found).scores(PIXELS)
        elif name == GOLDEN:
            read_golden(found, "logits")
        else:
            check_side_files(found)

    return use


@pytest.mark.parametrize("rounds", MANY)
@pytest.mark.parametrize("name", [MODEL, GOLDEN, "config.json"])
def test_bytes_of_other_files(bundle, name, rounds):
    data = (bundle.path / name).read_bytes()
    found = tried(bundle, rounds, lambda chance: put(bundle, name, mangled(data, chance)), use_of(bundle, name))
    assert found["refused"] > rounds // 4


def test_the_seed_decides_what_is_tried(bundle):
    edit(bundle, lambda values: values.update(version="4"))
    ways = [changed(json.loads((bundle.path / MANIFEST).read_text()), random.Random(SEED)) for _ in range(2)]
    assert repr(ways[0]) == repr(ways[1])
