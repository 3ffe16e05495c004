"""Measures how fast this machine could tag images, how fast it does, and where the difference is spent.

The floor is what bare decoding and the bare model cost (`cataloger.bench.baseline_worker`), measured with as many
single-threaded workers at once as there are processors. This floor (baseline) and the real command, `cataloger tag`
into a database of its own, are measured in turn over the same images, so that both see the same machine.
"""

import itertools
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.errors import CatalogerError, SourceError, UsageError
from cataloger.inference import BATCH_SIZES, OnnxClassifier
from cataloger.model import Bundle, read_bundle, resolve_bundle_path
from cataloger.options import PrecisionChoice
from cataloger.records import Item
from cataloger.sources import FolderSource
from cataloger.utils import available_cpus

BATCHES = (1, 4, 8, 16)
SETTING_SECONDS = 1.5
PREPARED = 64
"""Random images that settings of the model are tried on."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. images: number of the folder's images to use, evenly spread, repeated if it has fewer."""

    folder: Path
    images: int = 1000
    rounds: int = 3
    model: str | None = None
    precision: PrecisionChoice = "auto"
    batch_size: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        if self.images < 1 or self.rounds < 1:
            raise UsageError("--images and --rounds must be at least 1")

    @property
    def batch(self) -> int:
        """Images that are classified together."""
        return self.batch_size or BATCH_SIZES["cpu"]

    @property
    def steps(self) -> int:
        """How often `progress` is called."""
        return 1 + 2 * self.rounds + len(list(arrangements()))


@dataclass(frozen=True, slots=True)
class Round:
    """One round. floor, tag: images per second; tag_running: without startup. *_ms: processor ms per image.

    floor_stages, tag_stages: stage -> processor ms an image. idle: share of the processors that the command left.
    """

    floor: float
    tag: float
    tag_running: float
    floor_ms: float
    tag_ms: float
    floor_stages: dict[str, float]
    tag_stages: dict[str, float]
    idle: float

    @property
    def achieved(self) -> float:
        """The command's rate as a share of the floor's."""
        return self.tag / self.floor


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to run the model alone: `sessions` calls at once of `threads` threads each. rate: images per second."""

    sessions: int
    threads: int
    batch: int
    rate: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What was measured. model: its title and precision. failed: images that the bare decoder could not read."""

    model: str
    processors: int
    images: int
    failed: int
    rounds: tuple[Round, ...]
    settings: tuple[Setting, ...]

    @property
    def best(self) -> Setting:
        """The fastest way to run the model alone."""
        return max(self.settings, key=lambda setting: setting.rate)

    @property
    def achieved(self) -> float:
        """Median of the rounds: the command's rate as a share of the floor's."""
        return statistics.median(each.achieved for each in self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "model": self.model,
            "processors": self.processors,
            "images": self.images,
            "failed": self.failed,
            "achieved": self.achieved,
            "rounds": [asdict(each) | {"achieved": each.achieved} for each in self.rounds],
            "settings": [asdict(each) for each in self.settings],
            "best": asdict(self.best),
        }


def run_bench(options: BenchOptions, *, progress: Callable[[str], None] = lambda _: None) -> BenchReport:
    """Measure. progress: callback that receives the next step. Raises CatalogerError."""
    bundle = read_bundle(resolve_bundle_path(options.model or "default"), check=()).at(options.precision)
    with tempfile.TemporaryDirectory(prefix="cataloger-bench-") as folder:
        progress("laying out the images")
        names = lay_out(options.folder, Path(folder) / "photos", options.images)
        rounds, failed = [], 0
        for number in range(options.rounds):
            progress(f"baseline, round {number + 1}")
            floor = run_floor(names, bundle, options.batch)
            failed = sum(each["failed"] for each in floor.workers)
            progress(f"cataloger tag, round {number + 1}")
            rounds.append(_round(floor, run_tag(Path(folder), bundle, options), len(names)))
    settings = tuple(try_settings(bundle, progress))
    model = f"{bundle.title} in {bundle.precision}"
    return BenchReport(model, available_cpus(), len(names), failed, tuple(rounds), settings)


def lay_out(source: Path, target: Path, count: int) -> list[str]:
    """Link (or copy) images of a folder into an empty one; return their names. Raises SourceError for none.

    Where there are fewer, the copies of one differ behind its end: a run decodes the same bytes only once.
    """
    found = list(_paths(source))
    if not found:
        raise SourceError(f"no image found in {source}")
    target.mkdir()
    names = []
    for number in range(count):
        path = found[number * len(found) // count] if count <= len(found) else found[number % len(found)]
        name = target / f"{number:07}{Path(os.fsdecode(path)).suffix.lower()}"
        if number >= len(found):
            name.write_bytes(Path(os.fsdecode(path)).read_bytes() + _ignored(number))
        else:
            _link(path, name)
        names.append(str(name))
    return names


def _link(path: bytes, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:  # another file system
        shutil.copyfile(path, name)


def _ignored(number: int) -> bytes:
    """Return bytes that no format reads behind an image: a free box (ISO 14496-12, 8.1.2), for AVIF."""
    return struct.pack(">I4sQ", 16, b"free", number)


def _paths(source: Path) -> Iterator[bytes]:
    if not source.is_dir():
        raise SourceError(f"{source} is not a folder; give one with images like those to be tagged")
    for item in FolderSource(os.fsencode(source.absolute())).scan():
        if isinstance(item, Item) and item.path is not None and Path(os.fsdecode(item.path)).is_file():
            yield os.path.realpath(item.path)


@dataclass(frozen=True, slots=True)
class Floor:
    """What bare workers did. seconds: until the last one was done. cpu: processor seconds of all."""

    seconds: float
    workers: list[dict[str, Any]]

    def stages(self) -> dict[str, float]:
        """Return stage -> processor seconds of all workers."""
        return {
            name: sum(each["cpu_seconds"][name] for each in self.workers) for name in self.workers[0]["cpu_seconds"]
        }


def run_floor(names: Sequence[str], bundle: Bundle, batch_size: int) -> Floor:
    """Share the images among as many bare workers as there are processors, which begin together."""
    count = min(available_cpus(), len(names))
    command = [sys.executable, "-P", "-m", "cataloger.bench.baseline_worker"]
    command += [str(bundle.model_path), str(bundle.preprocess.size), str(batch_size)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        for index, worker in enumerate(workers):
            _tell(worker, json.dumps(names[index::count]))
        if any(worker.stdout.readline() != "ready\n" for worker in workers):
            raise CatalogerError("a baseline worker could not start; its own message is above")
        begun = time.monotonic()
        for worker in workers:
            _tell(worker, "go")
        answers = [worker.stdout.readline() for worker in workers]
        seconds = time.monotonic() - begun
        if not all(answers):
            raise CatalogerError("a baseline worker ended early; its own message is above")
        return Floor(seconds, [json.loads(answer) for answer in answers])
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _tell(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin is not None
    with suppress(BrokenPipeError):  # it has exited, with a message on stderr; its output will be empty
        worker.stdin.write(line + "\n")
        worker.stdin.flush()


def run_tag(folder: Path, bundle: Bundle, options: BenchOptions) -> dict[str, Any]:
    """Run the command over the images; return its profile, and "wall_seconds" from its start to its end."""
    database, profile = folder / "bench.db", folder / "profile.json"
    for path in folder.glob("bench.db*"):
        path.unlink()
    command = [
        sys.executable,
        "-P",
        "-m",
        "cataloger",
        "tag",
        str(folder / "photos"),
        "--db",
        f"sqlite:///{database}",
    ]
    command += ["--model", str(bundle.path), "--precision", bundle.precision, "--profile", str(profile), "--quiet"]
    command += ["--batch-size", str(options.batch), "--workers", str(options.workers), "--max-failure-rate", "1"]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=_environment(), check=False)
    seconds = time.monotonic() - begun
    if done.returncode:
        raise CatalogerError(f"cataloger tag ended with {done.returncode}: {done.stderr.strip()}")
    values: dict[str, Any] = json.loads(profile.read_text(encoding="utf-8"))
    return values | {"wall_seconds": seconds}


def _environment() -> dict[str, str]:
    """Return the environment without what would configure the command otherwise than this one was."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CATALOGER_")}


def _round(floor: Floor, tag: dict[str, Any], images: int) -> Round:
    stages = {name: 1000 * seconds / images for name, seconds in floor.stages().items()}
    running = sum(tag["waited_seconds"].values())
    capacity = tag["processors"] * tag["wall_seconds"]
    return Round(
        floor=images / floor.seconds,
        tag=images / tag["wall_seconds"],
        tag_running=images / running,
        floor_ms=sum(stages.values()),
        tag_ms=sum(tag["cpu_ms_per_image"].values()),
        floor_stages=stages,
        tag_stages=tag["cpu_ms_per_image"],
        idle=max(0.0, 1 - sum(tag["cpu_seconds"].values()) / capacity),
    )


def arrangements() -> Iterator[tuple[int, int, int]]:
    """Yield (sessions, threads of each, batch): one thread per processor, and all threads for one call."""
    count = available_cpus()
    shapes = [(count, 1), (1, count)] if count > 1 else [(1, 1)]
    yield from ((sessions, threads, batch) for (sessions, threads), batch in itertools.product(shapes, BATCHES))


def try_settings(bundle: Bundle, progress: Callable[[str], None]) -> Iterator[Setting]:
    """Time the model alone in each arrangement, on random pixels, which cost what photos cost."""
    size = bundle.preprocess.size
    images = np.random.default_rng(0).integers(0, 256, (PREPARED, size, size, 3), dtype=np.uint8)
    for sessions, threads, batch in arrangements():
        progress(f"model alone: {sessions} sessions, {threads} threads per session, batch {batch}")
        classifier = OnnxClassifier(bundle, threads=threads)
        classifier.scores(images[:batch])
        with ThreadPoolExecutor(sessions) as executor:
            begun = time.monotonic()
            until = begun + SETTING_SECONDS
            done = sum(executor.map(_classify_until, itertools.repeat((classifier, images[:batch], until), sessions)))
            yield Setting(sessions, threads, batch, done / (time.monotonic() - begun))


def _classify_until(work: tuple[OnnxClassifier, Any, float]) -> int:
    classifier, images, until = work
    done = 0
    while time.monotonic() < until:
        classifier.scores(images)
        done += len(images)
    return done
