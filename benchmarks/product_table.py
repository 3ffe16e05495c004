"""A real product table through `cataloger sync` on several databases: times, and whether the results are equal.

    python benchmarks/product_table.py products.csv IMAGES sqlite:///shop.db postgresql://shop:secret@db/shop ...

The CSV has the columns id, title and image, a path below IMAGES. Each database must be empty, or one that this
program has begun to fill: run it again to resume after an interruption. In each it makes the table `products`, syncs
it, and once more, which finds nothing to do. `--limit N` syncs only the first N rows that have no result yet.

Printed for each database: images per second, the seconds of the second run, and the time that the run waited for the
database, as a share of the processor time of the fp32 model for as many images, measured in the same run of this
program. At the end: how many results differ between the first database and each other one.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from kill_storm import differences, read_tables
from sqlalchemy import Column, MetaData, String, Table, func, insert, inspect, select

from cataloger.db.urls import DatabaseURL
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import default_bundle_path, read_bundle
from cataloger.schema import open_source

SOURCE = "benchmark"
BATCH = 8
WARM_UP = 3

products = Table(
    "products",
    MetaData(),
    Column("id", String(20), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("image", String(200), nullable=False),
)


def main() -> None:
    """Parse the arguments, sync each database twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("databases", nargs="+", metavar="URL")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    model = model_seconds()
    print(f"fp32 model: {1000 * model:.1f} ms of processor time per image", flush=True)
    for url in arguments.databases:
        rows = fill(url, arguments.table)
        report = sync(url, arguments.images, arguments.limit)
        again = sync(url, arguments.images, 1 if arguments.limit else None)
        print(
            f"{DatabaseURL.parse(url)}: {rows} rows; {describe(report, model)}; again {again['total_seconds']} s",
            flush=True,
        )
    compare(arguments.databases)


def model_seconds() -> float:
    """Measure the processor time of the fp32 model for an image, in seconds."""
    classifier = OnnxClassifier(read_bundle(default_bundle_path()))
    pixels = np.random.default_rng(0).integers(0, 255, (BATCH, 224, 224, 3), dtype=np.uint8)
    for _ in range(WARM_UP):
        classifier.logits(pixels)
    start, rounds = time.process_time(), 20
    for _ in range(rounds):
        classifier.logits(pixels)
    return (time.process_time() - start) / (rounds * BATCH)


def fill(url: str, table: Path) -> int:
    """Make and fill the product table unless it is there; return its number of rows."""
    if DatabaseURL.parse(url).is_new_sqlite_file():
        run("db", "upgrade", "--db", url)
    database = open_source(DatabaseURL.parse(url))
    try:
        with database.begin() as connection:
            if not inspect(connection).has_table("products"):
                products.create(connection)
                names = [column.name for column in products.c]
                with table.open(newline="", encoding="utf-8") as file:
                    rows = [{name: row[name] for name in names} for row in csv.DictReader(file)]
                connection.execute(insert(products), rows)
            count = connection.scalar(select(func.count()).select_from(products))
        run("db", "upgrade", "--db", url)
    finally:
        database.close()
    return int(count or 0)


def sync(url: str, images: Path, limit: int | None) -> dict[str, Any]:
    """Run the command; return its report."""
    table = ["--table", "products", "--id", "id", "--image", "image", "--image-root", str(images)]
    part = ["--limit", str(limit)] if limit else []
    return json.loads(run("sync", "--db", url, *table, *part, "--source-name", SOURCE, "--json"))


def run(*arguments: str) -> str:
    """Run cataloger; return what it prints, or end when it fails."""
    command = [sys.executable, "-m", "cataloger", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
    if done.returncode not in (0, 3):
        raise SystemExit(done.returncode)
    return done.stdout


def describe(report: dict[str, Any], model: float) -> str:
    """Say what a run did and what its database cost."""
    images = report["done"] + report["failed"]
    if not images:
        return f"{report['skipped']} known already"
    seconds = report["seconds"]
    database = seconds.get("writing", 0.0) + seconds.get("planning", 0.0)
    return (
        f"{images} images in {report['total_seconds']:.0f} s, {report['images_per_second']} images/s, "
        f"database {1000 * database / images:.2f} ms per image, {database / images / model:.3f} of the model's time"
    )


def compare(urls: list[str]) -> None:
    """Print how many results differ from those of the first database."""
    first, *others = urls
    wanted = read_tables(first, SOURCE)
    for url in others:
        different = differences(wanted, read_tables(url, SOURCE))
        where, reference = DatabaseURL.parse(url).redacted, DatabaseURL.parse(first).redacted
        print(f"{where}: {len(different)} of {len(wanted)} results differ from {reference}")
        for line in different[:10]:
            print(f"  {line}")


if __name__ == "__main__":
    main()
