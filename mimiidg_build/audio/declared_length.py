"""How many bytes the headers of AIFF, AU, W64 and MP3 files declare, against how many there are.

libsndfile takes what there is of these, as it does of WAV files (:mod:`.wav_header`); of the other formats it says
itself when they were cut off. MP3 files declare a length only where the encoder wrote a Xing or Info tag.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Literal, NamedTuple

from mimiidg_build.audio.wav_header import truncated

_UNKNOWN = 0xFFFFFFFF  # of a program that wrote into a pipe
_MAX_CHUNKS = 1000
_MP3_SLACK = 2048  # bytes, more than a frame: encoders differ in whether the tag's own frame counts
_MP3_HEAD = 4096


class _Length(NamedTuple):
    """Bytes of sound that a file declares, and that are there."""

    declared_bytes: int
    held_bytes: int


def refuse_cut_off(file: BinaryIO, name: str) -> None:
    """Refuse a file that holds less than it declares; it stands at its beginning afterwards.

    Parameters
    ----------
    file : binary file
        Seekable, of any format.
    name : str
        For messages.

    Raises
    ------
    DataError
        Names both figures.
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_MP3_HEAD)
    found = None
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        found = _aiff(file, size_bytes)
    elif head[:4] in (b".snd", b"dns."):
        found = _au(head, size_bytes)
    elif head[:4] == b"riff":
        found = _w64(file, size_bytes)
    elif head[:3] == b"ID3" or head[:1] == b"\xff":
        found = _mp3(head, size_bytes)
    file.seek(0)
    if found is not None and found.held_bytes < found.declared_bytes:
        raise truncated(name, found.declared_bytes, found.held_bytes)


def _aiff(file: BinaryIO, size_bytes: int) -> _Length | None:
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        if len(chunk := file.read(8)) < 8:
            return None
        n_bytes = int.from_bytes(chunk[4:], "big")
        if chunk[:4] == b"SSND":
            # a placeholder is taken for what it is, as in WAV files; 8 bytes of offset and block size are not samples
            return None if n_bytes in (0, _UNKNOWN) else _Length(n_bytes - 8, size_bytes - at - 16)
        at += 8 + n_bytes + n_bytes % 2
    return None


def _au(head: bytes, size_bytes: int) -> _Length | None:
    order: Literal["little", "big"] = "big" if head[:4] == b".snd" else "little"
    start, n_bytes = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))
    return None if n_bytes in (0, _UNKNOWN) else _Length(n_bytes, size_bytes - start)


def _w64(file: BinaryIO, size_bytes: int) -> _Length | None:
    """Chunks with identifiers of 16 bytes and lengths of 8, which count both."""
    at = 40
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        if len(chunk := file.read(24)) < 24:
            return None
        n_bytes = int.from_bytes(chunk[16:], "little")
        if chunk[:4] == b"data":
            return _Length(n_bytes - 24, size_bytes - at - 24)
        at += max(24, n_bytes + -n_bytes % 8)
    return None


def _mp3(head: bytes, size_bytes: int) -> _Length | None:
    if (at := max(head.find(b"Xing"), head.find(b"Info"))) < 0:
        return None
    flags = int.from_bytes(head[at + 4 : at + 8], "big")
    if not flags & 2:  # the tag does not say how many bytes there are
        return None
    field = at + 8 + 4 * (flags & 1)  # after the number of frames, where that stands
    declared = int.from_bytes(head[field : field + 4], "big")
    return _Length(max(0, declared - _MP3_SLACK), size_bytes - at)
