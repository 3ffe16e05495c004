"""The model card of a bundle: what it is, how it was made, how good it is."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cataloger.errors import TrainingError
from cataloger.model import CARD, Bundle
from cataloger.options import Attention
from cataloger.training.evaluation.findings import Findings
from cataloger.training.evaluation.scoring import _figure, _share
from cataloger.training.metrics import MetricsReport

ATTENTION: dict[Attention, str] = {
    "mhsa": "with multi-head self-attention over its last feature map",
    "mhsa-early": "with multi-head self-attention in front of its last convolutions",
    "none": "without attention",
}

TEMPLATE = """\
# {title}

Classifies a photo of a fashion product into one of {classes} categories. A bundle of cataloger: MobileNet v1
{attention}, {parameters:,} parameters, {size}x{size} pixels,
no landmarks, no boxes.

Categories:
{labels}.

{notes}
## Training

Recipe `{recipe}`: {what}.
{images} images (train / val / test).
Seed {seed}, {options}.

## Decisions

{decisions}
{results}"""

RESULTS = """\
## Results on the test split

Share and 95% interval (Wilson for shares, bootstrap for macro F1 and ECE). A row with several accepted labels
counts as right when any of them is ranked; macro F1, ECE and recall use rows with one accepted label, and classes
with at least 20 of them. By chance: the ECE to expect of perfect confidences on so few images.

{tables}
{confusions}"""

MOST_CONFUSIONS = 15
FIGURES = ("test images", "number", "top-1", "top-5", "macro F1 (classes)", "ECE, 15 bins", "by chance")
"""Names of the main figures of a report."""

PARTS = {True: "the early layers stay unchanged, the rest is trained", False: "all layers are trained"}
LISTED_OPTIONS = (
    "optimizer", "schedule", "learning_rate", "weight_decay", "epochs", "batch_size", "views", "crop",
    "augmentation", "progressive", "plain_epochs", "mixup", "label_smoothing", "ema", "average_last", "balance",
    "balance_by", "select_by", "soft_share", "blend",
)  # fmt: skip


def write_card(bundle: Bundle, findings: Findings | None, *, decisions: str, notes: Path | None) -> None:
    """Write MODEL_CARD.md into the bundle's directory.

    findings: on the test split, if there is one. decisions: Markdown section on the calibration. notes: Markdown
    about data, licences and weaknesses.
    """
    provenance = bundle.provenance
    recipe = provenance["recipe"]
    try:
        text = notes.read_text(encoding="utf-8") if notes else ""
    except OSError as error:
        raise TrainingError(f"the notes {notes} cannot be read: {error.strerror}") from error
    card = TEMPLATE.format(
        title=bundle.title,
        classes=len(bundle.labels),
        attention=ATTENTION[bundle.network.attention],
        parameters=provenance["parameters"],
        size=bundle.preprocess.size,
        labels=textwrap.fill(", ".join(bundle.labels), 116),
        notes=text,
        recipe=recipe["name"],
        what=PARTS[recipe["frozen"]],
        images=" / ".join(f"{count:,}" for count in provenance["data"]["images"].values()),
        seed=provenance["seed"],
        options=", ".join(_option(name, recipe[name]) for name in LISTED_OPTIONS if recipe[name] != []),
        decisions=decisions,
        results=_results(findings),
    )
    (bundle.path / CARD).write_text(card, encoding="utf-8")


def with_results(card: str, findings: Findings | None) -> str:
    """Put the results of the test split into a model card, in place of those that stand there."""
    return card.partition("## Results")[0] + _results(findings)


def _results(findings: Findings | None) -> str:
    return RESULTS.format(
        tables=markdown_tables(findings.reports) if findings else "No row of the labels had split test.",
        confusions=_confusions(findings) if findings else "",
    )


def _option(name: str, value: Any) -> str:
    shown = " and ".join(value) if isinstance(value, list) else value
    return f"{name.replace('_', ' ')} {shown}"


def _confusions(findings: Findings) -> str:
    """Return a section on what is taken for what; nothing where nothing is confused."""
    support = {each.label: each.support for each in findings.classes}
    lines = [
        f"| {each.given} | {each.predicted} | {each.images} | {each.images / support[each.given]:.0%} |"
        for each in findings.confusions[:MOST_CONFUSIONS]
    ]
    table = ["| test images of | taken for | number | share |", "|---|---|---|---|", *lines]
    return "\n## What it confuses\n\n" + "\n".join(table) + "\n" if lines else ""


def add_section(bundle: Bundle, title: str, text: str) -> None:
    """Put a section into the model card of a bundle that is being written."""
    path = bundle.path / CARD
    path.write_text(with_section(path.read_text(encoding="utf-8"), title, text), encoding="utf-8")


def with_section(card: str, title: str, text: str) -> str:
    """Put a section into a model card, in place of the one of this title, or before the results."""
    rest = re.sub(rf"^{re.escape(title)}\n.*?(?=^## |\Z)", "", card, flags=re.DOTALL | re.MULTILINE)
    before, results, after = rest.partition("## Results")
    return f"{before.rstrip()}\n\n{title}\n\n{text}\n{results}{after}".rstrip() + "\n"


def markdown_tables(reports: dict[str, MetricsReport]) -> str:
    """Return the reports as Markdown: a table of the main figures, then the recall of each class."""
    parts = (markdown_figures(reports), _markdown_recall(reports))
    return "\n\n".join(part for part in parts if part)


def markdown_figures(reports: dict[str, MetricsReport]) -> str:
    """Return the main figures of the reports as a Markdown table."""
    lines = [_markdown_row(FIGURES), "|---" * len(FIGURES) + "|"]
    lines += [_markdown_row(figures_row(name, report)) for name, report in reports.items()]
    return "\n".join(lines)


def figures_row(name: str, report: MetricsReport) -> tuple[str, ...]:
    """Return the main figures of a report as text, in the order of FIGURES. name: of the test images."""
    return (
        name,
        str(report.images),
        _share(report.top1),
        _share(report.top5),
        f"{_share(report.macro_f1)} ({report.classes})",
        _share(report.ece),
        _figure(report.ece_by_chance),
    )


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_recall(reports: dict[str, MetricsReport]) -> str:
    """Return the recall of each class as a Markdown table; no text where no class has images enough."""
    labels = sorted({label for r in reports.values() for label in r.recall})
    if not labels:
        return ""
    lines = ["| recall | " + " | ".join(reports) + " |", "|---" * (len(reports) + 1) + "|"]
    for label in labels:
        cells = (_share(r.recall[label]) if label in r.recall else "" for r in reports.values())
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
