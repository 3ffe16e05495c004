"""Categories of images without a database: paths, bytes or Pillow's images in, one answer for each out."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cataloger.contracts import TOP_K
from cataloger.errors import ImageError, UsageError
from cataloger.fetch import read_file
from cataloger.imaging import DecodePool
from cataloger.inference.backend import choose_engine
from cataloger.inference.classifier import Classifier, classify
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.options import Device, Limits, PrecisionChoice
from cataloger.records import Batch, Failure, Fetched, Image, Item, Prediction, Result
from cataloger.sources import address_of, has_scheme
from cataloger.utils import available_cpus, without_query

if TYPE_CHECKING:
    from PIL import Image as PillowImage

PNG_MODES = ("1", "I;16", "L", "LA", "P", "RGB", "RGBA")


class Tagger:
    """A loaded model that answers for images, as `cataloger tag` does, and records nothing.

    Decoding happens in child processes, so that an image that crashes or hangs its decoder costs no other one
    anything. They live as long as one call of `predict`. Usable from several threads.

    Example:
        ```python
        tagger = Tagger()
        for result in tagger.predict(["dress.jpg", "hat.jpg"]):
            print(result.item.key, result.labels[0] if isinstance(result, Prediction) else result.code)
        ```
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "default",
        *,
        device: Device = "auto",
        precision: PrecisionChoice = "auto",
        top_k: int = TOP_K,
        limits: Limits | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: folder of a bundle, "default", or NAME@VERSION of another one that comes with cataloger.
            device: "auto", "cpu" or "cuda".
            precision: "auto" (int8 on a CPU where the bundle has it, else fp32), "fp32" or "int8".
            top_k: how many categories to return per image, at least 1; at most all that the model knows.
            limits: what one image may cost in pixels, bytes and seconds.

        Raises:
            BundleError: the model is damaged or is none.
            UsageError: there is no such model, or the device or precision cannot be used here.
        """
        if top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {top_k}")
        self._engine = choose_engine(device)
        path = resolve_bundle_path(os.fspath(model))
        self._bundle = self._engine.bundle(read_bundle(path, check=()), precision)
        self._classifier = self._engine.open(self._bundle)
        self._top_k = top_k
        self._limits = limits or Limits()

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories that the model knows, in the order of its scores."""
        return tuple(self._bundle.labels)

    @property
    def model(self) -> str:
        """Name and version of the model."""
        return self._bundle.title

    def __repr__(self) -> str:
        precision, device = self._bundle.precision, self._classifier.device
        return f"Tagger({self.model!r}: {len(self.labels)} categories, {precision} on {device})"

    def predict(
        self, images: "Iterable[str | os.PathLike[str] | bytes | PillowImage.Image]"
    ) -> Iterator[Prediction | Failure]:
        """Answer for images, one result for each in their order, as soon as it is there.

        Memory does not depend on their number; pass all of them in one call, since each call starts its own
        decoding processes (some 0.3 seconds).

        Args:
            images: paths of files, encoded images as bytes, or Pillow's images; any mixture of them. `item.key` of a
                result is the path, or the number of the image in the call, from 0.

        Yields:
            A `Prediction` with the best `top_k` labels and their calibrated probabilities, best first; or a
            `Failure` with a stable code, e.g. "io.missing" or "decode.truncated".

        Raises:
            UsageError: a single image instead of several, or something that is no image.
            CatalogerError: no decoding process can be started.
        """
        if isinstance(images, str | bytes | os.PathLike) or hasattr(images, "getbands"):
            raise UsageError("predict takes several images: pass a list, e.g. predict([image])")
        return self._predict(images)

    def _predict(self, images: Iterable[Any]) -> Iterator[Result]:
        workers = available_cpus()
        pool = DecodePool(self._bundle.preprocess, self._limits, workers=workers)
        with pool, ThreadPoolExecutor(workers, thread_name_prefix="classify") as executor:
            waiting: deque[Future[list[Result]]] = deque()
            try:
                for batch in _in_batches(pool.decode(self._read(images)), self._engine.batch_size):
                    waiting.append(executor.submit(_answer, self._classifier, batch, self._top_k))
                    if len(waiting) > workers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:  # left early or failed: what has not begun does not begin any more
                for future in waiting:
                    future.cancel()

    def _read(self, images: Iterable[Any]) -> Iterator[Fetched | Failure]:
        for number, image in enumerate(images):
            if isinstance(image, str | os.PathLike):
                yield _read_path(image, self._limits)
            else:
                yield _fetched(number, image, self._limits)


def _read_path(image: "str | os.PathLike[str]", limits: Limits) -> Fetched | Failure:
    path = os.fsencode(image)
    text = os.fsdecode(path)
    item = Item(key=text, uri=text, version="", path=path)
    if b"\0" in path:
        return Failure(item, "io.missing", "no file has a name with a null character")
    address = address_of(text, os.fsencode(os.curdir)) if isinstance(image, str) else None
    if address is not None or (isinstance(image, str) and has_scheme(text)):
        message = "a web address is not downloaded here: pass the bytes of the image, or use `cataloger tag`"
        name = without_query(address or text)
        return Failure(Item(name, name, ""), "source.scheme", message)
    return read_file(item, limits)


def _fetched(number: int, image: Any, limits: Limits) -> Fetched | Failure:
    item = Item(key=str(number), uri="", version="")
    try:
        if isinstance(image, bytes | bytearray | memoryview):
            data = _bytes_of(image, limits)
        elif hasattr(image, "getbands"):  # Pillow is loaded by whoever passes one of its images
            data = _encoded(image, limits)
        else:
            raise UsageError(
                f"image {number} is of type {type(image).__name__}; pass a path, bytes or an image of Pillow"
            )
    except ImageError as error:
        return Failure(item, error.code, str(error))
    return Fetched(item, data, hashlib.sha256(data).hexdigest())


def _bytes_of(image: bytes | bytearray | memoryview, limits: Limits) -> bytes:
    size = image.nbytes if isinstance(image, memoryview) else len(image)
    if size > limits.max_bytes:
        raise ImageError.too_many_bytes(limits.max_bytes)
    return bytes(image)


def _encoded(image: "PillowImage.Image", limits: Limits) -> bytes:
    """Return an image without loss, in a form that the decoding processes read as they read a file.

    Raises ImageError for one without pixels, with too many, or that Pillow cannot read or write.
    """
    if image.width * image.height > limits.max_pixels:
        raise ImageError("decode.too_large", f"the image has more than the {limits.max_pixels:,} pixels allowed")
    buffer = io.BytesIO()
    try:
        known = image if image.mode in PNG_MODES else image.convert("RGB")
        known.save(buffer, "PNG", compress_level=1, exif=image.getexif())  # which says how it is to be turned
    except Exception as error:  # its file is read only now, and may raise anything
        raise ImageError("decode.corrupt", f"the image of Pillow cannot be used: {error}") from error
    return buffer.getvalue()


def _in_batches(decoded: Iterator[Image | Failure], size: int) -> Iterator[Sequence[Image | Failure]]:
    """Yield runs of neighbours with `size` images each, the failures among them included."""
    batch: list[Image | Failure] = []
    images = 0
    for each in decoded:
        batch.append(each)
        images += isinstance(each, Image)
        if images == size or len(batch) == 2 * size:
            yield batch
            batch, images = [], 0
    if batch:
        yield batch


def _answer(classifier: Classifier, batch: Sequence[Image | Failure], top_k: int) -> list[Result]:
    """Classify the images of a batch; its failures stay where they are."""
    images = tuple(each for each in batch if isinstance(each, Image))
    answers = iter(classify(classifier, Batch(images), top_k=top_k) if images else ())
    return [each if isinstance(each, Failure) else next(answers) for each in batch]
