"""A store's clips where the organisers' baselines and evaluators, and toolkits made for them, look for them.

    DIR/dev_data/raw/<machine>/{train,test}/         sections whose test clips say in their names what they are
    DIR/eval_data/raw/<machine>/{train,test}/        sections whose test clips hide it, and those without test clips
    DIR/eval_data/raw/<machine>/test_rename/         these test clips again, under full names: with them the baseline
                                                     computes AUCs of evaluation sections
    DIR/{dev_data,eval_data}/raw/<machine>/attributes_<NN>.csv
    DIR/ground_truth_{data,domain,attributes}/       the evaluator's lists of the clips whose names hide what they are

All of DIR can be given as ``--truth``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

import pandas as pd

from mimiidg_build.datasets.layouts.writing import (
    WRITING,
    Files,
    Row,
    Writing,
    by_section,
    code_lists,
    csv_bytes,
    is_contradicted,
    is_named,
    list_path,
    own_name,
    written_clips,
)
from mimiidg_build.datasets.rows import base_name, records
from mimiidg_build.errors import DataError
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export.clips import clip_table, wav_files
from mimiidg_build.upkeep.export.released import write_wavs
from mimiidg_build.upkeep.export.target import Target

DEVELOPMENT, EVALUATION = "dev_data/raw", "eval_data/raw"


def table(store: Store) -> pd.DataFrame:
    """The clips, each with its ``path``, and ``renamed``: the path under its full name, of test clips that hide theirs.

    Raises
    ------
    DataError
        Two clips would have one path.
    """
    writing, written = WRITING[store.attributes.layout], written_clips(store.clips)
    paths, renamed = [""] * len(written), [""] * len(written)
    for _, rows in written.groupby(["machine_type", "section"]):
        clips = records(rows)
        folder = f"{_part(clips, writing)}/{clips[0]['machine_type']}"
        # under a name that says otherwise than the truth, the baseline would take it for the other
        can_rename = not any(map(is_contradicted, clips))
        for number, clip in zip(rows.index, clips, strict=True):
            paths[number] = f"{folder}/{clip['split']}/{writing.dcase_name(clip)}"
            if writing.hides_truth(clip) and clip["condition"] and is_named(clip) and can_rename:
                renamed[number] = f"{folder}/test_rename/{base_name(clip['full_name'])}"
    twice = [path for path, count in Counter([*paths, *filter(None, renamed)]).items() if count > 1]
    if twice:
        raise DataError(f"{store.path}/clips.parquet: two clips would both be {twice[0]}; nothing is written.")
    return clip_table(store, path=paths, renamed=renamed)


def write(store: Store, clips: pd.DataFrame, target: Target) -> None:
    """Write lists and tables, and the clips that are not there yet.

    Parameters
    ----------
    store : Store
    clips : pd.DataFrame
        From :func:`table`.
    target : Target
    """
    target.write_all(files(store, clips).items())
    write_wavs(store, clips["path"].tolist(), target)
    again = store.clips.assign(path=clips["renamed"].tolist())
    is_missing = [bool(path) and not target.has(path) for path in again["path"]]
    for row, wav in wav_files(store, again[is_missing]):
        target.write(row["path"], wav)


def files(store: Store, clips: pd.DataFrame) -> Files:
    """Attribute tables and lists, by path."""
    writing, written = WRITING[store.attributes.layout], written_clips(store.clips)
    found: Files = {}
    for part in (DEVELOPMENT, EVALUATION):
        is_here = clips["path"].str.startswith(f"{part}/").to_numpy()
        # as in a release: a table names its clips from the machine type's folder on
        members = [PurePosixPath(path).relative_to(part).as_posix() for path in clips["path"][is_here]]
        tables = writing.tables(written[is_here].assign(member=members))
        found |= {f"{part}/{name}": content for name, content in tables.items()}
    found |= writing.lists(written)
    for rows in by_section(written):
        found |= dict(_evaluator_lists([row for row in rows if writing.hides_truth(row)]))
    return found


def _part(clips: list[Row], writing: Writing) -> str:
    """Whether a section is one of the development or the evaluation part."""
    tests = [clip for clip in clips if clip["split"] == "test"]
    return DEVELOPMENT if tests and not any(map(writing.hides_truth, tests)) else EVALUATION


def _evaluator_lists(hidden: list[Row]) -> Iterator[tuple[str, bytes]]:
    """The evaluator's lists of those clips of a section whose names hide what they are."""
    yield from code_lists(hidden).items()
    if hidden and all(clip["condition"] and is_named(clip) for clip in hidden):
        # without the suffix, as the evaluators of 2023 on have it
        names = ([own_name(clip), PurePosixPath(base_name(clip["full_name"])).stem] for clip in hidden)
        yield list_path("attributes", hidden[0]), csv_bytes(names)
