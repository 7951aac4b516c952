"""Layouts: one for each name that a manifest may give, and every shipped dataset has one."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from mimiidg_build.datasets.layouts import LAYOUTS, layout_of
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import clip_archives, machine_types
from mimiidg_build.datasets.toml_files import shipped_names
from mimiidg_build.schemas.manifests import DatasetManifest

ROOT = Path(__file__).parents[2]


def test_every_layout_that_a_manifest_may_name_has_a_module() -> None:
    assert set(LAYOUTS) <= set(get_args(DatasetManifest.model_fields["layout"].annotation))
    assert layout_of(load_dataset("mimii_dg")) is LAYOUTS["dcase2022"]


def test_every_shipped_dataset_can_be_read() -> None:
    datasets = [load_dataset(name) for name in shipped_names("datasets")]
    assert {dataset.layout for dataset in datasets} == {"mimii", "dcase2020", "dcase2021", "dcase2022"}
    for dataset in datasets:
        assert set(machine_types(dataset)) == set(dataset.machine_types), dataset.name
        assert len(clip_archives(dataset)) == sum(len(record.files) for record in dataset.records)


def test_nothing_but_the_table_of_layouts_knows_one_of_them() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ("mimiidg_build", "flows")
        for path in (ROOT / room).rglob("*.py")
        for layout in LAYOUTS
        if f"layouts.{layout}" in path.read_text() or f"layouts import {layout}" in path.read_text()
        if f"/layouts/{layout}" not in path.as_posix()
    }
    assert users == {
        "mimiidg_build/datasets/layouts/__init__.py",
        "mimiidg_build/datasets/layouts/writing.py",
        "mimiidg_build/fetch/cutting.py",  # packs own recordings as their layout reads them
    }
