"""Class folders: the folder that an image lies in names its label, `root/<class>/**/image`.

Or with splits given: `root/train/<class>/...`, `root/val/<class>/...` and `root/test/<class>/...`. That is how a root
is read when it has a folder named like the training split and either one named like another split or nothing else.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cataloger.errors import TrainingError
from cataloger.sources import EXTENSIONS, key_of
from cataloger.training.data.columns import SPLIT_NAMES
from cataloger.training.data.examples import DataProblem, Example
from cataloger.utils import clean_label


def read_class_folders(root: Path) -> tuple[list[Example], list[DataProblem]]:
    """Find the images below the class folders of `root`, sorted by name. Raises TrainingError.

    Hidden files, files that are no images, images outside a class and empty class folders become problems.
    """
    reader = _Reader(root)
    splits = _split_folders(reader.folders(root))
    if splits:
        for folder in reader.folders(root, note=True):
            if folder not in splits.values():
                reader.note(
                    "ignored_folder", folder, "it is beside the folders of the splits, but is not one of them"
                )
        for split, folder in splits.items():
            reader.read_classes(folder, split)
    else:
        reader.read_classes(root, "")
    return reader.examples, reader.problems


@dataclass(slots=True)
class _Reader:
    root: Path
    examples: list[Example] = field(default_factory=list)
    problems: list[DataProblem] = field(default_factory=list)

    def read_classes(self, folder: Path, split: str) -> None:
        """Read every class of a split."""
        for child in self.folders(folder, note=True):
            label, before = clean_label(key_of(os.fsencode(child.name))), len(self.examples)
            for path in self.images(child, (os.path.realpath(child),)):
                self.examples.append(Example(self.name(path), path, (label,), split))
            if len(self.examples) == before:
                self.note("empty_class", child, "the class folder contains no image")

    def folders(self, folder: Path, *, note: bool = False) -> list[Path]:
        """Return the visible folders of a folder; note: what lies beside them is named as a problem."""
        found = []
        for entry in self.entries(folder):
            if not entry.name.startswith(".") and _is_folder(entry):
                found.append(Path(entry.path))
            elif note and _is_image(entry.name):
                self.note("no_label", Path(entry.path), "the image lies in no class folder")
            elif note:
                self.note_ignored(entry)
        return found

    def images(self, folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
        """Yield the images below a folder. above: folders on the way, so that a link back to one ends there."""
        for entry in self.entries(folder):
            if entry.name.startswith("."):
                self.note_ignored(entry)
            elif _is_folder(entry):
                target = os.path.realpath(entry.path)
                if target in above:
                    self.note("ignored_folder", Path(entry.path), "it is a link to a folder that contains it")
                else:
                    yield from self.images(Path(entry.path), (*above, target))
            elif _is_image(entry.name):
                yield Path(entry.path)
            else:
                self.note_ignored(entry)

    def entries(self, folder: Path) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            # Half a class would silently train a worse model.
            raise TrainingError(f"the folder {folder} cannot be read: {error.strerror}") from error

    def note_ignored(self, entry: "os.DirEntry[str]") -> None:
        if entry.name.startswith("."):
            self.note("hidden_file", Path(entry.path), "hidden files and folders are left out")
        else:
            self.note("not_image", Path(entry.path), "the extension is not that of an image")

    def note(self, kind: str, path: Path, message: str) -> None:
        self.problems.append(DataProblem(kind, self.name(path), message))

    def name(self, path: Path) -> str:
        return key_of(os.fsencode(path.relative_to(self.root)))


def _split_folders(folders: list[Path]) -> dict[str, Path]:
    """Return the folder of each split; empty when the folders are classes. Raises TrainingError for two of one."""
    found: dict[str, Path] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in found:
            raise TrainingError(f"{folder} and {found[split].name} beside it name the same split; keep one of them")
        if split:
            found[split] = folder
    is_split = "train" in found and (len(found) > 1 or len(folders) == 1)
    return found if is_split else {}


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Tell whether it is a folder; of a link in a circle, that is none, reading an image there reports the reason."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.fsencode(name).lower().endswith(EXTENSIONS)
