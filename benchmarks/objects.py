"""What an image costs more when it comes out of an object store than as a file.

    python benchmarks/objects.py PHOTOS [--images 10000] [--rounds 3] [--slow-ms 0]

The same photos lie in a folder and in a bucket of a small server on the loopback address. It answers listings and
requests for objects from memory, as a store of Amazon's kind does (`GET /bucket?list-type=2`, `GET /bucket/key`), in
a process of its own. `cataloger tag` goes over both in turn, each time into an empty database, and must tag all.
PHOTOS must differ in their bytes, as pictures that are known are not classified again.

Printed: images a second and processor milliseconds an image of the command with its children, starts included and the
server left out, medians; and how much more an object costs than a file, median of the rounds with its range.
--slow-ms: milliseconds that the server waits before each answer.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared_pictures import PROGRAM, Turn, measured

from cataloger.bench.bench import lay_out

BUCKET = "photos"
SERVER = """
import asyncio, hashlib, sys, urllib.parse
from pathlib import Path

folder, bucket, wait = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1000
FILES = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
ETAGS = {name: hashlib.md5(data).hexdigest() for name, data in FILES.items()}
NAMES, DATE = list(FILES), "2026-01-01T00:00:00.000Z"
HTTP_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"

def listing(query):
    start = int(query.get("continuation-token", ["0"])[0])
    page = NAMES[start:start + 1000]
    rows = "".join(
        f"<Contents><Key>{name}</Key><LastModified>{DATE}</LastModified><ETag>&quot;{ETAGS[name]}&quot;</ETag>"
        f"<Size>{len(FILES[name])}</Size></Contents>" for name in page
    )
    more = start + 1000 < len(NAMES)
    token = f"<NextContinuationToken>{start + 1000}</NextContinuationToken>" if more else ""
    head = f"<Name>{bucket}</Name><KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
    return f"<?xml version='1.0'?><ListBucketResult>{head}{token}{rows}</ListBucketResult>".encode()

def answer(target):
    path, _, query = target.partition("?")
    if query:
        return b"application/xml", b"", listing(urllib.parse.parse_qs(query))
    name = urllib.parse.unquote(path).rpartition("/")[2]
    head = f'ETag: "{ETAGS[name]}"\\r\\nLast-Modified: {HTTP_DATE}\\r\\n'
    return b"image/jpeg", head.encode(), FILES[name]

async def serve(reader, writer):
    try:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            kind, head, body = answer(line.split()[1].decode())
            if wait:
                await asyncio.sleep(wait)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: %b\\r\\nContent-Length: %d\\r\\n%b\\r\\n" % (
                kind, len(body), head) + body)
            await writer.drain()
    except ConnectionError:
        pass

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def main() -> None:
    """Parse the arguments, run the turns, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    turns: dict[str, list[Turn]] = {"files": [], "objects": []}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "photos"
        lay_out(arguments.photos, folder, arguments.images)
        with server(folder, arguments.slow_ms) as endpoint:
            places = {"files": str(folder), "objects": f"s3://{BUCKET}"}
            for number in range(arguments.rounds):
                for name in sorted(places, reverse=bool(number % 2)):
                    database = Path(work) / f"{name}{number}.db"
                    turns[name].append(tag(places[name], database, arguments.images, endpoint))
                    database.unlink()
    report(turns, arguments.images)


@contextmanager
def server(folder: Path, slow_ms: float) -> Iterator[str]:
    """Give the endpoint of a server that has the files of a folder as objects."""
    command = [sys.executable, "-c", SERVER, str(folder), BUCKET, str(slow_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        # Not before the last turn: what ended children have used is what is measured.
        process.wait()


def tag(place: str, database: Path, images: int, endpoint: str) -> Turn:
    """Run `cataloger tag`; it must tag every image."""
    environment = os.environ | {"AWS_ENDPOINT_URL": endpoint, "AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "us-east-1"}
    url = f"sqlite:///{database}"
    command = [sys.executable, "-c", PROGRAM, "tag", place, "--db", url, "--json", "--no-progress"]
    return measured(command, images, env=environment)


def report(turns: dict[str, list[Turn]], images: int) -> None:
    """Print a line for each place, and what an object costs more."""
    print(f"{images} images, {os.cpu_count()} processors; medians of {len(turns['files'])} rounds")
    for name, taken in turns.items():
        seconds = statistics.median(turn.seconds for turn in taken)
        processor = statistics.median(turn.processor for turn in taken)
        print(f"{name:8} {images / seconds:7.1f} images/s {1000 * processor / images:7.2f} processor ms an image")
    pairs = zip(turns["files"], turns["objects"], strict=True)
    more = sorted(1000 * (far.processor - near.processor) / images for near, far in pairs)
    print(f"an object costs {statistics.median(more):.3f} ms more than a file ({more[0]:.3f} to {more[-1]:.3f})")


if __name__ == "__main__":
    main()
