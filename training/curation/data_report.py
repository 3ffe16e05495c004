"""What should be known of labelled images before anything is trained on them. Nothing is dropped here."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cataloger.errors import TrainingError
from cataloger.tabular import write_csv
from cataloger.training.curation.grouping import Groups, find_groups, members_of
from cataloger.training.curation.inventory import Inventory
from cataloger.training.data import SPLITS, DataProblem, Example, LabelledImages
from cataloger.utils import printable, replacing

FEW = 10
SHOWN = 3
LARGE_SHARE = 0.05
LARGE_LEAST = 20
PROBLEMS_FILE = "problems.csv"

# Kinds of problems, the gravest first, and their texts. Kinds that are not found here come from the readers.
KINDS = {
    "unreadable": "images that cannot be read are left out",
    "bad_row": "rows that cannot be read are left out",
    "no_image": "rows that name no image file are left out",
    "changed_image": "images that have changed since they were corrected are left out",
    "no_product": "images that show no product, according to corrections, are left out",
    "older_word": "two sources have different corrections for one file; the latest counts",
    "no_label": "images without a label are left out",
    "no_split": "images without a split are left out",
    "leak_bytes": "identical files are in several splits",
    "leak_looks": "images that look the same are in several splits",
    "leak_product": "images of one product are in several splits",
    "repeated_split": "rows put one image into several splits; the first counts",
    "conflict_bytes": "identical files have labels that exclude each other",
    "conflict_looks": "images that look the same have labels that exclude each other",
    "repeated_label": "rows give one image different labels; any of them counts as right",
    "empty_class": "categories without an image",
    "tiny_class": f"categories with fewer than {FEW} images to train on",
    "no_val": "categories without an image in val, so that their confidence cannot be checked",
    "similar_labels": "categories that differ only in upper and lower case; are they the same?",
    "large_group": f"more than {LARGE_SHARE:.0%} of all images belong together and cannot be divided",
    "repeated_row": "rows that say the same about one image count once",
    "ignored_folder": "folders that are not a category are left out",
    "not_image": "files that are not images are left out",
    "hidden_file": "hidden files and folders are left out",
    "boxes_unused": "boxes are not used",
}


@dataclass(frozen=True, slots=True)
class DataReport:
    """Counts and problems. labels: label -> split -> images that accept it. splits: split -> images.

    no_product: split -> images of them that show no product.
    duplicates: images beyond the first of each group of identical files, near_duplicates: of those that look the
    same, identical ones included. problems: the gravest kind first.
    """

    labels: dict[str, dict[str, int]]
    splits: dict[str, int]
    duplicates: int
    near_duplicates: int
    problems: tuple[DataProblem, ...]
    no_product: dict[str, int]

    @property
    def images(self) -> int:
        """Number of images that can be used."""
        return sum(self.splits.values())

    def by_kind(self) -> dict[str, list[DataProblem]]:
        """Return the problems of each kind, the gravest kind first."""
        found: dict[str, list[DataProblem]] = defaultdict(list)
        for problem in self.problems:
            found[problem.kind].append(problem)
        return {kind: found[kind] for kind in KINDS if kind in found}

    def lines(self) -> list[str]:
        """Return the report in a few lines: the counts, then a line for each kind of problem."""
        splits = ", ".join(f"{count:,} {split}" for split, count in self.splits.items())
        lines = [f"data: {self.images:,} images in {len(self.labels)} categories: {splits}"]
        if any(self.no_product.values()):
            counted = ", ".join(f"{count:,} {split}" for split, count in self.no_product.items())
            lines.append(f"data: {sum(self.no_product.values()):,} of them show no product: {counted}")
        if self.near_duplicates:
            identical = (
                f"{self.duplicates:,} of them of identical files" if self.duplicates else "no file is identical"
            )
            lines.append(f"data: {self.near_duplicates:,} images are copies of others or look the same; {identical}")
        return lines + [problem_line(kind, problems) for kind, problems in self.by_kind().items()]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        problems = {
            kind: {
                "text": KINDS[kind],
                "total": len(found),
                "problems": [{"place": problem.place, "message": problem.message} for problem in found],
            }
            for kind, found in self.by_kind().items()
        }
        return {
            "images": self.images,
            "splits": self.splits,
            "no_product": self.no_product,
            "labels": self.labels,
            "duplicates": self.duplicates,
            "near_duplicates": self.near_duplicates,
            "problems": problems,
        }


def data_report(dataset: LabelledImages, inventory: Inventory) -> DataReport:
    """Count and look for trouble. dataset: with splits; inventory: of its examples, all of them readable."""
    groups = find_groups(dataset.examples, inventory)
    counts = {label: dict.fromkeys(SPLITS, 0) for label in dataset.labels}
    splits, no_product = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    for example in dataset.examples:
        splits[example.split] += 1
        no_product[example.split] += not example.labels
        for label in example.labels:
            counts[label][example.split] += 1
    found = [
        *dataset.problems,
        *_few(counts),
        *_leaks(dataset.examples, groups),
        *_conflicts(dataset.examples, groups),
        *_large(dataset.examples, groups),
    ]
    ranks = {kind: rank for rank, kind in enumerate(KINDS)}
    return DataReport(
        labels=counts,
        splits=splits,
        duplicates=_copies(groups.same_bytes.tolist()),
        near_duplicates=_copies(groups.looks.tolist()),
        problems=tuple(sorted(found, key=lambda problem: ranks[problem.kind])),
        no_product=no_product,
    )


def problem_line(kind: str, problems: Sequence[DataProblem]) -> str:
    """Return a line for a kind of problem: how many, what it means, the first few."""
    first = "; ".join(f"{problem.place}: {problem.message}" for problem in problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
    return printable(f"{kind} ({len(problems):,}): {KINDS[kind]}: {first}{more}")


def write_problems(report: DataReport, folder: Path) -> Path | None:
    """Write every problem into a CSV of `folder`; None, and no file, if there is none.

    Raises OutputError, and TrainingError for a file of earlier problems that cannot be deleted.
    """
    path = folder / PROBLEMS_FILE
    if not report.problems:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise TrainingError(f"{path} cannot be deleted: {error.strerror}") from error
        return None
    rows = ((problem.kind, problem.place, problem.message) for problem in report.problems)
    with (
        replacing(path) as temporary,
        temporary.open("w", errors="backslashreplace", encoding="utf-8", newline="") as file,
    ):
        write_csv(file, ("kind", "place", "message"), rows)
    return path


def _few(counts: dict[str, dict[str, int]]) -> Iterator[DataProblem]:
    for label, splits in counts.items():
        if not any(splits.values()):
            continue  # named as empty by the reader
        if splits["train"] < FEW:
            yield DataProblem("tiny_class", label, f"{splits['train']} in train")
        if not splits["val"]:
            yield DataProblem("no_val", label, f"{splits['train']} in train, {splits['test']} in test")


def _leaks(examples: Sequence[Example], groups: Groups) -> Iterator[DataProblem]:
    for kind, index in (("bytes", groups.same_bytes), ("looks", groups.looks), ("product", groups.product)):
        for members in members_of(index):
            splits = _files_by(members, lambda example: (example.split,), examples)
            if len(splits) > 1 and not (kind == "looks" and _is_one(members, groups)):
                yield _problem(f"leak_{kind}", splits, examples, members)


def _conflicts(examples: Sequence[Example], groups: Groups) -> Iterator[DataProblem]:
    """Yield the groups of which no label is right for every member."""
    for kind, index in (("bytes", groups.same_bytes), ("looks", groups.looks)):
        for members in members_of(index):
            shared = set.intersection(*(set(examples[member].labels) for member in members))
            is_one = shared or not any(examples[member].labels for member in members)
            if not is_one and not (kind == "looks" and _is_one(members, groups)):
                labels = _files_by(members, lambda example: example.labels or ("no product",), examples)
                yield _problem(f"conflict_{kind}", labels, examples, members)


def _large(examples: Sequence[Example], groups: Groups) -> Iterator[DataProblem]:
    for members in members_of(groups.together):
        if len(members) > max(LARGE_LEAST, LARGE_SHARE * len(examples)):
            products = len({examples[member].product for member in members} - {""})
            cause = f"of {products:,} products" if products else "that look the same"
            message = f"{len(members):,} images {cause} belong together; is --product-column right?"
            yield DataProblem("large_group", examples[members[0]].file, message)


def _is_one(members: Sequence[int], groups: Groups) -> bool:
    """True when the members are identical files, which are reported as that."""
    return len({int(groups.same_bytes[member]) for member in members}) == 1


def _files_by(members: Iterable[int], key: Any, examples: Sequence[Example]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = defaultdict(list)
    for member in members:
        parts[" | ".join(key(examples[member]))].append(examples[member].file)
    return dict(sorted(parts.items()))


def _problem(
    kind: str, parts: dict[str, list[str]], examples: Sequence[Example], members: Sequence[int]
) -> DataProblem:
    message = "; ".join(f"{name}: {', '.join(files)}" for name, files in parts.items())
    return DataProblem(kind, examples[members[0]].file, message, tuple(examples[each].file for each in members))


def _copies(groups: list[int]) -> int:
    return len(groups) - len(set(groups))
