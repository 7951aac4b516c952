"""Opening a sound file with libsndfile, so that whatever is wrong with it becomes one clear error."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import soundfile as sf

from mimiidg_build.audio.wav_header import length_to_fill_in
from mimiidg_build.errors import DataError


class _TolerantFile:
    """A binary file for libsndfile: any position may be asked for, and bytes at one offset are read as others.

    A damaged header sends libsndfile to positions before the file's beginning. soundfile then prints a traceback and
    continues as if at the beginning. Here the position does not change, and libsndfile itself finds that the header
    makes no sense.
    """

    def __init__(self, file: BinaryIO, patch: tuple[int, bytes] | None = None) -> None:
        self._file = file
        self._at, self._patch = patch or (0, b"")
        self.tell = file.tell

    def read(self, n_bytes: int = -1) -> bytes:
        """The next bytes, or all that are left."""
        start = self._file.tell()
        data = self._file.read(n_bytes)
        if start >= self._at + len(self._patch):  # nearly always: the patch is in the header
            return data
        patched = bytearray(data)
        for offset, value in enumerate(self._patch, self._at - start):
            if 0 <= offset < len(patched):
                patched[offset] = value
        return bytes(patched)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position if the file has it; the position then."""
        # libsndfile calls this from C, where an exception cannot be raised: cffi prints it and returns 0
        with contextlib.suppress(ValueError, OSError):
            self._file.seek(offset, whence)
        return self._file.tell()


@contextlib.contextmanager
def open_sound(file: BinaryIO, name: str, kind: str) -> Iterator[sf.SoundFile]:
    """Open a sound file of any format that libsndfile reads.

    The length of a WAV file is the one that its header declares, or all that follows where a program that wrote into a
    pipe could not declare it (:mod:`.wav_header`).

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
        A WAV file holds fewer samples than it declares; or libsndfile cannot read the file: when it is opened, or later
        within the ``with`` block.
    """
    try:
        with sf.SoundFile(_TolerantFile(file, length_to_fill_in(file, name))) as sound:
            yield sound
    except sf.LibsndfileError as error:
        # error_string is the message alone: its str() would name the Python object that was read from
        reason = str(error.error_string).rstrip(".")
        raise DataError(
            f"{name}: not a readable {kind} file ({reason}). The file is damaged or of another format."
        ) from None
