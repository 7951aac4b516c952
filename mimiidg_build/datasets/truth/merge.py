"""What several lists say of a clip, merged; and what they disagree on, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.truth.lists import Statement
from mimiidg_build.datasets.truth.names import NO_ATTRIBUTES, ClipTruth
from mimiidg_build.errors import DataError

LABELS = {"condition": "label", "domain": "domain"}  # what code lists decide, and what people call it
FOLDERS = {"condition": "ground_truth_data", "domain": "ground_truth_domain"}  # where evaluators keep these lists

Topic = tuple[str, str]  # machine type, field


class Merger:
    """Merges what lists say, clip by clip.

    Parameters
    ----------
    wrong : mapping of (list, machine type) to str
        Why what a list says of a machine type must not be believed. Code lists always are.
    """

    def __init__(self, wrong: Mapping[tuple[Path, str], str]) -> None:
        self._wrong = wrong
        self._compared: Counter[Topic] = Counter()  # clips of which both a code list and a name tell
        self._against: dict[Topic, list[Statement]] = {}  # names that say otherwise than a code list
        self._untold: Counter[Topic] = Counter()  # clips of which only lists that are not believed tell

    def merge(self, statements: Sequence[Statement]) -> ClipTruth | None:
        """The truth about one clip; None where only lists that are not believed tell its condition and domain.

        Raises
        ------
        DataError
            Two lists of one standing disagree.
        """
        domain, condition = (self._decide(field, statements) for field in ("domain", "condition"))
        if not domain and not condition:
            return None
        named = [found for found in statements if found.truth.full_name]
        telling = [found for found in named if found.truth.attributes not in NO_ATTRIBUTES]
        _agreed("attributes", [found for found in telling if self._is_believed(found)])
        best = (telling or named)[0].truth if named else ClipTruth()
        return ClipTruth(domain, condition, best.attributes, best.full_name)

    def _decide(self, field: str, statements: Sequence[Statement]) -> str:
        """A clip's condition or domain: by code where a list gives one, else by names that are believed."""
        told = [found for found in statements if getattr(found.truth, field)]
        coded, named = ([found for found in told if found.is_code is is_code] for is_code in (True, False))
        if not named:
            return _agreed(field, coded)
        topic = (named[0].machine_type, field)
        if coded:
            right = _agreed(field, coded)
            self._compared[topic] += 1
            self._against.setdefault(topic, []).extend(n for n in named if getattr(n.truth, field) != right)
            return right
        believed = [found for found in named if self._is_believed(found)]
        self._untold[topic] += not believed
        return _agreed(field, believed)

    def _is_believed(self, statement: Statement) -> bool:
        return statement.is_code or (statement.path, statement.machine_type) not in self._wrong

    def refused(self) -> dict[str, str]:
        """Why clips of a machine type have no label, though lists of it are given; by machine type."""
        return {
            machine_type: self._why_untold(machine_type, field)
            for (machine_type, field), clips in self._untold.items()
            if clips and field == "condition"
        }

    def findings(self) -> list[Finding]:
        """Warnings, by machine type: what lists disagree on, and what is not believed."""
        found = [
            Finding("warning", "truth_differs", machine_type, self._difference(machine_type, field), column=field)
            for (machine_type, field), against in self._against.items()
            if against
        ]
        return found + [
            Finding("warning", "wrong_truth", machine_type, self._why_untold(machine_type, field), column=field)
            for (machine_type, field), clips in self._untold.items()
            if clips
        ]

    def _difference(self, machine_type: str, field: str) -> str:
        against = self._against[machine_type, field]
        lists = ", ".join(dict.fromkeys(statement.path.name for statement in against))
        n_clips = len({statement.clip for statement in against})
        return (
            f"{machine_type}: {n_clips} of {self._compared[machine_type, field]} {LABELS[field]}s in {lists} differ "
            f"from those of {FOLDERS[field]}, which the organisers' evaluator computes with: these hold"
        )

    def _why_untold(self, machine_type: str, field: str) -> str:
        reason = next(why for (_, name), why in self._wrong.items() if name == machine_type)
        return (
            f"{machine_type}: the {LABELS[field]}s of {self._untold[machine_type, field]} clips are not taken from the "
            f"lists given: {reason}. Give {FOLDERS[field]} of the organisers' evaluator as well"
        )


def _agreed(field: str, statements: Sequence[Statement]) -> str:
    """The one value that lists of one standing give, ``""`` where there is none."""
    values = [str(getattr(found.truth, field)) for found in statements]
    for found, value in zip(statements, values, strict=True):
        if value != values[0]:
            raise DataError(
                f"{found.place}: {found.machine_type} {found.clip} is {value!r} here, but {values[0]!r} in "
                f"{statements[0].place} ({field}). Are the lists of different years?"
            )
    return values[0] if values else ""
