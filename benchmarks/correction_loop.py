"""What correcting a model's mistakes brings: tag, correct, fine-tune, compare, by the real commands.

    python benchmarks/correction_loop.py DATA [--seeds 3] [--work DIR]
    python benchmarks/correction_loop.py DATA --start IMAGENET.safetensors --pool train [--work DIR]

DATA is a folder with labels.csv (columns file, labels, source, split, group and resolution) and its images. A model
tags photos of source cc0. A simulated person walks the queue, least confident first, until so many mistakes are
corrected, and accepts what is right on the way. Where a photo's label leaves several categories open, the person
takes the best of the model's five that it allows, and skips a photo where there is none. `train --from-corrections`
continues from the model with these corrections and a sample of the product photos that it has learned from (source
fpi), whose validation images choose the epoch. For each seed there is also a control: the same training without the
corrections.

The start is a bundle, or convolutions (.safetensors): then a model of product photos alone is trained first, to which
the cc0 photos are new. The shipped model has learned from the cc0 photos of split train; these, with their labels as
it learned them, then are among the photos that it continues with (--keep cc0), in the control too.

The test split is used for the figures alone. --develop, for choosing settings, never reads it: half of the senders of
the validation photos take its place, and are not in the queue. What is done is not done again: run it again to
resume.
"""

import argparse
import csv
import json
import math
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, str]

T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
DRAWS = 10_000
KINDS = ("cc0 224", "fpi 224", "fpi 60x80")


def main() -> None:
    """Run the experiment, print the table, write result.json."""
    options = parse()
    settings = {name: str(value) for name, value in vars(options).items()}
    keep_settings(options.work, settings)
    loop = Loop(options)
    loop.write_manifests()
    start = loop.start()
    review = loop.review(start)
    before = loop.evaluate(start, "before")
    arms = {"corrections": [], "control": []} if options.control else {"corrections": []}
    for seed in range(options.seeds):
        for arm, found in arms.items():
            model = loop.train(start, arm, seed)
            found.append(loop.evaluate(model, f"{arm}-{seed}"))
    groups = {options.data / row["file"]: row["group"] for row in loop.rows}
    result: dict[str, Any] = {"options": settings, "review": review}
    result["gains"] = {arm: compare(before, found, groups) for arm, found in arms.items()}
    if options.control:
        result["gains"]["corrections, against the control"] = compare_arms(
            arms["control"], arms["corrections"], groups
        )
    (options.work / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print_review(review)
    print_gains(result["gains"])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/correction_loop"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--start", default="default", help="bundle, or convolutions to train one from")
    parser.add_argument("--pool", default="train,val", help="splits of cc0 whose photos are in the queue")
    parser.add_argument("--mistakes", type=int, default=300, help="to correct at most")
    parser.add_argument("--keep", choices=("fpi", "cc0"), help="cc0: continue with its train photos too; see above")
    parser.add_argument(
        "--replay", type=int, default=60, help="product photos of a category to continue with at most"
    )
    parser.add_argument(
        "--train", default="--recipe quick --epochs 6 --learning-rate 4e-4", help="more flags of `cataloger train`"
    )
    parser.add_argument("--no-control", dest="control", action="store_false")
    parser.add_argument("--develop", action="store_true", help="do not read the test split; see above")
    parser.add_argument("--share", type=float, default=1.0, help="of all photos, to rehearse")
    parser.add_argument(
        "--accept-seconds", type=float, default=2.0, help="a person needs to accept an answer, or to skip"
    )
    parser.add_argument("--correct-seconds", type=float, default=4.0, help="a person needs to correct one")
    options = parser.parse_args()
    options.data = options.data.absolute()
    options.keep = options.keep or ("cc0" if options.start == "default" else "fpi")
    options.pool = tuple(options.pool.split(","))
    return options


def keep_settings(work: Path, settings: dict[str, str]) -> None:
    """Write what was asked into the work folder; end where that has begun with something else, save more seeds."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "settings.json"
    decisive = {name: value for name, value in settings.items() if name not in ("seeds", "work", "control")}
    if path.exists() and json.loads(path.read_text()) != decisive:
        raise SystemExit(f"{work} has begun with other settings ({path.name}); name another --work")
    path.write_text(json.dumps(decisive, indent=2) + "\n")


class Loop:
    """The steps; each leaves what it made in the work folder, and is skipped where that exists."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work: Path = options.work
        self.database = f"sqlite:///{(options.work / 'catalog.db').absolute()}"
        with (options.data / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if options.share < 1.0:
            rows = random.Random(0).sample(rows, round(options.share * len(rows)))
        self.rows = rows

    def write_manifests(self) -> None:
        """Write who is in the queue, what is tested, and what training continues with."""
        held_back = half_of_groups(row for row in self.rows if row["source"] == "cc0" and row["split"] == "val")
        develop = self.options.develop
        pool = [
            row
            for row in self.rows
            if row["source"] == "cc0"
            and row["split"] in self.options.pool
            and not (develop and row["group"] in held_back)
        ]
        test = [row for row in self.rows if row["split"] == "test"]
        if develop:
            test = [row for row in self.rows if row["split"] == "val"]
            test = [row for row in test if row["source"] == "fpi" or row["group"] in held_back]
        replay = [*per_category(self.rows, "train", self.options.replay), *per_category(self.rows, "val", 25)]
        if self.options.keep == "cc0":
            replay += [row for row in self.rows if row["source"] == "cc0" and row["split"] == "train"]
        self._write("pool.csv", pool, ("file",))
        self._write("test.csv", [row | {"split": "test", "kind": kind(row)} for row in test])
        self._write("replay.csv", replay)

    def start(self) -> str:
        """Return the model to improve; train it first if only convolutions are there."""
        if not self.options.start.endswith(".safetensors"):
            return self.options.start
        shop = [*per_category(self.rows, "train", 200), *per_category(self.rows, "val", 25)]
        self._write("shop.csv", shop)
        recipe = ("--recipe", "quick", "--epochs", "5", "--views", "2", "--name", "shop-photos")
        return self._train("start", "shop.csv", "--start", self.options.start, *recipe)

    def review(self, start: str) -> dict[str, Any]:
        """Tag the queue, and correct it as a person would; return the counts and the time of a person."""
        results, corrections = self.work / "results.csv", self.work / "corrections.csv"
        if not results.exists():
            common = ("--db", self.database, "--output", results, "--precision", "fp32", "-q")
            self._run("tag", self.work / "pool.csv", "--model", start, *common)
        known = {str(self.options.data / row["file"]): row["labels"].split("|") for row in self.rows}
        with results.open(encoding="utf-8", newline="") as file:
            queue = sorted(csv.DictReader(file), key=lambda row: float(row["confidence_1"] or "nan"))
        labels, counts = walk(queue, known, self.options.mistakes)
        with corrections.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([("uri", "label"), *labels])
        self._run("corrections", "import", corrections, "--db", self.database, "--author", "simulated")
        seen, corrected = counts["accepted"] + counts["skipped"], counts["corrected"]
        seconds = seen * self.options.accept_seconds + corrected * self.options.correct_seconds
        return {**counts, "queue": len(queue), "minutes": seconds / 60, "formula": self._formula(seen, corrected)}

    def train(self, start: str, arm: str, seed: int) -> str:
        """Fine-tune the start for one seed, with the corrections or without; return the bundle."""
        corrections = ("--from-corrections", "--db", self.database) if arm == "corrections" else ()
        flags = (*corrections, "--start", start, "--seed", str(seed), *self.options.train.split())
        return self._train(f"{arm}-{seed}", "replay.csv", *flags)

    def evaluate(self, model: str, name: str) -> dict[str, dict[str, bool]]:
        """Return for each kind of test images file -> whether the model's best label is right."""
        path = self.work / f"{name}.json"
        if not path.exists():
            flags = ("--model", model, "--precision", "fp32", "--mistakes", "1000000", "--json", "--no-progress")
            printed = self._run("evaluate", self.work / "test.csv", *flags)
            path.write_text(printed)
        wrong = {mistake["file"] for mistake in json.loads(path.read_text())["mistakes"]}
        right: dict[str, dict[str, bool]] = {each: {} for each in KINDS}
        with (self.work / "test.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                right[row["kind"]][row["file"]] = row["file"] not in wrong
        return right

    def _train(self, name: str, data: str, *flags: str) -> str:
        output = self.work / "models" / name
        if not output.exists():
            self._run("train", self.work / data, "--output", output, "--no-progress", *flags)
        return str(output)

    def _run(self, *arguments: object) -> str:
        """Run a command of cataloger; its messages go to log.txt. Return what it printed."""
        command = [sys.executable, "-m", "cataloger", *map(str, arguments)]
        begin = time.monotonic()
        with (self.work / "log.txt").open("a", encoding="utf-8") as log:
            print("$", *command[2:], file=log, flush=True)
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=log, text=True)
            took = time.monotonic() - begin
            print(f"exit status {done.returncode} after {took:.0f} s", file=log, flush=True)
        print(f"{took:6.0f} s  cataloger {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
        if done.returncode:
            raise SystemExit(f"it failed; see {self.work / 'log.txt'}")
        return done.stdout

    def _write(
        self, name: str, rows: Sequence[Row], columns: Sequence[str] = ("file", "labels", "split", "kind")
    ) -> None:
        with (self.work / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row | {"file": str(self.options.data / row["file"])} for row in rows)

    def _formula(self, seen: int, corrected: int) -> str:
        accept, correct = self.options.accept_seconds, self.options.correct_seconds
        return f"{seen:,} accepted or skipped x {accept:g} s + {corrected:,} corrected x {correct:g} s (assumed)"


def kind(row: Row) -> str:
    """Return the kind of test images that a row belongs to."""
    return f"{row['source']} {row['resolution']}"


def half_of_groups(rows: Iterable[Row]) -> set[str]:
    """Return every other group, largest first, so that both halves have equally many photos, nearly."""
    sizes: dict[str, int] = defaultdict(int)
    for row in rows:
        sizes[row["group"]] += 1
    return set(sorted(sizes, key=lambda group: (-sizes[group], group))[1::2])


def per_category(rows: Sequence[Row], split: str, most: int) -> list[Row]:
    """Return at most so many product photos of each category, drawn by chance."""
    by_category: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["source"] == "fpi" and row["split"] == split:
            by_category[row["labels"]].append(row)
    draw = random.Random(0)
    return [row for _, found in sorted(by_category.items()) for row in draw.sample(found, min(most, len(found)))]


def walk(
    queue: Iterable[Row], known: dict[str, list[str]], most: int
) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Walk a queue until so many mistakes are corrected; return the corrections, (uri, label), and counts."""
    corrections = []
    counts = {"accepted": 0, "corrected": 0, "skipped": 0}
    for row in queue:
        if counts["corrected"] == most:
            break
        accepted = known[row["uri"]]
        answers = [row[f"label_{rank}"] for rank in range(1, 6)]
        label = accepted[0] if len(accepted) == 1 else next((each for each in answers if each in accepted), None)
        if label is None:
            counts["skipped"] += 1
            continue
        corrections.append((row["uri"], label))
        counts["accepted" if label == answers[0] else "corrected"] += 1
    return corrections, counts


Right = dict[str, dict[str, bool]]


def compare(before: Right, seeds: Sequence[Right], groups: dict[Path, str]) -> dict[str, Any]:
    """Compare each seed with what was before."""
    return compare_arms([before] * len(seeds), seeds, groups)


def compare_arms(before: Sequence[Right], after: Sequence[Right], groups: dict[Path, str]) -> dict[str, Any]:
    """Return by kind: top-1 before and after, the gain of each seed, its mean and two intervals of it.

    seeds: Student's t over the seeds, for the chance of training. images: bootstrap over the senders (of product
    photos: over the products) of the test images, for the chance of the test set; of the mean over the seeds.
    """
    found = {}
    for each in KINDS:
        files = sorted(before[0][each])
        if not files:
            continue
        pairs = (
            [[right[each][file] for file in files] for right in before],
            [[right[each][file] for file in files] for right in after],
        )
        old, new = (np.array(values, dtype=np.float64) for values in pairs)
        gains = (new - old).mean(axis=1)
        found[each] = {
            "images": len(files),
            "before": old.mean(),
            "after": new.mean(),
            "gains": gains.tolist(),
            "gain": gains.mean(),
            "seeds": t_interval(gains.tolist()),
            "images_interval": bootstrap((new - old).mean(axis=0), [groups[Path(file)] for file in files]),
        }
    return found


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of a mean; infinite for a single value."""
    if len(values) < 2:
        return -math.inf, math.inf
    mean = statistics.fmean(values)
    margin = T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return mean - margin, mean + margin


def bootstrap(gains: "np.ndarray[Any, np.dtype[np.float64]]", groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95% interval of the mean gain of an image, drawing groups of images again."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    index = [numbers[group] for group in groups]
    sums, sizes = np.bincount(index, weights=gains), np.bincount(index)
    draws = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=DRAWS)
    low, high = np.percentile(draws @ sums / (draws @ sizes), [2.5, 97.5])
    return float(low), float(high)


def print_review(review: dict[str, Any]) -> None:
    """Print the number of corrections, and how long a person takes for them."""
    print(
        f"{review['queue']:,} photos in the queue; corrected {review['corrected']:,}, "
        f"accepted {review['accepted']:,}, skipped {review['skipped']:,}\n"
        f"time of a person: {review['formula']} = {review['minutes']:.0f} minutes\n"
    )


def print_gains(gains: dict[str, dict[str, Any]]) -> None:
    """Print one row for each arm and kind of test images; gains are in points of top-1."""
    columns = (
        "trained with",
        "test images",
        "number",
        "before",
        "after",
        "gains",
        "mean",
        "95%, seeds",
        "95%, images",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for arm, kinds in gains.items():
        for each, row in kinds.items():
            seeds, images = (" to ".join(map(points, row[name])) for name in ("seeds", "images_interval"))
            shown = f"{row['before']:.4f} | {row['after']:.4f} | {', '.join(map(points, row['gains']))}"
            print(f"| {arm} | {each} | {row['images']} | {shown} | {points(row['gain'])} | {seeds} | {images} |")


def points(share: float) -> str:
    """Return a share in percentage points."""
    return f"{100 * share:+.2f}"


if __name__ == "__main__":
    main()
