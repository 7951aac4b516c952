"""Companions: files that operating systems leave beside recordings.

macOS puts an AppleDouble ``._x.wav`` beside every ``x.wav`` on a foreign file system and packs it into zips under
``__MACOSX/``; desktops keep what was deleted in ``.Trash-1000/``. Such a file may be called ``.wav``, and is none.
"""

from __future__ import annotations

from functools import lru_cache

_NAMES = frozenset(
    {
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "lost+found"),  # a Synology's thumbnails, and what fsck of an ext4 disk recovered
    }
)


def is_companion(name: str) -> bool:
    """Whether a file is a companion, or hidden, or lies in such a folder.

    Parameters
    ----------
    name : str
        Its path within the folder or archive that was named as a source, with ``/``. Never an absolute path: what lies
        above the source is the user's own choice, hidden or not.

    Returns
    -------
    bool

    Examples
    --------
    >>> [is_companion(name) for name in ("._x.wav", "__MACOSX/fan/._x.wav", ".Trash-1000/files/x.wav", "a/Thumbs.db")]
    [True, True, True, True]
    >>> [is_companion(name) for name in ("x.wav", "./fan/x.wav", "../x.wav", "desktop.ini.wav", "-6_dB/x..wav")]
    [False, False, False, False, False]
    """
    folders, slash, last = name.rpartition("/")
    return _is_left_by_a_system(last) or (bool(slash) and _are_left_by_a_system(folders))


@lru_cache(maxsize=2**8)  # thousands of clips lie in a dozen folders
def _are_left_by_a_system(folders: str) -> bool:
    return any(map(_is_left_by_a_system, folders.split("/")))


def _is_left_by_a_system(part: str) -> bool:
    is_hidden = part.startswith(".") and part not in (".", "..")
    return is_hidden or part.lower() in _NAMES
