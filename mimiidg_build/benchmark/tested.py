"""Which sections of a store are trained on, tested and evaluated: releases leave some without clips, or without truth.

A section with training clips and no test clips (DCASE 2020's additional training data) is trained on alone. A test clip
whose condition nobody told is scored and not evaluated; so is a section that lacks normal or anomalous test clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mimiidg_build.schemas.manifests import CONDITIONS
from mimiidg_build.schemas.sections import section_names
from mimiidg_build.store.store import Store


def sections_with(store: Store, split: str) -> list[str]:
    """The sections (``"fan/00"``) that have clips in a split, in the store's order."""
    clips = store.clips
    found = set(section_names(clips[clips["split"] == split]))
    return [name for name in store.sections if name in found]


def evaluated_sections(store: Store) -> list[str]:
    """The sections that metrics are of, in the store's order: those with normal and anomalous test clips."""
    clips = store.clips
    test = clips[clips["split"] == "test"]
    both = [set(section_names(test[test["condition"] == condition])) for condition in CONDITIONS]
    return [name for name in store.sections if all(name in names for names in both)]


def tested_clips(store: Store) -> pd.DataFrame:
    """Rows of the clip table: the test clips of the sections that metrics are of."""
    clips = store.clips
    return clips[(clips["split"] == "test") & section_names(clips).isin(evaluated_sections(store))]


def not_evaluated(store: Store) -> list[str]:
    """What is said of clips and sections that no metric is of, a line each."""
    clips = store.clips
    test = clips[clips["split"] == "test"]
    hidden = int((test["condition"] == "").sum())
    tested, evaluated = sections_with(store, "test"), evaluated_sections(store)
    lines = [
        ("trained on and not tested, for want of test clips", [n for n in store.sections if n not in tested]),
        (
            "scored and not evaluated, for want of normal or of anomalous test clips whose condition is known",
            [name for name in tested if name not in evaluated],
        ),
    ]
    said = [f"{_named(sections)}: {what}" for what, sections in lines if sections]
    if hidden:
        said.insert(
            0, f"{hidden:,} of {len(test):,} test clips are scored and not evaluated: nobody told their condition"
        )
    return said


def _named(sections: Sequence[str]) -> str:
    shown = ", ".join(sections[:3])
    return shown if len(sections) <= 3 else f"{shown} and {len(sections) - 3} more sections"
