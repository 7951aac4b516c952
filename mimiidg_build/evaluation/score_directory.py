"""A directory of score files of any system, joined with the truth from clips' names or from truth lists.

A section's file must have a score for every test clip: of the truth where it is given, else as far as the numbers in
the clips' names tell (:mod:`.completeness`). What lacks is an error, or where ``partial`` is asked for, counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mimiidg_build.datasets.truth import ClipTruth, Truth, attribute_pairs, read_truth
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.completeness import Missing, known_anomalies, missing_clips
from mimiidg_build.evaluation.protocols import protocol_named
from mimiidg_build.evaluation.score_files import read_decisions, read_scores
from mimiidg_build.evaluation.score_names import SCORE, SectionFiles, file_name, find
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.scores import ScoredClips
from mimiidg_build.schemas.sections import SectionId

_N_SHOWN = 8  # machine types or sections that a message lists


@dataclass(frozen=True)
class ScoreDirectory:
    """What a directory of score files holds.

    Attributes
    ----------
    clips : pd.DataFrame, ``ScoredClips``
        Sections sorted, clips in their files' order.
    protocol : {"mimii", "2020", "2021", "2022"}
        As asked for, or as the files are named.
    missing : dict of SectionId to int
        Clips that have no score, of the sections that lack any.
    year : str
        ``DCASE2023T2`` where the files' names say it.
    truth : Truth
    """

    clips: pd.DataFrame
    protocol: str
    missing: dict[SectionId, int] = field(default_factory=dict)
    year: str = ""
    truth: Truth = field(default_factory=Truth)


def read_directory(
    directory: Path,
    truth: Path | Iterable[Path] | None = None,
    sections: Iterable[tuple[str, str]] | None = None,
    protocol: str | None = None,
    partial: bool = False,
) -> ScoreDirectory:
    """Read a directory of score files, with the truth from the clips' names or from truth lists.

    Parameters
    ----------
    directory : Path
        Holds score files, and decisions where there are any (:mod:`.score_names`).
    truth : Path or paths, optional
        Truth lists or directories of them, for clips whose names hide the truth.
    sections : iterable of SectionId, optional
        The sections that must be there.
    protocol : {"mimii", "2020", "2021", "2022"}, optional
        By default what the files' names tell.
    partial : bool
        Take files that lack clips, and count these.

    Returns
    -------
    ScoreDirectory

    Raises
    ------
    DataError
        A file cannot be read, a section or a clip is missing, a clip's truth is unknown, or the files are of several
        years.
    UsageError
        The directory, or a path of the truth, does not exist, or no protocol has that name.
    """
    asked_for = protocol_named(protocol).name if protocol else None
    found = find(directory)
    if absent := [section for section in sections or () if section not in found]:
        names = ", ".join(file_name(SCORE, *section) for section in absent)
        raise DataError(f"{directory} has no scores of {len(absent)} section(s): missing {names}")
    tables = read_truth(truth) if truth is not None else Truth()
    parts = {section: _read_section(section, files, tables) for section, files in found.items()}
    _check_is_their_truth(directory, parts, tables)
    clips = pd.concat(parts.values(), ignore_index=True)
    protocol = asked_for or _recognised(directory, found, clips)
    known = known_anomalies(directory)
    lacks = {
        section: missing
        for section, part in parts.items()
        if (missing := missing_clips(section, part, tables, known, equal_cells=protocol == "2022")).n_clips
    }
    if lacks and not partial:
        raise DataError(_incomplete(directory, lacks, parts))
    counts = {section: missing.n_clips for section, missing in lacks.items()}
    year = next((files.year for files in found.values() if files.year), "")
    return ScoreDirectory(ScoredClips.validate(clips), protocol, counts, year, tables)


# ---- One section -----------------------------------------------------------------------------------------------------


def _read_section(section: SectionId, files: SectionFiles, tables: Truth) -> pd.DataFrame:
    """One section's files as ``ScoredClips``."""
    parts = []
    for domain, path in files.scores.items():
        scores = read_scores(path)
        rows = zip(scores["line"], scores["file_name"], strict=True)
        truth = [_truth_of(f"{path}, line {line}", clip, section, tables, domain) for line, clip in rows]
        decisions = decisions_on(files.decisions.get(domain), scores["file_name"])
        parts.append(scored_section(section, scores["file_name"], truth, scores["score"], decisions))
    clips = pd.concat(parts, ignore_index=True)
    # in the files of both domains, or under two names that the truth gives it
    released = pd.Series([tables.released_name(section.machine_type, name) for name in clips["file_name"]])
    if (twice := released.duplicated(keep=False)).any():
        first = clips.loc[released == released[twice].iloc[0], "file_name"]
        names = ", ".join(path.name for path in files.scores.values())
        raise DataError(f"{names}: {' and '.join(first)} are one clip of {section}, which has a score twice")
    return clips


def scored_section(
    section: SectionId,
    names: Iterable[str],
    truth: Iterable[ClipTruth],
    scores: Iterable[float],
    decisions: Iterable[int],
) -> pd.DataFrame:
    """Rows of ``ScoredClips``, clip by clip in the order given.

    Parameters
    ----------
    section : SectionId
    names : iterable of str
        Base names of the clips.
    truth : iterable of ClipTruth
    scores : iterable of float
    decisions : iterable of int
        1 anomalous, 0 normal, -1 not given.

    Returns
    -------
    pd.DataFrame
    """
    told = list(truth)
    return pd.DataFrame(
        {
            "machine_type": section.machine_type,
            "section": section.section,
            "file_name": list(names),
            "domain": [clip.domain for clip in told],
            "condition": [clip.condition for clip in told],
            "attributes": [attributes_text(attribute_pairs(clip.attributes)) for clip in told],
            "score": list(scores),
            "decision": list(decisions),
        }
    )


def decisions_on(path: Path | None, clips: Iterable[str]) -> list[int]:
    """The decision on each clip, -1 where there is no file of decisions.

    Raises
    ------
    DataError
        The file cannot be read, or is of other clips.
    """
    names = list(clips)
    if path is None:
        return [-1] * len(names)
    table = read_decisions(path)
    # by clip: the two files need not list the clips in the same order
    decided = dict(zip(table["file_name"], table["decision"], strict=True))
    if different := sorted(set(names) ^ set(decided)):
        raise DataError(
            f"{path}: its clips are not those of the score file: {len(different)} differ, the first is {different[0]}"
        )
    return [int(decided[clip]) for clip in names]


def _truth_of(place: str, clip: str, section: SectionId, tables: Truth, domain: str) -> ClipTruth:
    """What a clip is; ``domain`` is that of its file, ``""`` where the file has both."""
    truth = tables.find(section.machine_type, clip)
    # lists of domains alone name a clip and leave its condition open
    if truth is None or not truth.condition:
        raise DataError(f"{place}: is {clip} normal or anomalous? {_why_unknown(section, tables)}")
    if domain and truth.domain not in ("", domain):
        raise DataError(f"{place}: {clip} is of domain {truth.domain}, but the file's name says {domain}")
    return ClipTruth(truth.domain or domain, truth.condition, truth.attributes, truth.full_name)


def _why_unknown(section: SectionId, tables: Truth) -> str:
    if section.machine_type in tables.refused:
        return tables.refused[section.machine_type]
    if not tables:
        return "its name does not say: give the ground truth (attribute tables or lists)"
    listed = tables.test_clips
    own = sorted(other.section for other in listed if other.machine_type == section.machine_type)
    if section.section in own:
        example = min(listed[section])
        what = f"clips of {section} as {example}"
    elif own:
        what = f"sections {_some(own)} of {section.machine_type}"
    else:
        what = f"clips of {_some(sorted({machine_type for machine_type, _ in tables}))}"
    return f"it is not in the ground truth given, which has {what} (attribute tables or lists): is it another year's?"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_N_SHOWN]) + (f" and {len(names) - _N_SHOWN} more" if len(names) > _N_SHOWN else "")


# ---- All sections ----------------------------------------------------------------------------------------------------


def _check_is_their_truth(directory: Path, parts: Mapping[SectionId, pd.DataFrame], tables: Truth) -> None:
    """Truth was given, so some of it should be about these clips."""
    names = ((section.machine_type, clip) for section, part in parts.items() for clip in part["file_name"])
    if tables and not any((key[0], tables.released_name(*key)) in tables for key in names):
        listed = _some(sorted(map(str, tables.test_clips)))
        raise DataError(
            f"the ground truth given names none of the clips that {directory} scores ({_some(list(map(str, parts)))}); "
            f"it has {listed}: is it another year's? Their own names say what they are: leave the ground truth out"
        )


def _recognised(directory: Path, found: Mapping[SectionId, SectionFiles], clips: pd.DataFrame) -> str:
    """The protocol that the files' names tell."""
    forms = {files.form.replace("submission", "section"): section for section, files in found.items()}
    if len(forms) > 1:
        places = ", ".join(next(iter(found[section].scores.values())).name for section in forms.values())
        raise DataError(
            f"{directory} holds files of several years' forms ({places}), which are judged by different protocols: "
            "give each a directory of its own, or say which holds with --protocol"
        )
    form = next(iter(forms))
    if form != "id":
        return {"domain": "2021", "section": "2022"}[form]
    # MIMII's names begin with the ID or are numbers alone; DCASE 2020's end in the ID and number, hidden ones as well
    is_2020 = clips["file_name"].str.match(r"^(?:(?:normal|anomaly)_)?id_[0-9]{2}_[0-9]+\.").any()
    return "2020" if is_2020 else "mimii"


def _incomplete(directory: Path, lacks: Mapping[SectionId, Missing], parts: Mapping[SectionId, pd.DataFrame]) -> str:
    section, missing = next(iter(lacks.items()))
    more = f"; {len(lacks) - 1} more section(s) lack clips as well" if len(lacks) > 1 else ""
    n_clips = missing.n_clips + len(parts[section])
    return (
        f"{directory}: {missing.n_clips} of {n_clips} test clips of {section} have no score, {missing.which}{more}. "
        "Score them, or take what is there with --partial (in Python: partial=True)"
    )
