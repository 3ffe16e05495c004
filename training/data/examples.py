"""Labelled images, and partial labels."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cataloger.errors import TrainingError
from cataloger.records import Item, StoredObject

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DataProblem:
    """Something in a source that was left out, or is worth a look.

    kind: stable name, see `cataloger.training.curation.data_report`. place: file, or file and line. message: what is
    wrong. files: images that show it when they are seen together, as examples name them.
    """

    kind: str
    place: str
    message: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WebImage:
    """An image on the web. url: with all that is needed to download it, and may be secret.

    allow_private: also from a private address.
    """

    url: str = field(repr=False)
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image. labels: the accepted ones; any of them is right; none for an image that shows no product.

    groups: its `report_by` values.

    split: train, val, test or, before splits are made, "". product: what it shows; "" if the source does not say.
    traits: its values of the columns that images are balanced or chosen by (`DataOptions.traits`), in their order.
    path: of its file; None for an object of an object store, which is `stored`, and one on the web, which is `web`.
    """

    file: str
    path: Path | None
    labels: tuple[str, ...]
    split: str
    groups: tuple[str, ...] = ()
    product: str = ""
    traits: tuple[str, ...] = ()
    stored: StoredObject | None = None
    web: WebImage | None = None

    @property
    def place(self) -> str:
        """The absolute path, or the address of an object or on the web."""
        if self.web is not None:
            return self.file
        if self.stored is not None:
            return f"{self.stored.store}/{self.stored.key}"
        return str((self.path or Path()).absolute())

    def item(self, key: str) -> Item:
        """Return what its bytes are fetched by. key: of the item."""
        path = None if self.path is None else os.fsencode(self.path)
        url = None if self.web is None else self.web.url
        return Item(key, self.file, "", path=path, stored=self.stored, url=url)


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """All examples of a source. labels: every label, sorted; the order of the network's head.

    examples: those that show no product have no label (`DataOptions.no_product`). problems: what the reader left out
    or found odd, in the order of the source.
    """

    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    problems: tuple[DataProblem, ...] = ()

    def split(self, name: str) -> list[Example]:
        """Return the examples of one split that show a product, in the order of the file."""
        return [example for example in self.products if example.split == name]

    def no_products(self, name: str) -> list[Example]:
        """Return the examples of one split that show no product, in the order of the file."""
        return [example for example in self.examples if example.split == name and not example.labels]

    @property
    def products(self) -> list[Example]:
        """The examples that have a label."""
        return [example for example in self.examples if example.labels]

    @property
    def has_splits(self) -> bool:
        """True when there is something to train on and something to choose the best epoch by."""
        return {"train", "val"} <= {example.split for example in self.products}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of files, labels and splits, hexadecimal; the order of the rows does not count."""
        rows = sorted(json.dumps([e.file, sorted(e.labels), e.split]) for e in self.examples)
        return hashlib.sha256("\n".join([json.dumps(self.labels), *rows]).encode()).hexdigest()


def accepted_matrix(examples: Sequence[Example], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return bool N x labels: which labels are right for each example. Raises TrainingError."""
    index = {label: position for position, label in enumerate(labels)}
    accepted = np.zeros((len(examples), len(labels)), dtype=np.bool_)
    for row, example in enumerate(examples):
        unknown = [label for label in example.labels if label not in index]
        if unknown:
            raise TrainingError(f"{example.file} is labelled {unknown[0]!r}, which the model does not know")
        accepted[row, [index[label] for label in example.labels]] = True
    return accepted
