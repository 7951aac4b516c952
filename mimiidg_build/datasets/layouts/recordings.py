"""Clips cut from own recordings: what they are stands in a table beside them, not in their names.

<machine_type>.zip
├── <machine_type>/clips.csv                file, section, split, domain, condition, index, attributes
└── <machine_type>/{train,test}/*.wav
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile, ClipReading, Reading
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.recordings.cutting import COLUMNS, TABLE
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.schemas.manifests import CONDITIONS, DOMAINS, SPLITS, DatasetManifest
from mimiidg_build.schemas.sections import SECTION, SectionId

# what a section needs clips of, and what it means if there are none
_NEEDED = {
    ("train", "normal"): ("error", "no_training_clips", ": none is long enough, or all are for testing"),
    ("test", "normal"): (
        *("warning", "no_normal_tests"),
        ", so it gets no AUC: its normal clips are of one recording or session, or all are for training",
    ),
    ("test", "anomaly"): ("warning", "no_anomalies", ": models can be trained on it, and it gets no AUC"),
}
_WORDS = {"split": SPLITS, "domain": (*DOMAINS, ""), "condition": CONDITIONS}


def machine_type_of(dataset: DatasetManifest, archive: str) -> str | None:
    """The machine type that an archive is named after."""
    name = archive.removesuffix(".zip")
    return name if name != archive and (not dataset.machine_types or name in dataset.machine_types) else None


def is_attribute_table(member: str) -> bool:
    """Whether a member is the table of an archive's clips."""
    return member.rpartition("/")[2] == TABLE


def clip_tables(clips: pd.DataFrame) -> dict[str, bytes]:
    """The table of each machine type, by path: what an archive or an export has beside its clips.

    Parameters
    ----------
    clips : pd.DataFrame
        Rows of a clip table.

    Returns
    -------
    dict of str to bytes
    """
    return {
        f"{machine_type}/{TABLE}": table_text(
            [row["member"], *(row[name] for name in COLUMNS[1:])] for row in records(own)
        )
        for machine_type, own in clips.groupby("machine_type")
    }


def table_text(rows: Iterable[Iterable[object]]) -> bytes:
    """A table of clips as CSV text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue().encode()


def read_clips(
    dataset: DatasetManifest,
    archives: Mapping[str, Mapping[str, int]],
    tables: Mapping[tuple[str, str], bytes],
    truth: Truth,
) -> Reading:
    """The clips of archives, as their tables list them. See :class:`mimiidg_build.datasets.layouts.Layout`."""
    reading = Reading()
    for archive, members in archives.items():
        machine_type = machine_type_of(dataset, archive.rpartition("/")[2]) or ""
        own = {member: data for (name, member), data in tables.items() if name == archive}
        if not own:
            message = f"no {machine_type}/{TABLE}, which says what the clips are"
            reading.findings.append(Finding("error", "missing_table", archive, message, 0, "member", "", TABLE))
        listed: set[str] = set()
        for table, data in own.items():
            for line, cells in _rows(data):
                reading.clips.append(_read_row(machine_type, archive, members, f"{archive}:{table}", line, cells))
                listed.add(cells.get("file", ""))
        audio = [name for name in members if name.lower().endswith(".wav")]
        reading.findings += [_unlisted(archive, name) for name in audio if own and name not in listed]
    reading.findings += _sections(reading.read_clips())
    return reading


def _rows(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(data.decode(errors="replace"), newline=""))
    header = next(reader, [])
    for cells in reader:
        yield reader.line_num, dict(zip(header, cells, strict=False))


def _read_row(
    machine_type: str, archive: str, members: Mapping[str, int], table: str, line: int, cells: Mapping[str, str]
) -> ClipReading:
    """One clip of a table."""
    fault = _fault(table, line, cells)
    if fault is None and cells["file"] not in members:
        message = f"the row names {cells['file']}, which the archive does not hold"
        fault = Finding("error", "no_audio", table, message, line, "file", cells["file"], "a member of the archive")
    if fault is not None:
        return ClipReading(None, [fault])
    member = cells["file"]
    file = ClipFile(machine_type, cells["split"], archive, member, member)
    attributes = tuple((str(key), str(value)) for key, value in json.loads(cells["attributes"]).items())
    section_id, name = SectionId(machine_type, cells["section"]), member.rpartition("/")[2]
    clip = Clip(
        file, section_id, cells["split"], cells["domain"], cells["condition"], int(cells["index"]), attributes, name
    )
    return ClipReading(clip, [])


def _fault(table: str, line: int, cells: Mapping[str, str]) -> Finding | None:
    """What a row says that cannot be."""
    if missing := [name for name in COLUMNS if name not in cells]:
        message = f"no {', '.join(missing)}; expected {', '.join(COLUMNS)}"
        return Finding("error", "ragged_row", table, message, line, missing[0], "", ", ".join(COLUMNS))
    for column, words in _WORDS.items():
        if cells[column] not in words:
            expected = ", ".join(filter(None, words))
            message = f"{column} {cells[column]!r}; expected {expected}"
            return Finding("error", "unknown_word", table, message, line, column, cells[column], expected)
    if not re.fullmatch(SECTION, cells["section"]):
        message = f"section {cells['section']!r}; expected letters, digits and _ . + -"
        return Finding("error", "bad_field", table, message, line, "section", cells["section"])
    if not cells["index"].isdecimal() or not _is_object(cells["attributes"]):
        column = "attributes" if cells["index"].isdecimal() else "index"
        message = f"{column} {cells[column]!r}; expected a number as index and a JSON object of texts as attributes"
        return Finding("error", "unknown_value", table, message, line, column, cells[column])
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _unlisted(archive: str, member: str) -> Finding:
    message = f"{member} stands in no row of {TABLE}, it would be lost"
    return Finding("error", "misplaced", archive, message, 0, "member", member, f"a row in {TABLE}")


def _sections(clips: Iterable[Clip]) -> Iterator[Finding]:
    """What a section lacks to train on, or to be judged by."""
    cells: dict[SectionId, set[tuple[str, str]]] = {}
    for clip in clips:
        cells.setdefault(clip.section_id, set()).add((clip.split, clip.condition))
    for section_id, own in cells.items():
        for cell, (severity, kind, why) in _NEEDED.items():
            if cell not in own:
                message = f"section {section_id} has no {cell[1]} {cell[0]} clip{why}"
                yield Finding(severity, kind, str(section_id), message, expected=f"{cell[1]} {cell[0]} clips")
