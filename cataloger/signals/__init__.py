"""What a run tells programs: a log as JSON lines, metrics, and what is called when it has ended.

Imports errors, options, references, utils and, for notifications, fetch.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.signals.json_log import LogFormat, asks_for_json, begin_log, is_json, note_job, tell
    from cataloger.signals.json_stderr import end_lines, turn_into_lines
    from cataloger.signals.metrics import FAMILIES, metrics_text
    from cataloger.signals.reporting import Reporter, SignalOptions
    from cataloger.signals.summary import RunSummary
    from cataloger.signals.time_limit import TimeLimit, limit_time

__all__ = [
    "FAMILIES",
    "LogFormat",
    "Reporter",
    "RunSummary",
    "SignalOptions",
    "TimeLimit",
    "asks_for_json",
    "begin_log",
    "end_lines",
    "is_json",
    "limit_time",
    "metrics_text",
    "note_job",
    "tell",
    "turn_into_lines",
]

__getattr__ = lazy_names(
    __name__,
    {
        "json_log": ("LogFormat", "asks_for_json", "begin_log", "is_json", "note_job", "tell"),
        "json_stderr": ("end_lines", "turn_into_lines"),
        "metrics": ("FAMILIES", "metrics_text"),
        "reporting": ("Reporter", "SignalOptions"),
        "summary": ("RunSummary",),
        "time_limit": ("TimeLimit", "limit_time"),
    },
)
