"""Clips as the clip table: sorted, validated, what does not validate left out and reported."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from mimiidg_build.datasets.clip_table.clips import Clip
from mimiidg_build.datasets.findings import Finding, SchemaCase, schema_cases
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.manifests import CONDITIONS, DOMAINS, SPLITS
from mimiidg_build.schemas.tables import ClipTable

if TYPE_CHECKING:
    from pandera.typing.pandas import DataFrame

_ORDER = tuple({word: i for i, word in enumerate(words)} for words in (SPLITS, (*DOMAINS, ""), (*CONDITIONS, "")))


def clip_frame(clips: Sequence[Clip]) -> tuple[DataFrame[ClipTable], list[Finding]]:
    """The clip table of the clips.

    Returns
    -------
    table : DataFrame[ClipTable]
        Every clip that validates; of several with one name, the first.
    findings : list of Finding
        Errors, all of them at once: ``duplicate_clip``, ``anomaly_in_train``, or another check of `ClipTable`.
    """
    clips = sorted(clips, key=_order)
    table = _table(clips)
    if ClipTable.holds(table):
        return cast("DataFrame[ClipTable]", table), []
    from pandera.errors import SchemaErrors

    try:
        return ClipTable.validate(table, lazy=True), []
    except SchemaErrors as error:
        cases = schema_cases(error)
    bad, findings = _failures(cases, clips)
    good = table.drop(index=sorted(bad)).reset_index(drop=True)
    return ClipTable.validate(good, lazy=True), findings


def _table(clips: Sequence[Clip]) -> pd.DataFrame:
    """A row for each clip. Column by column, which takes a third of the time that row by row takes."""
    columns: dict[str, list[Any]] = {
        "machine_type": [clip.section_id[0] for clip in clips],
        "section": [clip.section_id[1] for clip in clips],
        "split": [clip.split for clip in clips],
        "domain": [clip.domain for clip in clips],
        "condition": [clip.condition for clip in clips],
        "index": [clip.index for clip in clips],
        "attributes": [attributes_text(clip.attributes) for clip in clips],
        "full_name": [clip.full_name for clip in clips],
        "clip": [clip.stem for clip in clips],
        "archive": [clip.file.archive for clip in clips],
        "member": [clip.file.member for clip in clips],
    }
    types: dict[str, Any] = ClipTable.dtypes()
    return pd.DataFrame({name: pd.array(columns[name], dtype) for name, dtype in types.items()})


def _failures(cases: Sequence[SchemaCase], clips: Sequence[Clip]) -> tuple[set[int], list[Finding]]:
    """Which rows to leave out, and why: of several clips with one name the first stays."""
    findings: list[Finding] = []
    bad: set[int] = set()
    first: dict[tuple[str, str], Clip] = {}
    for case in cases:
        if case.row is None:
            raise ValueError(f"the clip table was put together wrongly: {case.check} {case.value}")
        clip = clips[case.row]  # the table was made of the sorted clips, so its row numbers are their indices
        key = (clip.file.machine_type, clip.stem)
        # the check marks every clip of that name, the first included
        if case.check == "duplicate_clip" and first.setdefault(key, clip) is clip:
            continue
        bad.add(case.row)
        findings.append(_failure(case, clip, first.get(key)))
    return bad, findings


def _failure(case: SchemaCase, clip: Clip, first: Clip | None) -> Finding:
    expected, file = case.check, clip.file
    if case.check == "duplicate_clip" and first is not None:
        expected, other = "one clip of each name", first.file
        message = f"{file.member} also stands in {other.archive}:{other.member}; expected {expected} in a machine type"
    elif case.check == "anomaly_in_train":
        expected = "normal training clips"
        message = f"{file.member} is an anomalous training clip; expected {expected} alone"
    else:
        message = f"{file.member}: {case.column} {case.value!r} fails {case.check}"
    column, value = case.column or "member", case.value or file.member
    return Finding("error", case.check, file.archive, message, 0, column, value, expected)


def _order(clip: Clip) -> tuple[Any, ...]:
    ranks = _ranks(clip.split, clip.domain, clip.condition)
    return (clip.section_id, ranks, clip.index, clip.file.member, clip.file.archive)


@cache  # thousands of clips have a dozen combinations
def _ranks(*words: str) -> tuple[int, ...]:
    return tuple(ranks[word] for ranks, word in zip(_ORDER, words, strict=True))
