"""Run a command; then print how much processor time it took, with all that it started, and end with its status.

    python tests/processor_time.py COMMAND [ARGUMENT ...]

What its children leave behind counts too: on Linux this process adopts it, as that of a killed database server.
"""

import ctypes
import os
import resource
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 30.0  # seconds for what is left behind to end


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_orphans() -> int:
    """Wait for adopted processes; return 1 when some outlive the patience, else 0."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if not ended:
            time.sleep(0.05)
    return 1


def main() -> int:
    """Run the command of the arguments; return its exit status."""
    adopt_orphans()
    start = time.monotonic()
    status = subprocess.run(sys.argv[1:], check=False).returncode
    wall = time.monotonic() - start
    left = " (without processes that have not ended)" if wait_for_orphans() else ""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    print(
        f"processor time: {total / 60:.1f} minutes (user {used.ru_utime:.0f} s, system {used.ru_stime:.0f} s) "
        f"in {wall / 60:.1f} minutes{left}"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
