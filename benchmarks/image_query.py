"""What a sync through --image-query costs beside one through --table, paired, and how it grows with the rows.

    python benchmarks/image_query.py postgresql://shop@db/bench [--rows 11000,44072] [--products products.csv]

Each size gets the table and ledger of `million_rows.py`, in which every image is known, and a second table with the
titles of the products, from a CSV with the column `title` or made up. Then `cataloger sync --dry-run` plans the same
images in turn through the table, through a query that joins both tables, and through a UNION ALL, which MySQL and
MariaDB must put together before they give a row. Printed for each size and way: the median of the seconds, the median
of its ratio to the table in the same round, and the peak memory; at the end how seconds and memory have grown.
The database must be empty, or one that this program has filled.
"""

import argparse
import csv
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from million_rows import IMAGES, Measured, chunks, prepare, run
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, inspect

from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database

JOIN = "SELECT p.id AS product_id, p.image FROM products_{rows} p JOIN titles_{rows} t ON t.id = p.id {where}"
QUERIES = {
    "join": JOIN.format(rows="{rows}", where=""),
    "union": " UNION ALL ".join(JOIN.format(rows="{rows}", where=f"WHERE p.id % 2 = {part}") for part in (0, 1)),
}


def main() -> None:
    """Fill the database, measure each size and way in rounds, print the figures and how they grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rows", default="11000,44072")
    parser.add_argument("--products", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    run("db", "upgrade", "--db", arguments.url)
    sizes = [int(rows) for rows in arguments.rows.split(",")]
    print("      rows  way       seconds  of table   MB", flush=True)
    found = {}
    for rows in sizes:
        prepare(arguments.url, rows)
        fill_titles(arguments.url, rows, arguments.products)
        found[rows] = measure(arguments.url, rows, arguments.rounds)
    for way in found[sizes[0]]:
        first, last = (found[rows][way] for rows in (sizes[0], sizes[-1]))
        grown = f"{last[0] / first[0]:.2f} times the seconds, {last[1] / first[1]:.2f} times the memory"
        print(f"{way}: {sizes[-1] / sizes[0]:.2f} times the rows take {grown}", flush=True)


def measure(url: str, rows: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median of seconds and of peak memory of each way; the ways take turns, so that load is shared."""
    ways = ["table", *QUERIES]
    taken: dict[str, list[Measured]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            taken[way].append(plan(url, rows, way))
    for way, each in taken.items():
        pairs = zip(each, taken["table"], strict=True)
        ratio = median(mine.seconds / table.seconds for mine, table in pairs)
        seconds, memory = median(one.seconds for one in each), median(one.memory for one in each)
        print(f"{rows:10,}  {way:8} {seconds:8.2f} {ratio:9.2f} {memory / 1e6:4.0f}", flush=True)
    return {
        way: (median(one.seconds for one in each), median(one.memory for one in each)) for way, each in taken.items()
    }


def plan(url: str, rows: int, way: str) -> Measured:
    """Plan all images of a size; ends when any of them is to do."""
    table = ["--table", f"products_{rows}", "--id", "id", "--image", "image"]
    flags = table if way == "table" else ["--image-query", QUERIES[way].format(rows=rows)]
    common = ["--image-root", str(IMAGES), "--source-name", f"{rows} rows", "--dry-run", "--json"]
    measured = run("sync", "--db", url, *flags, *common)
    if measured.report["skipped_by_reason"] != {"unchanged": rows}:
        raise SystemExit(f"something was to do: {measured.report}")
    return measured


def fill_titles(url: str, rows: int, products: Path | None) -> None:
    """Make the table of titles of a size, unless it is there."""
    columns = Column("id", Integer, primary_key=True, autoincrement=False), Column("title", String(200))
    table = Table(f"titles_{rows}", MetaData(), *columns)
    database = open_database(DatabaseURL.parse(url))
    try:
        with database.begin() as connection:
            if inspect(connection).has_table(table.name):
                return
            table.create(connection)
            for chunk in chunks(enumerate(islice(cycle(titles(products)), rows))):
                connection.execute(insert(table), [{"id": number, "title": title} for number, title in chunk])
    finally:
        database.close()


def titles(products: Path | None) -> list[str]:
    """Return titles of products: those of a CSV, or made up."""
    if products is None:
        return [f"Product {number}" for number in range(1000)]
    with products.open(newline="", encoding="utf-8") as file:
        return [row["title"] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
