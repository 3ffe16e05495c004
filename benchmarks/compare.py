"""cataloger beside what people glue together today, over the same photos on the same machine.

    python benchmarks/compare.py PHOTOS WORK [--peers plain,timm,transformers,ultralytics] [--images 600] [--rounds 3]

PHOTOS is a folder of JPEGs of the size to measure (`make_photos.py` makes some). Each peer gets a virtual
environment in WORK, made when first asked for: that needs an index that has its packages, and gigabytes for torch.
Contenders take turns, in another order each round; a whole process is timed, its start included. Printed: median and
range of images per second, processor time per image, and the ratio of each to cataloger in fp32, round by round.
"""

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from shared_pictures import Turn, processor_seconds

from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.utils.cpu import available_cpus

HERE = Path(__file__).parent / "peers"
PACKAGES = {
    "timm": ["timm", "torch", "torchvision"],
    "transformers": ["transformers", "torch", "torchvision", "pillow"],
    "ultralytics": ["ultralytics", "torch", "torchvision"],
}
SCRIPTS = {
    "plain": "plain_loop.py",
    "timm": "timm_loader.py",
    "transformers": "transformers_pipeline.py",
    "ultralytics": "ultralytics_classify.py",
}


def main() -> None:
    """Make what is missing, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peers", default="plain,timm,transformers,ultralytics")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="keep machine, versions and every turn there")
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    photos = chosen(arguments.photos, work / "photos", arguments.images)
    contenders = {f"cataloger {precision}": None for precision in read_bundle(default_bundle_path()).precisions}
    contenders |= {peer: environment(peer, work) for peer in arguments.peers.split(",")}
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        names = list(contenders)
        random.Random(number).shuffle(names)
        for name in names:
            turns[name].append(run(command(name, contenders[name], photos, work), work))
            print(
                f"round {number + 1}, {name}: {arguments.images / turns[name][-1].seconds:.1f} images/s", flush=True
            )
    print_table(turns, arguments.images)
    if arguments.json:
        kept = {
            name: [{"seconds": turn.seconds, "cpu": turn.processor} for turn in each] for name, each in turns.items()
        }
        values = {"machine": machine(), "images": arguments.images, "turns": kept}
        arguments.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def chosen(source: Path, target: Path, count: int) -> Path:
    """Copy the first photos into a folder of their own, so that no peer sees more than another."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    photos = sorted(source.glob("*.jpg"))[:count]
    if len(photos) < count:
        raise SystemExit(f"{source} has {len(photos)} photos, not {count}")
    for photo in photos:
        shutil.copyfile(photo, target / photo.name)
    return target


def environment(peer: str, work: Path) -> Path:
    """Return the Python that runs a peer; its environment is made if it is not there."""
    if peer not in SCRIPTS:
        raise SystemExit(f"unknown peer {peer}; there are {', '.join(SCRIPTS)}")
    if peer not in PACKAGES:
        return Path(sys.executable)
    folder = work / f"venv-{peer}"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *PACKAGES[peer]], check=True)
        (folder / "complete").touch()
    return folder / "bin" / "python"


def command(name: str, python: Path | None, photos: Path, work: Path) -> list[str]:
    """Return the command line of a contender."""
    if python is None:
        for path in work.glob("turn.db*"):
            path.unlink()
        base = [sys.executable, "-P", "-m", "cataloger", "tag", str(photos), "--db", f"sqlite:///{work}/turn.db"]
        return [*base, "--quiet", "--precision", name.removeprefix("cataloger ")]
    model = [str(default_bundle_path() / "model.onnx")] if name == "plain" else []
    return [str(python), str(HERE / SCRIPTS[name]), str(photos), *model, str(work / "turn.csv")]


def run(line: list[str], work: Path) -> Turn:
    """Time one process."""
    before, begun = processor_seconds(), time.monotonic()
    done = subprocess.run(line, cwd=work, capture_output=True, text=True, check=False)
    turn = Turn(time.monotonic() - begun, processor_seconds() - before)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return turn


def print_table(turns: dict[str, list[Turn]], images: int) -> None:
    """Print a line for each contender."""
    ours = turns["cataloger fp32"]
    print("\n| | images/s (range) | processor ms per image | cataloger fp32 is faster by (range) |")
    print("|---|---|---|---|")
    for name, each in turns.items():
        rates = [images / turn.seconds for turn in each]
        ratios = [turn.seconds / own.seconds for turn, own in zip(each, ours, strict=True)]
        cpu = statistics.median(1000 * turn.processor / images for turn in each)
        print(f"| {name} | {spread(rates, 1)} | {cpu:.1f} | {spread(ratios, 2)} |")


def spread(values: list[float], digits: int) -> str:
    """Return median and range."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}-{high})"


def machine() -> dict[str, str | int]:
    """Describe the machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return {"processor": processor, "processors": available_cpus(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
