"""How many processors this process may use: its affinity and its container's quota, not the host's number."""

import os
from contextlib import suppress
from pathlib import Path

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_V1_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
CGROUP_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def available_cpus() -> int:
    """Return the processors that this process may keep busy, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def keep_numpy_to_one_thread() -> None:
    """Stop numpy's linear algebra from starting threads, here and in children, unless the user has said how many.

    They wait in a busy loop for work that tagging never gives them, a fifth of a second of each processor at every
    start. It must come before numpy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def work_in_batch() -> None:
    """Tell Linux that nobody waits at a screen for this process and the children that it starts from now on.

    Decoders and the model then make room for each other less often, and find more of what they need in the caches:
    1 to 5% more images a second. Their share of the processors stays what it was. Where a policy has been chosen
    (chrt), or the system allows no choice, nothing is changed.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # musl has neither call, and sandboxes may forbid them
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _cgroup_quota() -> float | None:
    """Return the quota in processors, None where there is none (cgroup v2, then v1)."""
    try:
        quota, period = CGROUP_V2.read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = CGROUP_V1_QUOTA.read_text(), CGROUP_V1_PERIOD.read_text()
        except OSError:
            return None
    try:
        return float(quota) / float(period) if float(quota) > 0 else None
    except ValueError:  # "max" stands for no quota
        return None
