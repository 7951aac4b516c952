"""Which anomalies of the test set a training may use: drawn from each section by the run's seed.

A run with known anomalies starts from the weights of the run without. Its known anomalies leave the test set; runs
that are compared are all tested without the largest number that any of them knows.
"""

from __future__ import annotations

import hashlib

import pandas as pd

from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store


def draw_anomalies(store: Store, section: str, k: int, seed: int) -> pd.DataFrame:
    """Draw the known anomalies of a section, from each domain in turn where there are domains.

    Parameters
    ----------
    store : Store
    section : str
        ``"fan/00"``
    k : int
        How many. Those of a smaller number are the first of a larger.
    seed : int
        The run's.

    Returns
    -------
    pd.DataFrame [shape=(k, ...)]
        Rows of the store's clip table.

    Raises
    ------
    UsageError
        No anomaly of some domain would be left to test with.
    """
    machine_type, number = SectionId.parse(section)
    clips = store.clips
    wanted = (clips["machine_type"] == machine_type) & (clips["section"] == number) & (clips["split"] == "test")
    anomalies = clips[wanted & (clips["condition"] == "anomaly")]
    # by digest rather than by a generator: a clip's place does not depend on which others the section holds
    digests = [hashlib.sha256(f"{seed}/{section}/{clip}".encode()).digest() for clip in anomalies["clip"]]
    anomalies = anomalies.iloc[sorted(range(len(digests)), key=digests.__getitem__)]
    # the first of each domain, then the second of each, ...: what is left to test with is as even as what there was
    alternating = anomalies.groupby("domain").cumcount().sort_values(kind="stable").index
    known, left = anomalies.loc[alternating[:k]], anomalies.loc[alternating[k:]]
    if set(left["domain"]) != set(anomalies["domain"]):
        of_a_domain = " of a domain" if set(anomalies["domain"]) != {""} else ""
        raise UsageError(
            f"{section} of {store.path} has {len(anomalies)} anomalies: {k} known ones would leave none{of_a_domain} "
            "to test with"
        )
    return known
