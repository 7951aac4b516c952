"""The truth about clips: every statement of every list given, brought together, clip by clip.

Which list is right
-------------------
Code lists (``ground_truth_data``, ``ground_truth_domain``) decide a clip's condition and domain: the organisers'
evaluators compute with them. Names, in tables and lists, say the attributes, and the rest where no code list does.
Where names say otherwise than a code list, a finding counts the clips; where two lists of one standing disagree, that
is an error and not a choice. Lists that are known to be wrong (:mod:`.mistakes`) are believed on attributes alone, and
a machine type that has no other lists is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.truth.lists import Statement, find_lists, read_list
from mimiidg_build.datasets.truth.merge import Merger
from mimiidg_build.datasets.truth.mistakes import known_mistake
from mimiidg_build.datasets.truth.names import NO_ATTRIBUTES, ClipTruth, section_of_name, truth_of_name
from mimiidg_build.schemas.sections import SectionId

Key = tuple[str, str]
"""(machine type, base name of the clip's file)"""


class Truth(dict[Key, ClipTruth]):
    """What the lists given say, by (machine type, base name of the clip as it was released).

    Attributes
    ----------
    findings : list of Finding
        Warnings: lists that disagree, and lists that are not believed. ``table`` is the machine type.
    refused : dict of str to str
        Why a machine type's lists are not believed, where clips of it have no other.
    """

    def __init__(self, clips: Iterable[tuple[Key, ClipTruth]] = ()) -> None:
        super().__init__(clips)
        self.findings: list[Finding] = []
        self.refused: dict[str, str] = {}
        self._released: dict[Key, str] = {}

    def find(self, machine_type: str, name: str) -> ClipTruth | None:
        """The truth about a clip under its released name, or any other that the lists or the name itself give it.

        Parameters
        ----------
        machine_type : str
        name : str
            Base name of the clip's file; a full name will do.

        Returns
        -------
        ClipTruth or None
            None where neither list nor name says anything, or only lists that are not believed.
        """
        released = self.released_name(machine_type, name)
        if (machine_type, released) in self or (machine_type, name) in self._released:
            return self.get((machine_type, released))
        return truth_of_name(name)

    def released_name(self, machine_type: str, name: str) -> str:
        """The name that a clip was released under, of any name that the lists give it; else the name itself."""
        return name if (machine_type, name) in self else self._released.get((machine_type, name), name)

    @cached_property
    def test_clips(self) -> dict[SectionId, set[str]]:
        """The test clips that the lists name, by the section that their names say; each once, as it was released."""
        clips: dict[SectionId, set[str]] = {}
        for machine_type, name in self:
            section = section_of_name(name)
            is_training = truth_of_name(name) is None and truth_of_name(name, training=True) is not None
            # a list of correspondence has clips under full names that another list gives to hidden ones
            if section is None or is_training or self._released.get((machine_type, name), name) != name:
                continue
            clips.setdefault(SectionId(machine_type, section), set()).add(name)
        return clips


def read_truth(paths: Path | Iterable[Path]) -> Truth:
    """Read truth lists: files, or directories that are searched for them, a whole evaluator's folder included.

    Parameters
    ----------
    paths : Path or iterable of Path

    Returns
    -------
    Truth

    Raises
    ------
    UsageError
        A path does not exist, or a directory holds no list.
    DataError
        A list is empty, a row cannot be read, a clip occurs twice in a list, or two lists of one standing disagree. The
        message names file, line and value.
    """
    by_clip: dict[Key, list[Statement]] = {}
    wrong: dict[tuple[Path, str], str] = {}
    for path in find_lists([paths] if isinstance(paths, os.PathLike) else paths):
        statements = read_list(path)
        for found in statements:
            by_clip.setdefault((found.machine_type, found.clip), []).append(found)
        wrong |= {(path, machine_type): reason for machine_type, reason in _mistakes(statements).items()}
    merger = Merger(wrong)
    truth = Truth((key, merged) for key, found in by_clip.items() if (merged := merger.merge(found)) is not None)
    truth.refused, truth.findings = merger.refused(), merger.findings()
    truth._released = {
        (found.machine_type, name): found.clip
        for statements in by_clip.values()
        for found in statements
        for name in (found.truth.full_name, *found.other_names)
        if name
    }
    _follow(truth)
    return truth


def _mistakes(statements: Iterable[Statement]) -> dict[str, str]:
    """Why a list must not be believed, by machine type."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for found in statements:
        rows.setdefault(found.machine_type, []).append((found.clip, found.truth.full_name))
    return {name: reason for name, its in rows.items() if (reason := known_mistake(name, its))}


def _follow(truth: Truth) -> None:
    """Attributes that another list gives under the full name: a list of correspondence, of clips released without."""
    for (machine_type, clip), found in truth.items():
        more = truth.get((machine_type, found.full_name))
        if more is not None and found.full_name != clip and found.attributes in NO_ATTRIBUTES:
            truth[machine_type, clip] = ClipTruth(found.domain, found.condition, more.attributes, more.full_name)
