"""What the files of labelled images are: readable or not, their bytes, how they look.

One pass decodes every image as `cataloger tag` would and keeps one row per file in a SQLite file, so that a second
run reads only what is new or changed and an interrupted one resumes. 48,506 images took 142 seconds on two
processors.
"""

import importlib.util
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from cataloger.errors import MissingExtraError, TrainingError
from cataloger.options import PreprocessSpec
from cataloger.records import Failure, Image, Pixels
from cataloger.training.data import Example, decode_examples, versions_of

FILE = "inventory.sqlite"
HASH_SIDE = 16
HASH_BYTES = HASH_SIDE * HASH_SIDE // 8
SAVE_EVERY = 500
LOCK_TIMEOUT = 60.0

Hashes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is known of the files of some examples, in their order.

    failures: index -> why the image cannot be used. sha256: of the bytes; b"" where unread. phash: perceptual hashes,
    uint8 N x 32, zero where unreadable. sizes: width and height of the upright original in pixels, int32 N x 2.
    """

    failures: Mapping[int, str]
    sha256: tuple[bytes, ...]
    phash: Hashes
    sizes: npt.NDArray[np.int32]

    def readable(self) -> list[int]:
        """Return the indices of the images that can be used."""
        return [index for index in range(len(self.sha256)) if index not in self.failures]

    def take(self, rows: Sequence[int]) -> "Inventory":
        """Return what is known of some of the examples."""
        failures = {new: self.failures[old] for new, old in enumerate(rows) if old in self.failures}
        chosen = np.array(rows, dtype=np.int64)
        return Inventory(failures, tuple(self.sha256[i] for i in rows), self.phash[chosen], self.sizes[chosen])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the file. failure: "" for an image that can be used."""

    failure: str
    sha256: bytes
    phash: bytes
    width: int
    height: int


def take_inventory(
    examples: Sequence[Example], spec: PreprocessSpec, folder: Path, progress: Callable[[int], None]
) -> Inventory:
    """Look at every file once; what `folder` contains already is not read again while size and time are unchanged.

    progress: receives the number of examples done. Raises TrainingError when the folder cannot be written.
    """
    for module in ("imagehash", "scipy"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("train", "looking for identical and near-identical images")
    with _opened(folder, spec) as database:
        tokens = versions_of(examples)
        entries = _known(database, examples, tokens)
        missing = [index for index, entry in enumerate(entries) if entry is None]
        done = len(examples) - len(missing)
        progress(done)
        for count, (index, entry, is_lasting) in enumerate(_look(examples, missing, spec), start=1):
            entries[index] = entry
            if is_lasting and tokens[index]:
                _keep(database, examples[index], tokens[index], entry)
            if count % SAVE_EVERY == 0:
                database.commit()
            progress(done + count)
        database.commit()
    return _inventory([entry for entry in entries if entry is not None])


def perceptual_hash(pixels: Pixels) -> bytes:
    """Return the pHash of decoded pixels: 256 bits, whether each low frequency is above the median (ImageHash)."""
    import imagehash  # it loads scipy

    bits = imagehash.phash(PillowImage.fromarray(pixels), hash_size=HASH_SIDE).hash
    return np.packbits(bits.ravel()).tobytes()


def _look(
    examples: Sequence[Example], missing: Sequence[int], spec: PreprocessSpec
) -> Iterator[tuple[int, _Entry, bool]]:
    """Yield (index, entry, whether it stays so while the file is unchanged)."""
    for result in decode_examples([examples[index] for index in missing], spec):
        index = missing[int(result.item.key)]
        if isinstance(result, Failure):
            text = f"{result.message} ({result.code})"
            digest = bytes.fromhex(result.content_hash or "")
            yield index, _Entry(text, digest, bytes(HASH_BYTES), 0, 0), not result.is_transient
        else:
            yield index, _entry(result), True


def _entry(image: Image) -> _Entry:
    digest = bytes.fromhex(image.content_hash)
    return _Entry("", digest, perceptual_hash(image.pixels), image.width, image.height)


def _inventory(entries: Sequence[_Entry]) -> Inventory:
    hashes = np.frombuffer(b"".join(entry.phash for entry in entries), dtype=np.uint8)
    return Inventory(
        failures={index: entry.failure for index, entry in enumerate(entries) if entry.failure},
        sha256=tuple(entry.sha256 for entry in entries),
        phash=hashes.reshape(len(entries), HASH_BYTES),
        sizes=np.array([(entry.width, entry.height) for entry in entries], dtype=np.int32).reshape(-1, 2),
    )


@contextmanager
def _opened(folder: Path, spec: PreprocessSpec) -> Iterator[sqlite3.Connection]:
    """Open the file of a folder; one that was made with another preprocessing is emptied."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE IF NOT EXISTS spec (json TEXT)")
            database.execute(
                "CREATE TABLE IF NOT EXISTS file (path BLOB PRIMARY KEY, version TEXT NOT NULL, "
                "failure TEXT NOT NULL, sha256 BLOB NOT NULL, phash BLOB NOT NULL, "
                "width INTEGER NOT NULL, height INTEGER NOT NULL)"
            )
            _begin(database, json.dumps([HASH_SIDE, asdict(spec)]))
            yield database
    except OSError as error:
        raise TrainingError(f"the work folder {folder} cannot be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise TrainingError(f"{path} cannot be used ({error}); delete it to read the images again") from error


def _begin(database: sqlite3.Connection, spec: str) -> None:
    known = database.execute("SELECT json FROM spec").fetchone()
    if known != (spec,):
        database.execute("DELETE FROM file")
        database.execute("DELETE FROM spec")
        database.execute("INSERT INTO spec VALUES (?)", (spec,))
    database.commit()


def _known(database: sqlite3.Connection, examples: Sequence[Example], tokens: Sequence[str]) -> list[_Entry | None]:
    query = "SELECT failure, sha256, phash, width, height FROM file WHERE path = ? AND version = ?"
    rows = (
        database.execute(query, (_key(example), token)).fetchone() if token else None
        for example, token in zip(examples, tokens, strict=True)
    )
    return [None if row is None else _Entry(*row) for row in rows]


def _keep(database: sqlite3.Connection, example: Example, token: str, entry: _Entry) -> None:
    values: tuple[Any, ...] = (_key(example), token, entry.failure, entry.sha256, entry.phash)
    query = "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?)"
    database.execute(query, (*values, entry.width, entry.height))


def _key(example: Example) -> bytes:
    return os.fsencode(example.place)
