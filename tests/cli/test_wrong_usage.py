"""Wrong usage and wrong configuration end every command with exit status 2, one line, and nothing done."""

import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cataloger.cli.app import app

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = (str(EXAMPLES / "labels.csv"), "--images", str(EXAMPLES / "images"))
DATABASE = "sqlite:///shop.db"
COLUMN = "category=label_1"

# Command -> what is given to it. Values that exist: the folders p and folder, the file file, a database with run 1.
WRONG = {
    "tag": [
        "",
        "''",
        "http://",
        "ftp://host/a.jpg",
        "s3://me:secret@bucket/a.jpg",
        "p --output none/x.csv",
        "p --output folder",
        "p --output file/x.csv",
        "p --output x.txt",
        "p --profile none/x.json",
        "p --profile folder",
        "p --schema x",
        "p --db nonsense",
        "p --model none",
        "p --device tpu",
        "p --precision int4",
        "p --per-host 0",
        "p --per-host 1000",
        "p --download-timeout nan",
        "p --batch-size 99999",
        "p --workers 999",
        "p --top-k 9",
        "p --limit 0",
        "p --max-failure-rate nan",
        "p --exclude ''",
        "p --exclude /",
        "p --exclude /p/x",
        "p --header x",
        "p --header Host=x",
        "p --header X=env:NOT_SET",
        "p --user-agent ''",
        "p --proxy ftp://proxy",
        "p --ca-file none",
        "p --ca-file file",
        "p --rate-per-host 0",
        "p --rate-per-host nan",
        "p --timeout 0",
        "p --timeout nan",
        "p --metrics none/m.prom",
        "p --metrics folder",
        "p --on-failure ''",
        "p --notify https://alerts.example",
        "p --notify-secret env:KEY",
        "p --notify https://alerts.example --notify-secret key",
        "list.csv --path-column none",
        "list.csv --product-column none",
    ],
    "sync": [
        "--db nonsense",
        "--table none",
        "--table ''",
        "--id none",
        "--id price",
        "--image none",
        "--version-column none",
        "--image-table none --image-fk sku",
        "--image-table products --image-fk none",
        "--image-table products",
        "--image-fk sku",
        "--image-id sku",
        "--image-list ''",
        "--image-list x",
        "--image-list 0",
        "--image-list json:",
        "--image-list jsno:src",
        "--image-query 'select 1 as product_id'",
        "--image-query-file none.sql",
        "--image-query-file p",
        "--image-list json --image-table products --image-fk sku",
        "--image-root file",
        "--where ''",
        "--where 'none = 1'",
        "--where '1) or (1'",
        "--label-map none.csv",
        "--label-map file",
        "--source-name ''",
        "--source-name /x",
        "--ledger-db nonsense",
        "--schema x",
        "--output none/x.csv",
        "--profile none/x.json",
        "--only-null",
        "--only-if 1",
        "--overwrite",
        "--min-confidence 0.5",
        "--only-decision accept",
        "--create-columns",
        "--write category",
        "--write none=label_1",
        "--write category=none",
        "--write =label_1",
        "--write sku=label_1",
        "--write price=label_1",
        "--write category=name_1",
        "--write shop.category=label_1 --create-columns",
        f"--write {COLUMN} --write category=label_2",
        f"--write {COLUMN} --overwrite --only-null",
        f"--write {COLUMN} --overwrite --only-if 1",
        f"--write {COLUMN} --min-confidence nan",
        f"--write {COLUMN} --only-decision none",
        f"--write {COLUMN} --ledger-db sqlite:///other.db",
    ],
    "check": [
        "--run 99",
        "--against 99",
        "--against none",
        "--run 1 --against 1",
        "--source none",
        "--max-category-psi nan",
        "--max-category-psi inf",
        "--min-images 0",
        "--categories -1",
    ],
    "inspect": [
        "",
        "LABELS --query 'select 1'",
        "--query 'select 1'",
        "--db sqlite:///shop.db",
        "--db sqlite:///shop.db --query nonsense",
        "--db nonsense --query 'select 1'",
        "p --image-column x",
        "LABELS --image-column none",
        "LABELS --label-column none",
        "LABELS --split-column none",
        "LABELS --product-column none",
        "LABELS --shares 1,2",
        "LABELS --shares 0,0,0",
        "LABELS --shares nan,1,1",
        "LABELS --work file",
    ],
    "train": [
        "LABELS",
        "LABELS --output file",
        "LABELS --output m --work file",
        "LABELS --output m --epochs 0",
        "LABELS --output m --balance 2",
        "LABELS --output m --mixup -1",
    ],
    "evaluate": [
        "",
        "LABELS --corrections",
        "--corrections --split val",
        "--corrections --report-by split",
        "LABELS --output file",
        "--corrections --output o",
        "LABELS --source x",
        "LABELS --results nonsense",
        "LABELS --split none",
        "LABELS --mistakes -1",
        "LABELS --model none",
    ],
    "explain": [
        "",
        "p/earring.png --output x.jpg",
        "p/earring.png --output none/x.png",
        "p/earring.png --output folder.png",
        "p/earring.png --categories 9",
        "p/earring.png --model none",
    ],
    "report": [
        "--output none/r.html",
        "--output folder",
        "--run 99",
        "--source none",
        "--images -1",
        "--images 1000",
        "--db nonsense",
    ],
    "review": ["--no-open --port 70000", "--no-open --db nonsense", "--no-open --source none"],
    "calibrate": [
        "LABELS",
        "LABELS --output file",
        "LABELS --output m --model none",
        "LABELS --output m --target-precision 2",
    ],
    "adapt": ["", "--output m --db nonsense", "--output m --source none", "--output file"],
    "recalibrate": ["--model none", "--db nonsense"],
    "run": ["none", "--all", "none --all"],
    "feed": [
        "",
        "-o x.csv",
        "-o google.csv --source none",
        "-o google.csv --db nonsense",
        "-o google.csv --min-confidence 2",
        "-o google.csv --taxonomy none",
        "-o google.csv --export list.csv",
        "-o shopify.csv --export none.csv",
        "-o shopify.csv --into none.csv",
        "-o google.csv --into list.csv",
        "-o shopify.csv --into list.csv --write Title",
        "-o shopify.csv --into list.csv --overwrite --only-if x",
        "-o shopify.csv --overwrite",
        "-o shopify.csv --undo",
        "-o shopify.csv --into list.csv --undo --overwrite",
        "-o shopify.csv --dry-run",
    ],
    "models list": ["--none"],
    "models show": ["none"],
    "models verify": ["none"],
    "models labels": ["none", "default --label-map none.csv"],
    "models keep": ["none copy", "default"],
    "models diff": ["default none LABELS", "default", "default default LABELS --examples -1"],
    "models quantize": ["none LABELS --output q", "default LABELS", "default LABELS --output file"],
    "runs list": ["--limit 0", "--db nonsense"],
    "runs show": ["99", "x"],
    "runs diff": ["1 99", "1 1 --format none", "1 1 --examples -1", "1 1 --format csv --json"],
    "runs undo": ["99", ""],
    "runs prune": ["", "--keep 0"],
    "sources list": ["--db nonsense"],
    "sources move": ["none x", "p none"],
    "sources rename": ["none x", "p ''"],
    "sources delete": ["none --yes", "p", "p --yes --dry-run"],
    "corrections export": [
        "none/x.csv",
        "folder",
        "x.csv --all --predictions",
        "x.csv --decision accept",
        "x.csv --below 0.5",
        "x.csv --predictions --below nan",
        "x.csv --source none",
    ],
    "corrections import": ["list.csv --source none", "list.csv --author ''"],
    "corrections list": ["--source none", "--db nonsense"],
    "db upgrade": ["--db nonsense", "--schema x"],
    "db downgrade": ["base", "none --yes", "9999 --yes"],
    "db current": ["--db nonsense"],
    "presets list": ["--none"],
    "presets show": [
        "",
        "none",
        "none.toml",
        "woocommerce --set none=1",
        "woocommerce --set prefix",
        "woocommerce --prefix 'a b'",
        "prestashop --set store=x",
    ],
    "presets check": [
        "woocommerce --db nonsense",
        f"none --db {DATABASE}",
        f"woocommerce --db {DATABASE} --model none",
        f"woocommerce --db {DATABASE} --set none=1",
    ],
    "presets categories": ["woocommerce --db nonsense", f"woocommerce --db {DATABASE}", f"none --db {DATABASE}"],
    "presets label-map": [
        "woocommerce --db nonsense",
        f"woocommerce --db {DATABASE}",
        f"woocommerce --db {DATABASE} --label-map none.csv",
        f"magento-attribute --db {DATABASE}",
    ],
    "bench": ["p --images 0", "p --rounds 0", "p --model none"],
    "doctor": ["--none"],
}
CASES = [(command, given) for command, cases in WRONG.items() for given in cases]
SYNC = ("--db", DATABASE, "--table", "products", "--id", "sku", "--image", "photo", "--image-root", "p")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, a manifest, a product table, and a catalog with one run over the photos."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("p").mkdir()
        Path("folder").mkdir()
        Path("folder.png").mkdir()
        Path("file").write_text("x")
        Path("list.csv").write_text("path\np/earring.png\n")
        shutil.copy(EXAMPLES / "images" / "earring.png", "p")
        with closing(sqlite3.connect("shop.db")) as connection, connection:
            connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT, price REAL, category TEXT)")
            rows = [("A", "earring.png", 1.5, "x"), ("B", "earring.png", 2.5, "x")]
            connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", rows)
        for command in (("tag", "p", "--quiet"), ("db", "upgrade", "--db", DATABASE)):
            result = CliRunner().invoke(app, list(command))
            assert result.exit_code == 0, result.output
        yield folder


def words(command, given):
    """Return the arguments of a case."""
    found = []
    for part in shlex.split(given):
        found += LABELS if part == "LABELS" else [part]
    return [*command.split(), *(SYNC if command == "sync" else ()), *found]


@pytest.mark.parametrize(("command", "given"), CASES)
def test_wrong_usage_is_status_2_and_one_line_and_nothing_is_done(place, command, given):
    before = sorted(place.rglob("*"))
    result = CliRunner().invoke(app, words(command, given))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith(("cataloger: error: ", "Error: "))]
    assert len(lines) == 1, result.stderr
    assert sorted(place.rglob("*")) == before


LONG = "n" * 300
"""More than the name of a file may have."""


@pytest.mark.parametrize(
    "given",
    [
        "tag p --output LONG.csv",
        "tag p --model LONG",
        "tag p --db sqlite:///LONG",
        "inspect LONG.csv",
        "inspect LABELS --work LONG",
        "calibrate LABELS --output LONG",
        "evaluate LONG",
        "models show LONG",
        "bench LONG",
        "report --output LONG",
        "train p --output LONG",
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(place, given):
    before = sorted(place.rglob("*"))
    command, *rest = given.replace("LONG", LONG).split()
    result = CliRunner().invoke(app, words(command, " ".join(rest)))
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("cataloger: error: ")
    assert line.endswith("File name too long")
    assert sorted(place.rglob("*")) == before


VARIABLES = {
    "OUTPUT": "none/x.csv",
    "PROFILE": "none/x.json",
    "DB": "nonsense",
    "SCHEMA": "x",
    "MODEL": "none",
    "BATCH_SIZE": "x",
    "WORKERS": "-1",
    "LIMIT": "0",
    "TOP_K": "9",
    "DEVICE": "tpu",
    "PRECISION": "int4",
    "MAX_FAILURE_RATE": "nan",
    "PER_HOST": "0",
    "DOWNLOAD_TIMEOUT": "-1",
    "FOLLOW_LINKS": "maybe",
    "CONFIG": "none.toml",
}


@pytest.mark.parametrize("place_of_it", ["variable", "file"])
@pytest.mark.parametrize("name", VARIABLES)
def test_a_wrong_setting_is_status_2_and_nothing_is_done(place, name, place_of_it, tmp_path, monkeypatch):
    before = sorted(place.rglob("*"))
    arguments = ["tag", "p"]
    monkeypatch.delenv(f"CATALOGER_{name}", raising=False)  # it would go before the file
    if place_of_it == "variable":
        monkeypatch.setenv(f"CATALOGER_{name}", VARIABLES[name])
    else:
        path = tmp_path / "settings.toml"
        path.write_text(f'{name.lower().replace("_", "-")} = "{VARIABLES[name]}"\n')
        arguments = ["--config", str(path), *arguments]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert (result.stdout, "Traceback" in result.stderr) == ("", False)
    assert sorted(place.rglob("*")) == before


def leaves(group, prefix=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*prefix, name))
        else:
            yield " ".join((*prefix, name))


def test_every_command_is_in_the_table():
    assert sorted(WRONG) == sorted(leaves(typer.main.get_command(app)))
