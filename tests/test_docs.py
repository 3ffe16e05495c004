"""README, the pages of the site and `--help` say what is there: every command, flag, table, code and figure.

A block of commands that can run is marked: `<!-- run -->` on the line before it. All such blocks of a page run one
after the other in one shell, in a temporary folder that holds `examples/`, as a reader would type them. Where a page
shows the output of a command, it shows all of it, whatever the numbers; or parts of it, if "(Parts of the output.)"
follows the block. `<!-- run: status 3 -->` says how the last command of a block ends. `<!-- file: NAME -->` before a
block writes it into a file.
"""

import ast
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cataloger import errors
from cataloger.cli.app import EXIT_STATUSES, app
from cataloger.cli.config import ConfigFile, defaults_for, jobs_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
PAGES = dict(sorted(PAGES.items())) | {"README.md": README}
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MARKED = re.compile(r"^<!-- (run|file)(?:: ([^>]*?))? -->\n+```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PARTS = "(Parts of the output"
ENDS_A_COMMAND = ("|", "||", "&&", ";", ">", ">>", "<")
BUNDLE = json.loads((ROOT / "cataloger" / "default_model" / "bundle.json").read_text())


def leaves(group, prefix=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*prefix, name))
        else:
            yield (*prefix, name), command


LEAVES = dict(leaves(typer.main.get_command(app)))


def flags(command):
    return {option for p in command.params for option in (*p.opts, *p.secondary_opts) if option.startswith("-")}


def commands_of(text):
    """Yield what follows `cataloger` wherever a text calls it: a prompt, a crontab, a unit, a manifest, a line."""
    for line in "\n".join(FENCED.findall(text)).splitlines():
        if found := re.search(r"(?:^|[\s/])cataloger ((?:[a-z]|--config).*)$", line):
            yield found[1]
        if found := re.search(r"\[cataloger, ([^\]]*)\]", line):
            yield found[1].replace(", ", " ")
    yield from re.findall(r"`(?:[^`\s]*/)?cataloger ([a-z][^`]*)`", FENCED.sub("", text))


def words_of(line):
    """Return the words of one call, up to where the shell goes on with something else."""
    words = shlex.split(line, comments=True)
    end = next((number for number, word in enumerate(words) if word in ENDS_A_COMMAND), len(words))
    words = words[:end]
    return words[2:] if words[0] == "--config" else words


def command_of(words):
    return next((name for name in LEAVES if tuple(words[: len(name)]) == name), None)


CALLS = sorted({(page, line) for page, text in PAGES.items() for line in commands_of(text)})


@pytest.mark.parametrize("name", list(LEAVES), ids=" ".join)
def test_every_command_is_in_the_pages(name):
    assert any(command_of(words_of(line)) == name for page, line in CALLS if page != "README.md")


@pytest.mark.parametrize(("page", "line"), CALLS)
def test_every_command_of_the_pages_exists_with_its_flags(page, line):
    words = words_of(line)
    if len(words) == 1 and any(name[0] == words[0] for name in LEAVES):
        return  # a command or a group, as a text speaks of it
    name = command_of(words)
    assert name, line
    used = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert used - {"--help", "-h", "-vv"} <= flags(LEAVES[name])


@pytest.mark.parametrize("name", list(LEAVES), ids=" ".join)
def test_every_flag_is_explained(name):
    command = LEAVES[name]
    assert command.help
    unexplained = [p.name for p in command.params if not getattr(p, "help", None)]
    assert not unexplained


def test_every_variable_of_the_pages_exists():
    known = {p.envvar for command in LEAVES.values() for p in command.params if p.envvar} | {"CATALOGER_CONFIG"}
    used = {name for text in PAGES.values() for name in re.findall(r"CATALOGER_[A-Z_]+\b", text)}
    assert used <= known


def toml_blocks():
    return [(page, text) for page in PAGES for text in re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL)]


@pytest.mark.parametrize(("page", "text"), toml_blocks())
def test_every_configuration_of_the_pages_is_valid(page, text):
    known = {
        " ".join(name): {option.removeprefix("--"): option for option in flags(command)}
        for name, command in LEAVES.items()
    }
    file = ConfigFile(tomllib.loads(text), page, text)
    assert defaults_for(file, known)
    assert len(jobs_of(file, known)) == len(file.values.get("jobs", {}))


# --- what the reference says of tables, codes and statuses


def documented(page, level):
    """Yield each heading of a level and the first column of the tables below it, names in code."""
    for part in re.split(rf"^{level} ", page, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        body = re.split(r"^##? ", body, flags=re.MULTILINE)[0]
        cells = re.findall(r"^\| (`[^|]*) \|", body, re.MULTILINE)
        yield heading, [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_tables_and_views_are_described_column_by_column(tmp_path):
    path = tmp_path / "catalog.db"
    assert CliRunner().invoke(app, ["db", "upgrade", "--db", f"sqlite:///{path}"]).exit_code == 0
    with sqlite3.connect(path) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        ]
        columns = {name: sorted(row[1] for row in connection.execute(f"PRAGMA table_info({name})")) for name in names}
    page = (REFERENCE / "tables.md").read_text()
    assert {name: sorted(found) for name, found in documented(page, "###")} == columns


CODE = re.compile(r"(?:classify|decode|explain|fetch|io|record|source)\.[a-z_]+")


def codes_in_the_code():
    for path in (ROOT / "cataloger").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                yield node.value


def test_every_error_code_is_described_and_no_other():
    page = (REFERENCE / "errors.md").read_text()
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| (\w+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == len({code for code, *_ in rows})
    assert {code for code, *_ in rows} == set(codes_in_the_code())
    for code, kind, *_ in rows:
        assert kind == ("transient" if code.startswith(("fetch.", "io.")) else "permanent"), code


def test_every_error_is_described_with_its_exit_status():
    page = (REFERENCE / "errors.md").read_text()
    found = dict(re.findall(r"^\| `([A-Z]\w+)` \| (\d+) \|", page, re.MULTILINE))
    classes = [each for each in vars(errors).values() if isinstance(each, type) and each is not errors.CatalogerError]
    assert found == {each.__name__: str(each.exit_code) for each in classes}


def test_exit_statuses_agree_between_help_and_reference():
    in_help = set(re.findall(r"(\d+) [a-z]", EXIT_STATUSES))
    page = (REFERENCE / "exit-statuses.md").read_text()
    assert in_help == set(re.findall(r"^\| (\d+) \|", page, re.MULTILINE))


def test_the_format_of_a_bundle_is_described_key_by_key():
    headings = dict(documented((REFERENCE / "bundle.md").read_text(), "##"))
    assert [name for name in headings["bundle.json"] if name in BUNDLE] == list(BUNDLE)
    assert {*BUNDLE["files"], "bundle.json"} <= set(headings["Files"])


def test_the_figures_are_those_of_the_shipped_model():
    page = PAGES["docs/explanation/accuracy.md"]
    for name in ("shops", "fpi", "cc0"):
        report = BUNDLE["provenance"]["test"][name]
        cells = [f"{report['images']:,}", *(share(report[figure]) for figure in ("top1", "top5"))]
        cells.append(f"{report['ece']['value']:.3f}")
        assert " | ".join(cells) in page


def share(values):
    return f"{values['value']:.3f} ({values['low']:.3f}-{values['high']:.3f})"


# --- the site as it is built


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site; a strict build finds dead links and anchors, and pages that are not in the nav."""
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, styles, pictures, frames."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag != "a":
            self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]


def test_the_site_asks_no_other_server_for_anything(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        remote = [each for each in Loaded(text).addresses if re.match(r"(https?:)?//", each)]
        assert not remote, page
        assert 'class="mermaid"' not in text, "its script would come from another server"


@pytest.mark.parametrize("name", list(LEAVES), ids=" ".join)
def test_the_reference_of_the_command_line_has_every_flag(name, site):
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    part = text.partition(f'<h2 id="cataloger-{"-".join(name)}"')[2].partition("<h2 ")[0]
    assert part
    missing = [flag for flag in flags(LEAVES[name]) if not re.search(rf"<code>[^<]*{flag}\b", part)]
    assert not missing


def test_every_schema_is_in_the_site(site):
    names = {path.name for path in (REFERENCE / "schemas").glob("*.json")}
    assert names == {path.name for path in (site / "reference" / "schemas").glob("*.json")} != set()


# --- README


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text() if path else README, re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            ]


def test_the_files_that_developers_are_sent_to_exist():
    table = (ROOT / "DEVELOPERS.md").read_text().partition("## Where to look")[2]
    paths = re.findall(r"`([a-z_/]+(?:\.py|/))`", table)
    assert len(paths) > 20
    missing = [path for path in paths if not any((folder / path).exists() for folder in (ROOT, ROOT / "cataloger"))]
    assert not missing


def test_the_changelog_names_the_version_or_unreleased():
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_the_makefile_targets_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = {target for text in PAGES.values() for target in re.findall(r"`make ([a-z-]+)`", text)}
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


# --- pages that are run


RUNNABLE = [page for page, text in PAGES.items() if "<!-- run" in text]
SLOW = {"docs/tutorials/adapt.md", "docs/tutorials/own-categories.md"}


def test_the_readme_and_the_tutorials_are_run():
    assert {"README.md", *(page for page in PAGES if page.startswith("docs/tutorials/"))} <= set(RUNNABLE)


@pytest.mark.timeout(1800)  # a training on a busy machine
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page in SLOW else ()) for page in RUNNABLE]
)
def test_the_commands_of_a_page_do_what_it_shows(page, tmp_path):
    if shutil.which("sqlite3") is None:
        (pytest.fail if os.environ.get("CATALOGER_NO_SKIPS") == "1" else pytest.skip)("sqlite3 is not installed")
    run_page(PAGES[page], tmp_path)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("<!-- run -->\n```console\n$ echo Hat 5\nHat 6\nScarf 6\n```\n", "Scarf"),
        ("<!-- run -->\n```console\n$ false\n$ echo Hat\nHat\n```\n", "false"),
        ("<!-- run: status 3 -->\n```console\n$ true\n```\n", "true"),
        ("<!-- run -->\n```console\n$ exit 0\n$ echo Hat\nHat\n```\n", "exit"),
        ("<!-- run -->\n```console\n$ printf 'Hat 5\\nScarf 5\\n'\nHat 5\n```\n", "Scarf"),
    ],
)
def test_a_page_that_shows_something_else_is_found(block, why, tmp_path):
    with pytest.raises(AssertionError, match=why):
        run_page(block, tmp_path)


def run_page(text, folder):
    """Run the marked blocks of a page in a folder with the examples, and compare with what it shows."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    steps = [
        (*step, text[block.end() :].lstrip().startswith(PARTS))
        for block in MARKED.finditer(text)
        for step in steps_of(*block.groups())
    ]
    command = ["bash", "-c", "\n".join(shell for shell, *_ in steps)]
    done = subprocess.run(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    parts = re.split(r"^== (\d+)\n", done.stdout.decode(errors="replace"), flags=re.MULTILINE)
    outputs, statuses = parts[0::2], [int(status) for status in parts[1::2]]
    for (shell, expected, status, are_parts), output, ended in zip(steps, outputs, [*statuses, None], strict=False):
        assert ended == status, f"{shell}\n{output}"
        printed = output.splitlines()
        missing = [line for line in expected if masked(line) not in map(masked, printed)]
        assert not missing, f"{shell}\nprinted\n{output}\nnot\n{missing}"
        if expected and not are_parts:
            hidden = [line for line in printed if line.strip() and masked(line) not in map(masked, expected)]
            assert not hidden, f"{shell}\nprinted also, which the page does not show\n{hidden}"
    assert len(statuses) == len(steps)


def steps_of(kind, note, text):
    """Yield what the shell runs, the lines that the page shows, and the exit status, of each command of a block."""
    if kind == "file":
        yield f"cat > {shlex.quote(note)} <<'END OF FILE'\n{text}END OF FILE\n{REPORT}", [], 0
        return
    last = int(note.removeprefix("status ")) if note else 0
    commands = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    for number, command in enumerate(commands, start=1):
        line, *shown = command.rstrip("\n").split("\n")
        yield f"{line}\n{REPORT}", [each for each in shown if each.strip()], last if number == len(commands) else 0


REPORT = "printf '\\n== %s\\n' $?"


def masked(line):
    """Return a line without its numbers, which change from run to run, nor the order and distance of its words."""
    return sorted(re.sub(r"\d[\d.,e+-]*", "#", line).split())


def environment():
    """Return the environment of a reader: the commands of this environment first, none of our own variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CATALOGER_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
