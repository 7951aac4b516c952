"""What a store's clip table records of clips whose names hide it, as truth lists told it when the store was built."""

from __future__ import annotations

import pandas as pd

from mimiidg_build.datasets.rows import base_name, records
from mimiidg_build.datasets.truth import ClipTruth, Truth, truth_of_name


def truth_of_clips(clips: pd.DataFrame) -> Truth:
    """The truth in a clip table, of clips that have a condition and another full name than their file's.

    Examples
    --------
    >>> row = {"machine_type": "fan", "domain": "source", "condition": "normal"}
    >>> row |= {"member": "fan/test/section_03_0000.wav", "full_name": "section_03_source_test_normal_0000_m-n_X.wav"}
    >>> truth_of_clips(pd.DataFrame([row]))["fan", "section_03_0000.wav"].attributes
    'm-n_X'
    """
    told: dict[tuple[str, str], ClipTruth] = {}
    for row in records(clips):
        name, full_name = base_name(row["member"]), row["full_name"]
        # lists of labels alone give no full name, but then the file's own does not tell the condition
        if row["condition"] and (full_name != name or truth_of_name(name, training=True) is None):
            named = truth_of_name(full_name, training=True)
            attributes = named.attributes if named else ""
            told[row["machine_type"], name] = ClipTruth(row["domain"], row["condition"], attributes, full_name)
    return Truth(told.items())
