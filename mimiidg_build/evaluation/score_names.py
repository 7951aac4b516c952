"""Names of score and decision files, in every form that the organisers' scripts and submissions write.

=========================================================================  ===========================================
``anomaly_score_fan_id_00.csv``                                            2020, MIMII: a machine ID, no domains
``anomaly_score_fan_section_00_source_test.csv``                           2021: a domain of a section
``anomaly_score_fan_section_00_test.csv``                                  2022 on: a section
``anomaly_score_fan_section_03.csv``                                       the same, in submissions
``anomaly_score_DCASE2023T2fan_section_00_test_seed1_id(0_)[_Eval].csv``   the same, by the baseline of 2023 on
=========================================================================  ===========================================

Decisions are called ``decision_result_...``. Sections are named as in the files: ``00``, ``id_00``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.sections import SectionId

SCORE, DECISION = "anomaly_score", "decision_result"
KIND_NAMES = {SCORE: "scores", DECISION: "decisions"}

_HEAD = r"^(?P<kind>anomaly_score|decision_result)_(?P<year>DCASE[0-9]{4}T[0-9])?(?P<machine_type>[A-Za-z0-9][\w-]*?)"
_WORD = r"[A-Za-z0-9][A-Za-z0-9.+-]*(?:_[A-Za-z0-9.+-]+)*?"  # a section of somebody's own recordings
FORMS = {
    form: re.compile(_HEAD + rest, re.ASCII)
    for form, rest in {
        "id": r"_(?P<section>id_[0-9]{2})(?:_test)?\.csv$",
        "domain": r"_section_(?P<section>[0-9]{2})_(?P<domain>source|target)_test\.csv$",
        "section": rf"_section_(?P<section>[0-9]{{2}}|{_WORD})_test(?:_seed[0-9]+[^/]*?)?(?:_Eval)?\.csv$",
        "submission": r"_section_(?P<section>[0-9]{2})\.csv$",
    }.items()
}
_LIKE_A_FILE_NAME = re.compile(r"^(anomaly_score|decision_result)_.*\.csv$", re.IGNORECASE)


@dataclass(frozen=True)
class ScoreFileName:
    """What a file's name says; ``domain`` and ``year`` (``DCASE2023T2``) are ``""`` where it says none."""

    form: str
    kind: str
    section: SectionId
    domain: str = ""
    year: str = ""

    @classmethod
    def parse(cls, name: str) -> ScoreFileName | None:
        """What a name says, None where it is no score or decision file's.

        >>> found = ScoreFileName.parse("decision_result_DCASE2023T2fan_section_00_test_seed1_id(0_)_Eval.csv")
        >>> found.form, found.kind, str(found.section), found.year
        ('section', 'decision_result', 'fan/00', 'DCASE2023T2')
        >>> ScoreFileName.parse("anomaly_score_fan_id_00.csv").section
        SectionId(machine_type='fan', section='id_00')
        """
        for form, pattern in FORMS.items():
            if match := pattern.match(name):
                said = match.groupdict()
                section = SectionId(said["machine_type"], said["section"])
                return cls(form, said["kind"], section, said.get("domain") or "", said["year"] or "")
        return None


@dataclass(frozen=True)
class SectionFiles:
    """The files of one section, by domain; ``""`` where one file has both. No decisions: they are not given."""

    form: str
    year: str = ""
    scores: dict[str, Path] = field(default_factory=dict)
    decisions: dict[str, Path] = field(default_factory=dict)

    def of_kind(self, kind: str) -> dict[str, Path]:
        """The files of one kind, by domain."""
        return self.scores if kind == SCORE else self.decisions


def file_name(kind: str, machine_type: str, section: str) -> str:
    """The name of a score or decision file as this program writes it.

    Parameters
    ----------
    kind : {"anomaly_score", "decision_result"}
    machine_type, section : str
        As file names write them: ``"fan"``, ``"00"`` or ``"id_00"``.

    Raises
    ------
    ValueError
        No score file can have that name.

    Examples
    --------
    >>> file_name(SCORE, "fan", "00"), file_name(SCORE, "fan", "id_00")
    ('anomaly_score_fan_section_00_test.csv', 'anomaly_score_fan_id_00.csv')
    """
    is_id = re.fullmatch("id_[0-9]{2}", section) is not None
    name = f"{kind}_{machine_type}_{section}.csv" if is_id else f"{kind}_{machine_type}_section_{section}_test.csv"
    said = ScoreFileName.parse(name)
    if said is None or said.section != (machine_type, section):
        raise ValueError(
            f"{name!r} is not the name of a score file: expected a machine type like 'fan' and a section like '00'"
        )
    return name


def find(directory: Path) -> dict[SectionId, SectionFiles]:
    """The score and decision files of a directory, by section, sorted.

    Raises
    ------
    UsageError
        There is no such directory.
    DataError
        It holds no score file, one whose name no reader would find, two of a section, or a section's decisions without
        its scores, or one domain without the other.
    """
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is not a directory; expected one with files like {file_name(SCORE, 'fan', '00')}"
        )
    found: dict[SectionId, SectionFiles] = {}
    for path, said in _named(directory):
        files = found.setdefault(said.section, SectionFiles(said.form, said.year))
        own = files.of_kind(said.kind)
        # a file of both domains and one of a single domain would give clips twice
        other = next((own[domain] for domain in own if domain == said.domain or "" in (domain, said.domain)), None)
        if other is not None:
            raise DataError(
                f"{directory} holds two files with {KIND_NAMES[said.kind]} of {said.section}: {other.name} and "
                f"{path.name}. Move one of them out of the directory"
            )
        own[said.domain] = path
    if not found:
        raise DataError(
            f"{directory} holds no score files; expected names like {file_name(SCORE, 'fan', '00')}"
            f"{_where_they_are(directory)}"
        )
    for section, files in found.items():
        _check_whole(directory, section, files)
    return dict(sorted(found.items()))


def _named(directory: Path) -> Iterator[tuple[Path, ScoreFileName]]:
    for path in sorted(directory.iterdir()):
        if said := ScoreFileName.parse(path.name):
            yield path, said
        elif _LIKE_A_FILE_NAME.match(path.name):
            # passed over, its section would be missing from every mean without a word
            raise DataError(
                f"{path}: not the name of a score or decision file; expected one like {file_name(SCORE, 'fan', '00')} "
                f"or {file_name(DECISION, 'fan', '00')}. Rename it, or move it out of the directory"
            )


def _check_whole(directory: Path, section: SectionId, files: SectionFiles) -> None:
    """Scores for every decision, and both domains where files are of one each."""
    expected: Mapping[str, Path] = files.scores or files.decisions
    domains = ("",) if "" in expected else DOMAINS
    for kind in (SCORE, DECISION) if files.decisions else (SCORE,):
        for domain in domains:
            if domain not in files.of_kind(kind):
                name = file_name(kind, *section)
                name = name.replace("_test.csv", f"_{domain}_test.csv") if domain else name
                there = next(path.name for path in (*files.decisions.values(), *files.scores.values()))
                raise DataError(f"{directory} holds {there}, but not {name}")


def _where_they_are(directory: Path) -> str:
    """A folder within that has score files, as part of a message."""
    folders = (path for path in sorted(directory.iterdir()) if path.is_dir())
    near = next((path for path in folders if any(ScoreFileName.parse(file.name) for file in path.iterdir())), None)
    return f". {near} holds some: give that directory" if near else ""
