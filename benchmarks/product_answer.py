"""Ways to make one answer of several images, compared on images that the model has not seen.

    python benchmarks/product_answer.py labels.csv sqlite:///catalog.db

labels.csv has the columns file, labels, split, source and resolution; the database contains results of the images,
from `cataloger tag` or `cataloger sync`, whose keys are the names of the files with or without folder and extension.
Products are made up: 2, 3 or 4 test images of one category, all right or one of them replaced by an image of another
category (a wrong photo). Real products have images that are more alike, so the gain by a further image is smaller
there; the order of the ways is what counts. Printed: top-1, top-5 and expected calibration error (15 bins) for each,
and how many wrong and how many right images are reported to disagree.
"""

import argparse
import csv
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import select

from cataloger.db.urls import DatabaseURL
from cataloger.inference.product_aggregation import ProductAnswer, RankedAnswer, combine
from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.schema import open_database
from cataloger.schema.views import IMAGE_TOP5

SEED = 20261123
DRAWS = 4  # products for each test image
BINS = 15
Way = Callable[[Sequence[RankedAnswer], Sequence[str]], ProductAnswer]


def main() -> None:
    """Read labels and results, print a table for each source of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("db")
    arguments = parser.parse_args()
    vocabulary = read_bundle(default_bundle_path()).labels
    for name, by_label in read_test_images(arguments.labels, read_answers(arguments.db)).items():
        print(f"{name}: {sum(map(len, by_label.values()))} test images")
        print("images  wrong  way               top-1   top-5     ECE")
        for size, wrong in ((2, 0), (3, 0), (4, 0), (2, 1), (3, 1), (4, 1)):
            compare(by_label, vocabulary, size, wrong)


def read_answers(url: str) -> dict[str, RankedAnswer]:
    """Return the answers of a database by the bare names of the files."""
    found = {}
    database = open_database(DatabaseURL.parse(url))
    with database.read() as connection:
        for row in connection.execute(select(IMAGE_TOP5)).mappings():
            if row["status"] == "ok":
                labels = tuple(row[f"label_{rank}"] for rank in range(1, 6))
                found[Path(row["key"]).stem] = RankedAnswer(
                    labels, tuple(row[f"confidence_{r}"] for r in range(1, 6))
                )
    database.close()
    return found


def read_test_images(table: Path, answers: dict[str, RankedAnswer]) -> dict[str, dict[str, list[RankedAnswer]]]:
    """Return source -> label -> answers, for test images with one right label."""
    found: dict[str, dict[str, list[RankedAnswer]]] = {}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            answer = answers.get(Path(row["file"]).stem)
            if row["split"] == "test" and "|" not in row["labels"] and answer:
                group = found.setdefault(f"{row['source']} {row['resolution']}", {})
                group.setdefault(row["labels"], []).append(answer)
    return found


def compare(by_label: dict[str, list[RankedAnswer]], vocabulary: Sequence[str], size: int, wrong: int) -> None:
    """Print a line for each way to combine products of a size, `wrong` of whose images show something else."""
    for name, way in WAYS.items():
        generator = random.Random(SEED)
        hits, among, sure, flags = [], [], [], {True: [0, 0], False: [0, 0]}
        for label, right in by_label.items():
            for _ in range(DRAWS * len(right) if len(right) >= size else 0):
                drawn = [(image, False) for image in generator.sample(right, size - wrong)]
                drawn += [(another(by_label, label, generator), True) for _ in range(wrong)]
                generator.shuffle(drawn)
                found = way([image for image, _ in drawn], vocabulary)
                hits.append(found.answer.labels[0] == label)
                among.append(label in found.answer.labels)
                sure.append(found.answer.confidences[0])
                for position, (_, is_wrong) in enumerate(drawn):
                    flags[is_wrong][0] += position in found.disagreeing
                    flags[is_wrong][1] += 1
        error = calibration_error(np.array(sure), np.array(hits))
        line = f"{size:6} {wrong:6}  {name:16} {np.mean(hits):6.3f}  {np.mean(among):6.3f}  {error:6.3f}"
        print(line + (flagged(flags) if way is combine and size > 2 else ""), flush=True)


def another(by_label: dict[str, list[RankedAnswer]], label: str, generator: random.Random) -> RankedAnswer:
    """Return an image of another category, each image as likely as the next."""
    others = [(name, len(images)) for name, images in by_label.items() if name != label]
    (name,) = generator.choices([name for name, _ in others], [count for _, count in others])
    return generator.choice(by_label[name])


def flagged(flags: dict[bool, list[int]]) -> str:
    """Say which shares of wrong and of right images were reported to disagree."""
    shares = {kind: counts[0] / counts[1] for kind, counts in flags.items() if counts[1]}
    wrong = f", {shares[True]:.3f} of the wrong ones" if True in shares else ""
    return f"  disagreeing: {shares[False]:.3f} of the right images{wrong}"


def calibration_error(confidences: np.ndarray, hits: np.ndarray) -> float:
    """Return the expected calibration error (Guo et al., arXiv:1706.04599)."""
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    parts = [bins == number for number in range(BINS)]
    return float(sum(abs(confidences[p].mean() - hits[p].mean()) * p.mean() for p in parts if p.any()))


def of_values(values: dict[str, float]) -> ProductAnswer:
    """Return the five best of some values as an answer."""
    best = sorted(values, key=lambda label: -values[label])[:5]
    return ProductAnswer(RankedAnswer(tuple(best), tuple(values[label] for label in best)))


def first_image(images: Sequence[RankedAnswer], _vocabulary: Sequence[str]) -> ProductAnswer:
    """Ignore all but one, as shops do that look at the main image."""
    return ProductAnswer(images[0])


def rows_of(images: Sequence[RankedAnswer], vocabulary: Sequence[str]) -> list[dict[str, float]]:
    """Spread what is left of each image's probability over the labels that it does not name."""
    rows = []
    for image in images:
        known = dict(zip(image.labels, image.confidences, strict=True))
        rest = max(0.0, 1.0 - sum(known.values())) / (len(vocabulary) - len(known))
        rows.append({label: known.get(label, rest) for label in vocabulary})
    return rows


def mean(images: Sequence[RankedAnswer], vocabulary: Sequence[str]) -> ProductAnswer:
    """Arithmetic mean of the probabilities."""
    rows = rows_of(images, vocabulary)
    return of_values({label: sum(row[label] for row in rows) / len(rows) for label in vocabulary})


def geometric_mean(images: Sequence[RankedAnswer], vocabulary: Sequence[str]) -> ProductAnswer:
    """Geometric mean of the probabilities, normalised; that of the logits."""
    rows = rows_of(images, vocabulary)
    logs = {label: sum(math.log(max(row[label], 1e-6)) for row in rows) / len(rows) for label in vocabulary}
    total = sum(map(math.exp, logs.values()))
    return of_values({label: math.exp(value) / total for label, value in logs.items()})


def highest(images: Sequence[RankedAnswer], vocabulary: Sequence[str]) -> ProductAnswer:
    """The surest image decides."""
    rows = rows_of(images, vocabulary)
    return of_values({label: max(row[label] for row in rows) for label in vocabulary})


WAYS: dict[str, Way] = {
    "first image": first_image,
    "mean": mean,
    "geometric mean": geometric_mean,
    "highest": highest,
    "cataloger": combine,
}

if __name__ == "__main__":
    main()
