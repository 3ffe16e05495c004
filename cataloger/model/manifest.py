"""The format of bundle.json, checked before anything of it is used.

JSON leaves open what `json` accepts: names given twice, NaN, numbers without end, halves of surrogate pairs, nesting
without end. `read_manifest` refuses all of it, then msgspec compares types and ranges. What the fields mean stands in
docs/reference/bundle.md.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from cataloger.contracts import ADAPTED_FORMAT, BUNDLE_FORMAT, MAX_LABEL_LENGTH
from cataloger.model.untrusted import is_plain_name, read_file, refusal, unprintable

LARGEST_MANIFEST = 16 * 2**20
"""Bytes. That of the default model has 30,000; one of a hundred thousand labels would have some ten million."""
DEEPEST = 32
LONGEST_NUMBER = 40
MOST_LABELS = 100_000
LONGEST_PATH = 10_000
PROVENANCE = "provenance"

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Meta(max_length=MAX_LABEL_LENGTH)]
Label = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL_LENGTH)]
Byte = Annotated[int, Meta(ge=0, le=255)]
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Tolerance = Annotated[float, Meta(ge=0, le=1e6)]


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `cataloger.options.PreprocessSpec`, whose defaults these are."""

    size: Annotated[int, Meta(ge=8, le=2048)] = 224
    decoder: Literal["pillow"] = "pillow"
    scale: Literal["draft", "full"] = "draft"
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    aspect: Literal["squash"] = "squash"
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)


class NetworkShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `cataloger.options.NetworkConfig`. The upper bounds are far beyond any network of ours.

    dropout: an integer stays one, since the identity is a hash of the text.
    """

    classes: Annotated[int, Meta(ge=2, le=MOST_LABELS)]
    attention: Literal["none", "mhsa", "mhsa-early"] = "mhsa"
    head: Literal["single", "double"] = "double"
    width: Annotated[int, Meta(ge=1, le=8192)] = 512
    heads: Annotated[int, Meta(ge=1, le=1024)] = 8
    hidden: Annotated[int, Meta(ge=1, le=65536)] = 512
    positions: bool = True
    dropout: Annotated[int, Meta(ge=0, lt=1)] | Annotated[float, Meta(ge=0, lt=1)] = 0.3


class AdaptationValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `cataloger.model.calibration.ScoreMap`."""

    kind: Literal["prior", "biases", "map"]
    bias: tuple[Finite, ...]
    matrix: tuple[tuple[Finite, ...], ...] | None = None


class ShopValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `cataloger.model.calibration.ShopFigures`."""

    source: Annotated[str, Meta(max_length=LONGEST_PATH)]
    labelled: Count
    accepted: Count
    right: Count


class CalibrationValues(msgspec.Struct, frozen=True):
    """See `cataloger.model.calibration.Calibration`, which says the sign of a temperature more plainly."""

    temperature: Annotated[float, Meta(le=1e6)]
    target_precision: Annotated[float, Meta(gt=0, lt=1)] | None = None
    thresholds: dict[str, Finite] = {}
    least_familiarity: Finite | None = None
    adaptation: AdaptationValues | None = None
    allowed: tuple[Label, ...] | None = None
    least_log_sum_exp: Finite | None = None
    learned_in: ShopValues | None = None


class Golden(msgspec.Struct, frozen=True):
    """Largest allowed differences of a logit."""

    tolerance: Tolerance
    tolerance_int8: Tolerance | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What bundle.json holds. Further keys are allowed, for versions to come, and mean nothing."""

    format_version: Literal[1, 2]
    name: Name
    version: Name
    weights_id: Sha256
    calibration_id: Sha256
    labels: Annotated[tuple[Label, ...], Meta(min_length=2, max_length=MOST_LABELS)]
    preprocess: Preprocess
    network: NetworkShape
    calibration: CalibrationValues
    golden: Golden
    files: Annotated[dict[str, Sha256], Meta(max_length=1000)]
    provenance: dict[str, Any]
    left_out: Annotated[dict[str, Sha256], Meta(max_length=2)] = {}


def read_manifest(path: Path) -> Manifest:
    """Read a bundle.json. Raises BundleError with the field that is wrong."""
    values = parse_json(path)
    version = values.get("format_version")
    if version not in (BUNDLE_FORMAT, ADAPTED_FORMAT):
        remedy = f"this version of cataloger reads the formats {BUNDLE_FORMAT} and {ADAPTED_FORMAT}"
        raise refusal(path, f"has bundle format {version!r}", remedy=remedy)
    # Versions before this one wrote what training gave them: a loss may have been none.
    if PROVENANCE in values:
        values[PROVENANCE] = _without_infinities(values[PROVENANCE])
    for field, value in _walk(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise refusal(path, f"{value} is no finite number", field=field)
    try:
        manifest = msgspec.convert(values, Manifest)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `")
        raise refusal(path, problem, field=where.removesuffix("`").removeprefix("$.")) from error
    adapted = [name for name in ("adaptation", "allowed") if getattr(manifest.calibration, name) is not None]
    if adapted and version != ADAPTED_FORMAT:  # a version before this one would read it, and answer otherwise
        raise refusal(path, f"needs format {ADAPTED_FORMAT}", field=f"calibration.{adapted[0]}")
    _check_texts(path, manifest)
    return manifest


def parse_json(path: Path, *, largest: int = LARGEST_MANIFEST) -> dict[str, Any]:
    """Read a file of one JSON object; its numbers may be infinite. Raises BundleError for what JSON leaves open."""
    data = read_file(path, largest=largest)
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_without_doubles, parse_int=_integer)
        for field, value in _walk(values):
            if isinstance(value, str) and (half := _half_of_a_pair(value)):
                raise refusal(path, f"{half} is half of a character", field=field)
    except RecursionError as error:
        raise refusal(path, f"is nested deeper than {DEEPEST} levels") from error
    except ValueError as error:  # also of the encoding
        raise refusal(path, f"is no JSON that can be read: {error}") from error
    if not isinstance(values, dict):
        raise refusal(path, "must hold one JSON object")
    return values


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"the name {name!r} is given twice in one object")
        values[name] = value
    return values


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(text):,} digits")
    return int(text)


def _half_of_a_pair(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return text[error.start].encode("unicode_escape").decode()
    return None


def _walk(values: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value and every name with the field that it belongs to. Raises RecursionError beyond DEEPEST."""
    level = [("", values)]
    for _ in range(DEEPEST):
        yield from level
        level = [part for field, value in level for part in _parts(field, value)]
        if not level:
            return
    raise RecursionError


def _parts(field: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        prefix = f"{field}." if field else ""
        return [(field, name) for name in value] + [(f"{prefix}{name}", part) for name, part in value.items()]
    return [(f"{field}[{index}]", part) for index, part in enumerate(value)] if isinstance(value, list) else []


def _without_infinities(value: Any) -> Any:
    """Return values with None in the place of numbers that are none."""
    if isinstance(value, dict):
        return {name: _without_infinities(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_infinities(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_texts(path: Path, manifest: Manifest) -> None:
    """Refuse names and labels that a table, a terminal or a file system would act upon, or that say nothing."""
    texts = {"name": manifest.name, "version": manifest.version}
    texts |= {f"labels[{index}]": label for index, label in enumerate(manifest.labels)}
    for field, text in texts.items():
        if (character := unprintable(text)) is not None:
            raise refusal(path, f"contains the character {character}, which no name may have", field=field)
        if field.startswith("labels") and not text.strip():
            raise refusal(path, "a label must not be blank", field=field)
    for name in manifest.files:
        if not is_plain_name(name):
            raise refusal(path, f"{name!r} is not the name of a file in its folder", field="files")
