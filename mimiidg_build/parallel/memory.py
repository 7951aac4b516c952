"""Keeping freed memory: glibc hands every large block that is freed back to the system and gets it back page by page.

Rendering a clip allocates and frees some 8 MB in blocks of 0.2 to 1.3 MB. With glibc's defaults that costs two thousand
page faults a clip, 1.5 to 2 of the 5 ms that each of two threads takes (they also wait for each other: a fault takes
the process's memory lock). With freed memory kept it costs a tenth. The process holds no more than it once had in use.

Training on a CPU frees and allocates hundreds of MB a batch, in blocks of any size. Half the time of an attention
network's step goes into page faults, and none with ``keep_all_freed_memory``.
"""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # malloc.h
KEPT_BYTES = 64 * 2**20  # as much as one thread's heap can hold
LARGE_BYTES = 8 * 2**20  # larger blocks are still mapped and given back: those of tables, not those of clips


@cache
def keep_freed_memory() -> None:
    """Have this process's malloc keep what is freed. Other systems' mallocs are left as they are."""
    with contextlib.suppress(OSError, AttributeError):  # no glibc, or a libc without mallopt
        libc = ctypes.CDLL("libc.so.6")
        # Setting either ends glibc's own adjustment of both, so both must be set.
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


@cache
def keep_all_freed_memory() -> None:
    """The same for blocks of any size: for a process that trains."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
        libc.mallopt(M_MMAP_MAX, 0)  # no block is mapped by itself: a mapped one goes back to the system when freed
