"""How the C library treats memory that is freed: fresh pages cost time, since the kernel fills each with zeros.

And how much of it a process may take at all.
"""

import ctypes
import re
import resource
from pathlib import Path

# Parameters of mallopt in glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4

BUFFER = 4 << 20
FREE = 32 << 20


def keep_freed_memory() -> bool:
    """Keep what is freed for the next step, in this process from now on; return whether the C library can.

    A training step on the CPU allocates and frees some gigabytes of activations. glibc maps each large tensor again,
    which is a third of a step. The process then holds its peak until it ends.
    """
    return _set(((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)))


def reuse_buffers() -> bool:
    """Use freed buffers of up to 4 MiB again, in this process from now on; return whether the C library can.

    Those of an encoded photo and its pixels come and go with every image; mapped again each time, they were a
    sixth of the decoding of large photos. At most 32 MiB of unused buffers are kept; larger ones are freed at once.
    """
    return _set(((M_MMAP_THRESHOLD, BUFFER), (M_TRIM_THRESHOLD, FREE)))


def limit_memory(more: int) -> bool:
    """Let this process take only so many bytes more than now, from now on; return whether the system can.

    What goes beyond raises MemoryError, or whatever a library makes of it. Files that are mapped do not count.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        taken = re.search(r"^VmData:\s*(\d+) kB", status, re.MULTILINE)
        most = int(taken[1]) * 1024 + more if taken else 0
        _, ceiling = resource.getrlimit(resource.RLIMIT_DATA)
        if not taken or (ceiling != resource.RLIM_INFINITY and ceiling < most):
            return False  # not Linux, or there is a stricter limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, ceiling))
    except (OSError, ValueError):
        return False
    return True


def _set(parameters: tuple[tuple[int, int], ...]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # not glibc
    return all(mallopt(parameter, value) for parameter, value in parameters)
