"""Compare what `cataloger tag examples/images` wrote with what the drawings show. Plain sqlite3, no cataloger."""

import csv
import sqlite3
import sys
from pathlib import Path

QUERY = "SELECT key, label_1, confidence_1, label_2, label_3, label_4, label_5 FROM cataloger_image_top5 ORDER BY key"


def main(database: str) -> None:
    """Print one line per image and the number of right answers."""
    with (Path(__file__).parent / "labels.csv").open(newline="") as file:
        truth = {row["file"]: row["labels"].split("|") for row in csv.DictReader(file)}
    first = five = 0
    with sqlite3.connect(database) as connection:
        for key, label, confidence, *others in connection.execute(QUERY):
            is_first = label in truth[key]
            is_among = is_first or any(other in truth[key] for other in others)
            first, five = first + is_first, five + is_among
            mark = "right" if is_first else "in the top 5" if is_among else "wrong"
            print(f"{key:26} {confidence:5.2f} {label or '-':14} {mark:13} shows: {' or '.join(truth[key])}")
    print(f"{first} of {len(truth)} right, {five} with the right one in the top 5")


if __name__ == "__main__":
    main(sys.argv[1])
