"""What a build reads once only: clips whose levels it measures, and the shards that it has just written."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mimiidg_build.audio.archive import Archive
from mimiidg_build.build import publish, render
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.schemas.stores import RenderedShard
from mimiidg_build.storage.files import hash_object
from mimiidg_build.storage.places import Place, identity
from tests.conftest import DATASET

MIXED = derive_variant(load_variant("demo"), dataset=DATASET, sections=["valve/00"])


def files(path: Path) -> dict[str, bytes]:
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


@pytest.fixture
def read_names(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each member of an archive was inflated."""
    found: Counter[str] = Counter()
    read = Archive.read

    def counted(self: Archive, name: str) -> bytes:
        found[name] += 1
        return read(self, name)

    monkeypatch.setattr(Archive, "read", counted)
    return found


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that were read before a store got its name."""
    found: list[str] = []

    def noted(store: Place, path: str) -> Any:
        if "/c/" in path:
            found.append(path)
        return hash_object(store, path)

    monkeypatch.setattr(publish, "hash_object", noted)
    return found


def test_a_clip_whose_level_is_measured_is_inflated_once(
    root: Path, read_names: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for it twice, with the same bytes; and nothing of it is left."""
    store = build_variant(MIXED, root, workers=2).store
    clips = set(store.clips["member"])
    assert {name: n for name, n in read_names.items() if name in clips} == dict.fromkeys(clips, 1)
    expected = files(store.path)
    assert [path.name for path in store.path.parent.iterdir() if "inflated" in path.name] == []

    for levels in root.rglob("*.levels.parquet"):
        levels.unlink()
    shutil.rmtree(store.path.parent)
    read_names.clear()
    monkeypatch.setattr("mimiidg_build.audio.inflated.KEPT_BYTES", 0)
    assert files(build_variant(MIXED, root, workers=2).store.path) == expected
    assert {name: n for name, n in read_names.items() if name in clips} == dict.fromkeys(clips, 2)


def test_nothing_waits_where_levels_are_known(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build_variant(MIXED, root, workers=1).store
    shutil.rmtree(store.path.parent)

    def refuse(*arguments: object) -> None:
        raise AssertionError("a clip that is read once needs no room")

    monkeypatch.setattr("os.pwrite", refuse)
    build_variant(MIXED, root, workers=1)


def test_shards_that_this_run_wrote_are_not_read_again(root: Path, hashed: list[str]) -> None:
    build_variant(MIXED, root, workers=2)
    assert hashed == []


def test_a_shard_that_changed_is_read_again(root: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed over itself: the same bytes under another identity."""
    write_entry = render.write_entry

    def replaced(path: Place, result: RenderedShard) -> None:
        write_entry(path, result)
        staging = next((root / "variants" / MIXED.name).glob("*.partial"))
        for obj in result.objects:
            shutil.copy2(staging / obj.path, root / "copy")
            (root / "copy").replace(staging / obj.path)

    monkeypatch.setattr(render, "write_entry", replaced)
    store = build_variant(MIXED, root, workers=2).store
    assert sorted(hashed) == sorted(path for path in store.attributes.objects if "/c/" in path)


def test_shards_of_an_earlier_store_are_read_again(root: Path, hashed: list[str]) -> None:
    narrow = build_variant(MIXED, root).store
    wide = derive_variant(MIXED, sections=["valve/00", "valve/01"], name=MIXED.name)
    build_variant(wide, root, replace=True)
    assert sorted(hashed) == sorted(path for path in narrow.attributes.objects if "/c/" in path)


def test_identities_come_from_workers_and_are_not_noted(tmp_path: Path) -> None:
    """Of a shard that an earlier run noted, nothing but reading it tells."""
    file = tmp_path / "shard"
    file.write_bytes(b"1")
    found = identity(file)
    shard = SimpleNamespace(staging=tmp_path, objects=("shard", "absent"))
    assert render.identities(shard) == {"shard": found}
    bands = {"n_clips": 0, "n_frames": 0, "totals": (), "squares": ()}
    rest = {"section": "a", "start": 0, "objects": (), "bands": bands}
    rest |= dict.fromkeys(("power", "peak", "measured_snr_db", "n_saturated"), ())
    rendered = RenderedShard.model_validate(rest | {"identities": {"shard": found}})
    assert pickle.loads(pickle.dumps(rendered)).identities == {"shard": found}
    assert "identities" not in rendered.model_dump_json()
