"""The cache of compiled code: one file for each function, kind of processor and state of the sources, with a digest.

numba's own cache believes whatever lies in it: a file that is empty or cut off fails in every later process, and a
flipped bit of machine code runs. Here a file is read only if it has its digest; one that has not is removed, and its
function is compiled anew. A folder that cannot be written costs compilation, never a command.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import numba
from numba.core import serialize
from numba.core.caching import FunctionCache

log = logging.getLogger(__name__)

DIGEST_BYTES = 32  # of SHA-256


def _digest_of_sources() -> str:
    """Digest of this room's source text."""
    # sorted, since the file system lists files in any order, and another digest is another compilation
    texts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()


SOURCES = _digest_of_sources()


class RoomCache(FunctionCache):
    """numba's cache of a compiled function, valid for the source text of the whole room, in files with a digest.

    numba itself looks at the one file that the function stands in, but machine code holds everything that was called
    from there: after a change in ``fft``, the cached ``logmel`` would silently compute what it did before.

    Raises
    ------
    RuntimeError
        Neither the room's folder nor the user's can be written.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        files = CheckedFiles(Path(self._cache_path), self._impl.filename_base)
        self._cache_file = files  # type: ignore[assignment]  # takes the place of numba's, and is asked the same

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, if it can be written."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            log.warning("%s: %s; every process will compile this again.", self._cache_path, error.strerror or error)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        # numba's part of the key names processor and features, so machines of several kinds may share a cache folder
        return (*super()._index_key(sig, codegen), SOURCES, numba.__version__)  # type: ignore[no-untyped-call]


class CheckedFiles:
    """In place of numba's index and data files, which have no digest.

    Parameters
    ----------
    folder : Path
    name : str
        Of the function, for the names of its files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def load(self, key: tuple[Any, ...]) -> Any:
        """What was saved under a key; None if nothing was, or its file is damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, data = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(data).digest() == digest:
            return pickle.loads(data)
        log.warning("%s is damaged; it is compiled anew.", path)
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def save(self, key: tuple[Any, ...], data: Any) -> None:
        """Keep data under a key, and remove what was compiled from other sources.

        Raises
        ------
        OSError
            It cannot be written.
        """
        path, content = self._path(key), serialize.dumps(data)  # type: ignore[no-untyped-call]
        # named at random: a process in another container may have this one's number
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        for other in self._folder.glob(f"{glob.escape(self._name)}.*.nb[ci]"):
            if not other.name.startswith(self._of_these_sources):
                other.unlink(missing_ok=True)

    @property
    def _of_these_sources(self) -> str:
        return f"{self._name}.{SOURCES[:12]}."

    def _path(self, key: tuple[Any, ...]) -> Path:
        return self._folder / f"{self._of_these_sources}{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"
