"""What `--balance` does for rare categories: macro F1 and top-1 of models trained on uneven data.

    python benchmarks/imbalance.py LABELS.csv IMAGES --start WEIGHTS [--train 4000] [--seeds 3] [--where source=fpi]

LABELS.csv has columns file, labels and split; IMAGES is the folder that its files lie in. As many training rows as
asked are drawn, as uneven as they come; validation and test rows are all used. WEIGHTS must not have seen the images:
a file of convolutions trained on ImageNet. Each seed and balance trains the recipe `quick` through the command line.
"""

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

BALANCES = (0.0, 0.5, 1.0)


def main() -> None:
    """Parse the arguments, draw the rows, train, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="keep these rows alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(arguments, folder / "labels.csv")
        print("| balance | macro F1 of each seed | mean | top-1 of each seed | mean |\n|---|---|---|---|---|")
        for balance in BALANCES:
            figures = [train(arguments, folder, seed, balance) for seed in range(arguments.seeds)]
            print(
                f"| {balance} | {' | '.join(column(values) for values in zip(*figures, strict=True))} |", flush=True
            )


def draw(arguments: argparse.Namespace, target: Path) -> None:
    """Write the manifest and say how uneven it is."""
    wanted = [condition.split("=", 1) for condition in arguments.where]
    with arguments.labels.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted)]
    train = [row for row in rows if row["split"] == "train"]
    train = random.Random(0).sample(train, min(arguments.train, len(train)))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("file", "labels", "split"), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(train + [row for row in rows if row["split"] != "train"])
    counts = sorted(Counter(row["labels"] for row in train).values(), reverse=True)
    print(f"{len(train)} training images; of {len(counts)} categories the largest has {counts[0]}, the median one")
    print(f"{counts[len(counts) // 2]} and the smallest {counts[-1]}\n")


def train(arguments: argparse.Namespace, folder: Path, seed: int, balance: float) -> tuple[float, float]:
    """Return macro F1 and top-1 of one model on the test split."""
    command = [sys.executable, "-m", "cataloger", "train", str(folder / "labels.csv"), "--images"]
    command += [str(arguments.images), "--start", str(arguments.start), "--recipe", "quick"]
    # One work folder a seed: the cached features are those of the seed, whatever the balance.
    command += ["--work", str(folder / f"work{seed}"), "--output", str(folder / f"model{seed}-{balance}")]
    command += ["--seed", str(seed), "--balance", str(balance), "--json", "--no-progress"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-3000:]}")
    report = json.loads(done.stdout)["all"]
    return report["macro_f1"]["value"], report["top1"]["value"]


def column(values: tuple[float, ...]) -> str:
    """Return the values of all seeds and their mean as two cells."""
    return f"{', '.join(f'{value:.3f}' for value in values)} | {statistics.mean(values):.3f}"


if __name__ == "__main__":
    main()
