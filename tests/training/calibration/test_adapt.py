"""`cataloger adapt`, from a ledger to a bundle and back into the ledger, as a shell would call it."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from by_url import open_results
from calibrated import EXAMPLES
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.corrections.labelled_images import Drawn, SourceScores, read_labelled
from cataloger.ledger import find_tagged_source
from cataloger.model import default_bundle_path, read_bundle

LABELS = read_bundle(default_bundle_path(), check=()).labels
TRUTH = ("Hat", "Shirt", "Dress", "Jeans")


def run(*arguments, status=0):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A ledger of the drawings, whose stored scores tell the truth but for a bias, and a CSV of the truth."""
    folder = tmp_path_factory.mktemp("shop")
    url, path = f"sqlite:///{folder / 'catalog.db'}", folder / "catalog.db"
    run("tag", EXAMPLES, "--db", url, "--no-progress")
    random = np.random.default_rng(0)
    lines = ["file,category"]
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT id, key FROM cataloger_item ORDER BY key").fetchall()
        for number, (item, key) in enumerate(names):
            label = TRUTH[number % len(TRUTH)]
            scores = random.normal(0, 0.5, len(LABELS)).astype("<f4")
            scores[LABELS.index(label)] += 5
            scores[LABELS.index("Skirt")] += 9
            connection.execute("UPDATE cataloger_result SET scores = ? WHERE item_id = ?", (scores.tobytes(), item))
            lines.append(f"{key},{label}")
        connection.commit()
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    return folder, url, lines[1:]


def best(folder):
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        return dict(connection.execute('SELECT v."key", v.label_1 FROM cataloger_image_top5 v'))


def test_a_shop_is_adapted_from_a_file_and_it_is_taken_back(shop, fits_schema):
    folder, url, lines = shop
    output = folder / "adapted"
    found = json.loads(run("adapt", folder / "truth.csv", "--db", url, "--output", output, "--json").stdout)
    fits_schema("adapt", found)
    assert (found["before"]["right"]["value"], found["labelled"]) == (0.0, len(lines))
    assert found["after"]["right"]["value"] > 0.8
    before = best(folder)
    run("recalibrate", "--db", url, "--model", output, "--source", EXAMPLES, "--json")
    truth = dict(line.split(",") for line in lines)
    assert sum(best(folder)[key] == label for key, label in truth.items()) >= 0.8 * len(truth)
    run_id = json.loads(run("runs", "list", "--db", url, "--json").stdout)[0]["id"]
    run("runs", "undo", run_id, "--db", url)
    assert best(folder) == before


def test_a_shop_is_adapted_from_a_query_through_parents(shop):
    folder, url, lines = shop
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.execute("CREATE TABLE products (sku TEXT, category TEXT)")
        rows = [tuple(line.split(",")) for line in lines]
        connection.executemany("INSERT INTO products VALUES (?, ?)", [*rows, ("elsewhere", "Spacesuit")])
        connection.commit()
    query = ("--query", "select sku, category from products", "--query-db", f"sqlite:///{folder / 'shop.db'}")
    found = json.loads(run("adapt", "--db", url, "--output", folder / "queried", *query, "--json").stdout)
    assert found["labelled"] == len(lines)


def test_what_gains_nothing_is_refused_and_nothing_is_written(shop):
    folder, url, lines = shop
    random = np.random.default_rng(1)
    noise = [f"{line.split(',')[0]},{LABELS[random.integers(len(LABELS))]}" for line in lines]
    (folder / "noise.csv").write_text("\n".join(["file,label", *noise]) + "\n")
    result = run("adapt", folder / "noise.csv", "--db", url, "--output", folder / "no", status=4)
    assert "gains beyond chance" in result.stderr
    assert not (folder / "no").exists()


def test_a_dry_run_says_what_would_change_and_writes_nothing(shop):
    folder, url, lines = shop
    arguments = ("adapt", folder / "truth.csv", "--db", url)
    found = json.loads(run(*arguments, "--dry-run", "--json").stdout)
    assert (found["output"], found["recompute"]) == (None, len(lines))
    result = run(*arguments, "--dry-run", "--output", folder / "dry")
    assert "recalibrate will recompute 20 results" in result.stdout
    assert not (folder / "dry").exists()
    applied = json.loads(run(*arguments, "--output", folder / "wet", "--json").stdout)
    assert applied["recompute"] == found["recompute"]
    renewed = run("recalibrate", "--db", url, "--model", folder / "wet", "--source", EXAMPLES, "--json")
    assert json.loads(renewed.stdout)["renewed"] == found["recompute"]
    assert json.loads(run(*arguments, "--dry-run", "--json").stdout)["recompute"] == 0  # it is so already
    run("runs", "undo", json.loads(renewed.stdout)["run_id"], "--db", url)
    assert "--output" in run(*arguments, status=2).stderr


def test_of_many_labelled_images_a_part_is_kept_and_the_same_one_each_time(shop, monkeypatch):
    _, url, lines = shop
    monkeypatch.setattr("cataloger.corrections.labelled_images.ROWS_PER_READ", 3)
    monkeypatch.setattr(Drawn.__init__, "__defaults__", (6,))
    categories = dict(line.split(",") for line in lines)
    with closing(open_results(url)) as database:
        scores = SourceScores.of(database, find_tagged_source(database, None))
        found = [read_labelled(scores, lambda row: categories[row.key]).labelled for _ in range(2)]
        assert scores.count() == len(lines)
    assert np.array_equal(found[0].scores, found[1].scores)
    assert 0 < len(found[0].scores) <= 12
    assert (found[0].scores.argmax(axis=1) == LABELS.index("Skirt")).all()


def test_without_corrections_there_is_nothing_to_learn_from(shop):
    folder, url, _ = shop
    result = run("adapt", "--db", url, "--output", folder / "none", status=1)
    assert "none of 20 tagged images has a label" in result.stderr


def test_it_learns_without_labels_only_when_told_to(shop):
    folder, url, _ = shop
    run("adapt", "--db", url, "--output", folder / "em", "--unlabelled")
    assert read_bundle(folder / "em", check=()).calibration.adaptation.kind == "prior"


def test_it_runs_without_torch(shop):
    folder, url, _ = shop
    code = (
        "import sys; from cataloger.cli.app import main\n"
        f"sys.argv = ['cataloger', 'adapt', {str(folder / 'truth.csv')!r}, '--db', {url!r}, '--output', "
        f"{str(folder / 'light')!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'torchvision', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
