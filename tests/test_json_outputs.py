"""What the commands print as JSON, and the files of JSON that they write, are as their schemas say.

Every output is made by the command itself on the example pictures. `train`, `bench` and `models quantize` take long
and `presets` needs a shop: their outputs are validated where the tests have made them anyway, by the fixture
`fits_schema`.
"""

import csv
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from cataloger.cli.app import app

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SCHEMAS = ROOT / "docs" / "reference" / "schemas"
CATALOG = ("--db", "sqlite:///catalog.db")
SHOP = ("--db", "sqlite:///shop.db")
SYNC = (*SHOP, "--table", "products", "--id", "sku", "--image", "file", "--image-root", "photos")
SYNC = (
    *SYNC,
    "--image-table",
    "product_images",
    "--image-fk",
    "sku",
    "--write",
    "category=label_1",
    "--create-columns",
)


class Scene:
    """A folder, a catalog and a shop, and what commands have printed of them: name of a schema -> outputs."""

    def __init__(self):
        self.outputs = {}

    def run(self, name, *arguments, status=0):
        """Run a command with --json, keep what it printed, return it."""
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == status, f"{arguments}: {result.output}"
        return self.keep(name, json.loads(result.stdout))

    def keep(self, name, output):
        self.outputs.setdefault(name, []).append(output)
        return output


def do(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, f"{arguments}: {result.output}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    made = Scene()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("json"))
        shutil.copytree(EXAMPLES / "images", "photos")
        Path("photos/broken.png").write_bytes((EXAMPLES / "images" / "baseball-cap.png").read_bytes()[:900])
        tag_twice(made)
        correct(made)
        measure(made)
        use_models(made)
        look_at_runs(made)
        run_jobs(made)
        sync_and_undo(made)
    return made


def tag_twice(made):
    made.run("tag", "tag", "photos", *CATALOG, "--dry-run")
    made.run("tag", "tag", "photos", *CATALOG, "--output", "first.jsonl", "--profile", "profile.json", status=3)
    made.keep("profile", json.loads(Path("profile.json").read_text()))
    shutil.copy("photos/t-shirt-print.png", "photos/baseball-cap.png")
    Path("photos/winter-hat.png").rename("photos/hat.png")
    made.run("check", "check", *CATALOG)
    made.run("tag", "tag", "photos", *CATALOG, "--output", "second.jsonl")
    for name in ("first.jsonl", "second.jsonl"):
        for line in Path(name).read_text().splitlines():
            made.keep("image", json.loads(line))


def correct(made):
    made.run("corrections-list", "corrections", "list", *CATALOG)
    do("corrections", "export", "to-do.csv", "--predictions", *CATALOG)
    with open("to-do.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, label in zip(rows, ("Hat", "T-shirt", "no such label"), strict=False):
        row["label"] = label
    with open("filled.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    made.run("corrections-import", "corrections", "import", "filled.csv", "--author", "ann", *CATALOG, status=3)
    made.run("corrections-list", "corrections", "list", *CATALOG)
    made.run("evaluate-corrections", "evaluate", "--corrections", *CATALOG)


def measure(made):
    labels = (str(EXAMPLES / "labels.csv"), "--images", str(EXAMPLES / "images"))
    made.run("evaluate", "evaluate", *labels, "--report-by", "split")
    made.run("evaluate", "evaluate", labels[0], "--images", "photos", "--results", "sqlite:///catalog.db")
    for number, name in enumerate(("blue-fedora", "red-fedora", "tennis-shoe", "t-shirt-black")):
        folder = Path("classes", "Hat" if number < 2 else "Other")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / "images" / f"{name}.png", folder)
    Path("classes/Hat/broken.png").write_bytes(b"no image")
    made.run("inspect", "inspect", "classes")
    made.run("explain", "explain", "photos/blue-fedora.png", "nothing.png", status=3)
    made.run("calibrate", "calibrate", *labels, "--output", "models/own")
    made.run("models-diff", "models", "diff", "default", "models/own", *labels)


def use_models(made):
    made.run("doctor", "doctor")
    made.run("models-list", "models", "list")
    made.run("models-labels", "models", "labels")
    made.run("models-show", "models", "show", "models/own")
    made.run("models-verify", "models", "verify")
    made.run("models-keep", "models", "keep", "models/own", "models/slim", "--slim")
    made.run("models-show", "models", "show", "models/slim")
    made.run("models-verify", "models", "verify", "models/slim")
    made.run("recalibrate", "recalibrate", *CATALOG, "--model", "models/own")
    made.run("adapt", "adapt", *CATALOG, "--unlabelled", "--output", "models/adapted")


def look_at_runs(made):
    made.run("db-current", "db", "current", *CATALOG)
    made.run("sources-list", "sources", "list", *CATALOG)
    made.run("report", "report", *CATALOG)
    made.run("report", "report", "--run", "1", *CATALOG)
    made.run("check", "check", *CATALOG, "--run", "2", "--against", "1")
    made.run("check", "check", *CATALOG, "--run", "2", "--against", "default")
    diff = made.run("runs-diff", "runs", "diff", "1", "2", *CATALOG)
    assert diff["images"]["moved"], "an image was replaced by one of something else"
    assert diff["images"]["gone"], "an image was renamed"
    made.run("runs-diff", "runs", "diff", "2", "3", *CATALOG)
    made.run("runs-undo", "runs", "undo", "3", *CATALOG)
    made.run("runs-undo", "runs", "undo", "4", *CATALOG)
    made.run("runs-prune", "runs", "prune", "--keep", "1", *CATALOG)
    made.run("runs-list", "runs", "list", *CATALOG)
    made.run("runs-show", "runs", "show", "2", *CATALOG)


def run_jobs(made):
    jobs = '[jobs.state]\ncommand = "db current"\n[jobs.wrong]\ncommand = "runs show"\narguments = ["99"]\n'
    Path("cataloger.toml").write_text(f'db = "sqlite:///catalog.db"\n{jobs}')
    # A process of its own: a fork of this one would have none of the threads that the tests before have started.
    run = [sys.executable, "-m", "cataloger", "run", "--json"]
    for arguments, status in (((), 0), (("--all",), 2), (("--all", "--dry-run"), 0)):
        done = subprocess.run([*run, *arguments], capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        made.keep("run", json.loads(done.stdout))
    Path("cataloger.toml").unlink()


def sync_and_undo(made):
    shutil.copytree(EXAMPLES / "images", "photos", dirs_exist_ok=True)
    shop = sqlite3.connect("shop.db")
    for script in ("schema.sql", "rows.sql"):
        shop.executescript((EXAMPLES / "shop" / script).read_text())
    do("db", "upgrade", *SHOP)
    made.run("sync", "sync", *SYNC, "--dry-run")
    first = made.run("sync", "sync", *SYNC, "--label-map", str(EXAMPLES / "shop" / "codes.csv"))
    assert first["write_back"]["written"]["category"]
    shop.execute("UPDATE products SET category = 'mine' WHERE sku = 'TSH-02'")
    shop.commit()
    shop.close()
    second = made.run("sync", "sync", *SYNC, "--force")
    assert second["write_back"]["edited"] == 1
    made.run("runs-diff", "runs", "diff", "1", "2", *SHOP)
    made.run("report", "report", *SHOP)
    undone = made.run("runs-undo", "runs", "undo", "1", "--skip-edited", *SHOP)
    assert undone["restored"] or undone["edited"]
    made.run("runs-list", "runs", "list", *SHOP)
    name = made.run("sources-list", "sources", "list", *SHOP)[0]["name"]
    made.run("sources-delete", "sources", "delete", name, "--dry-run", *SHOP)
    made.run("sources-delete", "sources", "delete", name, "--yes", *SHOP)


NAMES = sorted(path.stem for path in SCHEMAS.glob("*.json"))
ELSEWHERE = ("bench", "models-quantize", "train", *(name for name in NAMES if name.startswith("presets-")))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_outputs_fit_their_schema(name, scene, fits_schema):
    assert scene.outputs[name]
    for output in scene.outputs[name]:
        fits_schema(name, output)


def test_a_key_that_no_schema_knows_is_found(scene, fits_schema):
    output = scene.outputs["tag"][0]
    with pytest.raises(AssertionError, match="surprise"):
        fits_schema("tag", {**output, "surprise": 1})
    with pytest.raises(AssertionError, match="run_id"):
        fits_schema("tag", {key: value for key, value in output.items() if key != "run_id"})


def test_every_output_has_a_schema():
    commands = ["-".join(name) for name, command in leaves() if any("--json" in p.opts for p in command.params)]
    others = {"evaluate-corrections", "image", "profile"}
    assert set(NAMES) == {*commands, *others}


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_valid_and_explain_every_key(name):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    assert not list(unexplained(schema, name))


def test_the_page_names_every_schema():
    page = (SCHEMAS.parent / "json.md").read_text()
    assert sorted(re.findall(r"\(schemas/([a-z-]+)\.json\)", page)) == NAMES


def leaves(group=None, prefix=()):
    """Yield the name of every command, in parts, and the command."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*prefix, name))
        else:
            yield (*prefix, name), command


def unexplained(schema, place):
    """Yield the places of keys that have no description, nor have their items."""
    for key, value in schema.get("properties", {}).items():
        if not explained(value):
            yield f"{place}.{key}"
    for key, value in schema.items():
        for part in (
            value if isinstance(value, list) else value.values() if key in ("properties", "$defs") else [value]
        ):
            if isinstance(part, dict):
                yield from unexplained(part, f"{place}.{key}")


def explained(schema):
    """True if a schema says itself what it is, or leaves it to its parts."""
    parts = [schema.get("items"), *schema.get("anyOf", ())]
    return bool("description" in schema or "$ref" in schema or "properties" in schema or any(filter(None, parts)))
