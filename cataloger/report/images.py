"""Images of a report: thumbnails as data URIs, and activation maps of the least confident ones."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from cataloger.db import Database
from cataloger.errors import BundleError, OutputError, UsageError
from cataloger.imaging import DecodePool, as_jpeg, data_uri
from cataloger.inference import OnnxClassifier, activation_map, open_classifier, overlaid
from cataloger.ledger import bundle_of, known_model
from cataloger.model import Bundle, read_bundle, resolve_bundle_path
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Fetched, Image, Item
from cataloger.report.gather import CatalogReport
from cataloger.report.stored_images import Pictures
from cataloger.utils import available_cpus

SIDE = 160  # pixels
THREADS = 8
LOOK_AHEAD = 16
MAX_CHARACTERS = 10_500_000
"""Of all data URIs together, so that the page stays below 12 MB."""
OUTAGE = 24
"""Consecutive failures of servers after which no more are requested."""
TRANSIENT = ("fetch.timeout", "fetch.connection")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """How an image is shown. thumbnail: data URI; None if there is none; then `why` gives the reason.

    overlay: data URI of where the model found its best category. is_changed: it is not the image that was tagged.
    """

    thumbnail: str | None = None
    why: str = ""
    overlay: str | None = None
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Maps:
    """What draws activation maps. labels: the best category of each image that gets one, by item."""

    bundle: Bundle
    classifier: OnnxClassifier
    labels: dict[int, str]

    def draw(self, item_id: int, image: Image) -> str | None:
        """Return an image with the evidence for its category over it; None if it gets none."""
        label = self.labels.get(item_id)
        if label is None:
            return None
        size = image.pixels.shape[0]
        (scores,) = self.classifier.place_scores(image.pixels[None])
        heat = activation_map(scores, self.bundle.labels.index(label), size)
        drawn = overlaid(image.pixels, heat / max(float(heat.max()), 1e-6))
        return data_uri(as_jpeg(drawn, image.width, image.height, SIDE))


def open_maps(database: Database, report: CatalogReport, model: str | None) -> Maps | None:
    """Return what draws the maps of the least confident images; None if the model's bundle is not found.

    model: where the bundle is. Raises UsageError if that is another model than the one that answered.
    """
    weights = {origin.name: origin.weights_id for origin in report.sources}
    bundle = _named(model, weights.values()) if model is not None else _found(database, weights.values())
    if bundle is None:
        return None
    bundle = bundle.at("auto")
    labels = {
        shown.item_id: shown.answers[0][0]
        for shown in report.least
        if shown.item_id is not None and weights[shown.source] == bundle.weights_id
    }
    known = {item: label for item, label in labels.items() if label in bundle.labels}
    return Maps(bundle, open_classifier(bundle, threads=available_cpus()), known)


def _named(model: str, wanted: Collection[str]) -> Bundle:
    bundle = read_bundle(resolve_bundle_path(model))
    if bundle.weights_id not in wanted:
        raise UsageError(f"--model {model}: {bundle.title} is not the model that gave the answers")
    return bundle


def _found(database: Database, wanted: Collection[str]) -> Bundle | None:
    for weights_id in dict.fromkeys(wanted):
        with suppress(BundleError, OutputError, UsageError):  # of an object store that does not give it
            if (bundle := bundle_of(known_model(database, weights_id))) is not None:
                return bundle
    return None


def pictures_of(
    pictures: Pictures, report: CatalogReport, maps: Maps | None, progress: Progress = lambda _done, _total: None
) -> dict[int, Picture]:
    """Return how each image of a report is shown, by item. Decoding happens in child processes, as in tagging."""
    hashes: dict[int, str | None] = {}
    for item_id, content_hash in report.shown_items():
        hashes[item_id] = hashes.get(item_id) or content_hash
    ids = list(hashes)
    spec = maps.bundle.preprocess if maps else PreprocessSpec()
    found: dict[int, Picture] = {}
    left = MAX_CHARACTERS
    with DecodePool(spec, Limits(), workers=available_cpus()) as pool:
        images = pool.decode(_read_ahead(_FailureBudget(pictures).read, ids))
        for item_id, image in zip(ids, images, strict=True):
            picture = _picture(item_id, image, hashes[item_id], maps)
            left -= len(picture.thumbnail or "") + len(picture.overlay or "")
            found[item_id] = picture if left > 0 else Picture(why="left out, since the page would be too large")
            progress(len(found), len(ids))
    return found


def _picture(item_id: int, image: Image | Failure, content_hash: str | None, maps: Maps | None) -> Picture:
    if isinstance(image, Failure):
        return Picture(why=f"{image.code}: {image.message}")
    return Picture(
        thumbnail=data_uri(as_jpeg(image.pixels, image.width, image.height, SIDE)),
        overlay=maps.draw(item_id, image) if maps else None,
        is_changed=content_hash not in (None, image.content_hash),
    )


class _FailureBudget:
    """Reads images until too many requests in a row have failed."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._failed = 0

    def read(self, item_id: int) -> Fetched | Failure:
        """Read one; from several threads, an outage may be noticed a little later."""
        if self._failed >= OUTAGE:
            return Failure(
                Item(str(item_id), "", ""), "fetch.given_up", "too many images in a row could not be fetched"
            )
        answer = self._pictures.read(item_id)
        if isinstance(answer, Failure) and answer.code in TRANSIENT:
            self._failed += 1
        else:
            self._failed = 0
        return answer


def _read_ahead(read: Callable[[int], Fetched | Failure], ids: Sequence[int]) -> Iterator[Fetched | Failure]:
    """Yield what `read` returns, in order; a few are read ahead, so that memory stays small."""
    waiting: deque[Future[Fetched | Failure]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="pictures") as executor:
        try:
            for item_id in ids:
                if len(waiting) >= LOOK_AHEAD:
                    yield waiting.popleft().result()
                waiting.append(executor.submit(read, item_id))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
