"""What each layout has beside its clips when a release is written: attribute tables, truth lists; and names for DCASE.

Names come from the clip table, ``member`` and ``full_name``, and are never composed; what a clip's own name hides
stands in a table or list, as the organisers publish it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from mimiidg_build.datasets.rows import base_name, records, row_attributes
from mimiidg_build.datasets.truth import truth_of_name
from mimiidg_build.schemas.manifests import CONDITIONS, DOMAINS, LayoutName
from mimiidg_build.schemas.sections import SectionId

Row = dict[str, Any]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Writing:
    """How releases of one layout are written.

    ``path`` is where a clip's file goes, ``tables`` gives what lies beside clips, by path (of rows of the clip table
    with these paths as ``member``); ``dcase_name`` is a clip's file name where DCASE's toolkits look for it.
    """

    path: Callable[[Row], str]
    tables: Callable[[pd.DataFrame], Files]
    dcase_name: Callable[[Row], str]


def written_clips(clips: pd.DataFrame, layout: LayoutName) -> pd.DataFrame:
    """Clips with the paths and names that their files are written under: what was FLAC is written as WAV.

    Parameters
    ----------
    clips : pd.DataFrame
        A store's clip table.
    layout : LayoutName

    Returns
    -------
    pd.DataFrame
    """
    paths = [_as_wav(WRITING[layout].path(row)) for row in records(clips)]
    return clips.assign(member=paths, full_name=[_as_wav(name) for name in clips["full_name"]])


def _as_wav(path: str) -> str:
    """A file's name as that of a WAV file.

    >>> _as_wav("fan/train/a_n-lv_L1-6.5.flac"), _as_wav("fan/train/a.WAV")
    ('fan/train/a_n-lv_L1-6.5.wav', 'fan/train/a.WAV')
    """
    return path if path.lower().endswith(".wav") else str(PurePosixPath(path).with_suffix(".wav"))


def hides_truth(row: Row) -> bool:
    """Whether a clip's own file name is not its full one.

    >>> hides_truth({"member": "fan/test/section_03_0000.wav", "full_name": "section_03_source_test_normal_0000_.wav"})
    True
    """
    return PurePosixPath(row["member"]).stem != PurePosixPath(base_name(row["full_name"])).stem


def is_evaluation(row: Row) -> bool:
    """Whether a clip's own name does not say what it is: it stands in a list, or nobody knows."""
    return hides_truth(row) or not row["condition"]


def own_name(row: Row) -> str:
    """A clip's own file name."""
    return PurePosixPath(row["member"]).name


def is_contradicted(row: Row) -> bool:
    """Whether a clip's full name says another condition or domain than its row; the row is right (2022's toys)."""
    told = truth_of_name(base_name(row["full_name"]))
    return told is not None and (told.condition, told.domain) != (row["condition"], row["domain"])


# ---- Attribute tables: MIMII DG, DCASE 2022 on -----------------------------------------------------------------------


def attribute_tables(clips: pd.DataFrame) -> Files:
    """``<machine>/attributes_NN.csv`` of every section that has attributes or hidden names.

    The evaluator's lists of labels and domains come with them where published full names are known to be wrong.
    """
    tables: Files = {}
    for (machine_type, section), rows in clips.groupby(["machine_type", "section"]):
        clip_rows = records(rows)
        if table := attribute_table(clip_rows):
            tables[f"{machine_type}/attributes_{section}.csv"] = table
        if any(map(is_contradicted, clip_rows)):
            tables |= code_lists(clip_rows)
    return tables


def attribute_table(rows: Sequence[Row]) -> bytes:
    """One table: path, as many pairs of columns as a clip has at most, and the full name as last column where file
    names hide the truth; such tables list those clips alone. Empty where there is nothing to say."""
    hidden = [row for row in rows if hides_truth(row)]
    rows = hidden or [row for row in rows if row["condition"]]
    pairs = [[cell for pair in row_attributes(row).items() for cell in pair] for row in rows]
    columns = [f"d{number // 2 + 1}{'pv'[number % 2]}" for number in range(max(map(len, pairs), default=0))]
    if not hidden and not columns:
        return b""
    lines = [["file_name", *columns, *(["file_name_with_full_attributes"] if hidden else [])]]
    for row, cells in zip(rows, pairs, strict=True):
        last = [str(PurePosixPath(row["member"]).with_name(base_name(row["full_name"])))] if hidden else []
        lines.append([row["member"], *cells, *[""] * (len(columns) - len(cells)), *last])
    return csv_bytes(lines)


# ---- Lists of an evaluator -------------------------------------------------------------------------------------------


def code_lists(rows: Sequence[Row]) -> Files:
    """``ground_truth_data/..`` (0 normal, 1 anomaly) and ``ground_truth_domain/..`` (0 source, 1 target) of a section's
    clips whose names hide it. Without domains there is no second list."""
    hidden = [row for row in rows if hides_truth(row)]
    lists = {"data": ("condition", CONDITIONS), "domain": ("domain", DOMAINS)}
    return {
        list_path(kind, hidden[0]): csv_bytes([[own_name(row), words.index(row[column])] for row in hidden])
        for kind, (column, words) in lists.items()
        if hidden and all(row[column] in words for row in hidden)
    }


def list_path(kind: str, row: Row) -> str:
    """Where the evaluator looks for a list of a clip's section.

    >>> list_path("data", {"machine_type": "fan", "section": "03"})
    'ground_truth_data/ground_truth_fan_section_03_test.csv'
    """
    section = SectionId(row["machine_type"], row["section"]).group.partition("/")[2]
    return f"ground_truth_{kind}/ground_truth_{row['machine_type']}_{section}_test.csv"


# ---- Lists of a year -------------------------------------------------------------------------------------------------


def year_list(clips: pd.DataFrame, *, with_codes: bool = False) -> bytes:
    """``eval_data_list_20xx.csv``: a line with the machine type, then own and full name of every clip that hides it.

    Parameters
    ----------
    clips : pd.DataFrame
    with_codes : bool
        Whether a third column has 0 for normal, 1 for an anomaly, as in 2020.

    Returns
    -------
    bytes
        Empty where no clip's name hides anything.
    """
    lines: list[list[object]] = []
    for machine_type, rows in clips.groupby("machine_type"):
        hidden = [row for row in records(rows) if hides_truth(row)]
        lines += [[machine_type]] if hidden else []
        for row in hidden:
            code = [CONDITIONS.index(row["condition"])] if with_codes else []
            lines.append([own_name(row), base_name(row["full_name"]), *code])
    return csv_bytes(lines)


def csv_bytes(rows: Sequence[Sequence[object]]) -> bytes:
    """Rows as CSV text, with the organisers' line ends."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


# ---- One layout each -------------------------------------------------------------------------------------------------


def _list_of_2020(clips: pd.DataFrame) -> Files:
    return _named("eval_data_list_2020.csv", year_list(clips, with_codes=True))


def _list_of_2021(clips: pd.DataFrame) -> Files:
    return _named("eval_data_list_2021.csv", year_list(clips))


def _named(name: str, content: bytes) -> Files:
    return {name: content} if content else {}


def _member(row: Row) -> str:
    return str(row["member"])


def _no_tables(clips: pd.DataFrame) -> Files:
    return {}


def _cut_recording(row: Row) -> str:
    """Several clips may come from one recording, so their own names tell them apart."""
    return f"{row['machine_type']}/{row['split']}/{row['clip']}.wav"


def _as_in_2020(row: Row) -> str:
    """MIMII's folders say what DCASE 2020, which took its clips over, writes into the name.

    >>> _as_in_2020({"condition": "anomaly", "section": "id_00", "index": 7})
    'anomaly_id_00_00000007.wav'
    """
    return f"{row['condition']}_{row['section']}_{row['index']:08d}.wav"


WRITING: Mapping[LayoutName, Writing] = {
    "mimii": Writing(_member, _no_tables, _as_in_2020),
    "dcase2020": Writing(_member, _list_of_2020, own_name),
    "dcase2021": Writing(_member, _list_of_2021, own_name),
    "dcase2022": Writing(_member, attribute_tables, own_name),
    "recordings": Writing(_cut_recording, _no_tables, own_name),
}
