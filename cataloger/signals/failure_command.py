"""A command of the user that is run when a run has failed."""

import os
import signal
import subprocess
from contextlib import suppress

SECONDS = 60.0
"""That it may take; what still runs then is ended."""


def run_failure_command(command: str, body: bytes, exit_status: int) -> str | None:
    """Run a command of the shell with the summary of a run on its stdin; return what went wrong, None if nothing.

    What it prints goes to stderr. The variable EXIT_STATUS holds the exit status of the run.
    """
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=2,
            env={**os.environ, "EXIT_STATUS": str(exit_status)},
            start_new_session=True,  # so that all that it has started can be ended
        )
    except (OSError, ValueError) as error:
        return f"--on-failure cannot be run: {getattr(error, 'strerror', None) or error}"
    try:
        process.communicate(body, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"--on-failure took more than {SECONDS:g} seconds and was ended"
    except BaseException:
        _end(process)
        raise
    if process.returncode < 0:
        return f"--on-failure was ended by {signal.Signals(-process.returncode).name}"
    return f"--on-failure ended with exit status {process.returncode}" if process.returncode else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
