"""What `evaluate` and `models diff` print: compact tables, worst first."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from cataloger.cli import render
from cataloger.utils import counted, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cataloger.training.evaluation import (
        Comparison,
        DecisionChange,
        Evaluation,
        FigureChange,
        Findings,
        GroupedFigures,
        GroupKindFigures,
        ModelDiff,
        OnlyOne,
        Subject,
    )
    from cataloger.training.metrics import MetricsReport, Share

CLASSES = 15
CONFUSIONS = 10
MISTAKES = 10
NAMED = 5
SIDES: tuple[Literal["a", "b"], ...] = ("a", "b")
PARTS = {"one_label": "with one label", "unfolded": "without --fold"}
DIFF_NAMES = {"macro_f1": "macro F1", "ece": "calibration error (ECE)"}


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print an evaluation: figures, groups, classes, confusions, confidences, mistakes."""
    console, findings = render.stdout_console(), evaluation.findings
    _say(console, _headline(evaluation.subject, findings.overall.images))
    for line in about(evaluation.subject):
        _say(console, line)
    over = findings.over_groups.get("all")
    wider = (f"over {over.groups:,} groups",) if over else ()
    console.print(render.table(("", "value", "95% interval", *wider), _figures(findings)))
    if findings.groups:
        console.print()
        columns = ("group", "images", "top-1", "top-3", "top-5", "F1 (classes)", "ECE")
        console.print(render.table(columns, [_group(name, each) for name, each in findings.groups.items()]))
        if findings.over_groups:
            rows = [_over_groups(name, each) for name, each in findings.over_groups.items()]
            console.print()
            console.print(render.table(("intervals over groups", "groups", "top-1", "top-3", "top-5"), rows))
    _print_known_groups(console, evaluation.known_groups)
    _print_classes(console, findings)
    _print_confidences(console, findings)
    _print_mistakes(console, findings)


def _print_known_groups(console: "Console", figures: "Mapping[str, GroupKindFigures]") -> None:
    """Print what a model does in shops, or other groups, that it has not seen, beside those that it has."""
    if figures:
        columns = ("groups", "images", "number", "top-1", "accepted", "right of the accepted")
        rows = [
            (kind, each.images, each.groups, share(each.top1), share(each.coverage), share(each.precision))
            for kind, each in figures.items()
        ]
        console.print()
        console.print(render.table(columns, rows))


def _group(name: str, report: "MetricsReport") -> tuple[object, ...]:
    f1 = f"{share(report.macro_f1_all)} ({report.classes_all})"
    return (name, report.images, share(report.top1), share(report.top3), share(report.top5), f1, share(report.ece))


def _over_groups(name: str, figures: "GroupedFigures") -> tuple[object, ...]:
    return (name, figures.groups, share(figures.top1), share(figures.top3), share(figures.top5))


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


def _figures(findings: "Findings") -> list[tuple[str, ...]]:
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
    over = findings.over_groups.get("all")
    wider = {"top-1": over.top1, "top-3": over.top3, "top-5": over.top5} if over else {}
    rows: list[tuple[str, ...]] = [
        (name, *_value_and_interval(measured), *([_interval(wider.get(name))] if over else []))
        for name, measured in shares
    ]
    if not math.isnan(report.ece_by_chance):
        rows.append(("  of perfect confidences, by chance", f"{report.ece_by_chance:.3f}", ""))
    return [*rows, ("area under risk-coverage (AURC)", f"{report.aurc:.4f}", "")]


def _value_and_interval(measured: "Share") -> tuple[str, str]:
    value, _, interval = share(measured).partition(" ")
    return value, interval.strip("()")


def _interval(measured: "Share | None") -> str:
    return _value_and_interval(measured)[1] if measured else ""


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
        if over := findings.over_groups.get("all"):
            _say(console, f"over groups: accepted {share(over.coverage)}; of these right {share(over.precision)}")


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
    console.print(_changes(difference.changes))
    only_a, only_b = difference.only_a_count, difference.only_b_count
    _say(console, f"right with A alone {only_a:,}, with B alone {only_b:,}: {_chance(difference.p_value)}")
    _print_parts(console, difference)
    _print_decisions(console, difference.decisions)
    _print_class_changes(console, difference)
    for name, images in (("A", difference.only_a), ("B", difference.only_b)):
        _print_only(console, name, images)


def _changes(changes: "Sequence[FigureChange]") -> "Table":
    over = next((change.over_groups for change in changes if change.over_groups), None)
    wider = (f"over {over.groups:,} groups",) if over else ()
    rows = []
    for c in changes:
        a, b = (_of_change(c, each) for each in ("a", "b"))
        groups = (_signed(c.over_groups.difference) if c.over_groups else "",) if over else ()
        rows.append(
            (DIFF_NAMES.get(c.name, c.name), a, b, f"{c.difference.value:+.3f}", _signed(c.difference), *groups)
        )
    return render.table(("", "A", "B", "B - A", "95% interval", *wider), rows)


def _of_change(change: "FigureChange", which: Literal["a", "b"]) -> str:
    """Return a figure of A or B, with its interval if it has one."""
    measured = change.a_share if which == "a" else change.b_share
    return share(measured) if measured else f"{change.a if which == 'a' else change.b:.3f}"


def _chance(p_value: float) -> str:
    verdict = "more than chance" if p_value < 0.05 else "may be chance"
    return f"{verdict} (McNemar, exact p = {p_value:.3g})"


def _print_parts(console: "Console", difference: "ModelDiff") -> None:
    """Print top-1 and top-5 of each part, and of images that only one model can answer."""
    parts = {**{PARTS[name]: part for name, part in difference.parts.items()}, **difference.groups}
    rows = [
        (name, part.images, each.name, *(_of_change(each, w) for w in SIDES), f"{each.difference.value:+.3f}",
         _signed((each.over_groups or each).difference))
        for name, part in parts.items()
        for each in (part.top1, part.top5)
    ]  # fmt: skip
    if rows:
        console.print()
        columns = ("images", "number", "", "A", "B", "B - A", "95% interval, over groups if there are")
        console.print(render.table(columns, rows))
    for name, alone in (("A", difference.alone_a), ("B", difference.alone_b)):
        if alone:
            tops = f"top-1 {share(alone.top1)}, top-5 {share(alone.top5)}"
            _say(console, f"{alone.images:,} images that only {name} can answer are counted apart: {tops}")


def _print_decisions(console: "Console", decisions: "DecisionChange | None") -> None:
    if decisions is None:
        return
    a, b = decisions.a, decisions.b
    over = decisions.coverage_over_groups, decisions.precision_over_groups
    rows = [
        ("accepted", share(a.coverage), share(b.coverage), decisions.coverage, over[0]),
        ("right of the accepted", share(a.precision), share(b.precision), decisions.precision, over[1]),
    ]
    columns = ("decisions", "A", "B", "B - A", "95% interval", *(("over groups",) if over[0] else ()))
    console.print()
    console.print(render.table(columns, [_decided(*row) for row in rows]))


def _decided(name: str, a: str, b: str, change: "Share", over: "Share | None") -> tuple[str, ...]:
    return (name, a, b, f"{change.value:+.3f}", _signed(change), *((_signed(over),) if over else ()))


def _compared(compared: "Comparison") -> list[str]:
    lines = []
    if compared.only_a or compared.only_b:
        only = [f"only {name} has {', '.join(labels)}" for name, labels in
                (("A", compared.only_a), ("B", compared.only_b)) if labels]  # fmt: skip
        lines.append(f"both have {len(compared.shared):,} labels; {'; '.join(only)}")
    if compared.folded:
        lines.append(f"counted as older labels: {', '.join(compared.folded)}")
    if compared.unlabelled:
        lines.append(f"left out: {compared.unlabelled:,} images whose labels count as none")
    if compared.left_out:
        counts = ", ".join(f"{label} ({count:,})" for label, count in list(compared.left_out.items())[:NAMED])
        more = f" and {len(compared.left_out) - NAMED} more labels" if len(compared.left_out) > NAMED else ""
        lines.append(f"not answered by both, images by label: {counts}{more}")
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
