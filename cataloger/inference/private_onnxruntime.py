"""onnxruntime without its telemetry, which gives the machine a number and keeps it below the user's home.

An environment variable tells it so. It is read once, when onnxruntime is imported, and is as before after that.
Import onnxruntime from here, everywhere.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH = "ORT_DISABLE_TELEMETRY"


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Set the variable, unless it is set."""
    was = os.environ.get(SWITCH)
    os.environ.setdefault(SWITCH, "1")
    try:
        yield
    finally:
        if was is None:
            del os.environ[SWITCH]


with _without_telemetry():
    import onnxruntime

__all__ = ["onnxruntime"]
