"""Labelled images of any source: class folders, a manifest, a SQL query, DeepFashion's benchmark, corrections."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cataloger.contracts import MAX_LABEL_LENGTH
from cataloger.errors import TrainingError, UsageError
from cataloger.model import unprintable
from cataloger.training.data.class_folders import read_class_folders
from cataloger.training.data.corrections import mix, read_corrections
from cataloger.training.data.deepfashion import is_deepfashion, read_deepfashion
from cataloger.training.data.examples import DataProblem, Example, LabelledImages
from cataloger.training.data.manifest import read_manifest
from cataloger.training.data.query import read_query
from cataloger.training.options import DataOptions


def read_dataset(options: DataOptions) -> LabelledImages:
    """Read a source. Splits stay "" on every example when it names none.

    What cannot be used of it is in `problems`. Raises TrainingError or UsageError when nothing of it can be.
    """
    categories, examples, problems = _read(options)
    if not examples:
        first = f"; the first of {len(problems)} problems: {_line(problems[0])}" if problems else ""
        raise TrainingError(f"{options.name} has no labelled image{first}")
    if options.no_product is not None:
        examples = _without_products(examples, options)
    examples, impossible = _leave_out_impossible(examples)
    if not examples:
        raise TrainingError(f"{options.name} has no labelled image; {_line(impossible[0])}")
    examples, repeated = _merge_repeated(examples)
    examples, unsplit = _leave_out_unsplit(examples)
    labels = {label for example in examples for label in example.labels}
    without = [
        DataProblem("empty_class", label, "no image has this label") for label in categories if label not in labels
    ]
    labels.update(categories)
    found = (*problems, *impossible, *repeated, *unsplit, *without, *_similar(labels))
    return LabelledImages(tuple(sorted(labels)), tuple(examples), found)


def _read(options: DataOptions) -> tuple[Sequence[str], list[Example], list[DataProblem]]:
    if not options.corrections:
        return _read_data(options)
    corrected = read_corrections(options)
    if options.data is None:
        takes_all = options.no_product is not None
        return (), corrected.all if takes_all else corrected.examples, corrected.problems
    categories, others, problems = _read_data(options)
    examples, left_out = mix(corrected, others, takes_no_product=options.no_product is not None)
    return categories, examples, [*corrected.problems, *problems, *left_out]


def _read_data(options: DataOptions) -> tuple[Sequence[str], list[Example], list[DataProblem]]:
    if options.data is None:
        return (), *read_query(options)
    if not options.data.exists():
        raise TrainingError(f"{options.data} does not exist; is the storage mounted?")
    if not options.data.is_dir():
        return (), *read_manifest(options.data, options)
    is_benchmark = is_deepfashion(options.data)
    _refuse_flags(options, images=not is_benchmark)
    return read_deepfashion(options.data, options) if is_benchmark else ((), *read_class_folders(options.data))


def _without_products(examples: list[Example], options: DataOptions) -> list[Example]:
    """Take the label off the images that show no product. Raises TrainingError for one that has others, too."""
    named = (options.no_product,)
    found = [replace(example, labels=()) if example.labels == named else example for example in examples]
    for example in found:
        if options.no_product in example.labels:
            labels = " | ".join(example.labels)
            raise TrainingError(f"{example.file} is labelled {labels}: what shows no product has no other label")
    return found


def _leave_out_impossible(examples: list[Example]) -> tuple[list[Example], list[DataProblem]]:
    """Leave out images with a label that no model can have: its bundle would be refused after the training."""
    labels = {label for example in examples for label in example.labels}
    reasons = {label: reason for label in labels if (reason := _impossible(label))}
    kept, problems = list[Example](), list[DataProblem]()
    for example in examples:
        found = [reasons[label] for label in example.labels if label in reasons]
        if found:
            problems.append(DataProblem("no_label", example.file, found[0]))
        else:
            kept.append(example)
    return kept, problems


def _impossible(label: str) -> str | None:
    """Return why no model can have a label, None if it can."""
    if len(label) > MAX_LABEL_LENGTH:
        return f"the label has {len(label):,} characters; at most {MAX_LABEL_LENGTH} are allowed"
    character = unprintable(label)
    return None if character is None else f"the label contains {character}, which is no printable character"


def _refuse_flags(options: DataOptions, *, images: bool) -> None:
    """Refuse flags that do not apply to a folder. images: refuse --images, too."""
    flags = {
        "--images": images and options.images,
        "--report-by": options.report_by,
        "--balance-by or --select-by": options.traits,
        "--image-column": options.image_column,
        "--label-column": options.label_column,
        "--split-column": options.split_column,
        "--product-column": options.product_column,
    }
    for flag, is_given in flags.items():
        if is_given:
            raise UsageError(f"{flag} is for a manifest or a query; {options.data} is a folder")


def _merge_repeated(examples: Iterable[Example]) -> tuple[list[Example], list[DataProblem]]:
    """Make one example of the rows of one file: any of their labels is right. The first row's split counts."""
    merged: dict[str, Example] = {}
    problems = []
    for example in examples:
        first = merged.setdefault(example.file, example)
        if first is example:
            continue
        if example.split != first.split:
            message = (
                f"two rows put it into {first.split or 'no split'} and {example.split or 'none'}; the first counts"
            )
            problems.append(DataProblem("repeated_split", example.file, message))
            continue
        if set(example.labels) == set(first.labels):
            problems.append(DataProblem("repeated_row", example.file, "two rows say the same about it"))
            continue
        message = f"two rows call it {_called(first)} and {_called(example)}; any label counts as right"
        problems.append(DataProblem("repeated_label", example.file, message))
        labels = tuple(dict.fromkeys((*first.labels, *example.labels)))
        merged[example.file] = replace(first, labels=labels)
    return list(merged.values()), problems


def _called(example: Example) -> str:
    return " | ".join(example.labels) or "no product"


def _leave_out_unsplit(examples: list[Example]) -> tuple[list[Example], list[DataProblem]]:
    """Leave out rows without a split where others have one: guessing it could leak test images into training."""
    if not any(example.split for example in examples):
        return examples, []
    message = "the row has no split, but others do; give it one, or leave all empty so that splits are made"
    problems = [DataProblem("no_split", example.file, message) for example in examples if not example.split]
    return [example for example in examples if example.split], problems


def _similar(labels: Iterable[str]) -> list[DataProblem]:
    """Name labels that differ in case alone: most often one category that two people have typed."""
    folded = Counter(label.casefold() for label in labels)
    groups = [
        sorted(x for x in labels if x.casefold() == fold) for fold, count in sorted(folded.items()) if count > 1
    ]
    return [
        DataProblem("similar_labels", " / ".join(group), "these labels differ only in upper and lower case")
        for group in groups
    ]


def _line(problem: DataProblem) -> str:
    return f"{problem.place}: {problem.message}"
