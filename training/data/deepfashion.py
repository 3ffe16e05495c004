"""DeepFashion's Category and Attribute Prediction benchmark, in its official layout (Liu et al., CVPR 2016).

Read are `list_category_cloth.txt`, `list_category_img.txt` (in Anno, Anno_coarse or at the root) and
`list_eval_partition.txt` (in Eval or at the root). In each the first line is the number of entries and the second
names the columns. Categories count from 1. Boxes are not used: the pictures are taken whole. Landmarks are never
read.
"""

from collections.abc import Iterator
from pathlib import Path

from cataloger.errors import TrainingError
from cataloger.training.data.columns import file_below, split_of
from cataloger.training.data.examples import DataProblem, Example
from cataloger.training.options import DataOptions
from cataloger.utils import clean_label

CATEGORIES = "list_category_cloth.txt"
IMAGES = "list_category_img.txt"
PARTITION = "list_eval_partition.txt"
BOXES = "list_bbox.txt"
ANNOTATIONS = ("Anno", "Anno_coarse", "")
EVALUATIONS = ("Eval", "")


def is_deepfashion(folder: Path) -> bool:
    """True for a folder that contains the list of images and categories."""
    return _find(folder, IMAGES, ANNOTATIONS) is not None


def read_deepfashion(folder: Path, options: DataOptions) -> tuple[list[str], list[Example], list[DataProblem]]:
    """Return every category of the benchmark, also those without an image, its examples and problems.

    Raises TrainingError, with the line, for a file that is missing, incomplete or contradicts another.
    """
    categories = _categories(_needed(folder, CATEGORIES, ANNOTATIONS))
    partition_file = _needed(folder, PARTITION, EVALUATIONS)
    partition = {name: split_of(split, place) for place, name, split in _entries(partition_file)}
    base = options.images or _image_base(folder)
    examples, problems = [], []
    for place, name, number in _entries(_needed(folder, IMAGES, ANNOTATIONS)):
        label, found, split = _category(categories, number, place), file_below(base, name), partition.pop(name, "")
        if isinstance(found, str):
            problems.append(DataProblem("no_image", place, found))
        elif not split:
            problems.append(
                DataProblem("no_split", f"{place} ({name})", f"{partition_file.name} does not name the image")
            )
        else:
            examples.append(Example(*found, (label,), split))
    problems += [
        DataProblem("no_label", f"{partition_file.name} ({name})", f"{IMAGES} does not name the image")
        for name in partition
    ]
    return categories, examples, problems + _unused_boxes(folder)


def _categories(path: Path) -> list[str]:
    names = [clean_label(name) for _, name, _ in _entries(path)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TrainingError(f"{path} names the category {repeated[0]!r} twice")
    return names


def _category(categories: list[str], number: str, place: str) -> str:
    if not number.isdecimal() or not 1 <= int(number) <= len(categories):
        raise TrainingError(f"{place}: the category is {number!r}; {CATEGORIES} has 1 to {len(categories)}")
    return categories[int(number) - 1]


def _unused_boxes(folder: Path) -> list[DataProblem]:
    boxes = _find(folder, BOXES, ANNOTATIONS)
    note = "boxes are not used: whole pictures are read, as `cataloger tag` reads them"
    return [] if boxes is None else [DataProblem("boxes_unused", str(boxes.relative_to(folder)), note)]


def _entries(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (place, name, value) of every line; a name may contain blanks. Raises TrainingError for a wrong count."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    count = lines[0].strip() if lines else ""
    if not count.isdecimal() or len(lines) < 2:
        raise TrainingError(f"{path}:1 must be the number of entries, and line 2 the names of the columns")
    entries = [(number, line) for number, line in enumerate(lines[2:], start=3) if line.strip()]
    if len(entries) != int(count):
        raise TrainingError(f"{path} says that it has {count} entries, but has {len(entries)}; download it again")
    for number, line in entries:
        parts = line.strip().rsplit(None, 1)
        if len(parts) != 2:
            raise TrainingError(f"{path}:{number} must contain a name and a value, not {line.strip()!r}")
        yield f"{path.name}:{number}", parts[0].rstrip(), parts[1]


def _image_base(folder: Path) -> Path:
    return next((base for base in (folder, folder / "Img") if (base / "img").is_dir()), folder)


def _find(folder: Path, name: str, places: tuple[str, ...]) -> Path | None:
    return next((path for place in places if (path := folder / place / name).is_file()), None)


def _needed(folder: Path, name: str, places: tuple[str, ...]) -> Path:
    path = _find(folder, name, places)
    if path is None:
        looked = " or ".join(str(Path(place) / name) for place in places)
        raise TrainingError(f"{looked} is missing in {folder}; it is part of the DeepFashion benchmark")
    return path
