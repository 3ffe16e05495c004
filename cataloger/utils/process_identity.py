"""The identity of a process, so that another one on the same machine can tell whether it is still alive."""

import os
import socket
from pathlib import Path

PARTS = 5
ENDED = "ZX"  # states of a process that has ended and that its parent has not waited for


def this_process() -> str:
    """Return host, boot, process namespace, process id and its start time, joined by "|"."""
    pid = os.getpid()
    return "|".join((*_machine(), str(pid), _start_time(pid)))


def describe(owner: str) -> str:
    """Return an owner for people."""
    parts = owner.split("|")
    return f"process {parts[3]} on {parts[0]}" if len(parts) == PARTS else owner


def is_dead(owner: str) -> bool:
    """True when an owner ran on this machine and has certainly ended; False when that cannot be told."""
    parts = owner.split("|")
    if len(parts) != PARTS or parts[0] != _machine()[0]:
        return False
    if parts[1] != _machine()[1]:
        return bool(parts[1])  # the machine was restarted since
    if parts[2] != _machine()[2]:
        return False
    return _start_time(int(parts[3])) != parts[4]


def _machine() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (it names no file)
    except OSError:
        boot, namespace = "", ""
    return socket.gethostname().replace("|", "-")[:100], boot, namespace


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" when there is no such process."""
    try:
        # The name of the program, in parentheses, may hold anything; the fields after it are fixed.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # In a container without an init, no process may ever wait for a process that was killed.
        return "" if fields[0] in ENDED else fields[19]
    except (OSError, IndexError):
        return ""
