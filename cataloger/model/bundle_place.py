"""Where a new bundle is put: a folder, or an address in an object store.

For an address it is made in a folder of this machine and stored as a whole, bundle.json last. Whoever reads it there
compares each file with the hash in bundle.json, so that a part of a bundle, or of two, is never taken for one.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from cataloger.errors import BundleError, LostOutputError, OutputError, UsageError
from cataloger.model.bundle import MANIFEST, MODEL_INT8, REQUIRED_FILES, Bundle
from cataloger.model.side_files import CONFIG, LABELS, PREPROCESSOR
from cataloger.objects import (
    Body,
    Listed,
    ObjectAddress,
    ObjectStores,
    StoreError,
    is_object_address,
    read_address,
)
from cataloger.utils import existing_path

OF_BUNDLES = frozenset((MANIFEST, MODEL_INT8, *REQUIRED_FILES, CONFIG, LABELS, PREPROCESSOR))
"""What may lie at an address without bundle.json: the upload of a bundle may have ended early."""
LOOKED_AT = 1000
"""Objects below an address without a bundle."""
MOST_BYTES = 5_000_000
"""Of a bundle.json that is read; a larger one is none of the bundle that is to be put there."""


class BundlePlace:
    """The place that --output, or another flag, names for a bundle. str: as it is shown, and as --model takes it."""

    def __init__(self, text: str | Path, flag: str = "--output") -> None:
        """Read it. Raises UsageError, whose message holds nothing of an address; for a folder that is a file, too."""
        self._flag = flag
        self._address: ObjectAddress | None = None
        self._path = Path(existing_path(str(text)))
        if is_object_address(str(text)):
            try:
                self._address = read_address(str(text))
            except ValueError as error:
                raise UsageError(f"{flag}: {error}") from None
        elif self._path.exists() and not self._path.is_dir():
            raise UsageError(f"{flag} {self._path} is a file; name a folder")

    def __str__(self) -> str:
        return str(self._address or self._path)

    def beside(self, ending: str) -> Path:
        """Return the folder of its name and an ending: beside it, or in the working directory for an address."""
        if self._address is not None:
            return Path((self._address.name or self._address.bucket) + ending)
        return self._path.with_name(self._path.name + ending)

    @contextmanager
    def folder(self, work: Path | None = None) -> Iterator[Path]:
        """Give the folder to make the bundle in, which `store` takes to its place.

        work: a folder that keeps what is made for an address; else it is deleted once it is stored. Before the work
        it raises OutputError where the bucket cannot be used, BundleError where something else lies at the address.
        """
        if self._address is None:
            yield self._path
            return
        self._require_room(ObjectStores(), self._address)
        made = Path(tempfile.mkdtemp(prefix="cataloger-bundle-")) if work is None else work
        is_kept = work is not None
        try:
            yield made / "bundle"
        except LostOutputError:
            is_kept = True
            raise
        finally:
            if not is_kept:
                shutil.rmtree(made, ignore_errors=True)

    def store(self, made: Path) -> None:
        """Store the bundle that was made, whole, bundle.json last; within `folder`.

        Raises LostOutputError, which says where the bundle is kept.
        """
        if self._address is None:
            return
        stores = ObjectStores()
        for file in sorted(made.iterdir(), key=lambda file: (file.name == MANIFEST, file.name)):
            try:
                stores.put(self._address.below(file.name), file)
            except StoreError as error:
                raise LostOutputError(
                    f"the bundle cannot be stored at {self}: {error}; it is kept in {made}: copy its files there, "
                    f"{MANIFEST} last"
                ) from None

    def require_none_but(self, bundle: Bundle) -> None:
        """Raise UsageError where an object store has a bundle of other weights at this address."""
        if self._address is None:
            return
        text = self._manifest(ObjectStores(), self._address)
        try:
            there = text is None or json.loads(text).get("weights_id")
        except (ValueError, AttributeError):
            there = None
        if there not in (True, bundle.weights_id):
            raise UsageError(f"{self} contains another model already; choose another address")

    def _require_room(self, stores: ObjectStores, address: ObjectAddress) -> None:
        """Look at what is there; whether it may be written to shows when it is."""
        if self._manifest(stores, address) is not None:
            return
        try:
            names = {each.key.removeprefix(address.inside) for each in islice(stores.list(address), LOOKED_AT)}
        except StoreError as error:
            raise OutputError(f"{self._flag} {address}: {error}") from None
        if not names <= OF_BUNDLES:
            raise BundleError(f"{address} exists and is not a model bundle; choose another address")

    def _manifest(self, stores: ObjectStores, address: ObjectAddress) -> bytes | None:
        """Return the bundle.json at an address; None where there is none. Raises OutputError."""
        try:
            return stores.get(address.below(MANIFEST), _small)
        except StoreError as error:
            if error.code == "fetch.not_found":
                return None
            raise OutputError(f"{self._flag} {address}: {error}") from None


def _small(listed: Listed, body: Body) -> bytes:
    return body.read() if listed.size <= MOST_BYTES else b""
