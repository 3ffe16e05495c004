"""The last run as metrics, in the text format of Prometheus, for the textfile collector of its node exporter."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cataloger.signals.summary import RunSummary
from cataloger.utils import replacing

SUCCESS = "cataloger_last_success_timestamp_seconds"
FAMILIES = {
    "cataloger_last_run_timestamp_seconds": "When the last run ended, in seconds since 1970.",
    SUCCESS: "When the last run with exit status 0 ended, in seconds since 1970.",
    "cataloger_last_run_duration_seconds": "How long the last run took.",
    "cataloger_last_run_exit_status": "Exit status of the last run.",
    "cataloger_last_run_images": "Images of the last run, by what became of them.",
    "cataloger_last_run_failed_images": "Images that failed in the last run, by error code.",
    "cataloger_last_run_decided_images": "Images with a new result in the last run, by decision.",
    "cataloger_last_run_outages": "Hosts and folders that were out in the last run.",
    "cataloger_last_run_written_values": "Values that the last run wrote into tables of the shop.",
    "cataloger_source_images": "Images of the source in the views, by status of their current result.",
    "cataloger_source_decided_images": "Images of the source with a current answer of the model, by decision.",
    "cataloger_source_corrected_images": "Images of the source whose current answer people have given.",
    "cataloger_review_queue_images": "Images of the source that wait for a person to review them.",
    "cataloger_accepted_ratio": "Share of the images of the source with an accepted or corrected answer (coverage).",
}
"""Name -> what it is; all are gauges. The names and their labels are a contract."""
SAMPLE = re.compile(rf"^{SUCCESS}(\{{.*\}}) (\S+)$", re.MULTILINE)
Sample = tuple[str, Mapping[str, str], float]


def write_metrics(path: Path, summary: RunSummary) -> None:
    """Replace a file by the metrics of a run; what it says of the last success stays. Raises OutputError."""
    text = metrics_text(summary, _successes(path))
    # A collector of files reads all of a folder that end with .prom, hidden ones too.
    with replacing(path, suffix=".part") as temporary:
        temporary.write_text(text, encoding="utf-8")


def metrics_text(summary: RunSummary, successes: Mapping[str, float] | None = None) -> str:
    """Return the metrics of a run. successes: labels as they are written -> when such a run last succeeded."""
    samples: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for name, labels, value in _samples(summary):
        samples[name].append(f"{name}{_written(labels)} {value!r}")
        if name == "cataloger_last_run_exit_status":
            when = summary.ended if value == 0 else (successes or {}).get(_written(labels))
            samples[SUCCESS] += [] if when is None else [f"{SUCCESS}{_written(labels)} {when!r}"]
    lines: list[str] = []
    for name, found in samples.items():
        if found:
            lines += [f"# HELP {name} {FAMILIES[name]}", f"# TYPE {name} gauge", *found]
    return "\n".join(lines) + "\n"


def _samples(summary: RunSummary) -> Iterator[Sample]:
    own = {"command": summary.command, "job": ""}
    has_names = any(job["name"] is not None for job in summary.jobs)
    if has_names or not summary.jobs:
        yield from _of_end(own, summary.ended, summary.seconds, summary.exit_status)
    for job in summary.jobs:
        labels = {"command": str(job["command"]), "job": job["name"] or ""}
        if job["exit_status"] is not None:
            yield from _of_end(labels, summary.ended, job["seconds"] or 0.0, job["exit_status"])
        if isinstance(job["output"], Mapping):
            yield from _of_output(labels, job["output"])


def _of_end(labels: Mapping[str, str], ended: float, seconds: float, status: int) -> Iterator[Sample]:
    yield "cataloger_last_run_timestamp_seconds", labels, round(ended, 3)
    yield "cataloger_last_run_duration_seconds", labels, round(seconds, 3)
    yield "cataloger_last_run_exit_status", labels, status


def _of_output(labels: Mapping[str, str], output: Mapping[str, Any]) -> Iterator[Sample]:
    """Yield what the JSON of a run says; other commands have none of these keys."""
    for state in ("done", "failed", "skipped"):
        if isinstance(output.get(state), int):
            yield "cataloger_last_run_images", {**labels, "state": state}, output[state]
    for code, count in _counts(output.get("failures")):
        yield "cataloger_last_run_failed_images", {**labels, "code": code}, count
    for decision, count in _counts(output.get("decisions")):
        yield "cataloger_last_run_decided_images", {**labels, "decision": decision}, count
    if isinstance(output.get("outages"), list):
        yield "cataloger_last_run_outages", labels, len(output["outages"])
    if isinstance(output.get("write_back"), Mapping):
        yield "cataloger_last_run_written_values", labels, sum(output["write_back"]["written"].values())
    for source in output.get("catalog") or ():
        yield from _of_source({**labels, "source": source["source"]}, source)


def _of_source(labels: Mapping[str, str], source: Mapping[str, Any]) -> Iterator[Sample]:
    for status, key in (("ok", "images"), ("failed", "failed")):
        yield "cataloger_source_images", {**labels, "status": status}, source[key]
    for decision, count in _counts(source["decisions"]):
        yield "cataloger_source_decided_images", {**labels, "decision": decision}, count
    yield "cataloger_source_corrected_images", labels, source["corrected"]
    yield "cataloger_review_queue_images", labels, source["review_queue"]
    if source["accepted_share"] is not None:
        yield "cataloger_accepted_ratio", labels, source["accepted_share"]


def _counts(values: Any) -> list[tuple[str, int]]:
    is_counted = isinstance(values, Mapping) and all(isinstance(value, int) for value in values.values())
    return list(values.items()) if is_counted else []


def _written(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str) -> str:
    # Names of files may hold bytes that are no text.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _successes(path: Path) -> dict[str, float]:
    """Return when the runs of a file that is to be replaced last succeeded; nothing of one that cannot be read."""
    found: dict[str, float] = {}
    with suppress(OSError, ValueError):
        for labels, value in SAMPLE.findall(path.read_text(encoding="utf-8")):
            with suppress(ValueError):
                found[labels] = float(value)
    return found
