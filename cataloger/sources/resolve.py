"""Resolve the paths of the command line to sources."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cataloger.errors import SourceError, UsageError
from cataloger.objects import ObjectAddress, is_object_address, read_address
from cataloger.sources import manifest
from cataloger.sources.folder import check_folder, is_scanned
from cataloger.sources.image_references import address_of, has_scheme
from cataloger.sources.object_store import is_image_name
from cataloger.sources.web import host_of
from cataloger.utils import existing_path, visible, without_query


@dataclass(frozen=True, slots=True)
class Target:
    """One source to tag. kind: "folder", "manifest", "web" or "bucket". root: resolved path, or address.

    files: only these of a folder, relative to the root, as bytes; None means everything below it. addresses:
    of images on the web, with their secrets; root is their host.
    """

    kind: str
    root: bytes
    files: tuple[bytes, ...] | None = None
    addresses: tuple[str, ...] = field(default=(), repr=False)


def resolve_targets(paths: Sequence[str]) -> list[Target]:
    """Sort paths into folders, manifests, single files grouped by their folder, and addresses grouped by their host
    or their folder of a bucket.

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
    objects, paths = list(filter(is_object_address, paths)), [each for each in paths if not is_object_address(each)]
    addresses = {path: find_address(path) for path in paths}
    for address in dict.fromkeys(filter(None, addresses.values())):
        hosts.setdefault(host_of(address), []).append(address)
    for path in dict.fromkeys(os.fsencode(existing_path(path)) for path in paths if addresses[path] is None):
        if os.path.isdir(path):
            check_folder(path)
            folders.append(os.path.realpath(path))
        elif not os.path.lexists(path):
            if has_scheme(os.fsdecode(path)):
                raise UsageError(
                    f"{without_query(os.fsdecode(path))}: images are read from paths and from http, https, s3, gs, az"
                )
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
        *_bucket_targets(objects),
    ]


def _bucket_targets(texts: Sequence[str]) -> Iterator[Target]:
    """Sort addresses in object stores into folders and single images grouped by their folder."""
    folders: list[ObjectAddress] = []
    images: list[ObjectAddress] = []
    for text in texts:
        try:
            address = read_address(text)
        except ValueError as error:
            raise UsageError(f"an address among the paths cannot be used: {error}") from None
        if address.name.lower().endswith(manifest.EXTENSIONS):
            raise UsageError(f"{visible(str(address))}: a manifest is read from a file: copy it here first")
        is_image = is_image_name(address.name) and not text.rstrip().endswith("/")
        (images if is_image else folders).append(address)
    unique = list(dict.fromkeys(folders))
    for folder in unique:
        if not any(_is_listed(folder, other, _is_entered) for other in unique):
            yield Target("bucket", str(folder).encode())
    named: dict[ObjectAddress, list[bytes]] = {}
    for image in dict.fromkeys(images):
        if not any(_is_listed(image, folder, is_scanned) for folder in unique):
            named.setdefault(image.parent, []).append(image.name.encode())
    for folder, names in named.items():
        yield Target("bucket", str(folder).encode(), tuple(names))


def _is_listed(address: ObjectAddress, folder: ObjectAddress, takes: Callable[[bytes], bool]) -> bool:
    """Tell whether the listing of a folder finds what lies at an address. takes: relative names."""
    return address.lies_below(folder) and takes(address.key.removeprefix(folder.inside).encode())


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
