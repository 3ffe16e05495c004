"""The model bundle: a directory with a model, its labels and everything that makes its answers repeatable.

    bundle.json           this module owns its format; see `Bundle`
    model.onnx            uint8 images in, logits and place scores out; weights stored as fp16
    model.int8.onnx       the same in integers, where `cataloger models quantize` has made it
    weights.safetensors   the network's own tensors, for fine-tuning and the torch backend
    golden.npz            images and their logits, replayed by `cataloger models verify`
    MODEL_CARD.md         data, licences, results, known weaknesses

A copy that is kept for tagging alone may leave out the weights and the golden images (TRAINING_FILES).

Nothing in a bundle is ever unpickled, and nothing of it is used before it is checked: `cataloger.model.manifest` and
`cataloger.model.untrusted`. A bundle is written under a temporary name and renamed when complete.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cataloger.contracts import ADAPTED_FORMAT, BUNDLE_FORMAT
from cataloger.errors import BundleError, OutputError, UsageError
from cataloger.model.calibration import Calibration, ScoreMap, ShopFigures
from cataloger.model.untrusted import is_plain_name, opened, refusal, sha256_of
from cataloger.options import NetworkConfig, Precision, PrecisionChoice, PreprocessSpec
from cataloger.utils import printable, put_folder

if TYPE_CHECKING:
    from cataloger.model.manifest import CalibrationValues

if TYPE_CHECKING:
    from cataloger.model.weights_file import Tensors

MANIFEST = "bundle.json"
KEPT = "kept_models"
MODEL = "model.onnx"
MODEL_INT8 = "model.int8.onnx"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.npz"
CARD = "MODEL_CARD.md"
MODELS: Mapping[Precision, str] = {"fp32": MODEL, "int8": MODEL_INT8, "fp16": WEIGHTS}
"""The file that each precision runs: onnxruntime the first two, torch the last one."""
REQUIRED_FILES = (MODEL, WEIGHTS, GOLDEN, CARD)
TRAINING_FILES = (WEIGHTS, GOLDEN)
"""What training and quantizing start from; a copy for tagging can do without them."""
ONNX_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")

WITHOUT_WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "daaa30bcb79a4473a03937e84861de8dff7c1fb4abaeab85173d537d299acf82": (  # fashion-39 0.3
        "20e49a88f46daf9f4a68274296f0610d8190138087df0e12909ac07e313e20cf",
        "2c6e3b3140428cc8b7a8e60ba0ada839e870db6acac5fd909df5614e4bf042fc",
    )
}
"""SHA-256 of ONNX files that earlier versions shipped, by weights_id: known to be theirs without their weights."""

INPUT = "images"
LOGITS = "logits"
PLACE_SCORES = "place_scores"
FAMILIARITY = "familiarity"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that has been read; `read_bundle` and `seal` make them.

    files: SHA-256 (hexadecimal) of each file. left_out: the same of those of TRAINING_FILES that this copy does not
    have. calibration: how scores become confidences and decisions.
    golden_tolerance, int8_tolerance: largest allowed absolute difference of a logit when the golden images are
    replayed in fp32 and in int8. precision: which of its models is meant; see `at`.
    """

    path: Path
    name: str
    version: str
    labels: tuple[str, ...]
    preprocess: PreprocessSpec
    network: NetworkConfig
    calibration: Calibration = field(default_factory=Calibration)
    golden_tolerance: float = 1e-3
    int8_tolerance: float | None = None
    precision: Precision = "fp32"
    files: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        manifest = self.path / MANIFEST
        if len(set(self.labels)) != len(self.labels):
            twice, _ = Counter(self.labels).most_common(1)[0]
            raise refusal(manifest, f"the labels are not unique: {twice}", field="labels")
        if self.network.classes != len(self.labels):
            problem = f"{len(self.labels)} labels for a head of {self.network.classes} classes"
            raise refusal(manifest, problem, field="labels")
        self.calibration.require_labels(self.labels)

    @property
    def weights_id(self) -> str:
        """Identity of what decides the logits: tensors, network, preprocessing, labels. Hexadecimal."""
        weights = self.files.get(WEIGHTS) or self.left_out[WEIGHTS]
        decisive = [weights, asdict(self.network), asdict(self.preprocess), list(self.labels)]
        return _digest(decisive)

    @property
    def calibration_id(self) -> str:
        """Identity of what turns logits into confidences. Hexadecimal."""
        return self.calibration.calibration_id

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax."""
        return self.calibration.temperature

    @property
    def title(self) -> str:
        """Name and version, for people: safe to display."""
        return printable(f"{self.name} {self.version}")

    @property
    def reference(self) -> str:
        """What --model calls it where it ships with the package: NAME@VERSION."""
        return printable(f"{self.name}@{self.version}")

    @property
    def model_path(self) -> Path:
        """The file of this precision."""
        return self.path / MODELS[self.precision]

    @property
    def tolerance(self) -> float:
        """Largest allowed absolute difference of a golden logit in this precision."""
        return self.int8_tolerance or 0.0 if self.precision == "int8" else self.golden_tolerance

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that it has an ONNX model of."""
        return tuple(name for name in ONNX_PRECISIONS if MODELS[name] in self.files)

    def at(self, precision: PrecisionChoice | Precision) -> "Bundle":
        """Return the bundle with the model of a precision chosen and its file checked. fp16 is for torch on a GPU.

        auto: int8 where it has such a model, which is the faster one on a CPU, else fp32. Raises UsageError where it
        has none, BundleError where the file differs from its hash.
        """
        if precision == "auto":
            return self.at("int8" if "int8" in self.precisions else "fp32")
        if precision not in (*self.precisions, "fp16"):
            raise UsageError(
                f"{self.title} has no {precision} model, only {', '.join(self.precisions)}; "
                "`cataloger models quantize` makes one"
            )
        if precision == "fp16":
            self.require_training_files("--precision fp16")
        check_files(self, (MODELS[precision],))
        return replace(self, precision=precision)

    def require_training_files(self, purpose: str) -> None:
        """Raise UsageError where this copy has been kept without them. purpose: what needs them."""
        if self.left_out:
            raise UsageError(
                f"{purpose} needs {' and '.join(self.left_out)}, which this copy of {self.title} leaves out "
                f"({printable(str(self.path))}): use the complete bundle, of `cataloger models keep default DIR` by "
                "the version of cataloger that it came with"
            )

    def to_json(self) -> dict[str, Any]:
        """Return what bundle.json holds."""
        return {
            "format_version": ADAPTED_FORMAT if self.calibration.is_adapted else BUNDLE_FORMAT,
            "name": self.name,
            "version": self.version,
            "weights_id": self.weights_id,
            "calibration_id": self.calibration_id,
            "labels": list(self.labels),
            "preprocess": asdict(self.preprocess),
            "network": asdict(self.network),
            "tensors": {"images": INPUT, "logits": LOGITS, "place_scores": PLACE_SCORES, "familiarity": FAMILIARITY},
            "calibration": self.calibration.to_json(),
            "golden": {"tolerance": self.golden_tolerance}
            | ({} if self.int8_tolerance is None else {"tolerance_int8": self.int8_tolerance}),
            "files": dict(self.files),
            **({"left_out": dict(self.left_out)} if self.left_out else {}),
            "provenance": dict(self.provenance),
        }


def default_bundle_path() -> Path:
    """Return the directory of the bundle that ships with the package."""
    return Path(__file__).parents[1] / "default_model"


def kept_bundle_paths() -> list[Path]:
    """Return the directories of the former default bundles that ship with the package, by name."""
    return sorted(path.parent for path in (default_bundle_path().parent / KEPT).glob(f"*/{MANIFEST}"))


def read_bundle(path: Path, *, check: tuple[str, ...] = (MODEL,)) -> Bundle:
    """Read a bundle and compare the SHA-256 of the files named in `check`.

    Raises BundleError: not a bundle, unknown format version, a field that is wrong, a file that is not the one named.
    """
    from msgspec.structs import asdict as fields_of  # only here: loading it takes a few milliseconds

    from cataloger.model.manifest import read_manifest

    file = path / MANIFEST
    if not os.path.exists(file):  # noqa: PTH110 (pathlib raises where a folder may not be read)
        raise BundleError(f"{printable(str(path))} is not a model bundle: it has no {MANIFEST}")
    values = read_manifest(file)
    try:
        bundle = Bundle(
            path=path,
            name=values.name,
            version=values.version,
            labels=values.labels,
            preprocess=PreprocessSpec(**fields_of(values.preprocess)),
            network=NetworkConfig(**fields_of(values.network)),
            calibration=_calibration(values.calibration),
            golden_tolerance=values.golden.tolerance,
            int8_tolerance=values.golden.tolerance_int8,
            files=values.files,
            provenance=values.provenance,
            left_out=values.left_out,
        )
    except UsageError as error:
        raise refusal(file, f"is wrong: {error}") from error
    _check_names(bundle)
    check_files(bundle, check)
    if values.weights_id != bundle.weights_id:
        raise refusal(file, "was edited: its identity does not match", field="weights_id")
    if values.calibration_id != bundle.calibration_id:
        raise refusal(file, "was edited: its identity does not match", field="calibration_id")
    return bundle


def _calibration(values: "CalibrationValues") -> Calibration:
    from msgspec.structs import asdict as fields_of

    adaptation = None if values.adaptation is None else ScoreMap(**fields_of(values.adaptation))
    learned_in = None if values.learned_in is None else ShopFigures(**fields_of(values.learned_in))
    return Calibration(**{**fields_of(values), "adaptation": adaptation, "learned_in": learned_in})


def _check_names(bundle: Bundle) -> None:
    """Refuse a bundle that does not name what it needs; TRAINING_FILES it names as there, or as left out."""
    file = bundle.path / MANIFEST
    for name in bundle.left_out:
        if name not in TRAINING_FILES or name in bundle.files:
            raise refusal(file, f"{name} cannot be left out", field="left_out")
    missing = [name for name in REQUIRED_FILES if name not in bundle.files and name not in bundle.left_out]
    if missing:
        raise refusal(file, f"does not name {', '.join(missing)}", field="files")


def check_files(bundle: Bundle, names: Iterable[str] = REQUIRED_FILES) -> None:
    """Compare files with the hashes that bundle.json names. Raises BundleError for the first that differs.

    Those that the bundle leaves out are not looked for.
    """
    for name in (name for name in names if name not in bundle.left_out):
        if sha256_of(bundle.path / name) != bundle.files.get(name):
            raise refusal(bundle.path / name, f"is not the file that {MANIFEST} names (SHA-256 differs)")


def check_bound(bundle: Bundle) -> "Tensors | None":
    """Compare the ONNX file of the bundle's precision with the weights that its identity is made of; return these.

    Where the weights are left out, the file must be one that cataloger has shipped under this identity; None is
    returned, as for fp16, for which the weights themselves are run. Raises BundleError.
    """
    from cataloger.model.onnx_file import check_onnx
    from cataloger.model.weights_binding import check_tensors
    from cataloger.model.weights_file import read_weights

    if bundle.precision not in ONNX_PRECISIONS:
        return None
    weights, path = bundle.path / WEIGHTS, bundle.model_path
    if has_weights(bundle):
        tensors = read_weights(weights, sha256=bundle.files[WEIGHTS])
        check_onnx(path)
        check_tensors(path, tensors, output=LOGITS, is_int8=bundle.precision == "int8")
        return tensors
    if sha256_of(path) not in _shipped_models(bundle.weights_id):
        remedy = "use the complete bundle; without its weights only a model that cataloger has shipped is used"
        raise refusal(weights, f"is missing, so nothing says whether {path.name} belongs to it", remedy=remedy)
    return None


def has_weights(bundle: Bundle) -> bool:
    """True where its ONNX files can be compared with its weights."""
    return WEIGHTS in bundle.files and os.path.lexists(bundle.path / WEIGHTS)


def _shipped_models(weights_id: str) -> tuple[str, ...]:
    found = [read_bundle(path, check=()) for path in (default_bundle_path(), *kept_bundle_paths())]
    own = [each.files[MODELS[kind]] for each in found if each.weights_id == weights_id for kind in each.precisions]
    return (*WITHOUT_WEIGHTS.get(weights_id, ()), *own)


def copy_files(bundle: Bundle, folder: Path, *, but: Collection[str] = ()) -> None:
    """Copy the files of a bundle, each checked, so that nothing else on this machine gets into the copy.

    but: files that are not copied. Raises BundleError for one that differs from its hash.
    """
    names = [name for name in bundle.files if name not in but]
    for name in names:
        if not is_plain_name(name):
            raise refusal(bundle.path / MANIFEST, f"{name!r} is not the name of a file in its folder", field="files")
        with opened(bundle.path / name) as source, (folder / name).open("wb") as copy:
            shutil.copyfileobj(source, copy)
    check_files(replace(bundle, path=folder), names)


@contextmanager
def new_bundle(target: Path) -> Iterator[Path]:
    """Give a temporary directory to fill; when the block ends it becomes `target`.

    The caller writes REQUIRED_FILES into it and calls `seal`. An existing bundle at `target` is replaced as a whole;
    any other existing directory with something in it raises BundleError, before the work starts. Raises OutputError,
    and what is at `target` stays, when a file cannot be written.
    """
    if target.exists() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise BundleError(f"{target} exists and is not a model bundle; choose another directory")
    try:
        place = Path(os.path.realpath(target))
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        try:
            yield folder
            _publish(folder, place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OutputError(f"the bundle {target} cannot be written: {error.strerror or error}{where}") from error


def seal(bundle: Bundle) -> Bundle:
    """Hash the files of a complete bundle and write its bundle.json last; return it with the hashes.

    Raises BundleError when one of REQUIRED_FILES is missing and not left out on purpose, or an ONNX file has other
    tensors than the weights.
    """
    left_out = {name: sha256 for name, sha256 in bundle.left_out.items() if not (bundle.path / name).is_file()}
    missing = [name for name in REQUIRED_FILES if name not in left_out and not (bundle.path / name).is_file()]
    if missing:
        raise BundleError(f"a bundle needs {', '.join(missing)}")
    names = sorted({path.name for path in bundle.path.iterdir()} - {MANIFEST})
    for name in names:
        (bundle.path / name).chmod(0o644)  # safetensors writes files that nobody else may read
    sealed = replace(bundle, files={name: sha256_of(bundle.path / name) for name in names}, left_out=left_out)
    for precision in sealed.precisions if has_weights(sealed) else ():
        check_bound(replace(sealed, precision=precision))
    text = json.dumps(sealed.to_json(), indent=2, ensure_ascii=False)
    (bundle.path / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return sealed


def recalibrated(bundle: Bundle, calibration: Calibration) -> Bundle:
    """Return the same bundle with another calibration; weights_id stays, calibration_id changes."""
    return replace(bundle, calibration=calibration)


def _publish(folder: Path, target: Path) -> None:
    folder.chmod(0o755)  # mkdtemp makes it private
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"the bundle for {target} was not sealed")
    put_folder(folder, target)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
