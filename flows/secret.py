"""The secret of a Prefect server that this program starts: who does not know it, can neither read nor change anything.

A server's deployments name code that it has run. So whoever may write to it runs code as its user, and on a shared
machine every user reaches the loopback address. The secret lies in a file that only its owner can read, from where a
second program of the same user takes it.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from mimiidg_build import settings
from mimiidg_build.errors import UsageError
from mimiidg_build.storage.locks import file_lock

OWN_WAY = "Set PREFECT_HOME to a folder of your own, or PREFECT_API_AUTH_STRING to your own secret, user:password."


def secret_file(home: Path) -> Path:
    """The file in PREFECT_HOME that holds the secret."""
    return home / "auth-string"


def have_secret(home: Path) -> str:
    """The secret of a server whose files lie in ``home``: the configured one, or that of its file, which is made once.

    Parameters
    ----------
    home : Path
        PREFECT_HOME.

    Returns
    -------
    str
        ``user:password``, as Prefect takes it.

    Raises
    ------
    UsageError
        The file is another user's, or others can read it.
    """
    if configured := settings.prefect_auth_string():
        return configured
    path = secret_file(home)
    try:
        with file_lock(home / ".auth-string.lock"):  # two programs that start at once have one secret
            if not path.exists():
                _write(path, f"mimiidg:{secrets.token_urlsafe(32)}")
            _check_private(path)
            return path.read_text().strip()
    except PermissionError as error:
        raise UsageError(f"{error.filename}: {error.strerror}: it is another user's. {OWN_WAY}") from error


def _write(path: Path, secret: str) -> None:
    """Readable by its owner alone from its first moment on, and whole once it has its name."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    temporary.replace(path)


def _check_private(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise UsageError(f"{path} is another user's, who would know the secret of your Prefect server. {OWN_WAY}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(
            f"{path}, the secret of your Prefect server, can be read by others (mode {stat.S_IMODE(found.st_mode):o}). "
            "Remove it: a new one is made. If that one can be read, too, the file system knows no permissions. "
            f"{OWN_WAY}"
        )
