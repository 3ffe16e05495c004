"""Splits into train, val and test: stratified by label, and nothing that belongs together is taken apart.

Images of one product, with the same bytes or looking the same form a unit (`training.grouping`). The units of each
label are dealt in an order that depends on the seed and on file names alone, never on the order of the rows.
A label of fewer than four units goes to train as a whole; of four it has one in val, of five one in test as well.
Only if val would stay empty, two units of a label are enough for val and three for test.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cataloger.errors import TrainingError
from cataloger.training.curation.grouping import find_groups
from cataloger.training.curation.inventory import Inventory
from cataloger.training.data import LabelledImages

LEAST_UNITS = {"val": 4, "test": 5}
LEAST_AT_ALL = {"val": 2, "test": 3}


@dataclass(frozen=True, slots=True)
class _Unit:
    """Examples that stay together. stratum: the labels that most of them have. order: pseudo-random, of the seed."""

    members: tuple[int, ...]
    stratum: tuple[str, ...]
    order: str


def make_splits(
    dataset: LabelledImages, inventory: Inventory, shares: tuple[float, float, float], seed: int
) -> LabelledImages:
    """Give every example a split. Splits that the source names stay; if only val is missing, it is cut from train.

    inventory: of the same examples, all readable. shares: of train, val and test; they need not sum to 1.
    Raises TrainingError when there is nothing to train on, or too little to set some of it aside.
    """
    named = {example.split for example in dataset.examples}
    if dataset.has_splits:
        return dataset
    if named - {""} and "train" not in named:
        raise TrainingError(
            f"no image has split train, only {', '.join(sorted(named - {''}))}; "
            "put some into train, or leave out all splits"
        )
    rows = [index for index, example in enumerate(dataset.examples) if example.split in ("", "train")]
    train, val, test = shares
    weights = {"train": train, "val": val} | ({"test": test} if named == {""} else {})
    units = _units(dataset, inventory, rows, seed)
    chosen = _deal_all(units, weights, LEAST_UNITS)
    if "val" not in chosen.values():
        chosen = _deal_all(units, weights, LEAST_AT_ALL)
    if "val" not in chosen.values():
        raise TrainingError(
            "too few images to set some aside for validation: at least one category needs two that are not of the "
            "same product and do not look the same; is --product-column right?"
        )
    examples = tuple(
        replace(example, split=chosen.get(index, example.split)) for index, example in enumerate(dataset.examples)
    )
    return replace(dataset, examples=examples)


def _units(dataset: LabelledImages, inventory: Inventory, rows: Sequence[int], seed: int) -> list[_Unit]:
    examples = [dataset.examples[index] for index in rows]
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in zip(rows, find_groups(examples, inventory.take(rows)).together.tolist(), strict=True):
        members[group].append(row)
    return [_unit(dataset, tuple(unit), seed) for unit in members.values()]


def _unit(dataset: LabelledImages, members: tuple[int, ...], seed: int) -> _Unit:
    counts = Counter(tuple(sorted(dataset.examples[index].labels)) for index in members)
    stratum = min(counts, key=lambda labels: (-counts[labels], labels))
    name = min(dataset.examples[index].file for index in members)
    order = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()
    return _Unit(members, stratum, order)


def _deal_all(units: Sequence[_Unit], weights: Mapping[str, float], least: Mapping[str, int]) -> dict[int, str]:
    strata: dict[tuple[str, ...], list[_Unit]] = defaultdict(list)
    for unit in sorted(units, key=lambda unit: unit.order):
        strata[unit.stratum].append(unit)
    return {
        index: split for part in strata.values() for index, split in _deal(part, _goals(part, weights, least)).items()
    }


def _deal(units: Sequence[_Unit], goals: Mapping[str, float]) -> dict[int, str]:
    """Deal the units of one stratum: each to the split that is farthest below its goal and is not overfilled by it.

    Units that fit into train alone come first, so that the others can make up for them.
    """
    widest = max((goal for split, goal in goals.items() if split != "train"), default=0.0)
    sizes = dict.fromkeys(goals, 0)
    chosen: dict[int, str] = {}
    for unit in sorted(units, key=lambda unit: len(unit.members) / 2 <= widest):
        size = len(unit.members)
        open_to = [split for split in goals if split == "train" or sizes[split] + size / 2 <= goals[split]]
        split = max(open_to, key=lambda name: (goals[name] - sizes[name]) / goals[name] if goals[name] else -1.0)
        sizes[split] += size
        chosen.update(dict.fromkeys(unit.members, split))
    return chosen


def _goals(units: Sequence[_Unit], weights: Mapping[str, float], least: Mapping[str, int]) -> dict[str, float]:
    """Return how many images each split should get. least: units without which a split gets none."""
    total = sum(len(unit.members) for unit in units)
    scale = total / sum(weights.values())
    goals = {}
    for split in ("val", "test"):
        if weights.get(split):
            is_enough = len(units) >= least[split]
            goals[split] = max(weights[split] * scale, total / len(units)) if is_enough else 0.0
    return {"train": total - sum(goals.values()), **goals}
