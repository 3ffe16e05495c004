"""`models`, `db`, `doctor`, help and completion."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import cataloger
from cataloger.cli.app import app
from cataloger.model.bundle import GOLDEN, default_bundle_path, kept_bundle_paths
from cataloger.schema.revisions import HEAD

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, list(arguments))


def test_version_is_printed():
    assert run("--version").stdout == f"cataloger {cataloger.__version__}\n"


def test_the_shipped_model_is_listed_shown_and_verified(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed, former = json.loads(run("models", "list", "--json").stdout)
    shown = json.loads(run("models", "show", "--json").stdout)
    assert listed["weights_id"] == shown["weights_id"]
    assert len(shown["labels"]) == 50
    assert (former["name"], former["version"], len(former["labels"])) == ("fashion-39", "0.3", 39)
    assert "golden images give the same logits" in run("models", "verify").stdout
    for command in ("list", "show"):
        assert shown["name"] in run("models", command).stdout


def test_bundles_of_a_folder_are_listed(tmp_path):
    shutil.copytree(default_bundle_path(), tmp_path / "mine")
    listed = json.loads(run("models", "list", str(tmp_path), "--json").stdout)
    shipped = [default_bundle_path(), *kept_bundle_paths()]
    assert [entry["path"] for entry in listed] == [*map(str, shipped), str(tmp_path / "mine")]


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "golden.npz", "MODEL_CARD.md"])
def test_a_damaged_model_does_not_verify(tmp_path, name):
    shutil.copytree(default_bundle_path(), tmp_path / "mine")
    with (tmp_path / "mine" / name).open("ab") as file:
        file.write(b"x")
    result = run("models", "verify", str(tmp_path / "mine"))
    assert result.exit_code == 1
    assert f"{name} is not the file" in result.stderr


def test_a_model_that_computes_something_else_does_not_verify(tmp_path):
    import numpy as np

    from cataloger.model.bundle import read_bundle, seal

    shutil.copytree(default_bundle_path(), tmp_path / "mine")
    bundle = read_bundle(tmp_path / "mine")
    with np.load(bundle.path / GOLDEN) as golden:
        np.savez_compressed(bundle.path / GOLDEN, images=golden["images"], logits=golden["logits"] + 0.01)
    seal(bundle)
    result = run("models", "verify", str(bundle.path))
    assert result.exit_code == 1
    assert "gives other logits than when it was exported" in result.stderr


def test_the_tables_are_made_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    assert f"revision none, this version has {HEAD}" in run("db", "current", "--db", url).stdout
    assert run("db", "upgrade", "--db", url).stdout == f"{url}: from no tables to {HEAD}\n"
    assert run("db", "upgrade", "--db", url).stdout == f"{url}: already at {HEAD}\n"
    current = json.loads(run("db", "current", "--db", url, "--json").stdout)
    assert current == {"db": url, "revision": HEAD, "head": HEAD}


def test_the_statements_can_be_printed_for_somebody_else_to_run():
    result = run("db", "upgrade", "--sql", "--db", "postgresql://shop:s3cret@db/catalog")
    assert result.exit_code == 0
    assert "CREATE TABLE IF NOT EXISTS cataloger_item" in result.stdout
    assert "s3cret" not in result.stdout


def test_the_doctor_finds_this_machine_in_order():
    result = run("doctor", "--json")
    assert result.exit_code == 0
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert all(finding["ok"] for finding in findings.values())
    assert "golden images" in findings["default model"]["found"]
    assert run("doctor").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["tag"], ["train"], ["evaluate"]])
def test_help_explains_and_shows_examples(arguments):
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    expected = "Exit status: 0 done" if not arguments else f"  cataloger {arguments[0]} "
    assert expected in result.stdout


@pytest.mark.parametrize("group", ["", "corrections", "db", "models", "runs", "sources"])
def test_a_list_of_commands_says_of_each_what_it_does_in_one_whole_line(group):
    """A text that does not fit into 80 columns would be cut: the first sentence of a docstring is short."""
    result = runner.invoke(app, [*group.split(), "--help"], env={"COLUMNS": "80"})
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert listed
    assert [line for line in listed if line.endswith("...") or not line.startswith("  ") or line[2] == " "] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_for_each_shell(shell):
    code = "from cataloger.cli.app import app; app(prog_name='cataloger')"
    command = [sys.executable, "-c", code, "--show-completion", shell]
    # Without it typer looks for the shell that started the tests, and there may be none.
    env = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert result.returncode == 0, result.stderr
    assert "_CATALOGER_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "list"),
        ("runs", "show", "1"),
        ("runs", "diff", "1", "2"),
        ("runs", "undo", "1"),
        ("runs", "prune", "--keep", "3"),
        ("sources", "list"),
        ("sources", "move", "a", "b"),
        ("sources", "rename", "a", "b"),
        ("sources", "delete", "a", "--yes"),
        ("recalibrate",),
        ("review", "--no-open"),
        ("db", "downgrade", "base", "--yes"),
    ],
    ids=" ".join,
)
def test_a_mistyped_database_is_told_and_not_made(command, tmp_path):
    result = run(*command, "--db", f"sqlite:///{tmp_path}/typo.db")
    assert result.exit_code == 1
    assert "typo.db has no " in result.stderr
    assert not list(tmp_path.iterdir())
