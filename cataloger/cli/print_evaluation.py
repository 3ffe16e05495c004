"""What `evaluate` and `models diff` print: compact tables, worst first."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cataloger.cli import render
from cataloger.utils import counted, printable

if TYPE_CHECKING:
    from rich.console import Console

    from cataloger.training.evaluation import Comparison, Evaluation, Findings, ModelDiff, OnlyOne, Subject
    from cataloger.training.metrics import MetricsReport, Share

CLASSES = 15
CONFUSIONS = 10
MISTAKES = 10
NAMED = 5
DIFF_NAMES = {"macro_f1": "macro F1", "ece": "calibration error (ECE)"}


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print an evaluation: figures, groups, classes, confusions, confidences, mistakes."""
    console, findings = render.stdout_console(), evaluation.findings
    _say(console, _headline(evaluation.subject, findings.overall.images))
    for line in about(evaluation.subject):
        _say(console, line)
    console.print(render.table(("", "value", "95% interval"), _figures(findings)))
    if findings.groups:
        console.print()
        columns = ("group", "images", "top-1", "top-3", "top-5", "F1 (classes)", "ECE")
        console.print(render.table(columns, [_group(name, each) for name, each in findings.groups.items()]))
    _print_classes(console, findings)
    _print_confidences(console, findings)
    _print_mistakes(console, findings)


def _group(name: str, report: "MetricsReport") -> tuple[object, ...]:
    f1 = f"{share(report.macro_f1_all)} ({report.classes_all})"
    return (name, report.images, share(report.top1), share(report.top3), share(report.top5), f1, share(report.ece))


def share(measured: "Share") -> str:
    """Return a share with its interval, "-" if there is none."""
    if math.isnan(measured.value):
        return "-"
    return f"{measured.value:.3f} ({measured.low:.3f}-{measured.high:.3f})"


def about(subject: "Subject") -> list[str]:
    """Return the notes about the figures, and what is missing from them, one line each."""
    lines = list(subject.notes)
    if subject.failures:
        lines.append(_named(f"left out: {len(subject.failures):,} images that failed", subject.failures))
    if subject.without_result:
        lines.append(
            _named(f"{len(subject.without_result):,} labelled images have no result", subject.without_result)
        )
    if subject.unlabelled:
        names = subject.unlabelled_keys
        lines.append(_named(f"{subject.unlabelled:,} results have no label in this split", names))
    return lines


def _named(text: str, names: Sequence[str]) -> str:
    return f"{text}, e.g. {'; '.join(names[:NAMED])}" if len(names) > NAMED else f"{text}: {'; '.join(names)}"


def _headline(subject: "Subject", images: int) -> str:
    where = f"results in {subject.results}" if subject.results else f"{subject.labels}, split {subject.split}"
    model = subject.model if subject.precision in (None, "fp32") else f"{subject.model} in {subject.precision}"
    return f"{model} on {where}: {images:,} of {subject.images:,} labelled images"


def _figures(findings: "Findings") -> list[tuple[str, str, str]]:
    report = findings.overall
    shares = [
        ("top-1", report.top1),
        ("top-3", report.top3),
        ("top-5", report.top5),
        (f"macro F1, {report.classes_all} classes", report.macro_f1_all),
        ("weighted F1", report.weighted_f1),
        ("calibration error (ECE)", report.ece),
    ]
    if report.classes not in (0, report.classes_all):
        shares.insert(4, (f"macro F1, {report.classes} classes of 20+ images", report.macro_f1))
    rows = [(name, *_value_and_interval(measured)) for name, measured in shares]
    if not math.isnan(report.ece_by_chance):
        rows.append(("  of perfect confidences, by chance", f"{report.ece_by_chance:.3f}", ""))
    return [*rows, ("area under risk-coverage (AURC)", f"{report.aurc:.4f}", "")]


def _value_and_interval(measured: "Share") -> tuple[str, str]:
    value, _, interval = share(measured).partition(" ")
    return value, interval.strip("()")


def _print_classes(console: "Console", findings: "Findings") -> None:
    worst = findings.worst_classes()
    taken_for: dict[str, str] = {}
    for each in findings.confusions:
        taken_for.setdefault(each.given, f"{each.predicted} ({each.images:,})")
    rows = [
        (c.label, c.support, share(c.recall), share(c.precision), c.f1.value, taken_for.get(c.label, ""))
        for c in worst[:CLASSES]
    ]
    if rows:
        console.print()
        columns = ("class, worst first", "images", "recall", "precision", "F1", "most often taken for")
        console.print(render.table(columns, rows))
    if len(worst) > CLASSES:
        _say(console, f"{len(worst) - CLASSES} better classes are not shown; --json and --output have all")
    if findings.confusions:
        pairs = [(each.given, each.predicted, each.images) for each in findings.confusions[:CONFUSIONS]]
        console.print()
        console.print(render.table(("confused", "taken for", "images"), pairs))


def _print_confidences(console: "Console", findings: "Findings") -> None:
    rows = [
        (f"at least {point.threshold:.2f}", f"{100 * point.coverage:.1f}%", share(point.accuracy))
        for point in findings.thresholds
    ]
    console.print()
    console.print(render.table(("confidence", "of the images", "of these right"), rows))
    decided = findings.decided
    if decided is not None:
        counts = ", ".join(f"{name} {count:,}" for name, count in decided.images.items() if count)
        _say(console, f"decisions: {counts}")
        _say(console, f"accepted {share(decided.coverage)}; of these right {share(decided.precision)}")


def _print_mistakes(console: "Console", findings: "Findings") -> None:
    rows = [
        (each.file, " | ".join(each.given), each.predicted, each.confidence, _known(each.given_confidence))
        for each in findings.mistakes[:MISTAKES]
    ]
    if rows:
        console.print()
        columns = ("most confident mistakes", "label", "predicted", "confidence", "of the label")
        console.print(render.table(columns, rows))
        _say(
            console, f"{counted(findings.mistakes_in_all, 'mistake')} in all; the most confident may be wrong labels"
        )


def print_model_diff(difference: "ModelDiff") -> None:
    """Print a comparison of two models: figures, chance, classes that lost most, images that only one gets right."""
    console, compared = render.stdout_console(), difference.compared
    _say(console, f"A: {compared.a}; B: {compared.b}; {difference.images:,} labelled images")
    for line in _compared(compared):
        _say(console, line)
    rows = [
        (DIFF_NAMES.get(c.name, c.name), c.a, c.b, f"{c.difference.value:+.3f}", _signed(c.difference))
        for c in difference.changes
    ]
    console.print(render.table(("", "A", "B", "B - A", "95% interval"), rows))
    only_a, only_b = difference.only_a_count, difference.only_b_count
    verdict = "more than chance" if difference.p_value < 0.05 else "may be chance"
    chance = f"{verdict} (McNemar, exact p = {difference.p_value:.3g})"
    _say(console, f"right with A alone {only_a:,}, with B alone {only_b:,}: {chance}")
    _print_class_changes(console, difference)
    for name, images in (("A", difference.only_a), ("B", difference.only_b)):
        _print_only(console, name, images)


def _compared(compared: "Comparison") -> list[str]:
    lines = []
    if compared.only_a or compared.only_b:
        only = [f"only {name} has {', '.join(labels)}" for name, labels in
                (("A", compared.only_a), ("B", compared.only_b)) if labels]  # fmt: skip
        lines.append(f"compared on the {len(compared.shared):,} labels that both have; {'; '.join(only)}")
    if compared.left_out:
        counts = ", ".join(f"{label} ({count:,})" for label, count in list(compared.left_out.items())[:NAMED])
        more = f" and {len(compared.left_out) - NAMED} more labels" if len(compared.left_out) > NAMED else ""
        lines.append(f"left out, images of labels that only one of them has: {counts}{more}")
    if compared.failures:
        lines.append(_named(f"left out: {len(compared.failures):,} images that failed", compared.failures))
    return lines


def _print_class_changes(console: "Console", difference: "ModelDiff") -> None:
    losses = [c for c in difference.classes if c.is_loss]
    moved = [c for c in difference.classes if c.difference and not c.is_loss]
    chosen = [*losses, *(c for c in moved if c.difference < 0), *(c for c in reversed(moved) if c.difference > 0)]
    if losses:
        _say(console, f"lost more than five points of recall: {', '.join(c.label for c in losses)}")
    if chosen:
        rows = [(c.label, c.support, share(c.a), share(c.b), f"{c.difference:+.3f}") for c in chosen]
        console.print()
        console.print(render.table(("recall of", "images", "A", "B", "B - A"), rows))


def _print_only(console: "Console", name: str, images: "Sequence[OnlyOne]") -> None:
    if images:
        rows = [(each.file, " | ".join(each.given), each.a, each.b, each.confidence) for each in images[:MISTAKES]]
        console.print()
        console.print(render.table((f"only {name} is right", "label", "A", "B", "confidence"), rows))


def _signed(difference: "Share") -> str:
    return "-" if math.isnan(difference.value) else f"{difference.low:+.3f} to {difference.high:+.3f}"


def _known(confidence: float | None) -> str:
    return "-" if confidence is None else f"{confidence:.3f}"


def _say(console: "Console", text: str) -> None:
    """Print a line that holds names: no markup, no control characters."""
    console.print(printable(text), markup=False)
