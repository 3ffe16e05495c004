"""How a model bundle gets to the machines of a cluster: once to each, by the hash of its manifest.

A machine whose package has the same bundle needs nothing. Else it is kept in a folder that belongs to this user
alone, as whoever can write there decides what is run.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cataloger.errors import BundleError, CatalogerError
from cataloger.model import MANIFEST, Bundle, check_files, default_bundle_path, kept_bundle_paths, read_bundle

KEPT_SECONDS = 7 * 24 * 3600.0
"""After which an unused copy of a bundle is deleted by the next worker."""


def digest_of(bundle: Bundle) -> str:
    """Return the SHA-256 of a bundle's manifest, which holds those of all its files. Hexadecimal."""
    return hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()


def packed(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of a bundle by name, each checked. Raises BundleError."""
    check_files(bundle, bundle.files)
    return {name: (bundle.path / name).read_bytes() for name in (MANIFEST, *bundle.files)}


def known_bundle(digest: str) -> Bundle | None:
    """Return the bundle of the package or of an earlier worker that has this digest."""
    for path in (default_bundle_path(), *kept_bundle_paths()):
        if digest_of(shipped := read_bundle(path, check=())) == digest:
            return shipped
    with suppress(CatalogerError, OSError):
        kept = read_bundle(_folder() / digest, check=())
        check_files(kept, kept.files)
        return kept if digest_of(kept) == digest else None
    return None


def received_bundle(digest: str, files: Mapping[str, bytes] | None) -> Bundle:
    """Return the bundle with this digest, kept on this machine. Raises OSError, BundleError."""
    if files is None and (known := known_bundle(digest)) is not None:
        with suppress(OSError):
            os.utime(_folder() / digest)
        return known
    folder = _folder()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (known := known_bundle(digest)) is not None:
            with suppress(OSError):
                os.utime(folder / digest)
            return known
        _forget_old(folder)
        _keep(folder / digest, files or {})
    if (kept := known_bundle(digest)) is None:
        raise BundleError("the model bundle did not arrive as it was sent")
    return kept


def _folder() -> Path:
    """Return the folder of this user's copies. Raises OSError where it is somebody else's, or cannot be made."""
    folder = Path(tempfile.gettempdir()) / f"cataloger-bundles-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(1, "the folder for it is not this user's alone", str(folder))
    return folder


def _keep(target: Path, files: Mapping[str, bytes]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        for name, data in files.items():
            (temporary / Path(name).name).write_bytes(data)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _forget_old(folder: Path) -> None:
    for each in folder.iterdir():
        with suppress(OSError):
            if each.is_dir() and time.time() - each.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)
