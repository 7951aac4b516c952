"""The synthetic release of every family, end to end: made, validated, built, verified deep, repaired."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimiidg_build import build_variant, fetch_dataset, repair_store, validate_dataset, verify_store
from mimiidg_build.datasets.synthetic_families import DEFAULT_FAMILY, FAMILIES
from mimiidg_build.datasets.variant import derive_variant, load_variant

OTHERS = [name for name in FAMILIES if name != DEFAULT_FAMILY]


def smallest(family: str) -> str:
    has_evaluation = any(archive.part != "dev" for archive in FAMILIES[family].archives(True))
    return f"synthetic-{family}-1pct-seed0" + ("-eval" if has_evaluation else "")


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHERS)
def test_a_family_is_validated_and_built(family: str, tmp_path: Path) -> None:
    name = smallest(family)
    fetch_dataset(name, tmp_path)
    release = validate_dataset(name, tmp_path)
    assert release.findings[["kind", "message"]].to_numpy().tolist() == []
    held = FAMILIES[family].machines.items()
    assert {str(key) for key in release.sections} == {
        f"{machine_type}/{unit.section}"
        for machine_type, machine in held
        for unit in (*machine.dev, *machine.evaluation)
    }
    assert set(release.clips["condition"]) == {"normal", "anomaly"}
    first = sorted(FAMILIES[family].machines)[0]
    variant = derive_variant(load_variant("released"), dataset=name, sections=[first], name="v")
    store = build_variant(variant, tmp_path).store
    assert verify_store(store, tmp_path, deep=True) == []
    shard = next(path for path in sorted(store.path.rglob("audio/c/*/*")) if path.is_file())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert repair_store(store.path, tmp_path) and shard.read_bytes() == whole
