"""Results on other variants, and those that differ in one thing only: in SNR, or in the number of known anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mimiidg_build.benchmark.finished_runs import read_runs
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.errors import DataError
from mimiidg_build.report.cells import signed_db
from mimiidg_build.storage.places import Place, matching
from mimiidg_build.store.store import Store, open_store

Sweep = dict[tuple[str, str], list[ModelResult]]
"""Results that make one curve, by (name, label)."""


def read_others(store: Store, root: Place) -> list[ModelResult]:
    """What was found on the other variants of the same dataset that have the same sections.

    Parameters
    ----------
    store : Store
    root : Place
        Where the other variants, and the runs on them, are looked for.

    Returns
    -------
    list of ModelResult
        Of trainings on normal clips alone, each on its own store.
    """
    found: list[ModelResult] = []
    for latest in matching(root / "variants", "*/latest"):
        if latest.parent.name == store.attributes.variant.name:
            continue  # the store itself, or another store of its variant, which is not what the page is about
        try:
            other = open_store(latest.parent)
            if _tests_alike(other, store):
                found += [result for result in read_runs(other, root).models if result.is_plain]
        except DataError:
            continue  # another variant's damage is not this one's; `mimiidg list` names it
    return found


def _tests_alike(store: Store, other: Store) -> bool:
    """Means over other sections, or of other data, do not compare."""
    return store.attributes.dataset == other.attributes.dataset and set(store.sections) == set(other.sections)


def snr_sweep(store: Store, results: Sequence[ModelResult], others: Sequence[ModelResult]) -> Sweep:
    """The same models on variants that differ from this store's in SNR alone.

    Parameters
    ----------
    store : Store
    results : sequence of ModelResult
        On this store.
    others : sequence of ModelResult
        On other variants.

    Returns
    -------
    dict of (model, label) to list of ModelResult
        By rising SNR; only those with at least two SNRs.
    """
    alike = [result for result in others if _but_snr(result.store) == _but_snr(store)]
    found: Sweep = {}
    plain = [result for result in results if result.is_plain]
    for result in sorted([*plain, *alike], key=lambda result: result.snr_offset_db):
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


def differences(store: Store, other: Store) -> list[str]:
    """What another variant has that this store's has not, for people: ``SNR offset +6 dB``, ``seed 1``."""
    own, others = (made.attributes.variant.model_dump(exclude={"name", "title", "sections"}) for made in (store, other))
    return [_difference(key, value) for key, value in others.items() if value != own[key]]


def _difference(key: str, value: Any) -> str:
    """A key of a variant file and its value, where that is one word.

    >>> _difference("snr_offset_db", 6.0), _difference("seed", 1), _difference("noise", {"A": []})
    ('SNR offset +6 dB', 'seed 1', 'noise')
    """
    if key == "snr_offset_db":
        return f"SNR offset {signed_db(value)} dB"
    title = key.replace("_", " ").replace("snr db", "SNR per section")
    return title if isinstance(value, dict | list) else f"{title} {value}"
