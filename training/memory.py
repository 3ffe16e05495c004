"""How the C library treats memory that training frees."""

import ctypes

# Parameters of mallopt in glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Keep what is freed for the next step, in this process from now on; return whether the C library can.

    A step on the CPU allocates and frees some gigabytes of activations. glibc maps each large tensor anew and the
    kernel fills it with zeros: a third of a step. The process then holds its peak until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # not glibc
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
