"""The cache of machine code: one file for each function, kind of processor and state of the sources, with a digest.

A file is read only if it has its digest, since a flipped bit of machine code would run; one that has not is removed,
and its function is compiled anew. Folders are tried in turn: ``NUMBA_CACHE_DIR``, or the room's own ``__pycache__`` and
the user's cache; last a temporary one, so that where the others cannot be written one process finds that out, and not
every one. A folder that cannot be written costs compilation, never a command.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import logging
import os
import stat
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from mimiidg_build.settings import compiled_code_folders

log = logging.getLogger(__name__)

DIGEST_BYTES = 32  # of SHA-256


def digest_of_files(paths: Iterable[Path]) -> str:
    """Digest of what stands in files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def folders() -> list[Path]:
    """Where machine code may be kept: it is in the first that can be written."""
    beside = compiled_code_folders(Path(__file__).parent / "__pycache__")
    return [*beside, Path(tempfile.gettempdir()) / f"mimiidg_build-{os.getuid()}"]


def is_safe(folder: Path) -> bool:
    """Whether code in a folder may run: in a temporary one, which is everybody's, another user might have put it."""
    if folder.parent != Path(tempfile.gettempdir()):
        return True
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


class CodeCache:
    """Machine code of one function.

    Parameters
    ----------
    name : str
        Of the function, for the names of its files.
    sources : str
        Digest of the text that it was compiled from.
    """

    def __init__(self, name: str, sources: str) -> None:
        self._name, self._of_these_sources = name, f"{name}.{sources[:12]}."

    def load(self, key: str) -> bytes | None:
        """What was kept under a key; None if nothing was, or its file is damaged."""
        return next((code for folder in folders() if (code := self._read(folder, key)) is not None), None)

    def _read(self, folder: Path, key: str) -> bytes | None:
        path = folder / self._file(key)
        try:
            content = path.read_bytes()
            if not is_safe(folder):
                return None
        except OSError:
            return None
        if hashlib.sha256(content[DIGEST_BYTES:]).digest() == content[:DIGEST_BYTES]:
            return content[DIGEST_BYTES:]
        log.warning("%s is damaged; it is compiled anew.", path)
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def save(self, key: str, code: bytes) -> None:
        """Keep code under a key, if any folder can be written, and remove what was compiled from other sources."""
        errors = []
        for folder in folders():
            try:
                self._write(folder, key, hashlib.sha256(code).digest() + code)
                return
            except OSError as error:
                errors.append(f"{folder}: {error.strerror or error}")
        log.warning(
            "%s; every process will compile this again. Set NUMBA_CACHE_DIR to a folder that can be written.",
            "; ".join(errors),
        )

    def _write(self, folder: Path, key: str, content: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_safe(folder):
            raise PermissionError(errno.EPERM, "it belongs to somebody else")
        path = folder / self._file(key)
        # named at random: a process in another container may have this one's number
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        for other in folder.glob(f"{glob.escape(self._name)}.*.code"):
            if not other.name.startswith(self._of_these_sources):
                with contextlib.suppress(OSError):
                    other.unlink()

    def _file(self, key: str) -> str:
        return f"{self._of_these_sources}{key[:24]}.code"
