"""Folders of object stores that are kept here as files, each compared with the hash that a manifest has for it."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from cataloger.errors import ImageError, OutputError
from cataloger.objects.addresses import ObjectAddress
from cataloger.objects.client import Body, Listed, ObjectStores
from cataloger.objects.store_errors import StoreError

KEPT_SECONDS = 7 * 24 * 3600.0
"""After which an older copy that nobody has used since is deleted."""
MOST_MANIFEST_BYTES = 5_000_000
ADDRESS = "address"

FilesOf = Callable[[bytes], Mapping[str, str]]
"""Reads a manifest: name of each file in its folder -> its SHA-256, hexadecimal."""


def kept_folder(address: ObjectAddress, manifest: str, files_of: FilesOf) -> Path:
    """Return a folder with the manifest below an address and the files that it names, as the store has them now.

    The manifest is asked for each time, the files only where the manifest has changed. The folder is this user's
    alone, and complete whenever it is there. Raises StoreError, also for a file that is not the one named;
    ImageError or OutputError where it cannot be written; what `files_of` raises.
    """
    stores = ObjectStores()
    text = stores.get(address.below(manifest), _small)
    try:
        place = _place(address)
        folder = place / hashlib.sha256(text).hexdigest()
        if not folder.is_dir():
            _fill(folder, stores, address, {manifest: text}, files_of(text))
        os.utime(folder)
        _forget_old(place, folder)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OutputError(
            f"what lies at {address} cannot be kept here: {error.strerror or error}{where}; XDG_CACHE_HOME names "
            "another folder for it"
        ) from error
    return folder


def kept_from(folder: Path) -> str | None:
    """Return the address that a folder is a copy of; None if it is none of these copies."""
    if folder.parent.parent != _cache():
        return None
    try:
        return (folder.parent / ADDRESS).read_text(encoding="utf-8")
    except OSError:
        return None


def _small(listed: Listed, body: Body) -> bytes:
    if listed.size > MOST_MANIFEST_BYTES:
        raise StoreError("decode.too_many_bytes", f"{listed.key} is no manifest: it has {listed.size:,} bytes")
    return body.read()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cataloger" / "folders"


def _place(address: ObjectAddress) -> Path:
    """Return the folder of the copies of an address, which is this user's alone. Raises OSError."""
    cache = _cache()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = cache.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(1, "others may write to this folder", str(cache))
    place = cache / hashlib.sha256(str(address).encode()).hexdigest()[:32]
    place.mkdir(exist_ok=True)
    (place / ADDRESS).write_text(str(address), encoding="utf-8")
    return place


def _fill(
    folder: Path, stores: ObjectStores, address: ObjectAddress, known: Mapping[str, bytes], files: Mapping[str, str]
) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        for name, data in known.items():
            (temporary / name).write_bytes(data)
        for name, sha256 in files.items():
            if stores.get(address.below(name), partial(_saved, temporary / name)) != sha256:
                text = f"{address.below(name)} is not the file that its manifest names (SHA-256 differs)"
                raise StoreError("fetch.http_status", text)
        with suppress(OSError):  # another process was faster: it is the same
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _saved(file: Path, _: Listed, body: Body) -> str:
    """Write what arrives; return its SHA-256."""
    digest = hashlib.sha256()
    with file.open("wb") as copy:
        for chunk in body.chunks():
            digest.update(chunk)
            try:
                copy.write(chunk)
            except OSError as error:  # not one of the store, which would be asked again
                raise ImageError("io.error", f"{file} cannot be written: {error.strerror}") from error
    return digest.hexdigest()


def _forget_old(place: Path, used: Path) -> None:
    for each in place.iterdir():
        with suppress(OSError):
            if each.is_dir() and each != used and time.time() - each.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)
