"""Keeping freed memory: large arrays come and go at every step, and pages need not be new each time."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Arrays up to this size come from the heap: the most that glibc takes.
HEAP_BYTES = 32 * 2**20
#: Free memory at the end of the heap that the process keeps.
KEPT_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let the C library keep freed arrays for the next step instead of returning their pages.

    A step on the CPU makes hundreds of arrays of some MB each. glibc returns what is more
    than 64 MB at the end of its heap to the kernel and faults the pages in again
    (``benchmarks/allocator.py`` measures what that costs). Entry points call this; importing
    the library changes nothing.

    Returns:
        Whether the C library took both values; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, HEAP_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
