"""Temporary names: what a file is called until it is whole, and whether anybody is still writing it.

``<name>.<16 random hexadecimal digits>.partial``. Random, since processes of two containers or machines that share a
root may have one number. Whoever writes such a file has it locked (``flock``): a lock that can be taken says that the
writer has ended, however it ended and wherever it ran. (Version 0.1.0 had the process's number in the name.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from io import FileIO
from pathlib import Path

COPY = ".copy.partial"  # ends the name of a store that is copied to where it can be renamed
_NAME = re.compile(r"\.(?:[0-9]+|[0-9a-f]{16})\.(?:partial|tmp)$")


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that it has only until it is whole.

    >>> [is_temporary(name) for name in ("latest.0123456789abcdef.partial", "latest.77.partial", "notes.partial")]
    [True, True, False]
    """
    return _NAME.search(name) is not None


def open_temporary(path: Path) -> tuple[Path, FileIO]:
    """Create a file under a temporary name beside ``path``, locked until it is closed.

    Returns
    -------
    temporary : Path
    file : FileIO
        Unbuffered: what is written comes in large pieces, and a copy of each would cost as much as its digest.

    Raises
    ------
    OSError
        It cannot be created.
    """
    while True:
        temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.partial")
        file = temporary.open("xb", buffering=0)
        with contextlib.suppress(OSError):  # a file system without locks: there nothing is ever removed
            fcntl.flock(file, fcntl.LOCK_EX)
        # `mimiidg prune` may have come between the two calls above, and removed what nobody had locked yet
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
                return temporary, file
        file.close()
