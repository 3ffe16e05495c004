"""The pictures of the page: thumbnails and activation maps, always new encodings, never the bytes of the catalog."""

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image as PillowImage

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database
from cataloger.errors import BundleError, CatalogerError, ImageError
from cataloger.imaging import SMALL_LOADER, SharedBudget, SharedDecoder, as_jpeg, fitted
from cataloger.inference import Explanation, OnnxClassifier, explained, heat_layer, open_classifier
from cataloger.ledger import bundle_of, known_model
from cataloger.model import Bundle, read_bundle, resolve_bundle_path
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Fetched, Image
from cataloger.report import Pictures
from cataloger.review_queue import find_shown
from cataloger.utils import available_cpus
from cataloger.web import read_asset

SIZES = (240, 900, 2048)
MAP_LONGEST = 448
CACHE_BYTES = 64 * 2**20
DECODERS = {240: 2, 900: 1, 2048: 1}
"""Processes that draw the pictures of each size."""
READING_AT_ONCE = 4
"""Encoded images that are in the memory; one may have 64 MB."""
LIMITS = Limits(decode_timeout=10.0)
"""People wait for these pictures: no ordinary one takes a second."""
REMEMBERED = 60.0
"""Seconds that a picture which cannot be drawn is not tried again."""
CHANGED = "source.changed"


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
    """Draws pictures of images that the queue may show, in child processes; a context manager.

    Safe to use from several threads. model: a bundle to explain with, where it is not the one that the ledger names.
    What cannot be drawn is an ImageError, whose message is for people.
    """

    def __init__(self, database: Database, pictures: Pictures, model: str | None = None) -> None:
        self._database = database
        self._pictures = pictures
        self._model = model
        self._cache = ImageCache()
        self._failed: dict[tuple[int, int], tuple[float, ImageError]] = {}
        self._reading = threading.BoundedSemaphore(READING_AT_ONCE)
        self._explaining = threading.Lock()
        self._models: dict[str, _Model] = {}
        self._opened = ExitStack()
        self._budget = self._opened.enter_context(SharedBudget())
        self._small = {size: self._decoder(PreprocessSpec(size=size), DECODERS[size], SMALL_LOADER) for size in SIZES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _decoder(self, spec: PreprocessSpec, workers: int, loader: str | None = None) -> SharedDecoder:
        made = SharedDecoder(spec, LIMITS, workers=workers, budget=self._budget, loader=loader)
        return self._opened.enter_context(made)

    def thumbnail(self, item_id: int, longest: int) -> bytes:
        """Return an image as JPEG, its longest side at most `longest` pixels, one of SIZES."""
        row = self._shown(item_id)
        return self._cached((row.result_id, longest), lambda: self._drawn(row, longest))

    def activation_map(self, item_id: int, rank: int) -> bytes:
        """Return the places that speak for the category of a rank, 1 to 5, as PNG to lay over the image."""
        row = self._shown(item_id)
        label = getattr(row, f"label_{rank}")
        if label is None:
            raise ImageError("explain.no_label", "the model names no category of this rank")
        return self._cached((row.result_id, -rank), lambda: self._explained(row, label))

    def _shown(self, item_id: int) -> AnyRow:
        row = find_shown(self._database, item_id)
        if row is None:
            raise ImageError("source.unknown_item", "there is no such image, or it has no answer")
        return row

    def _cached(self, key: tuple[int, int], draw: Callable[[], bytes]) -> bytes:
        if (found := self._cache.get(key)) is not None:
            return found
        until, error = self._failed.get(key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        try:
            drawn = draw()
        except ImageError as error:
            if error.code.startswith("decode."):  # a picture that takes its whole time is not asked for again at once
                self._remember(key, error)
            raise
        self._cache.put(key, drawn)
        return drawn

    def _remember(self, key: tuple[int, int], error: ImageError) -> None:
        now = time.monotonic()
        self._failed = {other: pair for other, pair in self._failed.items() if pair[0] > now}
        self._failed[key] = (now + REMEMBERED, error)

    def _drawn(self, row: AnyRow, longest: int) -> bytes:
        image = self._decoded(row, self._small[longest])
        return as_jpeg(image.pixels, image.width, image.height, longest)

    def _decoded(self, row: AnyRow, decoder: SharedDecoder) -> Image:
        """Read and decode an image. Raises ImageError, also where it is not the one that was tagged."""
        with self._reading:
            fetched = self._pictures.read(row.id)
            if isinstance(fetched, Fetched) and row.content_hash not in (None, fetched.content_hash):
                raise ImageError(CHANGED, "the image has changed since it was tagged: tag it again")
            answer = fetched if isinstance(fetched, Failure) else decoder.decode(fetched)
        if isinstance(answer, Failure):
            raise ImageError(answer.code, answer.message)
        return answer

    def _explained(self, row: AnyRow, label: str) -> bytes:
        with self._explaining:
            model = self._model_of(row.weights_id)
        image = self._decoded(row, model.decoder)
        try:
            with self._explaining:
                explanation = explained(model.bundle, model.classifier, image)
        except BundleError as error:
            self._models.pop(row.weights_id, None)
            raise ImageError("explain.no_model", f"no map: {error}") from error
        # All at once: a user who looks at one map looks at the others.
        for rank in range(1, TOP_K + 1):
            if (other := getattr(row, f"label_{rank}")) in explanation.labels:
                self._cache.put((row.result_id, -rank), _as_png(explanation, other))
        if label not in explanation.labels:
            raise ImageError("explain.changed", f"the model no longer names {label} for this image")
        return _as_png(explanation, label)

    def _model_of(self, weights_id: str) -> "_Model":
        if weights_id not in self._models:
            self._models[weights_id] = self._load(weights_id)
        return self._models[weights_id]

    def _load(self, weights_id: str) -> "_Model":
        try:
            bundle = self._bundle_of(weights_id).at("auto")
            classifier = open_classifier(bundle, threads=available_cpus())
        except CatalogerError as error:
            raise ImageError("explain.no_model", f"no map: {error}") from error
        self._opened.callback(classifier.close)
        return _Model(bundle, classifier, self._decoder(bundle.preprocess, 1))

    def _bundle_of(self, weights_id: str) -> Bundle:
        """Return the bundle of --model, else the one that the database names. Raises CatalogerError."""
        if self._model is None:
            known = known_model(self._database, weights_id)
            place, bundle = known.location, bundle_of(known)
        else:
            place, bundle = self._model, read_bundle(resolve_bundle_path(self._model), check=())
        if bundle is None or bundle.weights_id != weights_id:
            raise BundleError(f"the model at {place} is not the one that has tagged this image")
        return bundle


@dataclass(frozen=True, slots=True)
class _Model:
    """What draws the maps of a model, and what decodes the images as it saw them."""

    bundle: Bundle
    classifier: OnnxClassifier
    decoder: SharedDecoder


def _as_png(explanation: Explanation, label: str) -> bytes:
    heat = explanation.maps[explanation.labels.index(label)]
    size = fitted(explanation.width, explanation.height, MAP_LONGEST)
    buffer = io.BytesIO()
    PillowImage.fromarray(heat_layer(heat)).resize(size).save(buffer, "PNG")
    return buffer.getvalue()


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return what the page loads beside its pictures: name -> bytes and media type."""
    folder = Path(__file__).parent / "static"
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    own = {path.name: (path.read_bytes(), kinds[path.suffix]) for path in folder.iterdir() if path.suffix in kinds}
    return {**own, "tokens.css": (read_asset("tokens.css"), "text/css")}
