"""Pages of the site that are made while it is built: the reference of the command line, and texts kept elsewhere.

MkDocs calls `on_files` and adds the pages to those of docs/; nothing is written into the repository.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from cataloger.cli.app import EXIT_STATUSES, app

ROOT = Path(__file__).resolve().parents[2]
COPIED = {
    "reference/model-card.md": "cataloger/default_model/MODEL_CARD.md",
    "reference/changelog.md": "CHANGELOG.md",
}
"""Page -> the file of the repository that holds its text."""

NOTES = re.compile(r"\s*\[(?P<notes>(?:env var|default|required|[\d.]+<|x>)[^\[\]]*)\]$")
"""What is appended to the help of a flag: variable, default and range."""

TYPE = re.compile(r"\s*<(?:str|path|int|float|list\[\w+\]|int range|float range)>$")
"""The type of a value, which says nothing beside the name of the value."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages. Called by MkDocs."""
    files.append(File.generated(config, "reference/cli.md", content=cli_page()))
    for page, source in COPIED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Switch the reference of `cataloger.api` on where that module exists. Called by MkDocs."""
    if page.file.src_uri == "reference/python-api.md" and (ROOT / "cataloger" / "api.py").is_file():
        return markdown.replace("<!-- ::: cataloger.api -->", "::: cataloger.api")
    return markdown


def cli_page() -> str:
    """Return the reference of the command line: every command with its arguments and flags, in Markdown."""
    root: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        "Made from the program itself; `cataloger COMMAND --help` prints the same.",
        _paragraphs(root.help),
        *_tables(root, "cataloger"),
        EXIT_STATUSES + " More: [exit statuses](exit-statuses.md).",
        *_commands(root, "cataloger"),
    ]
    return "\n\n".join(parts) + "\n"


def _commands(group: Any, name: str) -> Iterator[str]:
    for own, command in group.commands.items():
        full = f"{name} {own}"
        if hasattr(command, "commands"):
            yield from _commands(command, full)
            continue
        context = command.context_class(command, info_name=full)
        usage = command.get_usage(context).removeprefix("Usage: ")
        yield f"## {full}"
        yield _paragraphs(command.help)
        yield f"```text\n{usage}\n```"
        yield from _tables(command, full)
        if command.epilog:
            yield from _epilog(command.epilog)


def _tables(command: Any, name: str) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    records = [
        (parameter.param_type_name == "argument", parameter.get_help_record(context)) for parameter in command.params
    ]
    for is_argument, title in ((True, "argument"), (False, "flag")):
        rows = [_row(*record) for is_one, record in records if record and is_one is is_argument]
        if rows:
            yield "\n".join((f"| {title} | meaning |", "|---|---|", *rows))


def _row(name: str, text: str) -> str:
    found = NOTES.search(text)
    meaning = text[: found.start()] if found else text
    notes = dict(_note(each) for each in found["notes"].split("; ")) if found else {}
    rest = " ".join(notes[kind] for kind in ("default", "required", "range", "env var") if kind in notes)
    # A bar would end the cell, in Markdown's own code, too.
    shown = html.escape(TYPE.sub("", name)).replace("|", "&#124;")
    return f"| <code>{shown}</code> | {_escaped(meaning)}{'<br>' if rest else ''}{rest} |"


def _note(text: str) -> tuple[str, str]:
    kind, _, value = text.partition(": ")
    if value:
        return kind, f"{'Default' if kind == 'default' else 'Variable'}: `{value}`."
    if text == "required":
        return text, "Required."
    lowest, _, highest = text.replace("x>=", "").partition("<=x<=")
    return "range", f"From {lowest} to {highest}." if highest else f"{lowest} or more."


def _escaped(text: str) -> str:
    """Escape what Markdown would take for HTML or emphasis."""
    return text.replace("|", "&#124;").replace("<", "&lt;").replace("*", "\\*")


def _paragraphs(text: str) -> str:
    return text.replace("<", "&lt;").strip()


def _epilog(text: str) -> Iterator[str]:
    """Yield the end of a help text: what it sets literally (after \\b) as a block, the rest as paragraphs."""
    for part in re.split(r"\n\n(?=\S)|\n(?=\x08)", text.strip("\n")):
        is_literal = part.startswith("\x08")
        body = part.removeprefix("\x08").strip("\n")
        if is_literal:
            title, _, lines = body.partition("\n")
            yield f"{title}\n\n```text\n{lines or title}\n```" if lines else title
        else:
            yield _paragraphs(body)
