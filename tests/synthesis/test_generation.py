"""A generation of the synthetic release is never taken for another: archives, names, and stores built from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import GENERATION
from mimiidg_build.errors import DataError, FetchError
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.upkeep.verify import verify_store
from tests.conftest import DATASET, RECORD
from tests.small_store import make_store


def test_archives_of_the_first_generation_are_not_taken_for_the_present_one(
    synthetic_archives: Path, tmp_path: Path
) -> None:
    """They lie under the name alone, whole and verified, and are left as they are."""
    old = shutil.copytree(synthetic_archives / "archives" / RECORD, tmp_path / "archives" / DATASET)
    with pytest.raises(FetchError, match=f"of record {RECORD}'s archives are not in .*: fan.zip"):
        fetch_dataset(load_dataset(DATASET), tmp_path, names=["fan.zip"], offline=True)
    shutil.copytree(old, tmp_path / "archives" / RECORD)
    (found,) = fetch_dataset(load_dataset(DATASET), tmp_path, names=["fan.zip"], offline=True).values()
    assert found.parent.name == RECORD == f"{DATASET}-gen{GENERATION}"


def test_a_store_of_the_first_generation_opens_and_is_not_rendered_anew(tmp_path: Path) -> None:
    provenance = {"archives": {f"{DATASET}/fan.zip": "0" * 32}, "noise": {}, "versions": {}}
    store = make_store(tmp_path, "old", provenance=provenance)
    assert store.attributes.dataset == DATASET and len(store.clips) > 0
    assert verify_store(store, tmp_path) == verify_store(make_store(tmp_path, "other"), tmp_path), "as any other's"
    with pytest.raises(DataError, match=f"another generation .*{DATASET}.* does not make: it makes {RECORD}"):
        verify_store(store, tmp_path, deep=True)


def test_a_store_of_the_present_generation_is_not_refused(tmp_path: Path) -> None:
    provenance = {"archives": {f"{RECORD}/fan.zip": "0" * 32}, "noise": {}, "versions": {}}
    store = make_store(tmp_path, "new", provenance=provenance)
    with pytest.raises(FetchError, match="fan.zip"):  # its archives are not here
        verify_store(store, tmp_path, deep=True)
