"""What an image costs the command itself, besides decoding it and classifying it, and whether that grows with a run.

    python benchmarks/own_cost.py PHOTOS [--batch-sizes 4,128] [--rounds 3] [--blank]
    python benchmarks/own_cost.py PHOTOS --along 1000000 [--db URL]

`cataloger tag` runs as always, decoders, ledger and all, but for a model that answers at once with the same scores.
What is left in the command's own process is Python: it bounds how many images per second can pass, however many
decoders there are and however fast a GPU is. Printed: processor milliseconds per image of the whole process and of
its main thread, and by stage; medians of the rounds. Images per second say how fast this machine decodes; with
--blank the decoders answer at once, too, so that they say how many images can pass through one command.

With --along, so many copies of the photos are tagged in one run, into an empty database. No two have the same bytes:
the folder for temporary files needs room for them. Each line is of the images since the line before: time per image,
processor time of the process and of recording, and its memory by then.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.bench.bench import lay_out
from cataloger.db.urls import DatabaseURL
from cataloger.engine.pipeline import RunReport
from cataloger.engine.tag import TagOptions, tag_images
from cataloger.hooks import Hooks
from cataloger.imaging import decode_pool
from cataloger.imaging.loaded import Loaded
from cataloger.inference import backend
from cataloger.inference.classifier import Scores
from cataloger.inference.onnx import OnnxClassifier
from cataloger.options import Limits, PreprocessSpec, RunOptions
from cataloger.records import Pixels
from cataloger.utils.malloc import reuse_buffers

STEPS = (1, 2, 5)


class AtOnce(OnnxClassifier):
    """Has the same scores ready for every image."""

    def scores(self, pixels: Pixels) -> Scores:
        logits = np.linspace(-4, 9, len(self.labels), dtype=np.float32)
        return Scores(np.repeat(logits[np.newaxis], len(pixels), 0), np.full(len(pixels), 0.9, np.float32))


def blank(_data: bytes, spec: PreprocessSpec, _limits: Limits) -> Loaded:
    """Decode nothing. It runs in the decoders."""
    return Loaded(np.zeros((spec.size, spec.size, 3), np.uint8), spec.size, spec.size)


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is. wall: seconds; process, thread, writing: processor seconds. memory: resident bytes."""

    images: int
    wall: float
    process: float
    thread: float
    writing: float
    memory: int

    @classmethod
    def now(cls, report: RunReport) -> "Moment":
        """Note the moment, in the run's own thread."""
        clocks = time.monotonic(), time.process_time(), time.thread_time()
        return cls(report.attempted, *clocks, report.watch.cpu["writing"], resident())

    def since(self, before: "Moment") -> dict[str, float]:
        """Return figures of the images between two moments; times are milliseconds per image."""
        count = self.images - before.images
        names = ("wall", "process", "thread", "writing")
        return {name: 1000 * (getattr(self, name) - getattr(before, name)) / count for name in names}


def main() -> None:
    """Run each batch size in turn, or once along a long run; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--batch-sizes", default="4,128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--along", type=int, metavar="IMAGES")
    parser.add_argument("--db", help="an empty database; default: SQLite in a temporary folder")
    parser.add_argument("--blank", action="store_true", help="decode nothing")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.along:
        along(arguments.photos, arguments.along, arguments.db)
    elif arguments.once:
        print(json.dumps(measure(arguments.photos, arguments.once, blank_images=arguments.blank)))
    else:
        sizes = [int(size) for size in arguments.batch_sizes.split(",")]
        compare([str(arguments.photos), *(["--blank"] if arguments.blank else [])], sizes, arguments.rounds)


def compare(arguments: list[str], sizes: list[int], rounds: int) -> None:
    """Measure batch sizes in turn, each in a process of its own."""
    turns: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            command = [sys.executable, __file__, *arguments, "--once", str(size)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            turns[size].append(json.loads(done.stdout))
    for size, measured in turns.items():
        print(f"batches of {size}:")
        for name in measured[0]:
            print(f"  {name:16} {statistics.median(turn[name] for turn in measured):8.3f}")


def measure(photos: Path, batch_size: int, *, blank_images: bool) -> dict[str, float]:
    """Tag the photos in this process; return figures per image, from the first write to the last."""
    seen: list[Moment] = []
    if blank_images:
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for the decoders
        decode_pool.LOADER = f"{Path(__file__).stem}:{blank.__name__}"
    with tempfile.TemporaryDirectory() as folder:
        report = run(photos, f"sqlite:///{folder}/x.db", batch_size, seen.append)
    if len(seen) < 2:
        raise SystemExit(f"{photos} contains too few photos; use a thousand or more")
    figures = seen[-1].since(seen[0])
    stages = {"decoding": "handing over"}
    return {
        "images/s": 1000 / figures["wall"],
        "the process": figures["process"],
        "its main thread": figures["thread"],
        **{stages.get(name, name): 1000 * spent / report.attempted for name, spent in report.watch.cpu.items()},
    }


def along(photos: Path, images: int, url: str | None) -> None:
    """Tag so many copies of the photos; print a line at each step of the way."""
    steps = [step * 10**power for power in range(3, 10) for step in STEPS if step * 10**power < images] + [images]
    passed: list[Moment] = []

    def note(moment: Moment) -> None:
        if not passed:
            passed.append(moment)
        elif moment.images >= steps[0]:
            steps.pop(0)
            figures = moment.since(passed[-1])
            numbers = " ".join(f"{figures[name]:12.3f}" for name in ("wall", "process", "writing"))
            print(f"{moment.images:10,} {numbers} {moment.memory / 1e6:10.0f}", flush=True)
            passed.append(moment)

    print("    images  ms per image   its process    recording  memory MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(photos, Path(folder) / "photos", images)
        run(Path(folder) / "photos", url or f"sqlite:///{folder}/x.db", 0, note)


def run(photos: Path, url: str, batch_size: int, note: Any) -> RunReport:
    """Tag photos with the model that answers at once. note: receives the moment of every write."""
    backend.open_classifier = AtOnce  # type: ignore[misc,assignment]
    reuse_buffers()
    done = 0

    def progress(report: RunReport, _total: int | None) -> None:
        nonlocal done
        if report.attempted > done:
            done = report.attempted
            note(Moment.now(report))

    options = TagOptions((str(photos),), DatabaseURL.parse(url), run=RunOptions(batch_size=batch_size))
    return tag_images(options, Hooks(progress=progress)).run


def resident() -> int:
    """Return the resident memory of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
