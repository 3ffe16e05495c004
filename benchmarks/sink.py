"""How many results a second are recorded, and how many images are looked up, compared with an older revision.

    python benchmarks/sink.py URL... [--old REVISION] [--rows 20000] [--slice 4096] [--rounds 2] [--statements]

Two processes, one with the code of this checkout and one with that of REVISION (default: main), each have a source of
their own in the database of URL, whose tables are made if they are not there. They take turns, a slice each: record
new images, two a product, as fast as the pipeline takes results; look up all images, unchanged; record each again
with another answer. Both go through what a run goes through from a result on: the pipeline's batches, transactions
with a lease, pointers and answers for products. Another process reads the views throughout.

Printed for each URL: rows a second of both, their processor milliseconds a row, the ratio of their times, and the
median of the ratios of slices with its range. `--statements`: what the new code spends on each statement instead.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LABELS = tuple(f"category {number:02}" for number in range(80))
IMAGES_PER_PRODUCT = 2
WORK = ("new", "plan", "again")


def main() -> None:
    """Measure each database, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="+")
    parser.add_argument("--old", default="main")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--slice", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--statements", action="store_true")
    arguments = parser.parse_args()
    with old_code(arguments.old) as old:
        for url in arguments.url:
            command = [sys.executable, "-m", "cataloger", "db", "upgrade", "--db", url]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            if arguments.statements:
                show_statements(url, arguments)
            else:
                compare(url, old, arguments)


@contextmanager
def old_code(revision: str) -> Iterator[Path]:
    """Give a folder with the package as it was at a revision."""
    with tempfile.TemporaryDirectory(prefix="cataloger-old-") as folder:
        command = ["git", "archive", revision, "cataloger", ":(exclude)cataloger/default_model/*.onnx"]
        archive = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def compare(url: str, old: Path, arguments: argparse.Namespace) -> None:
    """Have both take turns, and print how they compare."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"old": [], "new": []})
    busy: defaultdict[tuple[str, str], float] = defaultdict(float)
    with ExitStack() as stack:
        arms = {name: stack.enter_context(worker(url, path, name)) for name, path in (("old", old), ("new", ROOT))}
        stack.enter_context(worker(url, ROOT, "reader", waits=False))
        slices = max(1, arguments.rows // arguments.slice)
        for number in range(arguments.rounds):
            for what in WORK if number == 0 else WORK[1:]:
                for part in range(slices):
                    for name in sorted(arms, reverse=bool(part % 2)):
                        took, cpu = ask(arms[name], what, part * arguments.slice, arguments.slice)
                        seconds[what][name].append(took)
                        busy[what, name] += cpu
    print(f"{url.partition(':')[0]}: {arguments.slice * slices:,} images, a reader beside it")
    for what, took in seconds.items():
        show(what, took, {name: busy[what, name] for name in arms}, arguments.slice)


def show(what: str, took: dict[str, list[float]], busy: dict[str, float], rows: int) -> None:
    """Print what one kind of work took in both."""
    ratios = sorted(old / new for old, new in zip(took["old"], took["new"], strict=True))
    figures = []
    for name, seconds in took.items():
        count = rows * len(seconds)
        figures.append(f"{name} {count / sum(seconds):8,.0f}/s {1000 * busy[name] / count:6.3f} CPU ms")
    spread = f"median {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"  {what:6} {'; '.join(figures)}; {sum(took['old']) / sum(took['new']):.2f} times, {spread}", flush=True)


def show_statements(url: str, arguments: argparse.Namespace) -> None:
    """Print what the new code spends on each of its statements."""
    with worker(url, ROOT, "new", "--statements") as arm:
        for what in WORK:
            took, cpu = ask(arm, what, 0, arguments.rows)
            print(f"{what}: {1e6 * took / arguments.rows:.0f} us a row, processor {1e6 * cpu / arguments.rows:.0f}")
            for line in answer(arm):
                print(f"  {line}")


@contextmanager
def worker(url: str, path: Path, name: str, *flags: str, waits: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Give a process with the code below `path`."""
    code = "import sys, runpy; sys.path[0] = sys.argv[1]; del sys.argv[:2]; runpy.run_path(sys.argv[0], None, 'arm')"
    command = [sys.executable, "-c", code, str(path), __file__, url, name, *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if waits:
            answer(process)
        yield process
    finally:
        process.kill()
        process.wait()


def ask(process: subprocess.Popen[str], what: str, start: int, count: int) -> tuple[float, float]:
    """Have a process do some work; return its seconds, and those of its processor."""
    assert process.stdin is not None
    process.stdin.write(json.dumps([what, start, count]) + "\n")
    process.stdin.flush()
    took, cpu = answer(process)
    return took, cpu


def answer(process: subprocess.Popen[str]) -> Any:
    """Return what a process says."""
    assert process.stdout is not None
    if not (line := process.stdout.readline()):
        raise SystemExit("a process has ended")
    return json.loads(line)


class Arm:
    """One source, and a run over it; what is measured. It uses only what older revisions have, too."""

    def __init__(self, url: str, name: str) -> None:
        from cataloger.db import Database, DatabaseURL, make_engine
        from cataloger.ledger import ModelRef
        from cataloger.ledger.source_registry import register_source

        self.database = Database(make_engine(DatabaseURL.parse(url)))
        weights = ("a" if name == "old" else "b") * 64
        self.model = ModelRef(weights, "c" * 64, "benchmark", "1", "default", LABELS)
        root = f"/{name}/{time.time()}"
        self.source = register_source(self.database, kind="folder", root=root)
        self.lease: Any = None

    def begin(self) -> None:
        """Start a run, and end the one before."""
        from concurrent.futures import ThreadPoolExecutor
        from dataclasses import fields

        from cataloger.engine.pipeline import Parts, Pipeline
        from cataloger.engine.run_report import RunReport
        from cataloger.hooks import Hooks
        from cataloger.ledger import Ledger, ProductResults, pin_model
        from cataloger.ledger.leases import acquire
        from cataloger.ledger.runs import open_run
        from cataloger.options import RunOptions
        from cataloger.sinks import DatabaseSink

        if self.lease:
            self.lease.release()
        run = open_run(self.database, command="tag", options={}, device="cpu")
        pin_model(self.database, self.source, self.model, run.id)
        self.lease = acquire(self.database, self.source.id, run.id)
        weights = self.model.weights_id
        self.ledger = Ledger(self.database, self.source, run.id, weights_id=weights, force=False, retry=False)
        products = ProductResults(self.source, run.id, self.model)
        sink = DatabaseSink(self.database, products, self.lease, self.ledger.recorded)
        nothing: Any = None
        # Older revisions, which are measured as well, decoded and classified in the pipeline itself.
        is_old = "decode" in {each.name for each in fields(Parts)}
        parts = Parts(self.ledger, nothing, nothing, sink) if is_old else Parts(self.ledger, nothing, sink)
        with ThreadPoolExecutor(1) as executor:
            threads = (executor,) if is_old else ()
            self.pipeline = Pipeline(parts, RunOptions(), Hooks(), RunReport(), *threads)
        self.run_id = run.id

    def do(self, what: str, start: int, count: int) -> tuple[float, float]:
        """Do a slice of some work; return its seconds, and those of the processor."""
        if start == 0:
            self.begin()
        items = [item_at(number) for number in range(start, start + count)]
        results = [result_of(item, self.run_id) for item in items] if what != "plan" else []
        began, cpu = time.perf_counter(), time.process_time()
        if what == "plan":
            reasons = Counter(planned.reason for planned in self.ledger.plan(items))
            if reasons != {"unchanged": count}:
                raise SystemExit(f"something was to do: {reasons}")
        else:
            self.pipeline.add(results)
            self.pipeline.flush()
        return time.perf_counter() - began, time.process_time() - cpu


def item_at(number: int) -> Any:
    """Return an image of the catalog."""
    from cataloger.records import Item

    key = f"products/summer/{number // 1000}/photo-{number}.jpg"
    return Item(key, f"/{key}", "12345:1700000000000000000", product_key=f"SKU-{number // IMAGES_PER_PRODUCT}")


def result_of(item: Any, run: int) -> Any:
    """Return an answer for it, another one in each run."""
    import hashlib

    from cataloger.records import Prediction

    digest = hashlib.sha256(item.key.encode()).hexdigest()
    first = (int(digest[:4], 16) + run) % len(LABELS)
    labels = tuple(LABELS[(first + rank) % len(LABELS)] for rank in range(5))
    confidences = (0.61234567890123, 0.2012345678901, 0.1012345678901, 0.05012345678, 0.0112345678)
    logits = tuple(round(2.5 - rank + first / 100, 6) for rank in range(5))
    scores = (digest * 5).encode()
    return Prediction(item, digest, 800, 600, labels, confidences, logits, 3.2, scores, 0.75, "accept")


def watched(arm: Arm) -> Iterator[list[str]]:
    """Yield, each time, what each statement took since the last time, dearest first."""
    from sqlalchemy import event

    took: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    began = [0.0]
    event.listen(arm.database.engine, "before_cursor_execute", lambda *_: began.__setitem__(0, time.perf_counter()))

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        took[statement[:100]] += time.perf_counter() - began[0]
        calls[statement[:100]] += 1

    event.listen(arm.database.engine, "after_cursor_execute", after)
    while True:
        dearest = sorted(took, key=lambda each: -took[each])
        lines = [f"{took[each]:7.3f} s {calls[each]:5} {' '.join(each.split())}" for each in dearest]
        took.clear()
        calls.clear()
        yield lines


def be_arm(url: str, name: str, *flags: str) -> None:
    """Do what is asked for on the standard input."""
    if name == "reader":
        read_throughout(url)
    arm = Arm(url, name)
    statements = watched(arm) if flags else None
    if statements:
        next(statements)
    print("0", flush=True)
    for line in sys.stdin:
        print(json.dumps(arm.do(*json.loads(line))), flush=True)
        if statements:
            print(json.dumps(next(statements)), flush=True)


def read_throughout(url: str) -> None:
    """Read the views page by page, as a report or a reviewer does."""
    from sqlalchemy import func, select

    from cataloger.db import Database, DatabaseURL, make_engine
    from cataloger.schema import IMAGE_TOP5, CurrentRow

    database = Database(make_engine(DatabaseURL.parse(url)))
    view, last = IMAGE_TOP5.c, ""
    while os.getppid() != 1:
        page = database.rows(select(IMAGE_TOP5).where(view.key > last).order_by(view.key).limit(100))
        last = page[-1].key if page else ""
        database.scalar(select(func.count()).select_from(CurrentRow))
        time.sleep(0.2)


if __name__ == "__main__":
    main()
elif __name__ == "arm":
    be_arm(*sys.argv[1:])
