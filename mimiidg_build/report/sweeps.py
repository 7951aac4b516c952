"""Results that differ in one thing only: in SNR, over variants; or in the number of known anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.errors import DataError
from mimiidg_build.storage.places import Place, matching
from mimiidg_build.store.store import Store, open_store

Sweep = dict[tuple[str, str], list[ModelResult]]
"""Results that make one curve, by (name, label)."""


def read_snr_sweep(store: Store, root: Place, results: Sequence[ModelResult]) -> Sweep:
    """The same models on variants that differ from this store's in SNR alone.

    Parameters
    ----------
    store : Store
    root : Place
        Where the other variants, and the runs on them, are looked for.
    results : sequence of ModelResult
        On this store.

    Returns
    -------
    dict of (model, label) to list of ModelResult
        By rising SNR; only those with at least two SNRs.
    """
    everywhere = [result for result in results if result.is_plain]
    for latest in matching(root / "variants", "*/latest"):
        if latest.parent.name == store.attributes.variant.name:
            continue  # the store itself, or another store of its variant, which is not what the page is about
        try:
            other = open_store(latest.parent)
            if _but_snr(other) == _but_snr(store):
                everywhere += [result for result in read_runs(other, root).models if result.is_plain]
        except DataError:
            continue  # another variant's damage is not this one's; `mimiidg list` names it
    found: Sweep = {}
    for result in sorted(everywhere, key=lambda result: result.snr_offset_db):
        found.setdefault((result.model, result.label), []).append(result)
    return {key: curve for key, curve in found.items() if len({result.snr_offset_db for result in curve}) > 1}


def by_known_anomalies(results: Sequence[ModelResult]) -> Sweep:
    """Results that differ in the number of known anomalies alone, by (name without it, label), by rising number.

    Only those with at least two numbers are there.
    """
    found: Sweep = {}
    for result in sorted(results, key=lambda result: result.known_anomalies):
        found.setdefault((result.name_without_number, result.label), []).append(result)
    return {key: curve for key, curve in found.items() if len(curve) > 1}


def _but_snr(store: Store) -> dict[str, Any]:
    """What a variant says, but for its name and SNR offset."""
    return store.attributes.variant.model_dump(exclude={"name", "title", "snr_offset_db"})
