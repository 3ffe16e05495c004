"""Images in an object store as items: what a listing finds below a prefix, or objects that are named one by one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cataloger.errors import OutageError, SourceError
from cataloger.objects import Listed, ObjectAddress, ObjectStores, StoreError
from cataloger.records import Failure, Item, StoredObject
from cataloger.sources import change_tokens
from cataloger.sources.file_keys import NamePatterns
from cataloger.sources.folder import (
    EXCLUDED,
    EXTENSIONS,
    HIDDEN,
    KNOWN_EXTENSIONS,
    OTHER,
    SUPPORTED,
    extension_of,
    is_scanned,
)


@dataclass(slots=True)
class BucketSource:
    """Images below a folder of a bucket, or only some of them. stores: asks the bucket.

    names: keys below the folder, of those that are named one by one; None for all. The key of an item is that of its
    object below the folder. As in a folder, an image is what has the extension of one, is not hidden, and is not
    what a pattern of `exclude` is for. After a scan: `left_out`, what it met and did not take.
    """

    folder: ObjectAddress
    stores: ObjectStores = field(repr=False)
    prefix: str = ""
    names: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _patterns: NamePatterns = field(init=False, repr=False)

    kind = "bucket"
    without_image = 0
    sample = None
    within = None
    uncertain_queries = 0

    def __post_init__(self) -> None:
        self._patterns = NamePatterns.of(self.exclude)

    @property
    def root(self) -> str:
        """Identity of the source."""
        return str(self.folder)

    @property
    def is_complete(self) -> bool:
        """True if a scan has seen the complete source."""
        return self.names is None

    def scan(self) -> Iterator[Item | Failure]:
        """Yield the items, page by page. Raises SourceError, or OutageError where the store may be back soon."""
        self.left_out.clear()
        try:
            yield from self._listed() if self.names is None else self._named(self.names)
        except StoreError as error:
            kind = OutageError if error.is_passing else SourceError
            raise kind(f"{self.root} cannot be listed: {error}") from None

    def can_be_missing(self, key: str) -> bool:
        """Tell whether a known item has left: what a listing leaves out may be there."""
        name = key.removeprefix(self.prefix).encode()
        return is_scanned(name) or self._patterns.cover(name)

    def is_excluded(self, key: str) -> bool:
        """Tell whether a known item is left out by a pattern."""
        return self._patterns.cover(key.removeprefix(self.prefix).encode())

    def count(self) -> None:
        """Count nothing: every page of a listing is paid for."""
        return

    def require_root(self) -> None:
        """Raise SourceError when nothing is below the folder any more, or it cannot be listed."""
        if next(self.scan(), None) is None:
            raise SourceError(self.nothing_found())

    def nothing_found(self) -> str:
        """Return why a scan found no image."""
        left_out = self.left_out.total()
        others = f"; {left_out:,} other objects were left out" if left_out else ""
        return f"no image found below {self.root}: looked for {' '.join(SUPPORTED)} in any case{others}"

    def _listed(self) -> Iterator[Item]:
        for found in self.stores.list(self.folder):
            name = found.key.removeprefix(self.folder.inside)
            if self._patterns.cover(name.encode()):
                self.left_out[EXCLUDED] += 1
            elif is_scanned(name.encode()):
                yield self._found(name, found)
            else:
                self._leave_out(name)

    def _named(self, names: Sequence[str]) -> Iterator[Item | Failure]:
        for name in names:
            try:
                found = self.stores.head(self.folder.below(name))
            except StoreError as error:
                if error.is_of_store:
                    raise
                yield Failure(self._item(name, "", None), error.code, str(error))
                continue
            yield self._found(name, found)

    def _found(self, name: str, found: Listed) -> Item:
        token = change_tokens.of_object(found.size, found.etag, found.modified.isoformat())
        return self._item(name, token, found.size)

    def _item(self, name: str, token: str, size: int | None) -> Item:
        address = self.folder.below(name)
        stored = StoredObject(address.store, address.key, size)
        return Item(self.prefix + name, str(address), token, stored=stored)

    def _leave_out(self, name: str) -> None:
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        reason = HIDDEN if is_hidden else extension_of(name.encode())
        is_new = reason not in self.left_out and reason.startswith(".")
        self.left_out[OTHER if is_new and len(self.left_out) >= KNOWN_EXTENSIONS else reason] += 1


def is_image_name(name: str) -> bool:
    """Tell whether an object is named like an image."""
    return name.lower().encode("utf-8", "surrogateescape").endswith(EXTENSIONS)
