"""Score and decision files in the official DCASE format: written, and read from any system.

Conventions
-----------
Per (machine type, section), two CSV files without a header, UTF-8, lines end with LF, one line per test clip:

``anomaly_score_<machine>_section_<NN>_test.csv``    base name of the clip, anomaly score (larger = more anomalous)
``decision_result_<machine>_section_<NN>_test.csv``  base name of the clip, 1 (anomalous) or 0 (normal)

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
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.scores import DecisionTable, ScoreTable
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.files import write_file

SCORE, DECISION = "anomaly_score", "decision_result"
FILE_NAME = re.compile(
    r"^(?P<kind>anomaly_score|decision_result)_(?P<machine_type>[A-Za-z0-9][A-Za-z0-9_-]*)"
    r"_section_(?P<section>[0-9]{2})_test\.csv$"
)
LIKE_A_FILE_NAME = re.compile(r"^(anomaly_score|decision_result)_.*\.csv$", re.IGNORECASE)
CLIP_SECTION = re.compile(r"^section_(?P<section>[0-9]{2})_.+\.wav$")


def file_name(kind: str, machine_type: str, section: str) -> str:
    """The name of a score or decision file.

    Parameters
    ----------
    kind : {"anomaly_score", "decision_result"}
    machine_type : str
        Letters, digits, ``_`` and ``-``.
    section : str
        Two digits.

    Raises
    ------
    ValueError
        No score file can have that name.

    Examples
    --------
    >>> file_name(SCORE, "fan", "00")
    'anomaly_score_fan_section_00_test.csv'
    """
    name = f"{kind}_{machine_type}_section_{section}_test.csv"
    if not FILE_NAME.match(name):
        raise ValueError(
            f"{name!r} is not the name of a score file: expected a machine type like 'fan' and a section like '00'"
        )
    return name


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


def find(directory: Path) -> dict[SectionId, dict[str, Path]]:
    """The score and decision files of a directory, by section, sorted: {section: {kind: path}}.

    Raises
    ------
    UsageError
        There is no such directory.
    DataError
        It holds no score file, one whose name no reader would find, or a section's decisions without its scores.
    """
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is not a directory; expected one with files like {file_name(SCORE, 'fan', '00')}"
        )
    found: dict[SectionId, dict[str, Path]] = {}
    for path in sorted(directory.iterdir()):
        if match := FILE_NAME.match(path.name):
            found.setdefault(SectionId(match["machine_type"], match["section"]), {})[match["kind"]] = path
        elif LIKE_A_FILE_NAME.match(path.name):
            # passed over, its section would be missing from every mean without a word
            raise DataError(
                f"{path}: not the name of a score or decision file; expected one like {file_name(SCORE, 'fan', '00')} "
                f"or {file_name(DECISION, 'fan', '00')}. Rename it, or move it out of the directory"
            )
    if not found:
        raise DataError(
            f"{directory} holds no score files; expected names like {file_name(SCORE, 'fan', '00')}"
            f"{_where_they_are(directory)}"
        )
    for section, files in found.items():
        if SCORE not in files:
            missing = file_name(SCORE, *section)
            raise DataError(f"{directory} holds {files[DECISION].name}, but not {missing}")
    return dict(sorted(found.items()))


def _where_they_are(directory: Path) -> str:
    """A folder within that has score files, as part of a message."""
    folders = (path for path in sorted(directory.iterdir()) if path.is_dir())
    near = next((path for path in folders if any(FILE_NAME.match(file.name) for file in path.iterdir())), None)
    return f". {near} holds some: give that directory" if near else ""


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
    match = FILE_NAME.match(path.name)
    section = match["section"] if match else None
    first_line: dict[str, int] = {}
    rows: list[tuple[int, str, str]] = []
    for line, row in read_rows(path):
        if len(row) != 2:
            raise DataError(f"{path}, line {line}: expected 2 values (file name, {what}), found {len(row)}: {row}")
        clip = base_name(row[0])
        if clip in first_line:
            raise DataError(f"{path}, line {line}: {clip} is repeated; it is first on line {first_line[clip]}")
        named = CLIP_SECTION.match(clip)
        if named is None or (section is not None and named["section"] != section):
            expected = f"section_{section or 'NN'}_....wav"
            header = " Likely it is a header, which official files do not have." if not rows and named is None else ""
            raise DataError(
                f"{path}, line {line}: expected a clip of the file's section, {expected}, found {clip!r}.{header}"
            )
        first_line[clip] = line
        rows.append((line, clip, row[1].strip()))
    if not rows:
        raise DataError(f"{path} is empty: expected a line (file name, {what}) for every test clip")
    return rows


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
