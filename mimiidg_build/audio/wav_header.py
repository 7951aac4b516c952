"""The header of a WAV file: how many bytes of samples it declares, against how many there are.

libsndfile takes what there is without a word, so a recording that was cut off would pass for a shorter one. Programs
that write into a pipe cannot go back to fill in the length: they declare 0 (GStreamer) or 0xFFFFFFFF (ffmpeg) bytes,
and their files are whole.

Formats: RIFF, its big-endian form RIFX, and RF64 or BW64 (EBU Tech 3306), whose ``ds64`` chunk has lengths of 64 bits.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Literal, NamedTuple

from mimiidg_build.errors import DataError

_ORDERS: dict[bytes, Literal["little", "big"]] = {
    b"RIFF": "little",
    b"RF64": "little",
    b"BW64": "little",
    b"RIFX": "big",
}
_UNKNOWN = 0xFFFFFFFF
_MAX_CHUNKS = 1000  # before the samples; a damaged header may seem to have millions of empty ones
_AFTER_SAMPLES = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"PEAK", b"JUNK", b"_PMX")


class DataChunk(NamedTuple):
    """Where a file's samples begin, the bytes that its header declares of them, and those that are there."""

    start: int
    declared_bytes: int
    held_bytes: int
    is_open: bool  # declared with a placeholder for a length that was not known

    @property
    def n_bytes(self) -> int:
        """Bytes of samples that the file is to have: all there are where the header does not say."""
        return self.held_bytes if self.is_open else self.declared_bytes


def find_data_chunk(file: BinaryIO) -> DataChunk | None:
    """The chunk of a WAV file that holds its samples; None for other files, or where there is none.

    Examples
    --------
    >>> find_data_chunk(io.BytesIO(b"RIFF....WAVE" + b"data" + bytes([6, 0, 0, 0]) + b"abcd"))
    DataChunk(start=20, declared_bytes=6, held_bytes=4, is_open=False)
    >>> find_data_chunk(io.BytesIO(b"fLaC")) is None
    True
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if (order := _ORDERS.get(head[:4])) is None or head[8:] != b"WAVE":
        return None
    at, long_bytes = len(head), None
    for _ in range(_MAX_CHUNKS):
        if at + 8 > size_bytes:
            return None
        file.seek(at)
        chunk = file.read(8)
        n_bytes = int.from_bytes(chunk[4:], order)
        if chunk[:4] == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:], "little")  # after the length of the whole file
        if chunk[:4] == b"data":
            return _data_chunk(file, at + 8, n_bytes, size_bytes - at - 8, long_bytes)
        at += 8 + n_bytes + n_bytes % 2  # a chunk of odd size is followed by a byte that is not counted
    return None


def _data_chunk(file: BinaryIO, start: int, declared_bytes: int, held_bytes: int, long_bytes: int | None) -> DataChunk:
    """The chunk at whose content the file stands."""
    if long_bytes is not None and declared_bytes == _UNKNOWN:
        return DataChunk(start, long_bytes, held_bytes, is_open=False)
    # a recording without samples declares 0 as well: what follows it is another chunk then, or nothing
    is_empty = declared_bytes == 0 and (held_bytes == 0 or file.read(4) in _AFTER_SAMPLES)
    is_open = declared_bytes in (0, _UNKNOWN) and not is_empty
    return DataChunk(start, declared_bytes, held_bytes, is_open)


def truncated(name: str, declared_bytes: int, held_bytes: int) -> DataError:
    """The error for a file that holds less than it declares.

    Parameters
    ----------
    name : str
    declared_bytes, held_bytes : int
        Of samples.

    Returns
    -------
    DataError
    """
    return DataError(
        f"{name}: it is truncated. Its header declares {declared_bytes} bytes of samples, the file holds {held_bytes}. "
        "Likely cause: a transfer or a recording was cut off; get the file again."
    )


def length_to_fill_in(file: BinaryIO, name: str) -> tuple[int, bytes] | None:
    """What to read in place of a WAV file's own bytes so that it declares the length it has.

    Parameters
    ----------
    file : binary file
        Seekable, of any format; it stands at its beginning afterwards.
    name : str
        For messages.

    Returns
    -------
    (int, bytes) or None
        Offset and content of the length of the samples, where the header has a placeholder for it.

    Raises
    ------
    DataError
        The header declares more than the file holds.
    """
    chunk = find_data_chunk(file)
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if chunk is None:
        return None
    if chunk.n_bytes > chunk.held_bytes:
        raise truncated(name, chunk.declared_bytes, chunk.held_bytes)
    if not chunk.is_open or chunk.held_bytes >= _UNKNOWN:
        return None
    return chunk.start - 4, chunk.held_bytes.to_bytes(4, _ORDERS[magic])
