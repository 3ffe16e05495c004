"""What a shop that a model has never seen gains: by saying what it sells, without labels, and by 5 and 20 a category.

    python benchmarks/adaptation.py shops.csv [--model DIR] [--splits val,test] [--scores FILE.npz] [--draws 20]

shops.csv has the columns file (below its folder), labels (several separated by |), split, and repo or group, which
names the shop. Each shop is a new one: a part of its photos is drawn as labelled, never more than half of a category,
and the rest is measured. A shop counts with three categories or more, and with 15 photos or more left after 20
labels a category. Where `adapt` refuses, the shop stays with what it sells. Means are over shops, intervals by a
bootstrap of them. --scores keeps the scores of the model, which take longest.
"""

import argparse
import csv
import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.adaptation import LabelledScores, learn_adaptation, learn_unlabelled
from cataloger.inference import Ranking, Scores
from cataloger.model import Bundle, Calibration, default_bundle_path, read_bundle
from cataloger.training.data import Example
from cataloger.training.evaluation import score

ARMS = ("as shipped", "labels sold", "EM, without labels", "5 labels", "20 labels")
SIZES = {"5 labels": 5, "20 labels": 20}
CATEGORIES, LEFT = 3, 15
TARGET = 0.95


@dataclass(frozen=True)
class Shop:
    """One shop. scores: float32 N x labels. accepted: bool N x labels. familiarity: float N, or None."""

    name: str
    scores: np.ndarray
    accepted: np.ndarray
    familiarity: np.ndarray | None

    @property
    def categories(self) -> np.ndarray:
        """Return the first accepted label of each photo."""
        return self.accepted.argmax(axis=1)


@dataclass
class Result:
    """One arm in one shop, over all draws. taken, taken_right: accepted, and right of these."""

    images: int = 0
    right: int = 0
    taken: int = 0
    taken_right: int = 0
    refused: int = 0


def main() -> None:
    """Measure and print tables."""
    arguments = parse()
    bundle = read_bundle(arguments.model, check=())
    shops = [shop for shop in read_shops(arguments, bundle) if counts(shop)]
    measure = partial(measure_shop, labels=bundle.labels, shipped=bundle.calibration, draws=arguments.draws)
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(measure, shops))
    print(f"{len(shops)} shops, {sum(len(shop.scores) for shop in shops):,} photos, {bundle.title}\n")
    print_table(results)
    if arguments.json is not None:
        photos = sum(len(shop.scores) for shop in shops)
        values = {"model": bundle.title, "shops": len(shops), "photos": photos, "arms": arms(results)}
        arguments.json.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    print_worst([shop.name for shop in shops], results)


def parse() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shops", type=Path)
    parser.add_argument("--model", type=Path, default=default_bundle_path())
    parser.add_argument("--splits", default="", help="only shops of these, e.g. val,test; default: all")
    parser.add_argument("--scores", type=Path, help="file that keeps the scores")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--json", type=Path, help="file for the figures, which a model card can have")
    return parser.parse_args()


def read_shops(arguments: argparse.Namespace, bundle: Bundle) -> list[Shop]:
    """Score the photos whose label the model has, shop by shop."""
    wanted = set(filter(None, arguments.splits.split(",")))
    with arguments.shops.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("source", "shops") == "shops"]
    known = set(bundle.labels)
    rows = [row for row in rows if known & set(row["labels"].split("|")) and (not wanted or row["split"] in wanted)]
    scores, familiarity = scored(arguments, bundle, [row["file"] for row in rows])
    members: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if np.isfinite(scores[number]).all():
            members[row.get("repo") or row["group"]].append(number)
    accepted = np.array([[label in row["labels"].split("|") for label in bundle.labels] for row in rows])
    return [
        Shop(name, scores[mine], accepted[mine], None if familiarity is None else familiarity[mine])
        for name, mine in sorted(members.items())
    ]


def scored(arguments: argparse.Namespace, bundle: Bundle, names: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return scores and familiarity of files, nan where one cannot be read; from --scores, if they are there."""
    if arguments.scores is not None and arguments.scores.is_file():
        kept = np.load(arguments.scores)
        at = {name: row for row, name in enumerate(kept["names"].tolist())}
        rows = [at[name] for name in names]
        return kept["scores"][rows], kept["familiarity"][rows]
    examples = [Example(name, arguments.shops.parent / name, (), "") for name in names]
    found = score(bundle, examples)
    at = {example.file: row for row, example in enumerate(found.examples)}
    scores = np.full((len(names), len(bundle.labels)), np.nan, np.float32)
    familiarity = np.full(len(names), np.nan)
    for row, name in enumerate(names):
        if name in at:
            scores[row] = found.logits[at[name]]
            familiarity[row] = np.nan if found.familiarity is None else found.familiarity[at[name]]
    if arguments.scores is not None:
        np.savez_compressed(arguments.scores, names=np.array(names), scores=scores, familiarity=familiarity)
    return scores, None if found.familiarity is None else familiarity


def counts(shop: Shop) -> bool:
    """Tell whether a shop has enough categories, and photos left to measure on."""
    sizes = np.bincount(shop.categories)
    taken = sum(min(20, size // 2) for size in sizes)
    return (sizes > 0).sum() >= CATEGORIES and len(shop.scores) - taken >= LEFT


def measure_shop(shop: Shop, labels: tuple[str, ...], shipped: Calibration, draws: int) -> dict[str, Result]:
    """Measure all arms on the same photos of each draw."""
    results = {name: Result() for name in ARMS}
    sold = tuple(label for position, label in enumerate(labels) if shop.accepted[:, position].any())
    narrowed = replace(shipped, allowed=None if len(sold) < 2 or len(sold) == len(labels) else sold)
    without = learn_unlabelled(shop.scores, labels, narrowed)
    random = np.random.default_rng(0)
    for _ in range(draws):
        order = random.permutation(len(shop.scores))
        test = ~drawn(shop, order, 20)
        fixed = {"as shipped": shipped, "labels sold": narrowed, "EM, without labels": without}
        for name, calibration in fixed.items():
            count(results[name], shop, test, labels, calibration)
        for name, size in SIZES.items():
            mine = np.flatnonzero(drawn(shop, order, size))
            calibration = adapted(shop, mine, labels, narrowed)
            results[name].refused += calibration is None
            count(results[name], shop, test, labels, calibration or narrowed)
    return results


def drawn(shop: Shop, order: np.ndarray, size: int) -> np.ndarray:
    """Return which photos are labelled: the first `size` of each category in an order, at most half of it."""
    chosen = np.zeros(len(order), bool)
    for category in np.unique(shop.categories):
        mine = order[shop.categories[order] == category]
        chosen[mine[: min(size, len(mine) // 2)]] = True
    return chosen


def adapted(shop: Shop, mine: np.ndarray, labels: tuple[str, ...], shipped: Calibration) -> Calibration | None:
    """Learn from the labelled photos; None where it is refused, for want of gain or of labels."""
    known = None if shop.familiarity is None else shop.familiarity[mine]
    labelled = LabelledScores(labels, shop.scores[mine], shop.accepted[mine], mine, known)
    if len(mine) < 10:
        return None
    return learn_adaptation(labelled, shipped, target=TARGET).calibration


def count(result: Result, shop: Shop, test: np.ndarray, labels: tuple[str, ...], calibration: Calibration) -> None:
    """Add what a calibration answers for the photos that were not labelled."""
    known = None if shop.familiarity is None else shop.familiarity[test]
    answers = Ranking(labels, calibration, 1).of_all(Scores(shop.scores[test], known))
    best = np.array([labels.index(answer.labels[0]) for answer in answers])
    right = shop.accepted[test][np.arange(len(best)), best]
    taken = np.array([answer.decision == "accept" for answer in answers])
    result.images += len(right)
    result.right += int(right.sum())
    result.taken += int(taken.sum())
    result.taken_right += int(right[taken].sum())


def print_table(results: list[dict[str, Result]]) -> None:
    """Print means over shops, and accept pooled over their photos."""
    print("| | top-1, mean over shops | gain | accept: right | accepted | refused |\n|---|---|---|---|---|---|")
    for arm in arms(results):
        low, high = arm["gain_interval"]
        print(
            f"| {arm['name']} | {arm['top1']:.3f} | {arm['gain']:+.3f} ({low:+.3f} to {high:+.3f}) "
            f"| {arm['accepted_right']:.3f} | {arm['accepted']:.2f} | {arm['refused'] or ''} |"
        )


def arms(results: list[dict[str, Result]]) -> list[dict[str, Any]]:
    """Return the figures of each arm. gain: over as shipped. refused: draws in which nothing was learned."""
    found = []
    random = np.random.default_rng(0)
    draws = random.integers(len(results), size=(2000, len(results)))
    shipped = shares(results, "as shipped")
    for name in ARMS:
        mine = shares(results, name)
        gain = mine - shipped
        low, high = np.percentile(gain[draws].mean(axis=1), [2.5, 97.5])
        images, taken, right, refused = (
            sum(getattr(each[name], field) for each in results)
            for field in ("images", "taken", "taken_right", "refused")
        )
        found.append(
            {
                "name": name,
                "top1": float(mine.mean()),
                "gain": float(gain.mean()),
                "gain_interval": [float(low), float(high)],
                "accepted_right": right / max(taken, 1),
                "accepted": taken / images,
                "refused": refused,
            }
        )
    return found


def print_worst(names: list[str], results: list[dict[str, Result]]) -> None:
    """Print the shop that loses most by labels, against what it sells alone, with its paired error."""
    for name in SIZES:
        loss = shares(results, "labels sold") - shares(results, name)
        worst = int(loss.argmax())
        print(f"\nworst shop with {name}: {names[worst]}, {-loss[worst]:+.3f} against labels sold")


def shares(results: list[dict[str, Result]], name: str) -> np.ndarray:
    """Return the share of right answers in each shop."""
    return np.array([each[name].right / each[name].images for each in results])


if __name__ == "__main__":
    main()
