"""Draws the ground plan in ``mimiidg_build/README.md`` from the rooms and arrows of ``tests/test_architecture.py``.

``python -m tests.ground_plan`` writes both drawings into the document: the floors (a room stands above every room that
it imports) and the triangle of arrows. A test compares them with what is declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.test_architecture import ROOMS

DOCUMENT = Path(__file__).resolve().parents[1] / "mimiidg_build" / "README.md"
HERE, ARROW, NONE = "■", "×", "·"


def floors(rooms: Mapping[str, str]) -> list[list[str]]:
    """Rooms by floor, the lowest first: one floor above the highest of the rooms that they import.

    >>> floors({"errors": "", "settings": "", "storage": "errors", "cli": "errors storage"})
    [['errors', 'settings'], ['storage'], ['cli']]
    """
    height: dict[str, int] = {}
    for room, below in rooms.items():  # in the declared order, every room comes after those that it imports
        height[room] = 1 + max((height[other] for other in below.split()), default=-1)
    return [[room for room in rooms if height[room] == floor] for floor in range(max(height.values()) + 1)]


def draw_floors(rooms: Mapping[str, str]) -> str:
    """The floors as text, the highest first.

    >>> print(draw_floors({"errors": "", "settings": "", "storage": "errors", "cli": "errors storage"}))
    2   cli
    1   storage
    0   errors      settings
    """
    lines = [
        f"{floor:<4}" + "".join(f"{room:<12}" for room in found).rstrip() for floor, found in enumerate(floors(rooms))
    ]
    return "\n".join(reversed(lines))


def draw_arrows(rooms: Mapping[str, str]) -> str:
    """Every arrow as text: a row a room, a cross in the column of each room that it imports.

    >>> print(draw_arrows({"errors": "", "settings": "", "storage": "errors", "cli": "errors storage"}))
    errors      ■
    settings    · ■
    storage     × · ■
    cli         × · × ■
    """
    names = list(rooms)
    return "\n".join(
        f"{room:<12}" + " ".join([*(ARROW if other in rooms[room].split() else NONE for other in names[:number]), HERE])
        for number, room in enumerate(names)
    )


def with_drawings(text: str, rooms: Mapping[str, str]) -> str:
    """A document with its two drawings made anew; each is the fenced block after ``<!-- drawn: NAME -->``.

    Raises
    ------
    ValueError
        The document has no place for one of them.
    """
    for name, drawing in (("floors", draw_floors(rooms)), ("arrows", draw_arrows(rooms))):
        text, found = re.subn(rf"(?ms)(<!-- drawn: {name} -->\n```\n).*?^```$", rf"\g<1>{drawing}\n```", text)
        if found != 1:
            raise ValueError(f"{DOCUMENT} has {found} places for the drawing of the {name}, expected 1")
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(with_drawings(DOCUMENT.read_text(), ROOMS))
