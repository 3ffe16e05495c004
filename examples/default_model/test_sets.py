"""Write the test sets that the default model's card reports, one manifest each, for `cataloger evaluate`.

    python examples/default_model/test_sets.py DATA OUT

DATA is the folder that `mix.py` reads. OUT gets shops.csv (test shops), street.csv (val: there is no test), cc0.csv,
fpi_224.csv and fpi_60x80.csv (test), and published.csv: the test part of the published ten-class split. That split is
another one: the default model has seen some of these photos in training, as their column split says.

Labels are taken as the archives have them; of photos of shops and streets a suit is a blazer, and names that are no
category of ours are left out of a set. The column group is the shop, the street photo, the sender, or what is the
same picture: intervals over groups are over these.
"""

import argparse
import csv
from pathlib import Path

from mix import Row, shop_labels

COLUMNS = ("file", "labels", "split", "source", "group")


def main() -> None:
    """Read the tables, write the manifests, print how many rows each has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in test_sets(options.data).items():
        with (options.out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows({**row, "file": str((options.data / row["file"]).absolute())} for row in rows)
        print(f"{name:10} {len(rows):6,}")


def test_sets(data: Path) -> dict[str, list[Row]]:
    """Return the rows of each test set. data: folder of the tables."""
    old = _read(data / "labels.csv")
    tests = [row for row in old if row["split"] == "test"]
    new = [{**row, "labels": shop_labels(row)} for row in _read(data / "shops.csv")]
    new = [row for row in new if row["labels"]]
    return {
        "shops": [row for row in new if (row["source"], row["split"]) == ("shops", "test")],
        "street": [row for row in new if (row["source"], row["split"]) == ("street", "val")],
        "cc0": [row for row in tests if row["source"] == "cc0"],
        "fpi_224": [row for row in tests if (row["source"], row["resolution"]) == ("fpi", "224")],
        "fpi_60x80": [row for row in tests if (row["source"], row["resolution"]) == ("fpi", "60x80")],
        "published": [row for row in old if row.get("published_split") == "test"],
    }


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
