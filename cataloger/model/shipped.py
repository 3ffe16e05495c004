"""Where bundles are found: those that ship with the package, folders, and folders of object stores.

The package has the default bundle, and former ones whose sources go on with them.

A former default is kept in `kept_models`, without its training files: a new version with another default must stop no
run of a source that is pinned to it. It is found by its name and version, and by its weights.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cataloger.errors import BundleError, ImageError, UsageError
from cataloger.model.bundle import (
    MANIFEST,
    TRAINING_FILES,
    Bundle,
    copy_files,
    default_bundle_path,
    kept_bundle_paths,
    new_bundle,
    read_bundle,
    seal,
)
from cataloger.model.untrusted import is_plain_name
from cataloger.objects import is_object_address, kept_folder, kept_from, read_address
from cataloger.utils import existing_path, printable

DEFAULT = "default"


def is_shipped(path: Path) -> bool:
    """True for the directory of a bundle that ships with the package."""
    return path == default_bundle_path() or path in kept_bundle_paths()


def shipped_bundle(weights_id: str) -> Bundle | None:
    """Return the bundle of these weights among those that ship with the package; None if there is none."""
    return next((bundle for bundle in _shipped() if bundle.weights_id == weights_id), None)


def location_of(bundle: Bundle) -> str:
    """Return where a bundle is, as ledgers record it: "default", NAME@VERSION for a kept one, else its directory.

    The package may lie elsewhere tomorrow. Of a copy of one in an object store it is the address.
    """
    if bundle.path == default_bundle_path():
        return DEFAULT
    if is_shipped(bundle.path):
        return bundle.reference
    return kept_from(bundle.path) or str(bundle.path.absolute())


def resolve_bundle_path(model: str) -> Path:
    """Turn the value of --model into a directory: "default", a path, or NAME@VERSION of one that ships with us.

    Or the address of one in an object store, which is copied to this machine. Raises UsageError; BundleError where a
    store does not give the bundle; OutputError where it cannot be kept.
    """
    if model == DEFAULT:
        return default_bundle_path()
    if is_object_address(model):
        return _copied(model)
    path = Path(existing_path(model))
    if path.is_dir():
        return path
    shipped = {bundle.reference: bundle.path for bundle in _shipped()} if "@" in model else {}
    if model not in shipped:
        known = f"; this version has {', '.join(shipped)}" if shipped else ""
        raise UsageError(f"no model at {model}: give the directory of a bundle, or 'default'{known}")
    return shipped[model]


def keep_bundle(bundle: Bundle, target: Path, *, slim: bool = False) -> Bundle:
    """Copy a bundle into a directory, each file checked; return the copy.

    slim: leave out TRAINING_FILES, which tagging does not need. Raises UsageError where another bundle is there, or
    the bundle itself, and for a slim copy of a model that never came with cataloger: only its weights can tell that
    its files belong together. Raises BundleError for a damaged file.
    """
    if (target / MANIFEST).is_file():
        there = read_bundle(target, check=())
        if target.resolve() == bundle.path.resolve() or there.weights_id != bundle.weights_id:
            raise UsageError(f"{printable(str(target))} contains {there.title} already; choose another directory")
    if slim and shipped_bundle(bundle.weights_id) is None:
        raise UsageError(f"{bundle.title} did not come with cataloger, and is used only as a whole: leave --slim out")
    but = TRAINING_FILES if slim else ()
    with new_bundle(target) as folder:
        copy_files(bundle, folder, but=but)
        left_out = {**bundle.left_out, **{name: bundle.files[name] for name in but if name in bundle.files}}
        sealed = seal(replace(bundle, path=folder, left_out=left_out))
    return replace(sealed, path=target)


def _copied(text: str) -> Path:
    """Return the copy of a bundle in an object store."""
    try:
        address = read_address(text)
    except ValueError as error:
        raise UsageError(f"--model: {error}") from None
    try:
        return kept_folder(address, MANIFEST, _files_of)
    except ImageError as error:
        raise BundleError(f"the model at {address} cannot be read: {error}") from None


def _files_of(manifest: bytes) -> dict[str, str]:
    """Return the files that a bundle.json names, before it is read as a whole."""
    try:
        files = json.loads(manifest)["files"]
        return {name: str(sha256) for name, sha256 in files.items() if is_plain_name(name) and name != MANIFEST}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BundleError(f"what lies there as {MANIFEST} is none of a model bundle") from None


def _shipped() -> Iterator[Bundle]:
    for path in (default_bundle_path(), *kept_bundle_paths()):
        yield read_bundle(path, check=())
