"""Files of a source of recordings: which are recordings, and what else lies there.

Names are within the source, with ``/``, in one order for folders and zips: folder by folder, each by name.
"""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mimiidg_build.audio.companions import is_companion
from mimiidg_build.errors import DataError

ANY_WAV = "*.wav"  # the default: every WAV file, and other sound files where there is none
ANY_FILE = "*"
WAV = ".wav"
# what libsndfile reads and people have; a file of another suffix is taken for no recording
SOUNDS = frozenset(
    (WAV, ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64")
)


@dataclass(frozen=True)
class SortedFiles:
    """A source's files: recordings in order, how many companions were passed over, and the others, by suffix."""

    recordings: list[str]
    companions: int
    others: Counter[str]


def suffix(name: str) -> str:
    """A name's suffix, in lower case; what has none says so.

    >>> suffix("hall.1/rain.WAV"), suffix("hall.1/rain")
    ('.wav', 'without a suffix')
    """
    last = name.rsplit("/", 1)[-1]
    return f".{last.rsplit('.', 1)[1].lower()}" if "." in last else "without a suffix"


def sort_files(names: Iterable[str], members: str) -> SortedFiles:
    """Tell a source's recordings from its other files.

    Parameters
    ----------
    names : iterable of str
    members : str
        A glob. With :data:`ANY_WAV` sound files of other formats are recordings only where there is no WAV file: a
        folder may hold the same recordings in two formats.

    Returns
    -------
    SortedFiles
        With a glob of the user's own, ``others`` holds no sound files: they were left out on purpose.

    >>> sort_files(["b/x.WAV", "b.wav", "a.flac", "notes.txt", "._b.wav"], "*.wav")
    SortedFiles(recordings=['b/x.WAV', 'b.wav'], companions=1, others=Counter({'.txt': 1, '.flac': 1}))
    >>> sort_files(["b.wav", "a.flac", "notes.txt"], "*").recordings
    ['a.flac', 'b.wav']
    """
    names = sorted(names, key=lambda name: name.split("/"))
    files = [name for name in names if not is_companion(name)]
    sounds = [name for name in files if suffix(name) in SOUNDS]
    others = Counter(suffix(name) for name in files if suffix(name) not in SOUNDS)
    if members == ANY_WAV:
        recordings = [name for name in sounds if suffix(name) == WAV] or sounds
        others += Counter(suffix(name) for name in sounds if name not in set(recordings))
    else:
        recordings = [name for name in sounds if fnmatch.fnmatchcase(name, members)]
    return SortedFiles(recordings, len(names) - len(files), others)


def in_words(counts: Counter[str]) -> str:
    """Files by suffix, most first.

    >>> in_words(Counter({".txt": 1, ".flac": 3}))
    '3 .flac, 1 .txt'
    """
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def files_below(folder: Path) -> list[str]:
    """The names of all files in a folder and the folders within, those behind links included.

    Raises
    ------
    DataError
        A link leads to a folder that it lies in, or to nothing where a recording should be; a folder cannot be read.
    """
    names: list[str] = []
    # each folder with the identities of those that it lies in: a link into one of them would never end
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(folder, "", frozenset())]
    while waiting:
        directory, prefix, above = waiting.pop()
        try:
            state = directory.stat()
            entries = list(os.scandir(directory))
        except OSError as error:
            if is_companion(prefix):  # a trash folder of somebody else's
                continue
            raise DataError(f"{directory}: this folder cannot be read ({error.strerror}).") from None
        identity = (state.st_dev, state.st_ino)
        if identity in above:
            raise DataError(
                f"{directory}: a link to {os.path.realpath(directory)}, which it lies in, so its recordings have no "
                "end. Remove the link."
            )
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                waiting.append((directory / entry.name, f"{name}/", above | {identity}))
            elif entry.is_file():
                names.append(name)
            elif entry.is_symlink() and suffix(name) in SOUNDS and not is_companion(name):
                raise DataError(f"{folder / name}: a link to {Path(entry.path).readlink()}, where no file is.")
    return names
