"""A folder of images as items, lazily and recursively."""

import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cataloger.errors import SourceError
from cataloger.records import Failure, Item
from cataloger.sources import change_tokens
from cataloger.sources.file_keys import NamePatterns, key_of, name_of
from cataloger.utils import visible

SUPPORTED = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".jps", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".avif", ".avifs",
)  # fmt: skip
# Known images that cannot be decoded; they must be reported as failures and not be ignored.
UNSUPPORTED = (".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k")
EXTENSIONS = tuple(extension.encode() for extension in SUPPORTED + UNSUPPORTED)

HIDDEN, EXCLUDED, LINKED_FOLDER, LINK_OUTSIDE, SPECIAL_FILE, NO_EXTENSION, OTHER = (
    "hidden", "excluded", "linked_folder", "link_outside", "special_file", "no_extension", "other_extension",
)  # fmt: skip
"""Why a scan leaves something out, besides an extension such as ".txt"."""
KNOWN_EXTENSIONS = 100
LONGEST_EXTENSION = 12

# Names of a directory are sorted in blocks of this many, so that a huge one does not fill the memory.
BLOCK = 10_000


@dataclass(slots=True)
class FolderSource:
    """Images below a folder, or only `files` of it.

    folder: absolute path as bytes. prefix: put before every key. files: paths as bytes, relative to it; these are
    taken whatever their extension. After a scan: `left_out`, what it met and did not take, by reason or extension;
    `problems` that kept parts from being read.

    Hidden files and folders are left out, and links that lead out of the folder unless `follow_links`. A link to a
    file is an item of its own. A link to a folder is followed unless that lies inside the folder, where it is found
    under its own name, or was followed before.

    exclude: patterns of files and folders that are left out, too; known images that they are for leave the views.
    """

    folder: bytes
    prefix: str = ""
    files: Sequence[bytes] | None = None
    follow_links: bool = False
    exclude: Sequence[str] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _followed: set[tuple[int, int]] = field(default_factory=set)
    _patterns: NamePatterns = field(init=False, repr=False)

    kind = "folder"
    without_image = 0
    sample = None
    uncertain_queries = 0

    def __post_init__(self) -> None:
        self._patterns = NamePatterns.of(self.exclude)

    @property
    def root(self) -> str:
        """Identity of the source."""
        return key_of(self.folder)

    def scan(self) -> Iterator[Item | Failure]:
        """Yield the items. Raises SourceError when the folder cannot be read at all."""
        self.left_out.clear()
        self.problems.clear()
        self._followed.clear()
        if self.files is not None:
            for name in self.files:
                yield self._item(name)
            return
        check_folder(self.folder)
        yield from self._scan(b"", (self._identity(self.folder),))

    def count(self) -> int:
        """Count the items without opening any of them; for a progress bar."""
        if self.files is not None:
            return len(self.files)
        counter = FolderSource(self.folder, follow_links=self.follow_links, exclude=self.exclude)
        return sum(1 for _ in counter._names(b"", (self._identity(self.folder),)))

    @property
    def within(self) -> bytes | None:
        """The folder; files that were named themselves may be links to anywhere."""
        return self.folder if self.files is None and not self.follow_links else None

    @property
    def is_complete(self) -> bool:
        """True if a scan has seen the complete source."""
        return self.files is None and not self.problems

    def require_root(self) -> None:
        """Raise SourceError when the folder is not there any more, or empty."""
        check_folder(self.folder, may_be_empty=False)

    def nothing_found(self) -> str:
        """Return why a scan found no image."""
        left_out = self.left_out.total()
        others = f"; {left_out:,} other files and folders were left out" if left_out else ""
        return (
            f"no image found in {os.fsdecode(self.folder)}: looked for {' '.join(SUPPORTED)} in any case, "
            f"recursively{others}"
        )

    def can_be_missing(self, key: str) -> bool:
        """Tell whether a known item has left: one that is still there has only been left out of the scan.

        What lies behind a link that leads nowhere, or cannot be looked at, may be there.
        """
        name = name_of(key.removeprefix(self.prefix))
        if self._patterns.cover(name):
            return True
        above = [os.path.join(self.folder, name[:end]) for end in range(len(name)) if name[end : end + 1] == b"/"]
        links = [folder for folder in above if os.path.islink(folder)]
        try:
            os.lstat(os.path.join(self.folder, name))
        except (FileNotFoundError, NotADirectoryError):
            return all(map(os.path.exists, links))
        except OSError:
            return False
        # What lies behind a link to a folder is found under its other name.
        return any(self.follow_links or not self._leads_out(path) for path in links)

    def is_excluded(self, key: str) -> bool:
        """Tell whether a known item is left out by a pattern: that it is missing says nothing about its folder."""
        return self._patterns.cover(name_of(key.removeprefix(self.prefix)))

    def _scan(self, folder: bytes, ancestors: tuple[tuple[int, int], ...]) -> Iterator[Item | Failure]:
        for name in self._names(folder, ancestors):
            yield self._item(name)

    def _names(self, folder: bytes, ancestors: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
        """Yield the paths of the images below a folder, relative to the folder."""
        pending: list[Iterator[tuple[bytes, bool]]] = [self._entries(folder)]
        chain = [ancestors[-1]]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                chain.pop()
            elif entry[1]:
                identity = self._identity(os.path.join(self.folder, entry[0]))
                if identity not in chain:
                    pending.append(self._entries(entry[0]))
                    chain.append(identity)
                else:
                    self.left_out[LINKED_FOLDER] += 1
            else:
                yield entry[0]

    def _entries(self, folder: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield (path relative to the root, whether it is a folder) of what counts in one folder."""
        try:
            with os.scandir(os.path.join(self.folder, folder)) as entries:
                kept = ((entry.name, kind) for entry in entries if (kind := self._kind(entry, folder)) is not None)
                while block := sorted(itertools.islice(kept, BLOCK)):
                    yield from ((os.path.join(folder, name), kind == "folder") for name, kind in block)
        except OSError as error:
            self.problems.append(f"the folder {key_of(folder) or '.'} cannot be read: {error.strerror}")

    def _kind(self, entry: "os.DirEntry[bytes]", folder: bytes) -> str | None:
        """Return "folder", "file" or None for what is left out. folder: that it lies in, relative to the root."""
        is_excluded = self._patterns.match(os.path.join(folder, entry.name))
        reason = EXCLUDED if is_excluded else self._judge(entry)
        if reason in ("folder", "file"):
            return reason
        is_new = reason not in self.left_out and reason.startswith(".")
        self.left_out[OTHER if is_new and len(self.left_out) >= KNOWN_EXTENSIONS else reason] += 1
        return None

    def _judge(self, entry: "os.DirEntry[bytes]") -> str:
        """Return "folder" or "file" for what counts, else why it does not."""
        if entry.name.startswith(b"."):
            return HIDDEN
        is_file = True
        try:
            is_outside = entry.is_symlink() and not self.follow_links and self._leads_out(entry.path)
            if entry.is_dir():
                if is_outside:
                    return LINK_OUTSIDE
                return "folder" if not entry.is_symlink() or self._may_follow(entry.path) else LINKED_FOLDER
            is_file = entry.is_file() or entry.is_symlink()
            if is_outside and entry.is_file() and entry.name.lower().endswith(EXTENSIONS):
                return LINK_OUTSIDE
        except OSError as error:
            # Its type is unknown: if it has an image's name, reading it reports the reason; else it may be a folder.
            if not entry.name.lower().endswith(EXTENSIONS):
                self.problems.append(f"{key_of(entry.path)} cannot be looked at: {error.strerror}")
        if entry.name.lower().endswith(EXTENSIONS):
            return "file"
        return extension_of(entry.name) if is_file else SPECIAL_FILE

    def _leads_out(self, path: bytes) -> bool:
        root, target = os.path.realpath(self.folder), os.path.realpath(path)
        return target != root and not target.startswith(root.rstrip(b"/") + b"/")

    def _may_follow(self, path: bytes) -> bool:
        target = os.path.realpath(path)
        identity = self._identity(target)
        root = os.path.realpath(self.folder)
        is_inside = target == root or target.startswith(root.rstrip(b"/") + b"/")
        is_above = root.startswith(target.rstrip(b"/") + b"/")
        if is_inside or is_above or identity in self._followed:
            return False
        self._followed.add(identity)
        return True

    def _item(self, name: bytes) -> Item | Failure:
        path = os.path.join(self.folder, name)
        item = Item(key=self.prefix + key_of(name), uri=key_of(path), version="", path=path)
        try:
            status = os.stat(path)
        except OSError:
            return item  # reading it reports the reason, or succeeds
        if not stat.S_ISREG(status.st_mode):
            return Failure(item, "io.not_a_file", "it is not a regular file")
        return Item(key=item.key, uri=item.uri, version=change_tokens.of_file(status), path=path)

    @staticmethod
    def _identity(path: bytes) -> tuple[int, int]:
        try:
            status = os.stat(path)
        except OSError:
            return (-1, -1)
        return (status.st_dev, status.st_ino)


def is_scanned(name: bytes) -> bool:
    """Tell whether a scan takes a file: neither it nor a folder above it is hidden, and it is named like an image.

    name: relative to the folder of the scan.
    """
    is_hidden = any(part.startswith(b".") for part in name.split(b"/"))
    return not is_hidden and name.lower().endswith(EXTENSIONS)


def extension_of(name: bytes) -> str:
    """Return the extension of a file's name, as it is counted."""
    extension = key_of(os.path.splitext(name.lower())[1])
    return extension if 1 < len(extension) <= LONGEST_EXTENSION else NO_EXTENSION


def check_folder(root: bytes, *, may_be_empty: bool = True) -> None:
    """Raise SourceError unless a folder can be listed. may_be_empty: it is, too, where nothing is mounted."""
    name = visible(os.fsdecode(root))
    try:
        with os.scandir(root) as entries:
            if not may_be_empty and next(entries, None) is None:
                raise SourceError(f"the folder {name} is empty; is the storage mounted?")
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist; is the storage mounted?") from error
    except NotADirectoryError as error:
        raise SourceError(f"{name} is not a folder") from error
    except OSError as error:
        raise SourceError(f"the folder {name} cannot be read: {error.strerror}") from error
