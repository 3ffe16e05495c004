"""The files of a bundle that other tools read: they must say what bundle.json says."""

from typing import Any

from cataloger.model.bundle import MANIFEST, Bundle
from cataloger.model.manifest import parse_json
from cataloger.model.untrusted import read_file, refusal

LABELS = "labels.txt"
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"


def check_side_files(bundle: Bundle) -> None:
    """Compare those that a bundle has with it. Raises BundleError for one that cannot be read, or says otherwise."""
    labels, size = list(bundle.labels), bundle.preprocess.size
    if LABELS in bundle.files:
        try:
            lines = read_file(bundle.path / LABELS).decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise refusal(bundle.path / LABELS, f"is not in UTF-8: {error}") from error
        _require(bundle, LABELS, "", lines == labels)
    config = _json(bundle, CONFIG)
    numbered = {str(index): label for index, label in enumerate(labels)}
    _require(bundle, CONFIG, "label_names", config.get("label_names", labels) == labels)
    _require(bundle, CONFIG, "id2label", config.get("id2label", numbered) == numbered)
    _require(bundle, CONFIG, "num_classes", config.get("num_classes", len(labels)) == len(labels))
    square = {"height": size, "width": size}
    _require(bundle, PREPROCESSOR, "size", _json(bundle, PREPROCESSOR).get("size", square) == square)


def _json(bundle: Bundle, name: str) -> dict[str, Any]:
    return parse_json(bundle.path / name) if name in bundle.files else {}


def _require(bundle: Bundle, name: str, field: str, is_same: bool) -> None:
    if not is_same:
        raise refusal(bundle.path / name, f"does not say what {MANIFEST} says", field=field)
