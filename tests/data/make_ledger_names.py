"""Make a ledger of version 0.1.0 (revision b78fa3e) with names that later versions clean, and keep what it shows.

It is run like `make_ledger_0_1_0.py` beside it, whose docstring says how, and writes `ledger_names[_ENGINE].sql.gz`,
the dump, and `ledger_names[_ENGINE].json.gz`, the rows of its views and of the shop's tables. In both, the folder of
the photos is called @ROOT@, and the address of the web server @HOST@.

Product keys with blanks and line breaks around them, in CHAR and in text, and in NFD; photos with names in NFD; web
addresses with a version, a signature, both and neither; a table of images; a manifest. People have corrected some of
the images, and the answers were written back.
"""

import csv
import gzip
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from make_ledger_0_1_0 import FIRST_DAY, HERE, REVISION, ROOT, Past, _without_machine
from make_ledger_0_1_0 import shown as rows_of

HOST = "@HOST@"
STEM = "ledger_names"
VIEWS = ("image_top5", "product_top5", "product_images")
TABLES = ("products", "texts")
SIGNED = "X-Amz-Date=20240101T000000Z&X-Amz-Signature=abc"


def decomposed(text: str) -> str:
    """Return a text as macOS writes names."""
    return unicodedata.normalize("NFD", text)


# Name of a photo -> what it shows.
PHOTOS = {
    "cap.png": "baseball-cap",
    "bow-tie.png": "bow-tie",
    "earring.png": "earring",
    decomposed("Mütze.png"): "blue-fedora",
}
# sku, in a column that some servers fill up with blanks -> photo
PRODUCTS = {
    "CAP-01": "cap.png",
    "BOW-01": "bow-tie.png",
    "URL-1": f"http://{HOST}/sunglasses.png?v=3",
    "URL-2": f"http://{HOST}/tennis-shoe.png?{SIGNED}",
    "URL-3": f"http://{HOST}/straw-tote.png?{SIGNED}&v=1",
    "URL-4": f"http://{HOST}/t-shirt-black.png",
}
# The same in a text, where only people write blanks.
TEXTS = {
    "EAR-1   ": "earring.png",
    " BOW-2\n": "bow-tie.png",
    decomposed("Mütze-1"): decomposed("Mütze.png"),
    "CAP-2": "cap.png",
}
IMAGES = ((1, "CAP-01", "cap.png"), (2, "CAP-01", decomposed("Mütze.png")), (3, "BOW-01", "bow-tie.png"))
MANIFEST = (("cap.png", "P-1 "), (decomposed("Mütze.png"), decomposed("Ü-1")), ("earring.png", "P-2"))
# source, sku as it is written -> label
SAID = (("products", "CAP-01", "Cap"), ("texts", "EAR-1   ", "Ring"), ("texts", decomposed("Mütze-1"), "Fedora"))

COMMON = ("--max-failure-rate", "1", "--quiet")
WRITE = ("--write", "category=label_1", "--only-decision", "accept", "--only-decision", "review")
WRITES = (*WRITE, "--only-decision", "abstain")


def lay_out(root: Path, examples: Path) -> None:
    """Put the photos and the manifest below `root`, with their times."""
    for name, shows in PHOTOS.items():
        path = root / "photos" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((examples / f"{shows}.png").read_bytes())
        os.utime(path, (FIRST_DAY, FIRST_DAY))
    with (root / "photos" / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "product"), *MANIFEST])


def place(text: str, before: Path, after: Path, host_before: str, host_after: str) -> str:
    """Give a dump another root, the digest that its manifest is looked up by, and another web server."""
    old, new = (hashlib.sha256(f"{root}/photos/list.csv".encode()).hexdigest() for root in (before, after))
    return text.replace(str(before), str(after)).replace(old, new).replace(host_before, host_after)


@contextmanager
def web_server(examples: Path) -> Iterator[str]:
    """Serve the examples; give host and port."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(examples)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def commands(root: Path) -> tuple[tuple[str, ...], ...]:
    """Return the commands of a night."""
    places = ("--image-root", str(root / "photos"), "--allow-private", *COMMON)
    tables = tuple(
        ("sync", "--table", name, "--id", "sku", "--image", "photo", "--source-name", name, *places, *WRITES)
        for name in TABLES
    )
    images = ("--image", "file", "--image-table", "images", "--image-fk", "sku", "--source-name", "images")
    manifest = str(root / "photos" / "list.csv")
    return (
        *tables,
        ("sync", "--table", "products", "--id", "sku", *images, *places),
        ("tag", manifest, "--product-column", "product", *COMMON),
    )


class NamesPast(Past):
    """A shop whose names are not clean."""

    def live(self) -> None:
        """Make the tables, and go through a night."""
        with web_server(self.examples) as host:
            self.host = host
            self._fill()
            self.run("db", "upgrade")
            lay_out(self.root, self.examples)
            for command in commands(self.root):
                self.run(*command)
            self._say()

    def shown(self) -> dict[str, Any]:
        """Return what the views and the shop's tables hold."""
        with self.engine.connect() as connection:
            views = {view: rows_of(connection, f"cataloger_{view}") for view in VIEWS}
            return {"tables": {name: rows_of(connection, name) for name in TABLES}, "views": views}

    def _fill(self) -> None:
        # SQLite stores what it is given.
        padded = {sku.ljust(12) if self.kind == "sqlite" else sku: photo for sku, photo in PRODUCTS.items()}
        images = [(n, sku.ljust(12) if self.kind == "sqlite" else sku, file) for n, sku, file in IMAGES]
        with self.engine.begin() as connection:
            for statement in (
                "CREATE TABLE products (sku CHAR(12) NOT NULL PRIMARY KEY, photo VARCHAR(200), category VARCHAR(40))",
                "CREATE TABLE texts (sku VARCHAR(40) NOT NULL PRIMARY KEY, photo VARCHAR(200), category VARCHAR(40))",
                "CREATE TABLE images (id INTEGER NOT NULL PRIMARY KEY, sku CHAR(12) NOT NULL, file VARCHAR(200))",
            ):
                connection.exec_driver_sql(statement + (" CHARACTER SET utf8mb4" if self.kind == "mariadb" else ""))
            mark = "?" if self.kind == "sqlite" else "%s"
            for name, rows in (("products", padded), ("texts", TEXTS)):
                pairs = [(sku, photo.replace(HOST, self.host)) for sku, photo in rows.items()]
                connection.exec_driver_sql(f"INSERT INTO {name} (sku, photo) VALUES ({mark}, {mark})", pairs)
            connection.exec_driver_sql(f"INSERT INTO images VALUES ({mark}, {mark}, {mark})", images)

    def _say(self) -> None:
        path = self.root / "words.csv"
        self.run("corrections", "export", str(path), "--predictions")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        for source, sku, label in SAID:
            [row] = [row for row in rows if row["source"] == source and row["key"].rstrip() == sku.rstrip()]
            row["label"] = label
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        self.run("corrections", "import", str(path), "--author", "ann", "--new-labels")


def main(url: str) -> None:
    """Make the ledger in an empty database, dump it, and keep what it shows."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    if not head.startswith(REVISION):
        sys.exit(f"run this in a checkout of {REVISION}")
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        past = NamesPast(url, Path(folder).resolve())
        past.live()
        kept = past.shown()
        assert all(row["status"] == "ok" for row in kept["views"]["image_top5"]), kept["views"]["image_top5"]
        dump, answers = (
            place(_without_machine(text, past), past.root, Path(ROOT), past.host, HOST)
            for text in (past.dump(), json.dumps(kept, indent=0, ensure_ascii=False))
        )
        past.engine.dispose()
    stem = STEM if past.kind == "sqlite" else f"{STEM}_{past.kind}"
    (HERE / f"{stem}.sql.gz").write_bytes(gzip.compress(dump.encode(), mtime=0))
    (HERE / f"{stem}.json.gz").write_bytes(gzip.compress(answers.encode(), mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
