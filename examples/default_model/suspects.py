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
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cataloger.model.network import Network, normalise
from cataloger.options import NetworkConfig, PreprocessSpec
from cataloger.records import Failure
from cataloger.training.data.examples import Example, accepted_matrix
from cataloger.training.data.pixels import decode_examples
from cataloger.training.data.read import read_dataset
from cataloger.training.fit.initialization import load_start, read_start
from cataloger.training.fit.loss import partial_label_loss
from cataloger.training.options import DataOptions
from cataloger.utils.cpu import available_cpus

BATCH = 32
STEPS = 60
DECAY = 3e-3
SCALE = 20  # of the scores of features of length one


def main() -> None:
    """Read the mix, judge each photo of a shop by the others, write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mix", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(available_cpus())
    mix = read_dataset(DataOptions(data=arguments.mix, report_by=("shop", "source")))
    photos = [photo for photo in mix.split("train") if photo.groups[1] == "shops"]
    labels = sorted({label for photo in photos for label in photo.labels})
    photos, features = described(photos, arguments.start, labels)
    accepted = torch.from_numpy(accepted_matrix(photos, labels))
    judged = out_of_fold(features, accepted, folds_of_shops(photos, arguments.folds))
    write(arguments.out, photos, judged, accepted, labels)


def described(photos: Sequence[Example], start: Path, labels: Sequence[str]) -> tuple[list[Example], Tensor]:
    """Return the photos that can be read, and their features, N x 1024, each of length one."""
    network = Network(NetworkConfig(classes=len(labels), attention="none")).eval()
    load_start(network, read_start(start), tuple(labels))
    network.to(memory_format=torch.channels_last)
    decoded = decode_examples(photos, PreprocessSpec())
    found: list[Example] = []
    parts = []
    with torch.inference_mode():
        while batch := list(islice(decoded, BATCH)):
            images = [each for each in batch if not isinstance(each, Failure)]
            if not images:
                continue
            found += [photos[int(image.item.key)] for image in images]
            pixels = normalise(torch.from_numpy(np.stack([image.pixels for image in images])))
            parts.append(network.feature_map(network.frozen_features(pixels)).mean(dim=(2, 3)))
            if len(parts) % 20 == 0:
                print(f"{len(found):,} of {len(photos):,} photos", flush=True)
    return found, F.normalize(torch.cat(parts), dim=1).clone()


def folds_of_shops(photos: Sequence[Example], folds: int) -> Tensor:
    """Return a fold for each photo, all of a shop in the same one; large shops are dealt out first."""
    sizes = Counter(photo.groups[0] for photo in photos)
    full, fold_of = [0] * folds, {}
    for shop in sorted(sizes, key=lambda each: (-sizes[each], each)):
        fold_of[shop] = full.index(min(full))
        full[fold_of[shop]] += sizes[shop]
    return torch.tensor([fold_of[photo.groups[0]] for photo in photos])


def out_of_fold(features: Tensor, accepted: Tensor, folds: Tensor) -> Tensor:
    """Return log probabilities, N x labels, each row by a classifier that has not seen its shop.

    accepted: bool N x labels.
    """
    judged = torch.empty(accepted.shape)
    for fold in folds.unique():
        weights, bias = fitted(features[folds != fold], accepted[folds != fold])
        judged[folds == fold] = F.log_softmax(SCALE * features[folds == fold] @ weights + bias, dim=1)
    return judged


def fitted(features: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights and bias of a linear classifier; any of the accepted labels of a row is right."""
    weights = torch.zeros(features.shape[1], accepted.shape[1], requires_grad=True)
    bias = torch.zeros(accepted.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = partial_label_loss(SCALE * features @ weights + bias, accepted) + DECAY * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach(), bias.detach()


def write(path: Path, photos: Sequence[Example], judged: Tensor, accepted: Tensor, labels: Sequence[str]) -> None:
    """Write the photos by margin, and print how many of all are right."""
    best = judged.argmax(dim=1)
    margins = judged.max(dim=1).values - judged.masked_fill(~accepted, -torch.inf).max(dim=1).values
    right = accepted[torch.arange(len(best)), best].float().mean()
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file", "shop", "labels", "found", "margin"])
        for index in margins.argsort(descending=True, stable=True).tolist():
            photo, margin = photos[index], f"{margins[index]:.3f}"
            out.writerow([photo.file, photo.groups[0], "|".join(photo.labels), labels[best[index]], margin])
    print(f"{len(photos):,} photos, {right:.3f} right out of fold; {int((margins > 0).sum()):,} disagree: {path}")


if __name__ == "__main__":
    main()
