"""Clips as the clip table: sorted, validated, what does not validate left out and reported."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pandera.errors
from pandera.typing.pandas import DataFrame

from mimiidg_build.datasets.clip_table.rules import Clip
from mimiidg_build.datasets.findings import Finding, schema_cases
from schemas.manifests import CONDITIONS, DOMAINS, MACHINE_TYPES, SPLITS
from schemas.tables import ClipTable

_ORDER = tuple({word: i for i, word in enumerate(words)} for words in (SPLITS, DOMAINS, CONDITIONS))


def clip_frame(clips: Sequence[Clip]) -> tuple[DataFrame[ClipTable], list[Finding]]:
    """The clip table of the clips.

    Returns
    -------
    table : every clip that validates; of several with one name, the first
    findings : errors, all of them at once: ``duplicate_clip``, ``anomaly_in_train``, or another check of `ClipTable`
    """
    clips = sorted(clips, key=_order)
    columns = list(ClipTable.to_schema().columns)
    types = {column: "int64" if column == "index" else "str" for column in columns}
    table = pd.DataFrame([_row(clip) for clip in clips], columns=columns).astype(types)
    try:
        return ClipTable.validate(table, lazy=True), []
    except pandera.errors.SchemaErrors as error:
        cases = schema_cases(error)
    findings: list[Finding] = []
    bad: set[int] = set()
    first: dict[tuple[str, str], Clip] = {}
    for case in cases:
        if case.row is None:
            raise ValueError(f"the clip table was put together wrongly: {case.check} {case.value}")
        clip = clips[case.row]
        if case.check == "duplicate_clip" and first.setdefault((clip.machine_type, clip.stem), clip) is clip:
            continue
        bad.add(case.row)
        findings.append(_failure(case.check, case.column, case.value, clip, first.get((clip.machine_type, clip.stem))))
    good = table.drop(index=sorted(bad)).reset_index(drop=True)
    return ClipTable.validate(good, lazy=True), findings


def _failure(check: str, column: str, value: str, clip: Clip, first: Clip | None) -> Finding:
    expected = check
    if check == "duplicate_clip" and first is not None:
        expected = "one clip of each name"
        message = f"{clip.member} also stands in {first.archive}:{first.member}; expected {expected} in a machine type"
    elif check == "anomaly_in_train":
        expected = "normal training clips"
        message = f"{clip.member} is an anomalous training clip; expected {expected} alone"
    else:
        message = f"{clip.member}: {column} {value!r} fails {check}"
    return Finding("error", check, clip.archive, message, 0, column or "member", value or clip.member, expected)


def _order(clip: Clip) -> tuple[int | str, ...]:
    name = clip.name
    words = (name.split, str(name.domain), str(name.condition))
    ranks = (ranks[word] for ranks, word in zip(_ORDER, words, strict=True))
    return (MACHINE_TYPES.index(clip.machine_type), name.section, *ranks, name.index, clip.member, clip.archive)


def _row(clip: Clip) -> tuple[str | int | None, ...]:
    name = clip.name
    (d1p, d1v), (d2p, d2v) = (*name.attributes, ("", ""))[:2]
    head = (clip.machine_type, name.section, name.split, name.domain, name.condition, name.index)
    return (*head, d1p, d1v, d2p, d2v, clip.stem, clip.archive, clip.member)
