"""Score and decision files in the official DCASE format: written, and read from any system.

Conventions
-----------
Per (machine type, section), two CSV files without a header, UTF-8, lines end with LF, one line per test clip: the base
name of the clip, and its anomaly score (larger = more anomalous) or 1 (anomalous) or 0 (normal). How the files are
called, :mod:`.score_names` says.

Scores are written with as many digits as give the same float64 back. Reading also takes CRLF, a byte order mark and
blank lines. A file appears whole or not at all.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from mimiidg_build.datasets.rows import base_name, read_rows
from mimiidg_build.datasets.truth import section_of_name
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.score_names import DECISION, SCORE, ScoreFileName, file_name
from mimiidg_build.schemas.scores import DecisionTable, ScoreTable
from mimiidg_build.storage.files import write_file

SOUND_ENDINGS = (".wav", ".flac")
_MIMII = re.compile(r"(?:^|/)(id_[0-9]{2})/(normal|abnormal)/([0-9]+\.wav)$")

# ---- Write -----------------------------------------------------------------------------------------------------------


def write_scores(
    directory: Path, machine_type: str, section: str, clips: Sequence[str], scores: Iterable[float]
) -> Path:
    """Write one section's scores, in the order given.

    Parameters
    ----------
    directory : Path
        Created if it does not exist.
    machine_type, section : str
        ``"fan"``, ``"00"``.
    clips : sequence of str
        Base names of the clips (``section_00_source_test_normal_0000_m-n_W.wav``).
    scores : iterable of float [length=len(clips)]
        Finite; larger = more anomalous.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        A score is not finite, a clip occurs twice, there is no clip, or the file cannot be written.
    """
    # Python floats: their repr is the shortest text that reads back as the same float64; numpy's says np.float64(...)
    values = [float(score) for score in scores]
    for clip, score in zip(clips, values, strict=True):
        if not math.isfinite(score):
            raise DataError(f"{machine_type}/{section}: the score of {clip} is {score}, expected a finite number")
    return _write(directory / file_name(SCORE, machine_type, section), clips, [repr(score) for score in values])


def write_decisions(
    directory: Path, machine_type: str, section: str, clips: Sequence[str], decisions: Iterable[bool]
) -> Path:
    """Write one section's decisions, in the order given.

    Parameters
    ----------
    directory : Path
        Created if it does not exist.
    machine_type, section : str
        ``"fan"``, ``"00"``.
    clips : sequence of str
        Base names of the clips.
    decisions : iterable of bool [length=len(clips)]
        True where the clip is called anomalous.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        A clip occurs twice, there is no clip, or the file cannot be written.
    """
    values = ["1" if anomalous else "0" for anomalous in decisions]
    return _write(directory / file_name(DECISION, machine_type, section), clips, values)


def _write(path: Path, clips: Sequence[str], values: Sequence[str]) -> Path:
    """Write one line a clip, the whole file or none of it."""
    repeated = [clip for clip, count in Counter(clips).items() if count > 1]
    if repeated or not clips:
        found = f"found {repeated[0]} twice" if repeated else "found no clip"
        raise DataError(f"{path.name}: expected every test clip once, {found}")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(clips, values, strict=True))
    write_file(path, [text.getvalue().encode()])
    return path


# ---- Read ------------------------------------------------------------------------------------------------------------


def read_scores(path: Path) -> pd.DataFrame:
    """Read a score file into a ``ScoreTable``, rows in the file's order.

    Raises
    ------
    DataError
        The file is empty, a line does not have two values, a score is not a finite number, a clip occurs twice or is
        not of the file's section. The message names file, line and value.
    """
    rows = _read(path, "score")
    table = [(line, clip, _finite(path, line, clip, text)) for line, clip, text in rows]
    return ScoreTable.validate(pd.DataFrame(table, columns=["line", "file_name", "score"]))


def read_decisions(path: Path) -> pd.DataFrame:
    """Read a decision file into a ``DecisionTable``, rows in the file's order. Errors as in ``read_scores``."""
    rows = _read(path, "decision")
    table = [(line, clip, _binary(path, line, clip, text)) for line, clip, text in rows]
    return DecisionTable.validate(pd.DataFrame(table, columns=["line", "file_name", "decision"]))


def _read(path: Path, what: str) -> list[tuple[int, str, str]]:
    """(line, base name of the clip, text of the value) of every row."""
    said = ScoreFileName.parse(path.name)
    section = said.section.section if said else None
    first_line: dict[str, int] = {}
    rows: list[tuple[int, str, str]] = []
    for line, row in read_rows(path):
        if len(row) != 2:
            raise DataError(f"{path}, line {line}: expected 2 values (file name, {what}), found {len(row)}: {row}")
        clip = clip_name(row[0])
        if clip in first_line:
            raise DataError(f"{path}, line {line}: {clip} is repeated; it is first on line {first_line[clip]}")
        if not _is_of(clip, section):
            header = " Likely it is a header, which official files do not have." if not rows and "." not in clip else ""
            raise DataError(
                f"{path}, line {line}: expected a clip of the file's section, {_example(section)}, found {clip!r}."
                f"{header}"
            )
        first_line[clip] = line
        rows.append((line, clip, row[1].strip()))
    if not rows:
        raise DataError(f"{path} is empty: expected a line (file name, {what}) for every test clip")
    return rows


def clip_name(path: str) -> str:
    """The base name of a clip; MIMII's, whose folders alone tell clips apart, with these: ``id_00_normal_0.wav``."""
    folders = _MIMII.search(path.strip().replace("\\", "/"))
    return "_".join(folders.groups()) if folders else base_name(path)


def _is_of(clip: str, section: str | None) -> bool:
    """Whether a clip can be of a section: what its name says, if it says any; any sound file's may be of one's own."""
    named = section_of_name(clip)
    return clip.lower().endswith(SOUND_ENDINGS) and (None in (named, section) or named == section)


def _example(section: str | None) -> str:
    if section is None or re.fullmatch("[0-9]{2}", section):
        return f"section_{section or 'NN'}_....wav"
    return f"{section}_....wav" if section.startswith("id_") else "a sound file's name"


def _finite(path: Path, line: int, clip: str, text: str) -> float:
    try:
        value = _number(text)
    except ValueError:
        raise DataError(f"{path}, line {line}: the score of {clip} is not a number: {text!r}") from None
    if not math.isfinite(value):
        raise DataError(f"{path}, line {line}: the score of {clip} is {text!r}, expected a finite number")
    return value


def _number(text: str) -> float:
    """A number as every reader takes it: Python alone also reads 1_000 and digits of other scripts."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)


def _binary(path: Path, line: int, clip: str, text: str) -> int:
    # Some systems write 0.0 and 1.0; the organisers' evaluator takes them too.
    try:
        value = _number(text)
    except ValueError:
        value = math.nan
    if value not in (0.0, 1.0):
        raise DataError(f"{path}, line {line}: the decision on {clip} is {text!r}, expected 0 or 1")
    return int(value)
