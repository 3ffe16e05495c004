"""The pictures of the page: thumbnails and activation maps, always new encodings, never the bytes of the catalog."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from PIL import Image as PillowImage
from sqlalchemy import select

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database
from cataloger.errors import BundleError, CatalogerError, ImageError
from cataloger.imaging import fitted, thumbnail
from cataloger.inference import Explanation, OnnxClassifier, explained, overlaid
from cataloger.model import Bundle, read_bundle, resolve_bundle_path
from cataloger.records import Failure, Fetched
from cataloger.report import Pictures
from cataloger.review.item_rows import find_shown
from cataloger.schema import ModelRow
from cataloger.utils import available_cpus

SIZES = (240, 900)
MAP_LONGEST = 448
CACHE_BYTES = 64 * 2**20
DECODING_AT_ONCE = 4
"""A picture may take 200 MB while it is decoded."""


class ImageCache:
    """The most recently used pictures, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._held: OrderedDict[tuple[int, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, ...]) -> bytes | None:
        """Return a cached image, and mark it as the most recently used."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: tuple[int, ...], data: bytes) -> None:
        """Cache an image; the least recently used ones are dropped."""
        with self._lock:
            self._bytes += len(data) - len(self._held.pop(key, b""))
            self._held[key] = data
            while self._bytes > self._most:
                self._bytes -= len(self._held.popitem(last=False)[1])


class Images:
    """Draws pictures of images that the queue may show. Safe to use from several threads.

    model: a bundle to explain with, where it is not the one that the ledger names. What cannot be drawn is an
    ImageError, whose message is for people.
    """

    def __init__(self, database: Database, pictures: Pictures, model: str | None = None) -> None:
        self._database = database
        self._pictures = pictures
        self._model = model
        self._cache = ImageCache()
        self._decoding = threading.BoundedSemaphore(DECODING_AT_ONCE)
        self._explaining = threading.Lock()
        self._classifiers: dict[str, tuple[Bundle, OnnxClassifier]] = {}

    def thumbnail(self, item_id: int, longest: int) -> bytes:
        """Return an image as JPEG, its longest side at most `size` pixels."""
        row = self._shown(item_id)
        return self._cached((row.result_id, longest), lambda: self._drawn(item_id, longest))

    def activation_map(self, item_id: int, rank: int) -> bytes:
        """Return the places that speak for the category of a rank, 1 to 5, as PNG."""
        row = self._shown(item_id)
        label = getattr(row, f"label_{rank}")
        if label is None:
            raise ImageError("explain.no_label", "the model names no category of this rank")
        return self._cached((row.result_id, -rank), lambda: self._explained(row, label))

    def _shown(self, item_id: int) -> AnyRow:
        # An image that is recorded as ok has been through the decoder before, in a process that it could kill.
        row = find_shown(self._database, item_id)
        if row is None:
            raise ImageError("source.unknown_item", "there is no such image, or it has no answer")
        return row

    def _cached(self, key: tuple[int, int], draw: Callable[[], bytes]) -> bytes:
        if (found := self._cache.get(key)) is not None:
            return found
        drawn = draw()
        self._cache.put(key, drawn)
        return drawn

    def _drawn(self, item_id: int, longest: int) -> bytes:
        with self._decoding:
            return thumbnail(self._read(item_id).data, longest)

    def _read(self, item_id: int) -> Fetched:
        fetched = self._pictures.read(item_id)
        if isinstance(fetched, Failure):
            raise ImageError(fetched.code, fetched.message)
        return fetched

    def _explained(self, row: AnyRow, label: str) -> bytes:
        fetched = self._read(row.id)
        with self._explaining:
            explanation = explained(*self._model_of(row.weights_id), fetched)
        if isinstance(explanation, Failure):
            raise ImageError(explanation.code, explanation.message)
        # All at once: a user who looks at one map looks at the others.
        for rank in range(1, TOP_K + 1):
            if (other := getattr(row, f"label_{rank}")) in explanation.labels:
                self._cache.put((row.result_id, -rank), _as_png(explanation, other))
        if label not in explanation.labels:
            raise ImageError(
                "explain.changed", f"the model no longer names {label} for this image: its bytes have changed"
            )
        return _as_png(explanation, label)

    def _model_of(self, weights_id: str) -> tuple[Bundle, OnnxClassifier]:
        if weights_id not in self._classifiers:
            self._classifiers[weights_id] = self._load(weights_id)
        return self._classifiers[weights_id]

    def _load(self, weights_id: str) -> tuple[Bundle, OnnxClassifier]:
        with self._database.read() as connection:
            location = connection.scalar(select(ModelRow.location).where(ModelRow.weights_id == weights_id))
        place = self._model or str(location)
        try:
            bundle = read_bundle(resolve_bundle_path(place), check=()).at("auto")
            if bundle.weights_id != weights_id:
                raise BundleError(f"the model at {place} is not the one that has tagged this image")
            return bundle, OnnxClassifier(bundle, threads=available_cpus())
        except CatalogerError as error:
            raise ImageError("explain.no_model", f"no map: {error}") from error


def _as_png(explanation: Explanation, label: str) -> bytes:
    heat = explanation.maps[explanation.labels.index(label)]
    size = fitted(explanation.width, explanation.height, MAP_LONGEST)
    buffer = io.BytesIO()
    PillowImage.fromarray(overlaid(explanation.pixels, heat)).resize(size).save(buffer, "PNG")
    return buffer.getvalue()


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return what the page loads beside its pictures: name -> bytes and media type."""
    folder = Path(__file__).parent / "static"
    kinds = {"review.js": "text/javascript", "review.css": "text/css", "icon.svg": "image/svg+xml"}
    return {name: ((folder / name).read_bytes(), kind) for name, kind in kinds.items()}
