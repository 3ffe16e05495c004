"""What other tools read from a bundle gives what cataloger gives."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from cataloger.imaging.preprocess import load
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import default_bundle_path, read_bundle

BUNDLE = default_bundle_path()
EXAMPLES = Path(__file__).parents[3] / "examples" / "images"


def read(name):
    return json.loads((BUNDLE / name).read_text(encoding="utf-8"))


def test_the_files_are_hashed_with_the_others():
    assert {"labels.txt", "config.json", "preprocessor_config.json"} <= set(read_bundle(BUNDLE).files)


def test_a_plain_script_gets_the_same_categories():
    """Knows nothing of cataloger: numpy, Pillow and onnxruntime."""
    labels = (BUNDLE / "labels.txt").read_text(encoding="utf-8").splitlines()
    wanted = read("preprocessor_config.json")
    session = onnxruntime.InferenceSession(str(BUNDLE / "model.onnx"))
    classifier = OnnxClassifier(read_bundle(BUNDLE))
    for path in sorted(EXAMPLES.glob("*.png")):
        picture = Image.open(path).convert("RGBA")
        canvas = Image.new("RGBA", picture.size, (*wanted["background"], 255))
        canvas.alpha_composite(picture)
        size = (wanted["size"]["width"], wanted["size"]["height"])
        pixels = np.asarray(canvas.convert("RGB").resize(size, wanted["resample"]))[None]
        (logits,) = session.run(["logits"], {"images": pixels})
        ours = classifier.logits(load(path.read_bytes(), read_bundle(BUNDLE).preprocess).pixels[None])
        assert labels[int(logits[0].argmax())] == classifier.labels[int(ours[0].argmax())]
        assert logits[0] == pytest.approx(ours[0], abs=1e-4)


def test_the_weights_and_the_configuration_make_the_network():
    torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
    from safetensors.torch import load_file

    from cataloger.model.network import Network
    from cataloger.options import NetworkConfig

    config = read("config.json")
    mean, std = (torch.tensor(config["pretrained_cfg"][key])[:, None, None] for key in ("mean", "std"))
    network = Network(NetworkConfig(classes=config["num_classes"])).eval()
    stored = {name: value.float() for name, value in load_file(BUNDLE / config["files"]["weights"]).items()}
    missing, unexpected = network.load_state_dict(stored, strict=False)
    assert [name for name in missing if "num_batches" not in name] == []
    assert unexpected == ["familiarity.prototypes"]
    pixels = np.random.default_rng(0).integers(0, 256, size=(2, 224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        logits, _ = network((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    assert logits.numpy() == pytest.approx(OnnxClassifier(read_bundle(BUNDLE)).logits(pixels), abs=1e-3)


def test_labels_and_numbers_match():
    config, labels = read("config.json"), list(read_bundle(BUNDLE).labels)
    assert [config["id2label"][str(index)] for index in range(config["num_classes"])] == labels
    assert all(config["id2label"][str(index)] == label for label, index in config["label2id"].items())
