"""Layouts: one for each name that a manifest may give, and what nothing can read is refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from mimiidg_build.datasets.layouts import LAYOUTS, layout_of
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import DatasetManifest

ROOT = Path(__file__).parents[2]


def test_every_layout_that_a_manifest_may_name_has_a_module() -> None:
    assert set(LAYOUTS) <= set(get_args(DatasetManifest.model_fields["layout"].annotation))
    assert layout_of(load_dataset("mimii_dg")) is LAYOUTS["dcase2022"]


def test_a_dataset_of_another_layout_is_refused() -> None:
    with pytest.raises(UsageError, match="mimii has a layout of its own: .* give noise, not be built"):
        layout_of(load_dataset("mimii"))


def test_nothing_but_the_table_of_layouts_knows_one_of_them() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ("mimiidg_build", "flows")
        for path in (ROOT / room).rglob("*.py")
        if "layouts.dcase2022" in path.read_text() or "layouts import dcase2022" in path.read_text()
    }
    assert {user for user in users if "/layouts/dcase2022/" not in user} == {
        "mimiidg_build/datasets/layouts/__init__.py",
    }
