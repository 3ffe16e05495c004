"""A few values of the column that names images, drawn while a source is scanned: can they be images at all?"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cataloger.objects import is_object_address
from cataloger.records import Failure, Item
from cataloger.sources.folder import EXTENSIONS
from cataloger.sources.image_references import BAD_LIST, BAD_VALUE, RELATIVE_PATH
from cataloger.utils import strip_invisible, visible

SIZE = 20
NAMED = 3
LONGEST = 60

Verdict = Literal["yes", "no", "unknown"]
"""Whether a value names an image; unknown is e.g. that of a file that is missing."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A value as it is written, and what it is read as; None for bytes."""

    value: object
    subject: Item | Failure

    @property
    def item(self) -> Item:
        """The item that it names, or that has failed."""
        return self.subject.item if isinstance(self.subject, Failure) else self.subject

    def verdict(self) -> Verdict:
        """Judge the value by its form, and by whether there is a file of that name; nothing is opened."""
        subject = self.subject
        if isinstance(subject, Failure):
            if subject.code in (BAD_VALUE, BAD_LIST):
                return "no"
            return "unknown" if subject.code != RELATIVE_PATH or self._looks_like_a_file() else "no"
        if subject.path is None or subject.version or self._looks_like_a_file():
            return "unknown"
        return "no"

    def shown(self) -> str:
        """Return the value for people: of an address without what may be secret, of bytes the name of their row."""
        is_named = self.value is None or self.item.url is not None or self.item.stored is not None
        text = self.item.uri if is_named else str(self.value)
        if not is_named and is_object_address(text):
            text = "an address of an object"  # which may be secret, since it is no valid one
        shown = visible(text)
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}.."

    def _looks_like_a_file(self) -> bool:
        """Tell whether a text has the extension of an image, or is a whole path."""
        text = strip_invisible(str(self.value))
        name = re.split(r"[?#]", text, maxsplit=1)[0].lower().encode("utf-8", "surrogateescape")
        return text.startswith("/") or name.endswith(EXTENSIONS)


class ColumnSample:
    """Values of one scan, each as likely to be drawn as another one; of the same table always the same ones.

    column: what names it for people, e.g. "--image photo".
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.begin()

    def begin(self) -> None:
        """Begin a scan."""
        self.drawn: list[Sampled] = []
        self._seen = 0
        self._random = random.Random(0)

    def see(self, value: object, subject: Item | Failure) -> None:
        """Take a value into account."""
        self._seen += 1
        if len(self.drawn) < SIZE:
            self.drawn.append(Sampled(value, subject))
        elif (place := self._random.randrange(self._seen)) < SIZE:
            self.drawn[place] = Sampled(value, subject)

    def complaint(self, values: Sequence[Sampled]) -> str:
        """Return what to say of the column where none of some values can be an image."""
        shown = list(dict.fromkeys(each.shown() for each in values))[:NAMED]
        return (
            f"{self.column} holds no images but e.g. {', '.join(shown)}: name a column with paths of image files, "
            "their web addresses, or their bytes"
        )
