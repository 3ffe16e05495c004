"""What a Ray cluster costs beside the local engine, on one machine.

    python benchmarks/cluster.py PHOTOS [--few 500] [--images 2000] [--rounds 3] [--engines local,ray]
    python benchmarks/cluster.py --driver 10000,40000

With PHOTOS, `cataloger tag` runs with each engine in turn, over few images and over so many more. The difference of
the two is what an image costs without the start, where the few are enough for every worker to start: processor
milliseconds, with those of Ray's processes, and wall milliseconds. The processor time is counted by a control group
(as root), so that other programs do not count; without one it is that of the whole machine, and nothing else may run.
Wall time always needs a quiet machine.
Printed: medians, the ratios to the first engine, of the same round, and how long a run over few images takes.

Engines: local, ray, and ray:1, ray:2, .. for so many machines of one processor each, which are all this machine.

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
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cataloger.bench.bench import lay_out
from cataloger.engine.executors.dispatch import Answer, Dispatch, Input, Lost, Member
from cataloger.records import Item, Prediction
from cataloger.utils import Stopwatch

PROGRAM = "from cataloger.cli.app import main; main()"
SETTLE_SECONDS = 10.0
"""In which Ray's processes end after the command."""


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


class Group:
    """Counts the processor time of this process and all that it starts, whoever their parents are.

    Ray's processes are no children of the command, so that it takes a control group; without one it is the time of
    the whole machine.
    """

    def __init__(self) -> None:
        self._old = Path("/sys/fs/cgroup/cpuacct")
        parent = self._old if self._old.is_dir() else Path("/sys/fs/cgroup")
        self._path: Path | None = parent / f"cataloger-benchmark-{os.getpid()}"
        try:
            self._path.mkdir()
            (self._path / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            self._path = None

    def seconds(self) -> float:
        """Return the processor seconds so far."""
        if self._path is None:
            fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
            return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
        if self._path.parent == self._old:
            return int((self._path / "cpuacct.usage").read_text()) / 1e9
        return int((self._path / "cpu.stat").read_text().split()[1]) / 1e6

    def count(self) -> int:
        """Return how many processes are in it."""
        return len((self._path / "cgroup.procs").read_text().split()) if self._path else 0

    def settle(self, count: int) -> None:
        """Wait until there are no more processes than before."""
        end = time.monotonic() + SETTLE_SECONDS
        while self.count() > count and time.monotonic() < end:
            time.sleep(0.1)

    def close(self) -> None:
        """Leave it."""
        if self._path is not None:
            (self._path.parent / "cgroup.procs").write_text(str(os.getpid()))
            with suppress(OSError):
                self._path.rmdir()


def tag(group: Group, photos: Path, database: Path, flags: Sequence[str]) -> tuple[float, float]:
    """Return processor and wall seconds of a run into an empty database."""
    database.unlink(missing_ok=True)
    arguments = ["tag", str(photos), "--db", f"sqlite:///{database}", "--quiet", "--max-failure-rate", "1"]
    busy, begun, count = group.seconds(), time.monotonic(), group.count()
    subprocess.run([sys.executable, "-P", "-c", PROGRAM, *arguments, *flags], check=True)
    wall = time.monotonic() - begun
    group.settle(count)
    return group.seconds() - busy, wall


@contextmanager
def flags_of(engine: str) -> Iterator[Sequence[str]]:
    """Give the flags of an engine; a cluster of machines runs within the block."""
    name, _, machines = engine.partition(":")
    if not machines:
        yield () if name == "local" else ("--engine", name)
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(int(machines)):
            cluster.add_node(num_cpus=1)
        yield "--engine", name, "--ray-address", cluster.address
    finally:
        cluster.shutdown()


def compare(photos: Path, sizes: tuple[int, int], rounds: int, engines: Sequence[str]) -> None:
    """Print what an image costs with each engine."""
    marginal: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    starts: dict[str, list[float]] = {name: [] for name in engines}
    group, (first, images) = Group(), sizes
    with tempfile.TemporaryDirectory() as work, closing(group):
        few, many = Path(work) / "few", Path(work) / "many"
        lay_out(photos, few, first)
        lay_out(photos, many, first + images)
        for number in range(rounds):
            for name in engines[:: -1 if number % 2 else 1]:
                with flags_of(name) as flags:
                    small, large = (tag(group, folder, Path(work) / "catalog.db", flags) for folder in (few, many))
                starts[name].append(small[1])
                cpu, wall = (1000 * (b - a) / images for a, b in zip(small, large, strict=True))
                marginal[name].append((cpu, wall))
                print(f"  {name}: {cpu:.2f} processor ms an image, {wall:.2f} ms; {small[1]:.1f} s", flush=True)
    report(marginal, starts)


def report(marginal: dict[str, list[tuple[float, float]]], starts: dict[str, list[float]]) -> None:
    """Print medians, and the ratios to the first engine, of the same round."""
    first, *others = marginal
    for name, taken in marginal.items():
        cpu, wall = (statistics.median(each) for each in zip(*taken, strict=True))
        start = statistics.median(starts[name])
        print(f"{name}: {cpu:.2f} processor ms an image, {wall:.2f} ms; few images take {start:.1f} s")
    for name in others:
        pairs = list(zip(marginal[name], marginal[first], strict=True))
        for kind, what in enumerate(("processor", "wall")):
            ratios = sorted(each[kind] / base[kind] for each, base in pairs)
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{name} / {first}: {what} {spread}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--driver", default="")
    options = parser.parse_args()
    for count in filter(None, options.driver.split(",")):
        cost, memory = drive(int(count))
        print(f"{int(count):,} results: {cost:.3f} processor ms a result, {memory:.0f} MB")
    if options.photos:
        compare(options.photos, (options.few, options.images), options.rounds, options.engines.split(","))


if __name__ == "__main__":
    main()
