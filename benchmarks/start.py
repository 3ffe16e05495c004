"""What the start of a command costs: two versions of cataloger in turns, over a few photos.

    python benchmarks/start.py PHOTOS --before OLD/bin/python [--images 20] [--rounds 10]

OLD is an environment with the version to compare with; the other one is that of the python that runs this. Every
round asks both for the same: `--help`; `tag` of the first photos into a new SQLite database; `tag` once more, which
finds nothing to do. Printed are seconds from start to end, and seconds of processor time of all processes that the
command has started: medians, and the median of each round's ratio (lowest to highest).
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from compare import run, spread
from shared_pictures import Turn


def main() -> None:
    """Measure both versions in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="the python of the other environment")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with TemporaryDirectory() as work:
        folder = Path(work) / "images"
        folder.mkdir()
        for photo in sorted(arguments.photos.glob("*.jpg"))[: arguments.images]:
            shutil.copyfile(photo, folder / photo.name)
        versions = {"before": arguments.before.absolute(), "now": Path(sys.executable)}
        rounds = [measured(versions, folder, turn) for turn in range(arguments.rounds + 1)]
    print_table(rounds[1:])  # the first one fills the caches of the disk


def measured(versions: dict[str, Path], images: Path, turn: int) -> dict[str, dict[str, Turn]]:
    """Return command -> version -> cost; who begins changes from turn to turn."""
    order = list(versions.items())[:: 1 if turn % 2 else -1]
    costs: dict[str, dict[str, Turn]] = {}
    with TemporaryDirectory() as work:
        for name, python in order:
            tag = ["tag", str(images), "--db", f"sqlite:///{work}/{name}.db"]
            count = len(list(images.iterdir()))
            for command, words in (
                ("--help", ["--help"]),
                (f"tag, {count} images", tag),
                ("tag, nothing to do", tag),
            ):
                costs.setdefault(command, {})[name] = run([str(python), "-m", "cataloger", *words], Path(work))
    return costs


def print_table(rounds: Sequence[dict[str, dict[str, Turn]]]) -> None:
    """Print medians and ratios, a row a command."""
    print("| | before, s | now, s | ratio | before, processor s | now | ratio |")
    print("|---" * 7 + "|")
    for command in rounds[0]:
        cells: list[str] = []
        for unit in ("seconds", "processor"):
            before = [getattr(each[command]["before"], unit) for each in rounds]
            now = [getattr(each[command]["now"], unit) for each in rounds]
            ratios = [new / old for new, old in zip(now, before, strict=True)]
            cells += [f"{median(before):.2f}", f"{median(now):.2f}", spread(ratios, 2)]
        print(f"| {command} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
