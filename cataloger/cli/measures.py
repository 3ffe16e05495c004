"""What `evaluate` and `models diff` print: compact tables, what is worst first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from cataloger.cli import render
from cataloger.text import printable

if TYPE_CHECKING:
    from cataloger.training.assessment import Evaluation, Subject
    from cataloger.training.findings import Findings
    from cataloger.training.intervals import Share
    from cataloger.training.metrics import Report

CLASSES = 15
CONFUSIONS = 10
MISTAKES = 10
NAMED = 5


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


def _group(name: str, report: "Report") -> tuple[object, ...]:
    f1 = f"{share(report.macro_f1_all)} ({report.classes_all})"
    return (name, report.images, share(report.top1), share(report.top3), share(report.top5), f1, share(report.ece))


def share(measured: "Share") -> str:
    """Return a share with its interval, "-" if there is none."""
    if measured.value != measured.value:
        return "-"
    return f"{measured.value:.3f} ({measured.low:.3f}-{measured.high:.3f})"


def about(subject: "Subject") -> list[str]:
    """Return what is missing from the figures and what their reader must know, a line each."""
    lines = list(subject.notes)
    if subject.failures:
        lines.append(_named(f"left out, {len(subject.failures):,} images without an answer", subject.failures))
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
    return f"{subject.model} on {where}: {images:,} of {subject.images:,} labelled images"


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
    return [*rows, ("area under risk-coverage (AURC)", f"{report.aurc:.4f}", "")]


def _value_and_interval(measured: "Share") -> tuple[str, str]:
    value, _, interval = share(measured).partition(" ")
    return value, interval.strip("()")


def _print_classes(console: Console, findings: "Findings") -> None:
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
        rows = [(each.given, each.predicted, each.images) for each in findings.confusions[:CONFUSIONS]]
        console.print()
        console.print(render.table(("confused", "taken for", "images"), rows))


def _print_confidences(console: Console, findings: "Findings") -> None:
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


def _print_mistakes(console: Console, findings: "Findings") -> None:
    rows = [
        (each.file, " | ".join(each.given), each.predicted, each.confidence, _known(each.given_confidence))
        for each in findings.mistakes[:MISTAKES]
    ]
    if rows:
        console.print()
        columns = ("most confident mistakes", "label", "predicted", "confidence", "of the label")
        console.print(render.table(columns, rows))
        _say(console, f"{findings.mistakes_in_all:,} mistakes in all; the most confident may be wrong labels")


def _known(confidence: float | None) -> str:
    return "-" if confidence is None else f"{confidence:.3f}"


def _say(console: Console, text: str) -> None:
    """Print a line that holds names: no markup, no control characters."""
    console.print(printable(text), markup=False)
