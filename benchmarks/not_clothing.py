"""How well other things are distinguished from clothes, and what that costs: familiarity beside other scores.

    python benchmarks/not_clothing.py --labels labels.csv --images photos \
        --strange objects=DIR --strange charts=DIR [--model DIR]

--strange names a folder of images, or a text file with a path a line. The figures in `benchmarks/README.md` were made
with images that Debian packages ship: the score was chosen on one group of packages and is reported on another.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cataloger.inference.classifier import calibrated_probabilities, log_sum_exp
from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.training.calibration.familiarity import auroc
from cataloger.training.data.examples import Example
from cataloger.training.data.read import read_dataset
from cataloger.training.evaluation.scoring import ScoredImages, score
from cataloger.training.options import DataOptions

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff"}


def main() -> None:
    """Measure and print a table."""
    arguments = parse()
    bundle = read_bundle(arguments.model)
    data = read_dataset(DataOptions(data=arguments.labels, images=arguments.images, report_by=arguments.report_by))
    known = score(bundle, data.split("test"))
    strange = {name: score(bundle, list(examples_of(path))) for name, path in arguments.strange}
    least = bundle.calibration.least_familiarity
    print("| not clothing | images | highest probability | energy | familiarity | abstained from |")
    print("|---|---|---|---|---|---|")
    everything = ScoredImages(
        (),
        np.concatenate([each.logits for each in strange.values()]),
        (),
        np.concatenate([each.familiarity for each in strange.values() if each.familiarity is not None]),
    )
    for name, scored in {**strange, "all": everything}.items():
        cells = [f"{auroc(a, b):.3f}" for a, b in zip(scores(known), scores(scored), strict=True)]
        caught = float(np.mean(scored.familiarity < least))
        print(f"| {name} | {len(scored.logits):,} | {' | '.join(cells)} | {caught:.0%} |")
    groups = np.array([" ".join(example.groups) for example in known.examples])
    print("\n| clothing (test) | images | abstained from, wrongly |\n|---|---|---|")
    for group in (*sorted(set(groups)), "all"):
        chosen = known.familiarity[(groups == group) | (group == "all")]
        print(f"| {group} | {len(chosen):,} | {np.mean(chosen < least):.1%} |")


def scores(scored: ScoredImages) -> tuple[np.ndarray, ...]:
    """Return the scores that are compared: higher means more like clothes."""
    probabilities = calibrated_probabilities(scored.logits, 1.0)
    return probabilities.max(axis=1), log_sum_exp(scored.logits.astype(np.float64)), scored.familiarity


def examples_of(path: Path) -> Iterable[Example]:
    """Yield the images of a folder, or of a list."""
    files = sorted(path.rglob("*")) if path.is_dir() else [Path(line) for line in path.read_text().splitlines()]
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            yield Example(str(file), file, ("",), "test")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model", type=Path, default=default_bundle_path())
    parser.add_argument("--report-by", nargs="*", default=(), type=str)
    parser.add_argument("--strange", action="append", required=True, type=named)
    arguments = parser.parse_args()
    arguments.report_by = tuple(arguments.report_by)
    return arguments


def named(text: str) -> tuple[str, Path]:
    """Read NAME=PATH."""
    name, _, path = text.partition("=")
    return name, Path(path)


if __name__ == "__main__":
    main()
