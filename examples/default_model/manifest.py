"""Choose what the default model is trained on, and write it as a manifest for `cataloger train`.

    python examples/default_model/manifest.py DATA OUT.csv

DATA is a folder with labels.csv and the images it names: columns file, labels, split, source and resolution. All of
val and test stay. Of the training thumbnails (60x80 pixels, one shop) at most --thumbnails of a category are kept,
drawn at random: they are the many, and an epoch full of them teaches blurred photos of one shop.
"""

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path

COLUMNS = ("file", "labels", "split", "source", "resolution")


def main() -> None:
    """Read DATA/labels.csv, leave out what is too much, write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--thumbnails", type=int, default=500, help="training thumbnails of a category at most")
    parser.add_argument("--published-split", action="store_true", help="only the ten published classes, their split")
    options = parser.parse_args()
    with (options.data / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = published(rows) if options.published_split else thinned(rows, options.thumbnails)
    for row in chosen:
        row["file"] = str((options.data / row["file"]).absolute())
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(chosen)
    print(f"{len(chosen):,} of {len(rows):,} rows to {options.out}")


def thinned(rows: list[dict[str, str]], most: int) -> list[dict[str, str]]:
    """Keep `most` training thumbnails of each category; all other rows stay, in their order."""
    draw = random.Random(0)
    by_category = defaultdict(list)
    for index, row in enumerate(rows):
        if row["split"] == "train" and row["resolution"] == "60x80":
            by_category[row["labels"]].append(index)
    dropped = {index for found in by_category.values() for index in draw.sample(found, max(0, len(found) - most))}
    return [row for index, row in enumerate(rows) if index not in dropped]


def published(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows of the published ten-class split, labelled as published; its train part alone is trained on."""
    names = {"split": "published_split", "labels": "article_type"}
    return [row | {new: row[old] for new, old in names.items()} for row in rows if row["published_split"]]


if __name__ == "__main__":
    main()
