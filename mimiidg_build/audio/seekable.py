"""Sound files of which any part can be read exactly as it stands in the whole: MP3 files are decoded first.

A frame of an MP3 file may borrow bits of the frames before it (the bit reservoir). After a seek libsndfile has not read
those and gives silence or garbage without an error, and soundfile seeks after every read. Of a whole tone that was read
in blocks, nearly all came out silent (libsndfile 1.2.2); all other formats come out exactly.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

import soundfile as sf

from mimiidg_build.audio.declared_length import refuse_cut_off
from mimiidg_build.audio.sound_files import open_sound

BLOCK_SAMPLES = 2**20
IN_MEMORY_BYTES = 32 * 2**20


@contextlib.contextmanager
def open_seekable(file: BinaryIO, name: str) -> Iterator[sf.SoundFile]:
    """Open a sound file of any format that libsndfile reads, so that it can be read from anywhere.

    Parameters
    ----------
    file : binary file
        Must be seekable.
    name : str
        For messages.

    Yields
    ------
    sf.SoundFile

    Raises
    ------
    DataError
        The file holds less than its header declares; or libsndfile cannot read it, when it is opened or later.
    """
    refuse_cut_off(file, name)
    with contextlib.ExitStack() as opened:
        sound = opened.enter_context(open_sound(file, name, "sound"))
        if sound.format == "MP3":
            copy = opened.enter_context(tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))
            _decode_in_order(sound, cast(BinaryIO, copy))
            copy.seek(0)
            sound = opened.enter_context(open_sound(cast(BinaryIO, copy), name, "sound"))
        yield sound


def _decode_in_order(sound: sf.SoundFile, copy: BinaryIO) -> None:
    """Write all samples of a file into another, as float32, without a seek."""
    # soundfile asks this before it seeks to where it is already
    sound.seekable = lambda: False
    with sf.SoundFile(copy, "w", sound.samplerate, sound.channels, "FLOAT", format="RF64") as decoded:
        while len(block := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            decoded.write(block)
