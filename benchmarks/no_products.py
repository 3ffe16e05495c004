"""How well a model tells products from what is none, by kind, and what that costs.

    python benchmarks/no_products.py labels.csv no_products.csv [--images DIR] [--model DIR] [--report-by source]

The second list is that of examples/default_model/no_products.py: columns file, labels (empty), split and kind. The
limit of each score is such that 1% of the products in val lie below it; everything else is measured on test.
"""

import argparse
from pathlib import Path

import numpy as np

from cataloger.inference import calibrated_probabilities
from cataloger.model import default_bundle_path, read_bundle
from cataloger.training.calibration.familiarity import auroc
from cataloger.training.calibration.no_product import measure_product_score, product_scores
from cataloger.training.data import read_dataset
from cataloger.training.evaluation import ScoredImages, score
from cataloger.training.metrics import wilson
from cataloger.training.options import DataOptions

LOST = 0.01
LEAST_COUNTED = 20


def main() -> None:
    """Measure and print the tables."""
    arguments = parse()
    bundle = read_bundle(arguments.model)
    by = tuple(arguments.report_by)
    data = read_dataset(DataOptions(data=arguments.labels, images=arguments.images, report_by=by))
    other = read_dataset(DataOptions(data=arguments.no_products, report_by=("kind",), no_product=""))
    val, products = (score(bundle, data.split(split)) for split in ("val", "test"))
    strange_val, strange = (score(bundle, other.no_products(split)) for split in ("val", "test"))
    print("| score | AUROC, val | AUROC, test | passes, val | passes, test (95%) | products lost, test |")
    print("|---|---|---|---|---|---|")
    for name, of in SCORES.items():
        least = float(np.quantile(of(val), LOST))
        passed = wilson(int((of(strange) >= least).sum()), len(strange.logits))
        cells = [
            f"{auroc(of(val), of(strange_val)):.3f}",
            f"{auroc(of(products), of(strange)):.3f}",
            f"{np.mean(of(strange_val) >= least):.1%}",
            f"{passed.value:.1%} ({passed.low:.1%} to {passed.high:.1%})",
            f"{np.mean(of(products) < least):.1%}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    least = float(np.quantile(product_scores(val), LOST))
    print(f"\nlog-sum-exp: {measure_product_score(products, strange, least).line()}")
    print("\n| no product, test | images | AUROC | pass |\n|---|---|---|---|")
    for kind, rows in groups(strange).items():
        if len(rows) >= LEAST_COUNTED:
            of_kind = product_scores(strange)[rows]
            figure = auroc(product_scores(products), of_kind)
            print(f"| {kind} | {len(rows)} | {figure:.3f} | {int((of_kind >= least).sum())} |")
    print("\n| products, test | images | lost |\n|---|---|---|")
    for group, rows in groups(products).items():
        print(f"| {group or 'all'} | {len(rows):,} | {np.mean(product_scores(products)[rows] < least):.1%} |")


def highest(scored: ScoredImages) -> np.ndarray:
    """Return the highest probability of each image."""
    return calibrated_probabilities(scored.logits, 1.0).max(axis=1)


def familiarity(scored: ScoredImages) -> np.ndarray:
    """Return the familiarity of each image. Raises SystemExit for a model without it."""
    if scored.familiarity is None:
        raise SystemExit("the model has no familiarity")
    return scored.familiarity


SCORES = {"log-sum-exp": product_scores, "highest probability": highest, "familiarity": familiarity}


def groups(scored: ScoredImages) -> dict[str, list[int]]:
    """Return the rows of each value of the columns that were asked for."""
    found: dict[str, list[int]] = {}
    for row, example in enumerate(scored.examples):
        found.setdefault(" ".join(example.groups), []).append(row)
    return dict(sorted(found.items()))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("no_products", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model", type=Path, default=default_bundle_path())
    parser.add_argument("--report-by", nargs="*", default=())
    return parser.parse_args()


if __name__ == "__main__":
    main()
