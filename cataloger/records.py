"""The frozen records that flow from a source to a sink.

An `Item` names an input. It becomes `Fetched` (bytes), an `Image` (pixels) and at last exactly one `Result`:
a `Prediction` or a `Failure`. Each carries its item, so nothing is ever matched by position.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""uint8 RGB, height x width x 3; a batch adds the leading axis."""

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in a column of the shop's table. row: values of the columns that identify the row. size: bytes."""

    row: tuple[Any, ...]
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of an object store. store: e.g. "s3://bucket". key: in it. size: bytes; None if that is not known."""

    store: str
    key: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One input of a source.

    key: identity within its source, e.g. the path relative to the root; undecodable bytes percent-escaped.
    uri: where its bytes are, for people and views; never contains a query string or a password.
    version: version token (files: size and modification time); "" when it could not be read.
    path: file-system path as bytes, so that names that are not valid UTF-8 work; None if it is not a file.
    product_key: the product that the image belongs to, if the source knows.
    url: where to download it, with user info and query string; never recorded, never logged. None if it is a file.
    blob: the row that contains the bytes, if they are in the shop's table.
    former_key, former_product: key and product as versions before recorded them, not cleaned; None where that is
    the same. department: of its product, cleaned, where the source has departments.
    stored: the object that holds the bytes, if they are in an object store.
    """

    key: str
    uri: str
    version: str
    path: bytes | None = None
    product_key: str | None = None
    url: str | None = field(default=None, repr=False)
    blob: Blob | None = None
    former_key: str | None = None
    former_product: str | None = None
    department: str | None = None
    stored: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The encoded bytes of an item. content_hash: SHA-256 of `data`, hexadecimal."""

    item: Item
    data: bytes
    content_hash: str


@dataclass(frozen=True, slots=True)
class Image:
    """A decoded item. pixels: uint8 RGB, size x size x 3. width, height: upright original, in pixels.

    decoder: what turned the bytes into pixels; "" if that is not known.
    """

    item: Item
    content_hash: str
    pixels: Pixels
    width: int
    height: int
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images that are classified together."""

    images: tuple[Image, ...]

    def pixels(self) -> Pixels:
        """Stack the images: uint8, N x size x size x 3."""
        return np.stack([image.pixels for image in self.images])


@dataclass(frozen=True, slots=True)
class PictureScores:
    """What a model says of the bytes of an image, whatever item they are of; see `Prediction`, `Image`."""

    content_hash: str
    width: int
    height: int
    log_sum_exp: float
    scores: bytes
    familiarity: float | None = None
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of the model for one image, best label first.

    confidences: calibrated probabilities of `labels`. logits: raw scores of `labels`, before calibration.
    log_sum_exp: of *all* raw logits at temperature 1. scores: all raw logits in the order of the model's labels,
    float32, little-endian, so that a recalibration can start from the record. familiarity: how much the image looks
    like those that the model was trained on, at most 1; None if the model does not measure it. decision: accept,
    review or abstain; None if the model's calibration does not decide. decoder: of `Image`.
    """

    item: Item
    content_hash: str
    width: int
    height: int
    labels: tuple[str, ...]
    confidences: tuple[float, ...]
    logits: tuple[float, ...]
    log_sum_exp: float
    scores: bytes = b""
    familiarity: float | None = None
    decision: str | None = None
    decoder: str = ""

    def picture(self) -> PictureScores:
        """Return what of it holds for every item with these bytes."""
        of_bytes = (self.content_hash, self.width, self.height, self.log_sum_exp)
        return PictureScores(*of_bytes, self.scores, self.familiarity, self.decoder)


TRANSIENT_PREFIXES = ("fetch.", "io.")
MISSING = ("io.missing", "io.permission", "fetch.not_found")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one input has no prediction. `code` is stable; `message` is for people.

    may_be_outage: no answer about this image came at all, so that its host or storage may be out. is_shared: another
    item shows the same picture, and was asked for in place of this one.
    """

    item: Item
    code: str
    message: str
    content_hash: str | None = None
    may_be_outage: bool = False
    is_shared: bool = False

    @property
    def is_transient(self) -> bool:
        """True when the next run should try again although the bytes are unchanged."""
        return self.code.startswith(TRANSIENT_PREFIXES)

    @property
    def is_missing(self) -> bool:
        """True when the image is not where it should be, or not for this user."""
        return self.code in MISSING


Result = Prediction | Failure

Reason = Literal[
    "new", "changed", "model", "forced", "retry", "unchanged", "failed_before", "duplicate",
    "duplicate_for_another_product",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planned:
    """An input and what to do with it. recorded: version token of its latest result, if that decided.

    was_there: its bytes were read for its latest result. is_asked: this run has looked, or will look, whether they
    still are there. is_late: it has failed before, so that it comes after what is new.
    """

    subject: Item | Failure
    do: bool
    reason: Reason
    recorded: str = ""
    was_there: bool = False
    is_asked: bool = False
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is recorded of an unchanged input in a form that is none any more, and is renewed in place.

    item: its present names and token. item_id: of its row. former_product: hash of the product that its row names;
    None if that is the present one. is_key, is_token: whether its key, and the token of its results, are renewed.
    is_department: its product is in another department now.
    """

    item: Item
    item_id: int
    former_product: str | None
    is_key: bool
    is_token: bool
    is_department: bool = False


def item_of(subject: Item | Fetched | Failure) -> Item:
    """Return the item of an input, which may have been fetched, or have failed, already."""
    return subject if isinstance(subject, Item) else subject.item
