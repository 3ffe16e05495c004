"""How close `cataloger tag` comes to the floor: bare decoding plus the bare model on every processor.

    python benchmarks/throughput.py PHOTOS [--size 400x533] [--images 5000] [--rounds 3]

PHOTOS is a folder of photos; copies of the asked size (JPEG, quality 90) are made in a temporary folder. Floor and
command take turns, so that both see the same machine. The floor runs as many single-threaded workers at once as there
are processors, with the same decoder and engine, and nothing else. Printed: images a second of both, their ratio,
processor time an image, peak memory of the command (all its processes), for each round and as the median.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

import cataloger
from cataloger.cpus import available_cpus

BARE_WORKER = """
import io, json, sys
import numpy, onnxruntime
from PIL import Image
bundle, names = sys.argv[1], sys.stdin.read().split("\\n")
spec = json.load(open(bundle + "/bundle.json"))["preprocess"]
side = (spec["size"], spec["size"])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
session = onnxruntime.InferenceSession(bundle + "/model.onnx", options, providers=["CPUExecutionProvider"])
batch = []
for position, name in enumerate(names, start=1):
    image = Image.open(io.BytesIO(open(name, "rb").read()))
    image.draft("RGB", side)
    batch.append(numpy.asarray(image.convert("RGB").resize(side, Image.Resampling.BILINEAR)))
    if len(batch) == 8 or position == len(names):
        session.run(["logits"], {"images": numpy.stack(batch)})
        batch = []
"""


def main() -> None:
    """Parse the arguments, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--size", default="400x533", help="width x height of the copies")
    parser.add_argument("--images", type=int, default=5000, help="fewer make the start of the command weigh more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=Path(cataloger.__file__).parent / "default_model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = enlarge(arguments.photos, Path(folder) / "photos", arguments.size, arguments.images)
        print(f"{len(names)} images of {arguments.size}, {available_cpus()} processors")
        ratios = [one_round(Path(folder), names, arguments.model) for _ in range(arguments.rounds)]
        print(f"median ratio {statistics.median(ratios):.3f}")


def enlarge(photos: Path, target: Path, size: str, count: int) -> list[Path]:
    """Write resized copies of the first `count` photos, in the orientation of each."""
    width, height = (int(side) for side in size.split("x"))
    target.mkdir()
    sources = sorted(path for path in photos.rglob("*.jpg"))[:count]

    def copy(source: Path) -> Path:
        with Image.open(source) as image:
            side = (height, width) if image.width > image.height else (width, height)
            path = target / source.name
            image.convert("RGB").resize(side, Image.Resampling.LANCZOS).save(path, quality=90)
        return path

    with ThreadPoolExecutor(available_cpus()) as executor:
        return list(executor.map(copy, sources))


def one_round(folder: Path, names: list[Path], model: Path) -> float:
    """Run the floor and the command once each; print and return the ratio of their rates."""
    floor_seconds, floor_cpu = timed(lambda: run_floor(names, model))
    database = folder / "round.db"
    database.unlink(missing_ok=True)
    command = [sys.executable, "-m", "cataloger", "tag", str(folder / "photos"), "--db", f"sqlite:///{database}"]
    command += ["--model", str(model), "--no-progress", "--quiet"]
    peak = [0]
    command_seconds, command_cpu = timed(lambda: run_watched(command, peak))
    count = len(names)
    ratio = floor_seconds / command_seconds
    print(
        f"floor {count / floor_seconds:6.1f} images/s, {1000 * floor_cpu / count:5.1f} ms CPU an image; "
        f"command {count / command_seconds:6.1f} images/s, {1000 * command_cpu / count:5.1f} ms; "
        f"ratio {ratio:.3f}, peak memory {peak[0] / 1e6:.0f} MB"
    )
    return ratio


def run_floor(names: list[Path], model: Path) -> None:
    """Share the images among as many bare workers as there are processors."""
    count = available_cpus()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", BARE_WORKER, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(count)
    ]
    for index, worker in enumerate(workers):
        assert worker.stdin is not None
        worker.stdin.write("\n".join(map(str, names[index::count])))
        worker.stdin.close()
    if any(worker.wait() for worker in workers):
        raise SystemExit("a bare worker failed")


def run_watched(command: list[str], peak: list[int]) -> None:
    """Run a command and keep the largest sum of the proportional memory of its processes, in bytes."""
    process = subprocess.Popen(command)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)} exited with {status}")


def tree_memory(root: int) -> int:
    """Return the proportional set size of a process and its children, bytes (Linux)."""
    total, pending = 0, [root]
    while pending:
        process = Path("/proc") / str(pending.pop())
        try:
            lines = (process / "smaps_rollup").read_text().splitlines()
            total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in (process / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return total


def timed(work) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Return wall seconds and processor seconds of all children that ended meanwhile."""
    before, start = os.times(), time.monotonic()
    work()
    after, seconds = os.times(), time.monotonic() - start
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
