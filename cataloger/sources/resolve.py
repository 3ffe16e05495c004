"""Resolve the paths of the command line to sources."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cataloger.errors import SourceError
from cataloger.sources import manifest
from cataloger.sources.folder import check_folder
from cataloger.utils import existing_path, visible


@dataclass(frozen=True, slots=True)
class Target:
    """One source to tag. kind: "folder" or "manifest". root: resolved path.

    files: only these of a folder, relative to the root, as bytes; None means everything below it.
    """

    kind: str
    root: bytes
    files: tuple[bytes, ...] | None = None


def resolve_targets(paths: Sequence[str]) -> list[Target]:
    """Sort paths into folders, manifests and single files, which are grouped by their folder.

    A path that lies in another named folder is dropped, since that scan finds it. Raises SourceError for what is
    missing or cannot be listed, before any work.
    """
    if not paths:
        raise SourceError("no path was given: give folders, images or manifests")
    folders: list[bytes] = []
    manifests: list[bytes] = []
    files: dict[bytes, list[bytes]] = {}
    for path in dict.fromkeys(os.fsencode(existing_path(path)) for path in paths):
        if os.path.isdir(path):
            check_folder(path)
            folders.append(os.path.realpath(path))
        elif not os.path.lexists(path):
            raise SourceError(f"{visible(os.fsdecode(path))} does not exist; is the storage mounted?")
        elif Path(os.fsdecode(path)).suffix.lower() in manifest.EXTENSIONS:
            manifests.append(os.path.realpath(path))
        else:
            # Only the folder is resolved: a link to an image keeps its own name.
            folder, name = os.path.split(os.path.abspath(path))
            names = files.setdefault(os.path.realpath(folder), [])
            names += [name] if name not in names else []
    outermost = [folder for folder in dict.fromkeys(folders) if not _lies_in(folder, folders)]
    return [
        *(Target("folder", folder) for folder in outermost),
        *(
            Target("folder", folder, tuple(names))
            for folder, names in files.items()
            if folder not in outermost and not _lies_in(folder, outermost)
        ),
        *(Target("manifest", path) for path in dict.fromkeys(manifests)),
    ]


def _lies_in(path: bytes, folders: Sequence[bytes]) -> bool:
    return any(path != folder and path.startswith(folder.rstrip(b"/") + b"/") for folder in folders)
