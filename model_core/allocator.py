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


def keep_freed_memory(heap_bytes: int = HEAP_BYTES, kept_bytes: int = KEPT_BYTES) -> bool:
    """Let the C library keep freed arrays for the next step instead of returning their pages.

    A step on the CPU makes hundreds of arrays of some MB each. glibc returns what is more
    than 64 MB at the end of its heap to the kernel and faults the pages in again
    (``benchmarks/allocator.py`` measures what that costs). Entry points call this; importing
    the library changes nothing.

    Args:
        heap_bytes: Arrays up to this size come from the heap.
        kept_bytes: Free memory at its end that is kept.

    Returns:
        Whether the C library took both values; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, heap_bytes)) and bool(mallopt(_TRIM_THRESHOLD, kept_bytes))
