"""README and `--help` say what is there: every command, flag, column and figure."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from cataloger.cli.app import EXIT_STATUSES, app
from cataloger.cli.config import defaults_for
from cataloger.model.bundle import default_bundle_path
from cataloger.schema.views import IMAGE_COLUMNS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (?:\.venv/bin/)?(cataloger .*)$", README, re.MULTILINE)


def leaves(group, prefix=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*prefix, name))
        else:
            yield (*prefix, name), command


LEAVES = dict(leaves(typer.main.get_command(app)))


def flags(command):
    return {option for parameter in command.params for option in parameter.opts if option.startswith("-")}


@pytest.mark.parametrize("name", list(LEAVES), ids=" ".join)
def test_every_command_is_in_the_readme(name):
    assert any(shlex.split(line)[1 : 1 + len(name)] == list(name) for line in COMMANDS)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_exists_with_its_flags(line):
    words = shlex.split(line, comments=True)[1:]
    name = next((n for n in LEAVES if tuple(words[: len(n)]) == n), None)
    assert name, line
    used = {word for word in words if word.startswith("-")}
    assert used <= flags(LEAVES[name])


@pytest.mark.parametrize("name", list(LEAVES), ids=" ".join)
def test_every_flag_is_explained(name):
    command = LEAVES[name]
    assert command.help
    unexplained = [p.name for p in command.params if not getattr(p, "help", None)]
    assert not unexplained


def test_the_configuration_of_the_readme_is_valid():
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    known = {
        " ".join(name): {option.removeprefix("--"): option for option in flags(command)}
        for name, command in LEAVES.items()
    }
    assert defaults_for(tomllib.loads(text), known)["tag"]["--max-failure-rate"] == 0.02


def test_every_column_of_the_view_is_documented():
    documented = README.replace("confidence_1 .. label_5", " ".join(c for c in IMAGE_COLUMNS if c[-1:].isdigit()))
    assert not [column for column in IMAGE_COLUMNS if column not in documented]


def test_exit_statuses_agree_between_help_and_readme():
    in_help = set(re.findall(r"(\d+) [a-z]", EXIT_STATUSES))
    assert in_help == set(re.findall(r"^\| (\d+) \|", README, re.MULTILINE))


def test_the_figures_of_the_readme_are_those_of_the_shipped_model():
    tests = json.loads((default_bundle_path() / "bundle.json").read_text())["provenance"]["test"]
    for name in ("fpi 224", "fpi 60x80", "cc0 224"):
        report = tests[name]
        cells = [f"{report['images']:,}", *(share(report[figure]) for figure in ("top1", "top5"))]
        cells.append(f"{report['ece']['value']:.3f}")
        assert " | ".join(cells) in README


def share(values):
    return f"{values['value']:.3f} ({values['low']:.3f}-{values['high']:.3f})"


def test_the_changelog_names_the_version_or_unreleased():
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_the_makefile_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
