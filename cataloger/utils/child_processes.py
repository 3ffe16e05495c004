"""Child processes that end with this one, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

PR_SET_PDEATHSIG = 1
STOP_REQUEST = signal.SIGUSR1
"""What a process sends to one of its own, which may have got the signal that stopped itself: asks to stop, as Ctrl-C
does, but is not taken for the second Ctrl-C, which interrupts at once."""


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals by which people and systems ask to stop: Ctrl-C, SIGTERM, and a terminal that is closed.

    Whoever starts a command with `nohup` wants it to go on without a terminal.
    """
    is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if is_kept else (signal.SIGHUP,)))


def start_child(module: str, arguments: Sequence[str], descriptors: Sequence[int]) -> "subprocess.Popen[bytes]":
    """Start a module of ours that calls `die_with_parent`. descriptors: that it inherits. Raises OSError.

    Linux takes the end of the thread that started a child for the end of its parent, so that no thread that may end
    before the process does starts one.
    """
    if threading.current_thread() is threading.main_thread():
        return _start(module, arguments, descriptors)
    return _starter().submit(_start, module, arguments, descriptors).result()


@cache
def _starter() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor  # children come here, too, and start none

    return ThreadPoolExecutor(1, thread_name_prefix="start-children")


def _start(module: str, arguments: Sequence[str], descriptors: Sequence[int]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        # -P: a json.py among the pictures of the current folder must not be imported.
        [sys.executable, "-P", "-m", module, *arguments],
        pass_fds=descriptors,
        process_group=0,  # so that Ctrl-C cannot reach a child that is still starting
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"OPENBLAS_NUM_THREADS": "1"} | os.environ,  # see `keep_numpy_to_one_thread`
    )


def die_with_parent() -> None:
    """Leave Ctrl-C to the parent, which decides when to stop, and do not outlive it when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _signal_at_end_of_parent(signal.SIGKILL)


def end_with_parent(number: signal.Signals, parent: int) -> None:
    """Get a signal when the parent ends, also when it has ended already. parent: its process id."""
    _signal_at_end_of_parent(number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _signal_at_end_of_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
