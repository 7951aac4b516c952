"""A release of very many files is read machine type by machine type, and nothing else is another."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.datasets import release
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import Release
from mimiidg_build.fetch.dataset import validate_dataset
from tests.build.any_release import make_release, members, noise

MACHINES = ("valve", "fan", "pump")
CLIPS = [encode_wav(noise((160,), seed).astype("int16")) for seed in range(8)]


@pytest.fixture
def read_together(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The archives that are read together, as they are."""
    found: list[list[str]] = []
    real = release.check_stated

    def spy(dataset: Any, archives: Collection[str], clips: Any) -> Any:
        found.append([key.rpartition("/")[2] for key in archives])
        return real(dataset, archives, clips)

    monkeypatch.setattr(release, "check_stated", spy)
    return found


def read(root: Path, files: dict[str, dict[str, bytes]]) -> Release:
    """The release of these archives, whose manifest states a machine type that they have not."""
    path = root / "any.toml"
    manifest = load_dataset(str(path) if path.is_file() else make_release(root, files))
    return validate_dataset(manifest.model_copy(update={"machine_types": [*MACHINES, "ghost"]}), root)


def in_order(findings: pd.DataFrame) -> pd.DataFrame:
    return findings.sort_values(list(findings.columns), ignore_index=True)


def test_parts_make_the_same_release(
    tmp_path: Path, read_together: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: members(name, "00", CLIPS) for name in MACHINES}
    whole = read(tmp_path, files)
    monkeypatch.setattr(release, "AT_ONCE", 10)
    parts = read(tmp_path, files)
    assert read_together == [["valve.zip", "fan.zip", "pump.zip"], ["fan.zip"], ["pump.zip"], ["valve.zip"]]
    pd.testing.assert_frame_equal(parts.clips, whole.clips)
    n_pieces = {column.num_chunks for column in pa.Table.from_pandas(parts.clips).columns}
    assert n_pieces == {1}, "Arrow joins all pieces whenever a few rows are taken"
    assert {"no_archive", "index_gap"} <= set(whole.findings["kind"])
    pd.testing.assert_frame_equal(in_order(parts.findings), in_order(whole.findings))


def test_an_archive_with_clips_of_anothers_machine_type_is_read_with_it(
    tmp_path: Path, read_together: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their names must differ from those of the other archive, and their rows stand among its."""
    files = {name: members(name, "00", CLIPS) for name in MACHINES}
    files["valve"] |= members("fan", "00", CLIPS)
    whole = read(tmp_path, files)
    monkeypatch.setattr(release, "AT_ONCE", 10)
    parts = read(tmp_path, files)
    assert read_together[-1] == ["valve.zip", "fan.zip", "pump.zip"]
    assert "duplicate_clip" in set(parts.findings["kind"])
    pd.testing.assert_frame_equal(parts.clips, whole.clips)
    pd.testing.assert_frame_equal(parts.findings, whole.findings)
