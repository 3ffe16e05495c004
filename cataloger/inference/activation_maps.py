"""Activation maps: for each of the best categories, the areas of the image that speak for it.

A category's logit is exactly the mean of its place scores (`cataloger.model.network`), so the map needs no gradient
and no second model. It shows what the last layers made of each place, each of which has seen its surroundings and, by
attention, the whole image; it does not show the outline of a thing, and it proves no cause.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from cataloger.contracts import TOP_K
from cataloger.errors import UsageError
from cataloger.fetch import ObjectReader, Remote, fetch
from cataloger.imaging import DecodePool
from cataloger.inference.classifier import Ranking, log_sum_exp
from cataloger.inference.isolated import open_classifier
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model import Bundle
from cataloger.objects import ObjectStores, is_object_address, read_address
from cataloger.options import Limits
from cataloger.records import Failure, Floats, Image, Item, Pixels, StoredObject
from cataloger.utils import available_cpus, printable

STRENGTH = 0.75
"""Share of the colour where a place speaks for a category the most."""
COLOURS = np.array([(20, 11, 52), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
"""From nothing to most; its lightness rises evenly, so that it reads in grey and to the colour-blind."""

HEIGHT, LONGEST = 260, 520
MARGIN, TITLE = 10, 24
INK, PAPER, SOFT = (25, 25, 25), (255, 255, 255), (110, 110, 110)


@dataclass(frozen=True, slots=True)
class Explanation:
    """An image, its answer, and a map for each of its best categories.

    pixels: what the network saw, uint8 size x size x 3. width, height: upright original. confidences: of `labels`,
    best first. log_sum_exp: of all raw scores; what shows no product has less. maps: float64, labels x size x size,
    from 0 to 1, which is the strongest evidence for any of them.
    """

    item: Item
    pixels: Pixels
    width: int
    height: int
    labels: tuple[str, ...]
    confidences: tuple[float, ...]
    decision: str | None
    familiarity: float | None
    log_sum_exp: float
    maps: Floats

    def as_json(self) -> dict[str, Any]:
        """Return the answer as plain JSON values."""
        return {
            "file": self.item.uri,
            "answers": dict(zip(self.labels, self.confidences, strict=True)),
            "decision": self.decision,
            "familiarity": self.familiarity,
            "log_sum_exp": self.log_sum_exp,
        }


def explain_images(bundle: Bundle, paths: Iterable[str | Path]) -> Iterator[Explanation | Failure]:
    """Classify images and find the places that speak for their best categories, in order.

    paths: of files, or addresses in object stores as text. Raises UsageError for an address that is none.
    An image that cannot be used is a Failure; its codes are those of `cataloger.fetch.prefetch` and
    `cataloger.imaging.decode_pool`. Decoding happens in child processes, as in tagging.
    """
    paths = list(paths)
    limits = Limits()
    items = [_named(str(path)) for path in paths]
    is_far = any(item.stored for item in items)
    remote = Remote(objects=ObjectReader(ObjectStores(), limits)) if is_far else None
    workers = max(1, min(available_cpus(), len(paths)))
    with (
        DecodePool(bundle.preprocess, limits, workers=workers) as pool,
        closing(open_classifier(bundle)) as classifier,
    ):
        for image in pool.decode(fetch(items, limits, remote)):
            yield image if isinstance(image, Failure) else explained(bundle, classifier, image)


def _named(path: str) -> Item:
    """Return the item of a file, or of an object in a store."""
    if not is_object_address(path):
        return Item(path, path, "", path=os.fsencode(path))
    try:
        address = read_address(path)
    except ValueError as error:
        raise UsageError(f"an address among the images cannot be used: {error}") from None
    return Item(str(address), str(address), "", stored=StoredObject(address.store, address.key))


def explained(bundle: Bundle, classifier: OnnxClassifier, image: Image) -> Explanation:
    """Explain one image. classifier: of this bundle."""
    scores, (place_scores,) = classifier.scores_and_places(image.pixels[None])
    familiarity = None if scores.familiarity is None else float(scores.familiarity[0])
    answer = Ranking(bundle.labels, bundle.calibration, TOP_K).of(scores.logits[0], familiarity)
    size = image.pixels.shape[0]
    maps = np.stack([activation_map(place_scores, bundle.labels.index(label), size) for label in answer.labels])
    return Explanation(
        image.item,
        image.pixels,
        image.width,
        image.height,
        answer.labels,
        answer.confidences,
        answer.decision,
        familiarity,
        float(log_sum_exp(scores.logits[0].astype(np.float64))),
        maps / max(float(maps.max()), 1e-6),
    )


def activation_map(place_scores: Floats, label: int, size: int) -> Floats:
    """Return how much each pixel speaks for a label, size x size, in units of a logit, at least 0.

    place_scores: places x labels, row by row. A place speaks for a label where its score lies above the mean of all
    labels there.
    """
    evidence = np.maximum(place_scores[:, label] - place_scores.mean(axis=1), 0.0)
    side = round(len(evidence) ** 0.5)
    small = PillowImage.fromarray(evidence.reshape(side, side).astype(np.float32))
    heat: Floats = np.asarray(small.resize((size, size), PillowImage.Resampling.BICUBIC), dtype=np.float64)
    return heat.clip(0.0)


def overlaid(pixels: Pixels, heat: Floats) -> Pixels:
    """Return the picture in grey with a map over it, uint8 size x size x 3."""
    share = STRENGTH * heat[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    mixed: Pixels = (grey * (1 - share) + _colours(heat) * share).round().astype(np.uint8)
    return mixed


def heat_layer(heat: Floats) -> Pixels:
    """Return a map to lay over the picture, uint8 size x size x 4: the less a place says, the more shows through."""
    layer: Pixels = (
        np.concatenate((_colours(heat), 255 * STRENGTH * heat[..., None]), axis=-1).round().astype(np.uint8)
    )
    return layer


def _colours(heat: Floats) -> Floats:
    steps = np.linspace(0.0, 1.0, len(COLOURS))
    return np.stack([np.interp(heat, steps, COLOURS[:, channel]) for channel in range(3)], axis=-1)


def draw(explanations: Sequence[Explanation], categories: int) -> PillowImage.Image:
    """Draw a row for each image: itself, then a map for each of its best categories, in the image's own shape."""
    rows = [_row(each, categories) for each in explanations]
    width = max(row.width for row in rows)
    sheet = PillowImage.new("RGB", (width, sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _row(explanation: Explanation, categories: int) -> PillowImage.Image:
    width = min(LONGEST, max(HEIGHT // 2, round(HEIGHT * explanation.width / explanation.height)))
    answers = list(zip(explanation.labels, explanation.confidences, explanation.maps, strict=True))[:categories]
    pictures = [(explanation.pixels, Path(explanation.item.uri).name, SOFT)]
    pictures += [(overlaid(explanation.pixels, heat), f"{label} {share:.2f}", INK) for label, share, heat in answers]
    row = PillowImage.new("RGB", (MARGIN + len(pictures) * (width + MARGIN), TITLE + HEIGHT + 2 * MARGIN), PAPER)
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(size=15)
    for number, (pixels, title, ink) in enumerate(pictures):
        left = MARGIN + number * (width + MARGIN)
        shown = PillowImage.fromarray(pixels).resize((width, HEIGHT), PillowImage.Resampling.BICUBIC)
        row.paste(shown, (left, MARGIN + TITLE))
        pen.rectangle((left, MARGIN + TITLE, left + width - 1, MARGIN + TITLE + HEIGHT - 1), outline=(225, 225, 225))
        pen.text((left, MARGIN), _fitting(printable(title), pen, font, width), fill=ink, font=font)
    return row


def _fitting(text: str, pen: ImageDraw.ImageDraw, font: Any, width: int) -> str:
    """Shorten a text in its middle until it fits."""
    kept = len(text)
    while kept > 4 and pen.textlength(text, font=font) > width:
        kept -= 1
        text = f"{text[: kept // 2]}…{text[-(kept - kept // 2 - 1) :]}"
    return text
