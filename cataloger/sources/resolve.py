"""Resolve the paths of the command line to sources."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cataloger.errors import SourceError, UsageError
from cataloger.sources import manifest
from cataloger.sources.folder import check_folder, is_scanned
from cataloger.sources.image_references import address_of, has_scheme
from cataloger.sources.web import host_of
from cataloger.utils import existing_path, visible, without_query


@dataclass(frozen=True, slots=True)
class Target:
    """One source to tag. kind: "folder", "manifest" or "web". root: resolved path.

    files: only these of a folder, relative to the root, as bytes; None means everything below it. addresses:
    of images on the web, with their secrets; root is their host.
    """

    kind: str
    root: bytes
    files: tuple[bytes, ...] | None = None
    addresses: tuple[str, ...] = field(default=(), repr=False)


def resolve_targets(paths: Sequence[str]) -> list[Target]:
    """Sort paths into folders, manifests, single files grouped by their folder, and addresses grouped by their host.

    A path that lies in another named folder is dropped if that scan finds it, which it does not if it is hidden or
    not named like an image. Folders come before those that lie in them. Raises UsageError for what is no path, and
    SourceError for what is missing or cannot be listed, before any work.
    """
    if not paths:
        raise UsageError("no path was given: give folders, images or manifests")
    if any(not path.strip() for path in paths):
        raise UsageError("an empty path was given: give folders, images or manifests")
    folders: list[bytes] = []
    manifests: list[bytes] = []
    files: dict[bytes, list[bytes]] = {}
    hosts: dict[str, list[str]] = {}
    addresses = {path: find_address(path) for path in paths}
    for address in dict.fromkeys(filter(None, addresses.values())):
        hosts.setdefault(host_of(address), []).append(address)
    for path in dict.fromkeys(os.fsencode(existing_path(path)) for path in paths if addresses[path] is None):
        if os.path.isdir(path):
            check_folder(path)
            folders.append(os.path.realpath(path))
        elif not os.path.lexists(path):
            if has_scheme(os.fsdecode(path)):
                raise UsageError(f"{without_query(os.fsdecode(path))}: images are read from paths, http and https")
            raise SourceError(f"{visible(os.fsdecode(path))} does not exist; is the storage mounted?")
        elif Path(os.fsdecode(path)).suffix.lower() in manifest.EXTENSIONS:
            manifests.append(os.path.realpath(path))
        else:
            # Only the folder is resolved: a link to an image keeps its own name.
            folder, name = os.path.split(os.path.abspath(path))
            names = files.setdefault(os.path.realpath(folder), [])
            names += [name] if name not in names else []
    given = list(dict.fromkeys(folders))
    unique = sorted(given, key=lambda folder: sum(map(partial(_lies_in, folder), given)))
    scanned = [folder for folder in unique if not _is_found(folder, unique, _is_entered)]
    named = {
        folder: kept
        for folder, names in files.items()
        if (kept := tuple(n for n in names if not _is_found(os.path.join(folder, n), scanned, is_scanned)))
    }
    return [
        *(Target("folder", folder) for folder in scanned),
        *(Target("folder", folder, names) for folder, names in named.items()),
        *(Target("manifest", path) for path in dict.fromkeys(manifests)),
        *(Target("web", host.encode(), addresses=tuple(each)) for host, each in hosts.items()),
    ]


def find_address(path: str) -> str | None:
    """Return an argument that is a web address, with its scheme; None for a path."""
    return None if os.path.lexists(existing_path(path)) else address_of(path, os.fsencode(os.curdir))


def _is_found(path: bytes, folders: Sequence[bytes], takes: Callable[[bytes], bool]) -> bool:
    """Tell whether the scan of one of the folders finds a file or folder below it. takes: relative names."""
    around = (folder for folder in folders if _lies_in(path, folder))
    return any(takes(path.removeprefix(folder).lstrip(b"/")) for folder in around)


def _lies_in(path: bytes, folder: bytes) -> bool:
    return path != folder and path.startswith(folder.rstrip(b"/") + b"/")


def _is_entered(name: bytes) -> bool:
    return not any(part.startswith(b".") for part in name.split(b"/"))
