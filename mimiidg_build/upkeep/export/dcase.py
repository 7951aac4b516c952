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
from typing import Any

import pandas as pd

from mimiidg_build.datasets.layouts.writing import (
    WRITING,
    Files,
    code_lists,
    csv_bytes,
    hides_truth,
    is_contradicted,
    is_evaluation,
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
    layout = store.attributes.layout
    written = written_clips(store.clips, layout)
    dcase_name = WRITING[layout].dcase_name
    paths, renamed = [""] * len(written), [""] * len(written)
    for _, rows in written.groupby(["machine_type", "section"]):
        clips = records(rows)
        folder = f"{_part(clips)}/{clips[0]['machine_type']}"
        # under a name that says otherwise than the truth, the baseline would take it for the other
        can_rename = not any(map(is_contradicted, clips))
        for number, clip in zip(rows.index, clips, strict=True):
            paths[number] = f"{folder}/{clip['split']}/{dcase_name(clip)}"
            if clip["condition"] and hides_truth(clip) and can_rename and clip["split"] == "test":
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
    layout, found = store.attributes.layout, Files()
    written = written_clips(store.clips, layout)
    for part in (DEVELOPMENT, EVALUATION):
        is_here = clips["path"].str.startswith(f"{part}/")
        # as in a release: a table names its clips from the machine type's folder on
        members = [PurePosixPath(path).relative_to(part).as_posix() for path in clips["path"][is_here]]
        here = written[is_here.to_numpy()].assign(member=members)
        tables = WRITING[layout].tables(here)
        found |= {(f"{part}/{name}" if name.count("/") == 1 else name): content for name, content in tables.items()}
    for _, rows in written.groupby(["machine_type", "section"]):
        found |= dict(_evaluator_lists(records(rows)))
    return found


def _part(clips: list[dict[str, Any]]) -> str:
    """Whether a section is one of the development or the evaluation part."""
    tests = [clip for clip in clips if clip["split"] == "test"]
    return DEVELOPMENT if tests and not any(map(is_evaluation, tests)) else EVALUATION


def _evaluator_lists(clips: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """The evaluator's lists of one section: none where names say everything, or nobody knows the truth."""
    hidden = [clip for clip in clips if hides_truth(clip)]
    yield from code_lists(clips).items()
    if hidden and all(clip["condition"] for clip in hidden):
        # without the suffix, as the evaluators of 2023 on have it
        names = [[own_name(clip), PurePosixPath(base_name(clip["full_name"])).stem] for clip in hidden]
        yield list_path("attributes", hidden[0]), csv_bytes(names)
