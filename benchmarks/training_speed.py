"""How fast `cataloger train --recipe full` trains, side by side with timm on the same network, photos and machine.

    pip install timm       # into the environment that has cataloger[train]
    python benchmarks/training_speed.py PHOTOS [--images 960] [--size 400x533] [--rounds 3] [--device cpu|cuda]

PHOTOS is a folder of photos; copies of the asked size (JPEG, quality 90) are made in a temporary folder, in ten
class folders. The two take turns, each in a process of its own, and train one epoch of all layers of cataloger's
network with AdamW, label smoothing, clipped gradients, an averaged copy of the weights, channels-last, and crop, flip
and colour jitter. timm's train.py is not part of its package: the peer runs the loop that it has, put together from
the package's own data set, loader with prefetching, transforms, loss, optimizer, scaler and average.

Printed for each round: images per second, and the share of the time that the step waits for the loader; for cataloger
also the seconds that reading all photos takes once, before the first epoch, and the rate of a first epoch with them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from cataloger.utils.cpu import available_cpus

CLASSES = 10

OURS = """
import json, sys, time
from pathlib import Path
from cataloger.model.bundle import default_bundle_path
from cataloger.training.fit import train_model
from cataloger.training.fit.setup import SilentListener
from cataloger.training.options import DataOptions, TrainOptions

class Clock(SilentListener):
    stages = []
    def stage(self, name, total):
        self.stages.append((name, time.monotonic()))

folder, batch, device = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
work = Path(sys.argv[4])
options = TrainOptions(
    data=DataOptions(data=folder), output=work / "bundle", work=work / "work", start=default_bundle_path(),
    recipe="full", changes={"epochs": 1, "batch_size": batch}, device=device,
)
trained = train_model(options, Clock())
names = [name for name, _ in Clock.stages]
begin = names.index("reading train images")
record = trained.bundle.provenance["history"][0]
print(json.dumps({
    "reading": Clock.stages[begin + 1][1] - Clock.stages[begin][1],
    "images_per_second": record["images_per_second"], "waiting": record["waiting"],
}))
"""

TIMM = """
import json, sys, time
from contextlib import nullcontext
import torch
from timm.data import create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter, ModelEmaV3, NativeScaler, dispatch_clip_grad
from cataloger.model.network import Network
from cataloger.options import NetworkConfig

folder, batch, device, workers = sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3]), int(sys.argv[4])
is_gpu = device.type == "cuda"

class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = Network(NetworkConfig(classes=10))
    def forward(self, x):
        return self.network(x)[0]

torch.backends.cudnn.benchmark = is_gpu
model = Logits().to(device).to(memory_format=torch.channels_last)
optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-4, weight_decay=0.05)
autocast = torch.autocast("cuda", dtype=torch.bfloat16) if is_gpu else nullcontext()
scaler = NativeScaler() if is_gpu else None
average = ModelEmaV3(model, decay=0.999)
loader = create_loader(
    create_dataset("", root=folder, split="train", is_training=True), input_size=(3, 224, 224), batch_size=batch,
    is_training=True, scale=(0.4, 1.0), ratio=(0.75, 1.3333), hflip=0.5, color_jitter=0.3, interpolation="bilinear",
    mean=(0.5,) * 3, std=(0.5,) * 3, num_workers=workers, pin_memory=is_gpu, device=device,
)
criterion = LabelSmoothingCrossEntropy(0.1).to(device)
batches, waits = AverageMeter(), AverageMeter()
model.train()
images, start, end = 0, time.time(), time.time()
for step, (inputs, target) in enumerate(loader):
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    waits.update(time.time() - end)
    with autocast:
        loss = criterion(model(inputs), target)
    optimizer.zero_grad()
    if scaler is not None:
        scaler(loss, optimizer, clip_grad=5.0, parameters=model.parameters())
    else:
        loss.backward()
        dispatch_clip_grad(model.parameters(), value=5.0, mode="norm")
        optimizer.step()
    average.update(model, step=step)
    if is_gpu:
        torch.cuda.synchronize()
    images += len(inputs)
    batches.update(time.time() - end)
    end = time.time()
print(json.dumps({"images_per_second": images / (end - start), "waiting": waits.sum / batches.sum}))
"""


def main() -> None:
    """Parse the arguments, make the photos, run the rounds, print them and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--size", default="400x533", help="width x height of the copies")
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=available_cpus(), help="of timm's loader")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = make_photos(arguments.photos, folder / "photos", arguments.size, arguments.images)
        print(f"{count} photos of {arguments.size}, {arguments.device}, {available_cpus()} processors")
        ratios = [one_round(folder, arguments, number) for number in range(arguments.rounds)]
        print(f"median ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def make_photos(photos: Path, target: Path, size: str, images: int) -> int:
    """Write resized copies into train/ for both, and some into val/ for cataloger; return the number of train."""
    width, height = (int(side) for side in size.split("x"))
    extra = max(CLASSES * 2, images // 20)
    sources = sorted(photos.rglob("*.jpg"))[: images + extra]
    train = len(sources) - extra

    def copy(numbered: tuple[int, Path]) -> None:
        number, source = numbered
        with Image.open(source) as image:
            side = (height, width) if image.width > image.height else (width, height)
            folder = target / ("train" if number < train else "val") / f"class{number % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            image.convert("RGB").resize(side, Image.Resampling.LANCZOS).save(folder / f"{number}.jpg", quality=90)

    with ThreadPoolExecutor(available_cpus()) as executor:
        list(executor.map(copy, enumerate(sources)))
    return train


def one_round(folder: Path, arguments: argparse.Namespace, number: int) -> float:
    """Run both once; print and return the ratio of their rates."""
    photos, common = folder / "photos", (str(arguments.batch), arguments.device)
    ours = run(OURS, str(photos), *common, str(folder / f"run{number}"))
    timm = run(TIMM, str(photos), *common, str(arguments.workers))
    ratio = ours["images_per_second"] / timm["images_per_second"]
    with_reading = arguments.images / (arguments.images / ours["images_per_second"] + ours["reading"])
    print(
        f"cataloger {ours['images_per_second']:7.1f} images/s, waiting {ours['waiting']:.0%} (reading once "
        f"{ours['reading']:.1f} s, first epoch with it {with_reading:.1f} images/s); "
        f"timm {timm['images_per_second']:7.1f} images/s, waiting {timm['waiting']:.0%}; ratio {ratio:.2f}",
        flush=True,
    )
    return ratio


def run(code: str, *arguments: str) -> dict[str, float]:
    """Run code in a process of its own and return the JSON of its last line."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"a run failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
