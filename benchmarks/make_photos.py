"""Make photos of the sizes that shops have, from a folder of smaller ones.

    python benchmarks/make_photos.py SOURCE TARGET [--sizes 400x533,1200x1600] [--images 2000]

Each photo is enlarged to every size, upright or lying as it is (Lanczos, JPEG of quality 90), into a folder of
TARGET that is called like the size. What is there already is kept.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from cataloger.utils.cpu import available_cpus

QUALITY = 90


def main() -> None:
    """Parse the arguments and make the photos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--sizes", default="400x533,1200x1600", help="width x height, upright")
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    for size in arguments.sizes.split(","):
        made = enlarge(arguments.source, arguments.target / size, size, arguments.images)
        print(f"{len(made):,} photos in {arguments.target / size}")


def enlarge(source: Path, target: Path, size: str, count: int) -> list[Path]:
    """Write resized copies of the first `count` photos; return their paths."""
    width, height = (int(side) for side in size.split("x"))
    target.mkdir(parents=True, exist_ok=True)
    photos = sorted(source.rglob("*.jpg"))[:count]
    if not photos:
        raise SystemExit(f"no .jpg below {source}")
    with ThreadPoolExecutor(available_cpus()) as executor:
        return list(executor.map(partial(_copy, target, width, height), photos))


def _copy(target: Path, width: int, height: int, photo: Path) -> Path:
    path = target / photo.name
    if not path.exists():
        with Image.open(photo) as image:
            side = (height, width) if image.width > image.height else (width, height)
            image.convert("RGB").resize(side, Image.Resampling.LANCZOS).save(path, quality=QUALITY)
    return path


if __name__ == "__main__":
    main()
