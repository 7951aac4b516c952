"""Errors that a user sees as one message, without a traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

# What a terminal would obey, or reorder a line by: control characters but tab and line end, marks of direction, line
# separators, and the halves of characters that stand for the bytes of a name that is not UTF-8.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_NAME, LONGEST_VALUE = 100, 200  # characters: of a name that is looked up, of a value that a message shows
N_NEAR = 3
# "user:password@" before a host; some libraries quote an address without its scheme
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@|[^\s/@:'\"(]+:[^\s/@'\"]+@")

NO_GUARD = 78  # exit code of a process that found its parent's script without a `__main__` guard: EX_CONFIG
KEPT = "What is finished is kept: run the same command again to go on."


class MimiidgError(Exception):
    """The data or the run failed: what happened, what was expected, the likely cause. Exit code 1."""

    exit_code = 1

    def __str__(self) -> str:
        # wherever an address stands in a message, it may be one that holds a password
        return without_password(super().__str__())


class DataError(MimiidgError):
    """Bad data in an archive, a table, a clip or a store; the message names file, row and value."""


class FetchError(MimiidgError):
    """A transfer failed for good, or what arrived is not what was published."""


class UsageError(MimiidgError):
    """Wrong use: an unknown name, an impossible value, a bad variant file. Exit code 2."""

    exit_code = 2


def printable(text: str) -> str:
    r"""Text that may hold names of unknown origin, with what would act on a terminal escaped; for all that is printed.

    Examples
    --------
    >>> print(printable("fan.zip: \x1b[2J\u202e.wav \udce9"))
    fan.zip: \x1b[2J\u202e.wav \udce9
    >>> printable("Lüfter 扇\t1\nline 2")
    'Lüfter 扇\t1\nline 2'
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# ---- What messages show ----------------------------------------------------------------------------------------------


def without_password(text: str) -> str:
    """A text whose addresses show neither user nor password.

    >>> without_password("no answer from http://me:secret@storage.example:9000/bucket")
    'no answer from http://***@storage.example:9000/bucket'
    """
    return CREDENTIALS.sub("***@", text)


def shown(value: object) -> str:
    """A value as a message shows it: in quotes, control characters escaped, cut off where it is long.

    >>> shown("loud\\n"), shown("x" * 5000)[-23:], shown(16**5000)
    ("'loud\\\\n'", 'x... (5,002 characters)', 'a value too long to show')
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; tables within tables
        return "a value too long to show"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text):,} characters)"


def counted(n: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "problem"), counted(1200, "clip"), counted(0, "error")
    ('1 problem', '1,200 clips', '0 errors')
    """
    return f"{n:,} {noun}{'s' * (n != 1)}"


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """What a wrong name may have been meant to be: the one most like it, then those that begin with it.

    >>> nearest("papre", ["demo", "paper"]), nearest("demo", ["demo-synthetic-2pct", "paper"])
    (['paper'], ['demo-synthetic-2pct'])
    """
    from difflib import get_close_matches

    if not name or len(name) > LONGEST_NAME:  # nobody's slip, and slow to compare
        return []
    names = {word.lower(): word for word in known}
    alike = get_close_matches(name.lower(), names, n=1)
    longer = sorted(word for word in names if word.startswith(name.lower()))
    return [names[word] for word in dict.fromkeys([*alike, *longer])][:N_NEAR]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name; empty where none is near.

    >>> did_you_mean("fans", ["fan", "valve"])
    " Did you mean 'fan'?"
    """
    near = " or ".join(map(repr, nearest(name, known)))
    return f" Did you mean {near}?" if near else ""


def refuse_optimised() -> None:
    """Make sure that Python keeps assertions: zarr relies on them, and fails without in ways that nobody understands.

    Raises
    ------
    UsageError
        It does not.
    """
    if sys.flags.optimize:
        raise UsageError(
            "Python runs without assertions (python -O, or PYTHONOPTIMIZE is set), and zarr does not work without. "
            "Start it without -O, and unset PYTHONOPTIMIZE."
        )


def require_main_guard() -> None:
    """End this process if it is a worker that is still importing its parent's script: the script has no guard.

    To be called by whatever starts processes, and before a wait for what another process holds: the parent, waiting for
    this worker, may hold it. In all other processes it does nothing.
    """
    import multiprocessing

    # The attribute by which Python itself notices, in multiprocessing.spawn, with a traceback from every worker.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(NO_GUARD)  # at once: the script might catch an exception, or hold threads that never end


def first_mistake(error: ValidationError) -> str:
    """The first thing that is wrong in a file and where: one is enough to see that it is damaged.

    Examples
    --------
    >>> from pydantic import BaseModel, ValidationError
    >>> class Run(BaseModel, extra="forbid"):
    ...     epochs: int
    >>> for content in {"epochs": "many"}, {"epochs": 3, "lr": 0.1}:
    ...     try:
    ...         Run.model_validate(content)
    ...     except ValidationError as error:
    ...         print(first_mistake(error))
    epochs: Input should be a valid integer, unable to parse string as an integer
    lr: unknown key
    """
    mistake = error.errors(include_url=False, include_input=False)[0]
    if mistake["type"] == "value_error":  # a message of the model's own
        return mistake["msg"].removeprefix("Value error, ")
    where = ".".join(map(str, mistake["loc"])) or "the file"
    return f"{where}: {'unknown key' if mistake['type'] == 'extra_forbidden' else mistake['msg']}"
