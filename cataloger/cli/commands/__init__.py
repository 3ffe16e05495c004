"""One module for each command, loaded when it is called."""

__all__ = [
    "bench",
    "calibrate",
    "check",
    "corrections",
    "db",
    "doctor",
    "evaluate",
    "explain",
    "inspect",
    "models",
    "recalibrate",
    "report",
    "review",
    "runs",
    "sources",
    "sync",
    "tag",
    "train",
]
