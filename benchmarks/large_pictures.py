"""What pictures of 64 megapixels cost: the memory of `tag` and of `review`, and the time of other reviewers.

    python benchmarks/large_pictures.py [FOLDER] [--side 7999]

FOLDER: of large pictures; without it some are made, in every mode and compression that takes memory in a way of its
own. They are tagged, beside a few ordinary images. Then `cataloger review` serves them, and EAGER pictures are asked
for while a reviewer's page is loaded. Printed: the greatest sum of the proportional set sizes (PSS) of all processes
of each command, sampled every 50 ms, what `tag` refused, and the median time of the page without and with the
pictures, and their ratio. Linux alone has PSS.
"""

import argparse
import contextlib
import re
import shutil
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
EAGER = 8
PAGES = 20
SAMPLED_SECONDS = 0.05
MODES = {
    "rgb.png": ("RGB", {}),
    "rgba.png": ("RGBA", {}),
    "grey-and-alpha.png": ("LA", {}),
    "palette.png": ("P", {"transparency": 0}),
    "one-bit.png": ("1", {}),
    "deep-grey.png": ("I;16", {}),
    "base.jpg": ("RGB", {}),
    "passes.jpg": ("RGB", {"progressive": True, "subsampling": 0}),
    "ink.jpg": ("CMYK", {"progressive": True}),
    "float.tif": ("F", {"compression": "tiff_adobe_deflate"}),
    "lab.tif": ("LAB", {"compression": "tiff_adobe_deflate"}),
    "one-strip.tif": ("RGB", {"compression": "tiff_lzw", "tiffinfo": {278: 10**6}}),
    "turned.tif": ("RGB", {"compression": "tiff_lzw", "tiffinfo": {274: 6}}),
    "lossless.webp": ("RGB", {"lossless": True, "method": 0}),
    "lossy.webp": ("RGBA", {"method": 0}),
    "film.gif": ("P", {}),
    "plain.bmp": ("L", {}),
    "colour.bmp": ("RGB", {}),
    "grey.jpg": ("L", {}),
    "grey-passes.jpg": ("L", {"progressive": True}),
    "ink-base.jpg": ("CMYK", {"subsampling": 0}),
    "ink.tif": ("CMYK", {"compression": "tiff_lzw"}),
    "ycc.tif": ("YCbCr", {"compression": "jpeg"}),
    "integers.tif": ("I", {"compression": "tiff_adobe_deflate"}),
    "fax.tif": ("1", {"compression": "group4"}),
    "full.avif": ("RGB", {"speed": 10, "subsampling": "4:4:4"}),
}
FILMS = {"film-of-three.gif": "P", "film.webp": "RGBA", "film.png": "RGBA", "pages.tif": "RGB"}
"""Name -> mode of what has several pictures."""
DEEP = {"deep-colour.png": (2, False), "deep-alpha.png": (6, False), "deep-in-passes.png": (2, True)}
"""Name -> colour and whether it is interlaced, of PNGs with 16 bits a channel, which Pillow cannot write."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps of both, of the passes of an interlaced PNG."""


def main() -> None:
    """Tag, serve, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--side", type=int, default=7999)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        for path in sorted(EXAMPLES.glob("*.png"))[:5]:
            shutil.copy(path, folder)
        if arguments.folder is None:
            make(folder / "large", arguments.side)
        else:
            (folder / "large").mkdir()
            for path in arguments.folder.iterdir():
                shutil.copy(path, folder / "large")
        measure(folder, Path(place) / "c.db")


def make(folder: Path, side: int) -> None:
    """Make a picture of each kind."""
    folder.mkdir()
    for name, (mode, options) in MODES.items():
        Image.new(mode, (side, side)).save(folder / name, **options)
    for name, mode in FILMS.items():
        more = [Image.new(mode, (side, side), color) for color in (1, 2)]
        Image.new(mode, (side, side)).save(folder / name, save_all=True, append_images=more)
    for name, (color, is_interlaced) in DEEP.items():
        write_deep(folder / name, side, color, is_interlaced=is_interlaced)


def write_deep(path: Path, side: int, color: int, *, is_interlaced: bool) -> None:
    """Write a black PNG with 16 bits a channel. color: 2 for RGB, 6 for RGBA."""
    pixel = 2 * (3 if color == 2 else 4)
    passes = PASSES if is_interlaced else ((0, 0, 1, 1),)
    packer = zlib.compressobj(1)
    content = bytearray()
    for left, top, across, down in passes:
        row = bytes(1 + pixel * len(range(left, side, across)))
        for _ in range(top, side, down):
            content += packer.compress(row)
    content += packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 16, color, 0, 0, is_interlaced)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", head), (b"IDAT", bytes(content)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def measure(folder: Path, database: Path) -> None:
    """Tag a folder, review it, and print what both took."""
    program = [sys.executable, "-m", "cataloger"]
    command = [*program, "tag", str(folder), "--db", f"sqlite:///{database}", "-q", "--max-failure-rate", "1"]
    with subprocess.Popen(command) as process, sampled(process.pid) as peak:
        process.wait()
    print(f"tag: {peak() / 1000:.0f} MB")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "SELECT i.id, i.uri, r.status, r.error_text FROM cataloger_result r JOIN cataloger_item i"
        rows = connection.execute(f"{query} ON i.id = r.item_id").fetchall()
    for _, uri, status, text in rows:
        if status != "ok":
            print(f"  {Path(uri).name}: {text}")
    large = [item for item, uri, status, _ in rows if status == "ok" and "/large/" in uri]
    command = [*program, "review", "--db", f"sqlite:///{database}", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            load(process.stdout.readline().strip(), process.pid, large)
        finally:
            process.terminate()


def load(url: str, pid: int, large: list[int]) -> None:
    """Ask for a page alone, and while the pictures are asked for."""
    alone = [page(url) for _ in range(PAGES)]
    wanted = (large * EAGER)[:EAGER]

    def ask(item: int) -> None:
        with httpx.Client(base_url=url, timeout=300) as client:
            for size in (240, 900):
                client.get(f"/image/{item}/{size}.jpg")

    beside: list[float] = []
    with sampled(pid) as peak, ThreadPoolExecutor(EAGER) as threads:
        asked = [threads.submit(ask, item) for item in wanted]
        while len(beside) < PAGES or not all(each.done() for each in asked):
            beside.append(page(url))
    medians = [1000 * statistics.median(times) for times in (alone, beside)]
    print(f"review: {peak() / 1000:.0f} MB while {len(wanted)} pictures are asked for")
    print(f"page: {medians[0]:.0f} ms alone, {medians[1]:.0f} ms beside them (longest {1000 * max(beside):.0f})")
    print(f"ratio of the medians: {medians[1] / medians[0]:.1f} (at most 10)")


def page(url: str) -> float:
    """Load what a reviewer's page loads but its pictures; return the seconds."""
    started = time.perf_counter()
    with httpx.Client(base_url=url, timeout=300) as client:
        for path in ("/", "/api/queue", "/api/progress"):
            client.get(path).raise_for_status()
    return time.perf_counter() - started


@contextlib.contextmanager
def sampled(pid: int) -> Iterator[Callable[[], int]]:
    """Give a function that returns the greatest sum of PSS of a process and its children so far, in kB."""
    peak, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLED_SECONDS):
            peak[0] = max(peak[0], sum(map(pss, family(pid))))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield lambda: peak[0]
    finally:
        done.set()
        thread.join()


def family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in tasks.read_text().split():
                yield from family(int(child))


def pss(pid: int) -> int:
    """Return the proportional set size of a process in kB; 0 once it has ended."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s*(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


if __name__ == "__main__":
    main()
