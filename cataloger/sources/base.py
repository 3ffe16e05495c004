"""The interface of a source of images."""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from cataloger.records import Failure, Item
from cataloger.sources.column_sample import ColumnSample


class Source(Protocol):
    """Something that holds images. kind, root: its identity. prefix: before its keys, in a folder of a known source.

    is_complete: a whole scan meets everything that the source holds. problems: what the last scan could not see.
    within: folder that its files must lie in, whatever links say; None: anywhere.
    without_image: rows of the last scan that name none. left_out: what the last scan met and did not take, by reason.
    sample: of the last scan, where a column names the images.
    uncertain_queries: addresses of the last scan whose query may be a part of the image or of a signature.
    """

    prefix: str

    @property
    def kind(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def problems(self) -> list[str]: ...
    @property
    def within(self) -> bytes | None: ...
    @property
    def without_image(self) -> int: ...
    @property
    def uncertain_queries(self) -> int: ...
    @property
    def sample(self) -> ColumnSample | None: ...
    @property
    def left_out(self) -> Counter[str]: ...
    def scan(self) -> Iterator[Item | Failure]:
        """Yield every input."""
        ...

    def can_be_missing(self, key: str) -> bool:
        """Tell whether a known item that a complete scan did not meet has left; False where that is not certain."""
        ...

    def is_excluded(self, key: str) -> bool:
        """Tell whether a known item is one that the user wants left out: it leaves, and is not missing."""
        ...

    def count(self) -> int | None:
        """Count the inputs, for a progress bar; None if that is not known before they are read."""
        ...

    def require_root(self) -> None:
        """Raise SourceError when the folder that the images lie in is not there, or empty."""
        ...

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        ...
