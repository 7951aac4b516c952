"""Opening a sound file with libsndfile, so that whatever is wrong with it becomes one clear error."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import soundfile as sf

from mimiidg_build.errors import DataError


class _TolerantSeek:
    """A binary file for libsndfile, which a damaged header sends to positions before the file's beginning.

    soundfile then prints a traceback and continues as if at the beginning. Here the position does not change, and
    libsndfile itself finds that the header makes no sense.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position if the file has it; the position then."""
        # libsndfile calls this from C, where an exception cannot be raised: cffi prints it and returns 0
        with contextlib.suppress(ValueError, OSError):
            self._file.seek(offset, whence)
        return self._file.tell()


@contextlib.contextmanager
def open_sound(file: BinaryIO, name: str, kind: str) -> Iterator[sf.SoundFile]:
    """Open a sound file of any format that libsndfile reads.

    Parameters
    ----------
    file : binary file
        Must be seekable.
    name : str
        For messages.
    kind : str
        What the file should be, for messages: ``"WAV"`` or ``"sound"``.

    Yields
    ------
    sf.SoundFile

    Raises
    ------
    DataError
        libsndfile cannot read the file: when it is opened, or later within the ``with`` block.
    """
    try:
        with sf.SoundFile(_TolerantSeek(file)) as sound:
            yield sound
    except sf.LibsndfileError as error:
        # error_string is the message alone: its str() would name the Python object that was read from
        reason = str(error.error_string).rstrip(".")
        raise DataError(
            f"{name}: not a readable {kind} file ({reason}). The file is damaged or of another format."
        ) from None
