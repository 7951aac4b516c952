"""What each layout has beside its clips when a release is written: tables and truth lists; and names for DCASE.

Names come from the clip table, ``member`` and ``full_name``, and are never composed where the release has any. What a
clip's own name hides stands in a table or list in the organisers' form: re-read with the release, or as ``--truth``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from mimiidg_build.datasets.layouts.recordings import clip_tables
from mimiidg_build.datasets.rows import base_name, records
from mimiidg_build.datasets.truth import truth_of_name
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import CONDITIONS, DOMAINS, LayoutName
from mimiidg_build.schemas.sections import SectionId

Row = dict[str, Any]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Writing:
    """How releases of one layout are written; all functions are of rows of the clip table.

    ``tables`` lie within a machine type's folder and archive, ``lists`` beside all of them; both by path.
    ``hides_truth``: whether a clip's own name does not say what it is. ``dcase_name``: its file name where DCASE's
    toolkits look for it.
    """

    tables: Callable[[pd.DataFrame], Files]
    lists: Callable[[pd.DataFrame], Files]
    hides_truth: Callable[[Row], bool]
    dcase_name: Callable[[Row], str]


def written_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips with the names that their files are written under: what was FLAC is written as WAV."""
    return clips.assign(**{name: [_as_wav(path) for path in clips[name]] for name in ("member", "full_name")})


def _as_wav(path: str) -> str:
    """A file's name as that of a WAV file.

    >>> _as_wav("fan/train/a_n-lv_L1-6.5.flac"), _as_wav("fan/train/a.WAV")
    ('fan/train/a_n-lv_L1-6.5.wav', 'fan/train/a.WAV')
    """
    return path if path.lower().endswith(".wav") else str(PurePosixPath(path).with_suffix(".wav"))


def own_name(row: Row) -> str:
    """A clip's own file name."""
    return base_name(row["member"])


def is_named(row: Row) -> bool:
    """Whether a list can give a clip's full name, which is not its own.

    >>> is_named({"member": "fan/test/section_03_0000.wav", "full_name": "section_03_source_test_normal_0000_.wav"})
    True
    """
    return PurePosixPath(row["member"]).stem != PurePosixPath(base_name(row["full_name"])).stem


def is_contradicted(row: Row) -> bool:
    """Whether a clip's full name says another condition or domain than its row; the row is right (2022's toys)."""
    told = truth_of_name(base_name(row["full_name"]))
    return told is not None and (told.condition, told.domain) != (row["condition"], row["domain"])


def csv_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows as CSV text, with the organisers' line ends."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def by_section(clips: pd.DataFrame) -> list[list[Row]]:
    """The rows of each section."""
    return [records(rows) for _, rows in clips.groupby(["machine_type", "section"])]


# ---- Attribute tables: MIMII DG, DCASE 2022 on -----------------------------------------------------------------------


def _attribute_tables(clips: pd.DataFrame) -> Files:
    """``<machine>/attributes_NN.csv`` of every section."""
    tables = {
        f"{rows[0]['machine_type']}/attributes_{rows[0]['section']}.csv": _attribute_table(rows)
        for rows in by_section(clips)
    }
    return {name: table for name, table in tables.items() if table}


def _attribute_table(rows: Sequence[Row]) -> bytes:
    """Path, as many pairs of columns as a clip has at most, and the full name as last column where file names hide it:
    such tables list those clips alone. Empty where nobody knows anything."""
    named = [row for row in rows if is_named(row)]
    rows = named or [row for row in rows if row["condition"]]
    pairs = [[cell for pair in row_attributes(row).items() for cell in pair] for row in rows]
    columns = [f"d{number // 2 + 1}{'pv'[number % 2]}" for number in range(max(map(len, pairs), default=0))]
    lines = [["file_name", *columns, *(["file_name_with_full_attributes"] if named else [])]]
    for row, cells in zip(rows, pairs, strict=True):
        last = [str(PurePosixPath(row["member"]).with_name(base_name(row["full_name"])))] if named else []
        lines.append([row["member"], *cells, *[""] * (len(columns) - len(cells)), *last])
    return csv_bytes(lines) if rows else b""


# ---- Lists -----------------------------------------------------------------------------------------------------------


def code_lists(rows: Sequence[Row]) -> Files:
    """The evaluator's lists: ``ground_truth_data`` (0 normal, 1 anomaly), ``ground_truth_domain`` (0 source, 1 target).

    Parameters
    ----------
    rows : sequence of Row
        Those clips of a section whose names hide what they are. Without domains there is no second list, without truth
        none.

    Returns
    -------
    Files
    """
    lists = {"data": ("condition", CONDITIONS), "domain": ("domain", DOMAINS)}
    return {
        list_path(kind, rows[0]): csv_bytes([own_name(row), words.index(row[column])] for row in rows)
        for kind, (column, words) in lists.items()
        if rows and all(row[column] in words for row in rows)
    }


def list_path(kind: str, row: Row) -> str:
    """Where the evaluator looks for a list of a clip's section.

    >>> list_path("data", {"machine_type": "fan", "section": "03"})
    'ground_truth_data/ground_truth_fan_section_03_test.csv'
    """
    section = SectionId(row["machine_type"], row["section"]).group.partition("/")[2]
    return f"ground_truth_{kind}/ground_truth_{row['machine_type']}_{section}_test.csv"


def _what_names_leave_open(clips: pd.DataFrame) -> Files:
    """The evaluator's lists of sections whose full names are not known, or known to be wrong."""
    files: Files = {}
    for rows in by_section(clips):
        hidden = [row for row in rows if _is_anonymous(row)]
        if not all(map(is_named, hidden)) or any(map(is_contradicted, hidden)):
            files |= code_lists(hidden)
    return files


def _year_list(clips: pd.DataFrame, name: str, *, with_codes: bool = False) -> Files:
    """``eval_data_list_20xx.csv``: a line with the machine type, then own and full name of every clip that hides it; in
    2020 its code as well."""
    lines: list[list[object]] = []
    for machine_type, rows in clips.groupby("machine_type"):
        named = [row for row in records(rows) if is_named(row) and row["condition"]]
        lines += [[machine_type]] if named else []
        for row in named:
            code = [CONDITIONS.index(row["condition"])] if with_codes else []
            lines.append([own_name(row), base_name(row["full_name"]), *code])
    return ({name: csv_bytes(lines)} if lines else {}) | _what_names_leave_open(clips)


# ---- One layout each -------------------------------------------------------------------------------------------------


def _nothing(clips: pd.DataFrame) -> Files:
    return {}


def _is_anonymous(row: Row) -> bool:
    """Whether a test clip's own name is that of an evaluation clip."""
    return row["split"] == "test" and truth_of_name(_as_wav(own_name(row))) is None


def _as_in_2020(row: Row) -> str:
    """MIMII's folders say what DCASE 2020, which took its clips over, writes into the name.

    >>> _as_in_2020({"condition": "anomaly", "section": "id_00", "index": 7})
    'anomaly_id_00_00000007.wav'
    """
    return f"{row['condition']}_{row['section']}_{row['index']:08d}.wav"


def _as_in_2022(row: Row) -> str:
    """A name for a clip of one's own recordings, whose names say nothing: as the organisers' where there are domains.

    >>> _as_in_2022({"condition": "normal", "section": "07", "domain": "source", "split": "test", "index": 7})
    'section_07_source_test_normal_0007.wav'
    """
    if not row["domain"]:
        return _as_in_2020(row)
    return f"section_{row['section']}_{row['domain']}_{row['split']}_{row['condition']}_{row['index']:04d}.wav"


def _never(row: Row) -> bool:
    return False


def _list_of_2020(clips: pd.DataFrame) -> Files:
    return _year_list(clips, "eval_data_list_2020.csv", with_codes=True)


def _list_of_2021(clips: pd.DataFrame) -> Files:
    return _year_list(clips, "eval_data_list_2021.csv")


WRITING: Mapping[LayoutName, Writing] = {
    "mimii": Writing(_nothing, _nothing, _never, _as_in_2020),
    "dcase2020": Writing(_nothing, _list_of_2020, _is_anonymous, own_name),
    "dcase2021": Writing(_nothing, _list_of_2021, _is_anonymous, own_name),
    "dcase2022": Writing(_attribute_tables, _what_names_leave_open, _is_anonymous, own_name),
    "recordings": Writing(clip_tables, _nothing, _never, _as_in_2022),
}
