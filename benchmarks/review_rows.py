"""How long the page of `cataloger review` waits for each of its requests on a large ledger.

    python benchmarks/review_rows.py sqlite:///review.db [--rows 1000000]

The images of examples/images are tagged in three runs; the other rows are copies of theirs with confidences,
categories, products of three images and runs of their own. The least confident ones, two in a hundred, have been
reviewed. Then `cataloger review` serves them, and each request is sent as the page sends it: PAGES pages of an order
or filter, the progress, one correction, BULK corrections at once, and pages for REVIEWERS at the same time. Printed
for each: milliseconds until the answer is there, the first time, the median and the longest; before it, how long the
command took to start, and after it, its peak memory. The database must be empty, or one that this program has filled.
"""

import argparse
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import httpx
from million_rows import IMAGES, chunks, copied, go_on_counting, peak_memory, run
from sqlalchemy import Connection, func, insert, select

from cataloger.db.clock import utc_now
from cataloger.db.database import Database
from cataloger.db.urls import DatabaseURL
from cataloger.schema import open_database
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import (
    CorrectionRow,
    CurrentCorrectionRow,
    CurrentRow,
    ItemRow,
    ModelRow,
    ResultRow,
    RunRow,
)

RUNS = 3
PAGES = 10
REVIEWERS = 4
BULK = 500
REVIEWED_BELOW = 0.232
"""Confidence under which everything has been reviewed; the share of those is 2%."""
QUERIES = {
    "least confident first": "",
    "by category": "order=category",
    "by product": "order=product",
    "newest run first": "order=run",
    "one category": "category=Hat",
    "one category, abstained from": "category=Hat&decision=abstain",
    "accepted ones": "decision=accept",
    "one run": "run=1",
    "one product": "product=sku-77",
    "reviewed ones": "reviewed=yes",
    "all, below 0.8": "reviewed=any&below=0.8",
}


def main() -> None:
    """Fill the database, serve it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    run("db", "upgrade", "--db", arguments.url)
    database = open_database(DatabaseURL.parse(arguments.url))
    try:
        prepare(database, arguments.url, arguments.rows)
    finally:
        database.close()
    started = time.perf_counter()
    with serving(arguments.url) as (address, process):
        print(f"started in {time.perf_counter() - started:.1f} s", flush=True)
        measure(Reviewer(address))
        print(f"peak memory {peak_memory(process.pid) / 1e6:,.0f} MB")


class Reviewer:
    """Sends what the page sends."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=600)
        self.page = self.client.get("/").raise_for_status().text
        found = re.search(r'data-csrf="([^"]+)"', self.page)
        self.client.headers.update({"X-CSRF-Token": found[1] if found else "", "Origin": address})

    def pages(self, query: str) -> Iterator[list[dict[str, Any]]]:
        """Yield pages of the queue."""
        after = None
        while True:
            values = dict(pair.split("=") for pair in query.split("&") if pair) | ({"after": after} if after else {})
            answer = self.client.get("/api/queue", params=values).raise_for_status().json()
            yield answer["rows"]
            if (after := answer["after"]) is None:
                return

    def say(self, rows: list[dict[str, Any]]) -> None:
        """Accept what the model says of some images, or withdraw that."""
        corrections = [_correction_of(row) for row in rows]
        outcomes = self.client.post("/api/words", json={"words": corrections}).raise_for_status().json()["outcomes"]
        for row, outcome in zip(rows, outcomes, strict=True):
            row["word"] = None if outcome["id"] is None else outcome


def _correction_of(row: dict[str, Any]) -> dict[str, Any]:
    is_new = row["word"] is None
    return {
        "item": row["item"],
        "verdict": "label" if is_new else "withdrawn",
        "label": row["answers"][0][0] if is_new else None,
        "expected": None if is_new else row["word"]["id"],
        "result": row["result"],
    }


def measure(reviewer: Reviewer) -> None:
    """Time all requests and print them."""
    print(f"{'milliseconds':34}   first  median  longest", flush=True)
    show("the page itself", timed(partial(_get, reviewer, "/"), PAGES))
    show("the categories", timed(partial(_get, reviewer, "/api/categories/1"), PAGES))
    for name, query in QUERIES.items():
        show(name, _timed_pages(reviewer, query))
    for name in ("least confident first", "one category", "one run"):
        address = f"/api/progress?{QUERIES[name]}"
        show(f"progress, {name}", timed(partial(_get, reviewer, address), PAGES))
    rows = [row for page, _ in zip(reviewer.pages("decision=accept"), range(10), strict=False) for row in page]
    show("one correction", [timed(partial(reviewer.say, [row]), 1)[0] for row in rows[BULK : BULK + PAGES]])
    show(f"{BULK} corrections", timed(lambda: reviewer.say(rows[:BULK]), 4))
    with ThreadPoolExecutor(REVIEWERS) as pool:
        others = [Reviewer(str(reviewer.client.base_url)) for _ in range(REVIEWERS)]
        times = list(pool.map(lambda other: _timed_pages(other, ""), others))
    show(f"a page, {REVIEWERS} reviewers at once", [each for one in times for each in one])


def _timed_pages(reviewer: Reviewer, query: str) -> list[float]:
    times, pages = [], reviewer.pages(query)
    for _ in range(PAGES):
        started = time.perf_counter()
        if next(pages, None) is None:
            break
        times.append(time.perf_counter() - started)
    return times


def _get(reviewer: Reviewer, address: str) -> None:
    reviewer.client.get(address).raise_for_status()


def timed(action: Callable[[], object], times: int) -> list[float]:
    """Return the seconds that an action takes, so many times."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return found


def show(name: str, seconds: list[float]) -> None:
    """Print one line of the table."""
    figures = seconds[0], statistics.median(seconds), max(seconds)
    print(f"{name:34} " + " ".join(f"{1000 * each:7.1f}" for each in figures), flush=True)


@contextmanager
def serving(url: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command; give its address and process."""
    command = [sys.executable, "-m", "cataloger", "review", "--db", url, "--no-open", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise SystemExit("the application did not start")
        yield line.strip().rstrip("/"), process
    finally:
        process.terminate()
        process.wait()


def prepare(database: Database, url: str, rows: int) -> None:
    """Make the ledger, unless it is there."""
    with database.begin() as connection:
        if (known := connection.scalar(select(func.count()).select_from(ItemRow))) not in (0, rows):
            raise SystemExit(f"the database has {known:,} images: it is not one that this program has filled")
    if not known:
        for _ in range(RUNS):
            run("tag", str(IMAGES), "--db", url, "--force", "-q")
        with database.begin() as connection:
            copy_rows(connection, rows)


def copy_rows(connection: Connection, rows: int) -> None:
    """Give as many more rows as are missing the answers of those that are there, with changes; review some."""
    items = connection.execute(select(ItemRow.__table__)).mappings().all()
    results = {row["item_id"]: row for row in connection.execute(select(ResultRow.__table__)).mappings()}
    labels = connection.scalars(select(ModelRow.labels)).one()
    runs = list(connection.scalars(select(RunRow.id).order_by(RunRow.id)))
    offset = 1 + max(connection.scalar(select(func.max(table.id))) or 0 for table in (ItemRow, ResultRow))
    chance, now = random.Random(1), utc_now(connection)
    for chunk in chunks(iter(range(len(items), rows))):
        pairs = [(items[number % len(items)], number) for number in chunk]
        copies = [copied(item, results[item["id"]], number, offset) for item, number in pairs]
        changes = [_answer(chance, labels, runs) for _ in copies]
        products = [{"product_key": f"sku-{n // 3}", "product_hash": key_hash(f"sku-{n // 3}")} for n in chunk]
        connection.execute(insert(ItemRow), [c[0] | product for c, product in zip(copies, products, strict=True)])
        connection.execute(insert(ResultRow), [c[1] | change for c, change in zip(copies, changes, strict=True)])
        connection.execute(insert(CurrentRow), [c[2] for c in copies])
        said = [c[1] | change for c, change in zip(copies, changes, strict=True) if _is_reviewed(change)]
        if said:
            connection.execute(insert(CorrectionRow), [_correction(result, now) for result in said])
    current = select(CorrectionRow.item_id, CorrectionRow.id)
    connection.execute(insert(CurrentCorrectionRow).from_select(["item_id", "correction_id"], current))
    go_on_counting(connection)


def _answer(chance: random.Random, labels: list[str], runs: list[int]) -> dict[str, Any]:
    """Make up what differs between copies; most answers are confident."""
    confidence = 1 - 0.8 * chance.random() ** 2
    decision = "accept" if confidence > 0.7 else "review" if confidence > 0.4 else "abstain"
    answers = {f"label_{rank}": label for rank, label in enumerate(chance.sample(labels, 5), start=1)}
    return answers | {"confidence_1": confidence, "decision": decision, "run_id": chance.choice(runs)}


def _is_reviewed(answer: dict[str, Any]) -> bool:
    return bool(answer["confidence_1"] < REVIEWED_BELOW)


def _correction(result: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "item_id": result["item_id"],
        "result_id": result["id"],
        "label": result["label_1"],
        "author": "anna",
        "corrected_at": now,
    }


if __name__ == "__main__":
    main()
