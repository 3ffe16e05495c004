"""No setting changes an answer: `cataloger tag` against Pillow and onnxruntime alone, one image at a time.

The reference shares no code with cataloger. Each number of processors is a process of its own, as users start it.
"""

import itertools
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageOps

from cataloger.model.bundle import default_bundle_path

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
MODELS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
# How the model runs: alone or with others at a time, decoded by one process or more, on one processor or all.
PROCESSORS = ("one", "all")
SETTINGS = tuple(itertools.product((1, 3, 8), (1, 3)))
COMMANDS = """
import json, os, sys
if sys.argv[1] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from cataloger.cli.app import app
for arguments in json.load(sys.stdin):
    assert not app(arguments, standalone_mode=False), arguments
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """PNGs, and JPEGs of three sizes, one of which is decoded at a reduced scale and one turned by EXIF."""
    folder = tmp_path_factory.mktemp("photos")
    for number, path in enumerate(sorted(EXAMPLES.glob("*.png"))):
        with Image.open(path) as image:
            rgb = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
        if number % 4 == 0:
            rgb.save(folder / path.name)
            continue
        size = ((300, 400), (1000, 700), (1600, 1200))[number % 3]
        exif = Image.Exif()
        exif[0x0112] = 6 if number % 5 == 0 else 1
        rgb.resize(size).save(folder / f"{path.stem}.jpg", quality=92, exif=exif)
    return folder


@pytest.fixture(scope="module")
def reference(photos):
    """Precision -> key -> the best five labels and their confidences."""
    bundle = default_bundle_path()
    spec = json.loads((bundle / "bundle.json").read_text())
    return {precision: dict(answers(photos, bundle / name, spec)) for precision, name in MODELS.items()}


def answers(photos, model, spec):
    session = onnxruntime.InferenceSession(
        str(model), providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    side = spec["preprocess"]["size"]
    for path in sorted(photos.iterdir()):
        with Image.open(path) as image:
            image.draft(None, (side, side))
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR))
        (logits,) = session.run([spec["tensors"]["logits"]], {spec["tensors"]["images"]: pixels[None]})
        scaled = logits[0].astype(np.float64) / spec["calibration"]["temperature"]
        shares = np.exp(scaled - scaled.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:5]
        yield path.name, [(spec["labels"][index], shares[index]) for index in best]


def tag(photos, folder, settings, processors):
    """Tag with each of some settings, one after the other; return setting -> what the view shows of each image."""
    databases = {flags: folder / f"{number}.db" for number, flags in enumerate(settings)}
    commands = [
        ["tag", str(photos), "--db", f"sqlite:///{database}", "-q", *flags] for flags, database in databases.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, processors],
        input=json.dumps(commands), cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return {flags: shown(database) for flags, database in databases.items()}


def shown(database):
    columns = ", ".join(f"label_{rank}, confidence_{rank}" for rank in range(1, 6))
    with sqlite3.connect(database) as connection:
        rows = connection.execute(f"SELECT key, {columns} FROM cataloger_image_top5").fetchall()
    return {key: list(zip(values[::2], values[1::2], strict=True)) for key, *values in rows}


def compare(found, expected, tolerance):
    """Equal answers: the same labels, confidences within a tolerance; two may swap where theirs differ by less."""
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        np.testing.assert_allclose([c for _, c in found[key]], [c for _, c in wanted], rtol=0, atol=tolerance)
        shares = dict(wanted)
        for (label, _), (other, share) in zip(found[key], wanted, strict=True):
            last = wanted[-1][1]
            assert label == other or abs(shares.get(label, last) - share) < tolerance, (key, label, other)


@pytest.mark.slow
@pytest.mark.parametrize("precision", sorted(MODELS))
def test_every_way_to_run_the_model_gives_the_answers_of_the_reference(photos, reference, tmp_path, precision):
    settings = [
        ("--precision", precision, "--batch-size", str(batch), "--workers", str(workers))
        for batch, workers in SETTINGS
    ]
    for processors in PROCESSORS:
        (tmp_path / processors).mkdir()
        for found in tag(photos, tmp_path / processors, settings, processors).values():
            compare(found, reference[precision], 1e-5)


@pytest.mark.slow
def test_integers_change_no_confident_answer_of_the_reference(reference):
    for key, wanted in reference["fp32"].items():
        (label, share), (_, second) = wanted[:2]
        found, confidence = reference["int8"][key][0]
        if share - second > 0.2:
            assert (key, found) == (key, label)
            assert abs(confidence - share) < 0.1


@pytest.mark.slow
def test_torch_gives_the_answers_of_the_reference(photos, reference):
    pytest.importorskip("torch")
    from cataloger.imaging.preprocess import load
    from cataloger.inference.classifier import Ranking
    from cataloger.inference.torch import TorchClassifier
    from cataloger.model.bundle import read_bundle

    bundle = read_bundle(default_bundle_path())
    classifier = TorchClassifier(bundle, device="cpu")
    names = sorted(path.name for path in photos.iterdir())
    scores = classifier.scores(
        np.stack([load((photos / name).read_bytes(), bundle.preprocess).pixels for name in names])
    )
    ranking = Ranking(bundle.labels, bundle.calibration, 5)
    ranked = {name: ranking.of(row, None) for name, row in zip(names, scores.logits, strict=True)}
    found = {name: list(zip(each.labels, each.confidences, strict=True)) for name, each in ranked.items()}
    compare(found, reference["fp32"], 1e-4)
