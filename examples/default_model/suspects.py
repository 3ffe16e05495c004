"""Find photos of shops whose label is likely wrong: a list to look at, the worst first.

    python examples/default_model/suspects.py mix.csv --start IMAGENET.safetensors --out suspects.csv [--folds 5]

Every photo of source `shops` in train is judged by a linear classifier that has learned from other shops alone (folds
of shops), on the pooled features of convolutions that have seen ImageNet and none of these photos. `margin` is the
logarithm of how much likelier its best label is than the likeliest one that the photo may have: above 0 the two
disagree. A linear classifier on such features is often wrong itself: no row is left out before somebody has looked.
Training is a minute a thousand photos on two processors, nearly all of it features.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cataloger.errors import CatalogerError
from cataloger.imaging.preprocess import load
from cataloger.model.network import Network, normalise
from cataloger.options import NetworkConfig, PreprocessSpec
from cataloger.training.fit.initialization import load_start, read_start
from cataloger.utils.cpu import available_cpus

BATCH = 32
STEPS = 60
DECAY = 3e-3
Row = dict[str, str]


def main() -> None:
    """Read the mix, judge each photo of a shop by the others, write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mix", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(available_cpus())
    with arguments.mix.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train" and row["source"] == "shops"]
    rows = [row for row in rows if row["labels"]]
    labels = sorted({label for row in rows for label in row["labels"].split("|")})
    rows, features = described(rows, arguments.start, tuple(labels))
    accepted = torch.tensor([[float(label in row["labels"].split("|")) for label in labels] for row in rows])
    judged = out_of_fold(features, accepted, folds_of_shops(rows, arguments.folds))
    write(arguments.out, rows, judged, accepted, labels)


def described(rows: list[Row], start: Path, labels: tuple[str, ...]) -> tuple[list[Row], Tensor]:
    """Return the rows whose photos can be read, and their features, N x 1024, each of length one."""
    network = Network(NetworkConfig(classes=len(labels), attention="none")).eval()
    load_start(network, read_start(start), labels)
    network.to(memory_format=torch.channels_last)
    spec, found, pixels = PreprocessSpec(), [], []
    for row in rows:
        try:
            pixels.append(load(Path(row["file"]).read_bytes(), spec).pixels)
            found.append(row)
        except (CatalogerError, OSError) as error:
            print(f"left out: {row['file']}: {error}")
    parts = []
    with torch.inference_mode():
        for begin in range(0, len(pixels), BATCH):
            images = normalise(torch.from_numpy(np.stack(pixels[begin : begin + BATCH])))
            parts.append(network.feature_map(network.frozen_features(images)).mean(dim=(2, 3)))
            if begin % (20 * BATCH) == 0:
                print(f"{begin:,} of {len(pixels):,} photos", flush=True)
    return found, F.normalize(torch.cat(parts), dim=1).clone()


def folds_of_shops(rows: list[Row], folds: int) -> Tensor:
    """Return a fold for each row, all rows of a shop in the same one; large shops are dealt out first."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["shop"]] = sizes.get(row["shop"], 0) + 1
    full, fold_of = [0] * folds, {}
    for shop in sorted(sizes, key=lambda each: (-sizes[each], each)):
        fold_of[shop] = full.index(min(full))
        full[fold_of[shop]] += sizes[shop]
    return torch.tensor([fold_of[row["shop"]] for row in rows])


def out_of_fold(features: Tensor, accepted: Tensor, folds: Tensor) -> Tensor:
    """Return log probabilities, N x labels, each row by a classifier that has not seen its shop."""
    judged = torch.empty_like(accepted)
    for fold in folds.unique():
        weights, bias = fitted(features[folds != fold], accepted[folds != fold])
        judged[folds == fold] = F.log_softmax(20 * features[folds == fold] @ weights + bias, dim=1)
    return judged


def fitted(features: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights and bias of a linear classifier; any of the accepted labels of a row is right."""
    weights = torch.zeros(features.shape[1], accepted.shape[1], requires_grad=True)
    bias = torch.zeros(accepted.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logged = F.log_softmax(20 * features @ weights + bias, dim=1)
        right = torch.logsumexp(logged.masked_fill(accepted == 0, -torch.inf), dim=1)
        total = -right.mean() + DECAY * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach(), bias.detach()


def write(path: Path, rows: list[Row], judged: Tensor, accepted: Tensor, labels: list[str]) -> None:
    """Write the rows by margin, and print how many of all are right."""
    best = judged.argmax(dim=1)
    margins = judged.max(dim=1).values - judged.masked_fill(accepted == 0, -torch.inf).max(dim=1).values
    right = accepted[torch.arange(len(best)), best].mean()
    order = margins.argsort(descending=True, stable=True).tolist()
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file", "shop", "labels", "found", "margin"])
        for index in order:
            row = rows[index]
            out.writerow([row["file"], row["shop"], row["labels"], labels[best[index]], f"{margins[index]:.3f}"])
    print(f"{len(rows):,} photos, {right:.3f} right out of fold; {int((margins > 0).sum()):,} disagree: {path}")


if __name__ == "__main__":
    main()
