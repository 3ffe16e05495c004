"""What a Ray cluster costs beside the local engine, on one machine.

    python benchmarks/cluster.py PHOTOS [--images 1000] [--rounds 3]
    python benchmarks/cluster.py --driver 10000,40000

With PHOTOS, `cataloger tag` runs with both engines in turn, over few and over many images. The difference of the two
is what an image costs without the start: processor milliseconds of this machine, with those of Ray's processes, and
wall milliseconds. So nothing else may run. Printed: medians, their ratio, and how long a run over few images takes.

With --driver, the command's own part is measured with workers that answer at once: processor milliseconds a result
and memory, for each number of results. Both must not grow with it.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from cataloger.bench.bench import lay_out
from cataloger.engine.executors.dispatch import Answer, Dispatch, Input, Lost, Member
from cataloger.records import Item, Prediction
from cataloger.utils import Stopwatch

PROGRAM = "from cataloger.cli.app import main; main()"
ENGINES = {"local": (), "ray": ("--engine", "ray")}


class AtOnce:
    """Workers that answer whatever they are given."""

    is_starting, problem = False, ""

    def __init__(self, count: int) -> None:
        self.members = [Member(str(number)) for number in range(count)]
        self._given: deque[tuple[Member, Sequence[Input]]] = deque()

    def refresh(self, *, grow: bool) -> None:
        """Start none."""

    def give(self, member: Member, inputs: Sequence[Input]) -> None:
        """Take a chunk."""
        self._given.append((member, inputs))

    def wait(self, _seconds: float) -> list[Answer | Lost]:
        """Answer the oldest chunk."""
        if not self._given:
            return []
        member, inputs = self._given.popleft()
        items = [each for each in inputs if isinstance(each, Item)]
        return [Answer(member, [Prediction(item, "0" * 64, 1, 1, ("a",), (1.0,), (1.0,), 1.0) for item in items])]


def drive(count: int) -> tuple[float, float]:
    """Return processor milliseconds a result, and the memory of this process in MB afterwards."""
    items = (Item(str(number), str(number), "v", b"/photos/%d.jpg" % number) for number in range(count))
    begun = time.process_time()
    dispatch = Dispatch(AtOnce(16), threading.Event(), Stopwatch())
    done = sum(len(some) for some in dispatch.run(items, lambda _: None))
    assert done == count
    return 1000 * (time.process_time() - begun) / count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def tag(photos: Path, database: Path, flags: Sequence[str]) -> tuple[float, float]:
    """Return processor and wall seconds of a run into an empty database."""
    database.unlink(missing_ok=True)
    arguments = ["tag", str(photos), "--db", f"sqlite:///{database}", "--quiet", "--max-failure-rate", "1"]
    busy, begun = machine_seconds(), time.monotonic()
    subprocess.run([sys.executable, "-P", "-c", PROGRAM, *arguments, *flags], check=True)
    return machine_seconds() - busy, time.monotonic() - begun


def machine_seconds() -> float:
    """Return the processor seconds that this machine has spent: Ray's processes are no children of the command."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def compare(photos: Path, images: int, rounds: int) -> None:
    """Print what an image costs with each engine."""
    marginal: dict[str, list[tuple[float, float]]] = {name: [] for name in ENGINES}
    starts: dict[str, list[float]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as work:
        few, many = Path(work) / "few", Path(work) / "many"
        lay_out(photos, few, 16)
        lay_out(photos, many, 16 + images)
        for _ in range(rounds):
            for name, flags in ENGINES.items():
                small, large = (tag(folder, Path(work) / "catalog.db", flags) for folder in (few, many))
                starts[name].append(small[1])
                marginal[name].append(tuple(1000 * (b - a) / images for a, b in zip(small, large, strict=True)))
    medians = {name: [statistics.median(each) for each in zip(*rows, strict=True)] for name, rows in marginal.items()}
    for name, (cpu, wall) in medians.items():
        start = statistics.median(starts[name])
        print(f"{name}: {cpu:.2f} processor ms an image, {wall:.2f} ms; few images take {start:.1f} s")
    ratios = [ray / local for ray, local in zip(medians["ray"], medians["local"], strict=True)]
    print(f"ray / local: processor {ratios[0]:.2f}, wall {ratios[1]:.2f}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--driver", default="")
    options = parser.parse_args()
    for count in filter(None, options.driver.split(",")):
        cost, memory = drive(int(count))
        print(f"{int(count):,} results: {cost:.3f} processor ms a result, {memory:.0f} MB")
    if options.photos:
        compare(options.photos, options.images, options.rounds)


if __name__ == "__main__":
    main()
