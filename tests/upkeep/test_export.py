"""Export: the released layout back, and round trips through it."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from mimiidg_build.audio.archive import open_archive
from mimiidg_build.build.inputs import read_plan
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import UsageError
from mimiidg_build.fetch.dataset import fetch_dataset, validate_dataset
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.synthesis.local_zenodo import LocalZenodo
from mimiidg_build.upkeep.export import export_store
from tests.conftest import DATASET, link_archives

VARIANT = derive_variant(load_variant("demo"), dataset=DATASET, sections=["fan", "valve/02"])


@pytest.fixture(scope="module")
def built(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a store. Not to be changed."""
    root = tmp_path_factory.mktemp("built")
    link_archives(synthetic_archives, root)
    build_variant(VARIANT, root)
    return root


@pytest.fixture
def store(built: Path, root: Path) -> Store:
    """A store in a root of one's own."""
    shutil.copytree(built / "variants", root / "variants")
    return open_store(root / "variants" / VARIANT.name)


def test_wav_files_and_tables(store: Store, tmp_path: Path) -> None:
    export_store(store, tmp_path / "out")
    wavs = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*.wav")}
    assert set(wavs) == set(store.clips["member"])
    first = store.clips.iloc[0]
    assert wavs[first["member"]].stat().st_size == 320_044
    samples, rate = sf.read(wavs[first["member"]], dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(samples, store.audio("fan", "00")[0])
    rows = list(csv.reader((tmp_path / "out/valve/attributes_02.csv").read_text().splitlines()))
    assert rows[0] == ["file_name", "d1p", "d1v", "d2p", "d2v"]
    assert len(rows) == 13 and {len(row) for row in rows} == {5}


def test_an_export_says_where_it_comes_from(store: Store, tmp_path: Path) -> None:
    """Beside the release as it was: files, no folders."""
    export_store(store, tmp_path / "out")
    assert load_variant(str(tmp_path / "out/variant.toml")) == store.attributes.variant
    pd.testing.assert_frame_equal(read_plan(tmp_path / "out/mix_plan.csv"), store.mix_plan, rtol=1e-12, atol=0)
    text = (tmp_path / "out/README.md").read_text()
    for part in (store.fingerprint, store.attributes.license, *store.attributes.provenance.archives.values()):
        assert part in text
    assert all(f"| {section} | {about.n_clips} |" in text for section, about in store.sections.items())


def test_the_official_baseline_finds_what_it_expects(store: Store, tmp_path: Path) -> None:
    """As ``common.py`` of the DCASE baselines looks for clips: every folder there is counts as a machine type."""
    export_store(store, out := tmp_path / "out")
    folders = sorted(path for path in out.glob("*") if path.is_dir())
    assert [path.name for path in folders] == ["fan", "valve"]
    for folder, split in itertools.product(folders, ("train", "test")):
        own = store.clips[(store.clips["machine_type"] == folder.name) & (store.clips["split"] == split)]
        names = sorted({"_".join(path.name.split("_")[:2]) for path in (folder / split).glob("*.wav")})
        assert names == sorted({f"section_{section}" for section in own["section"]})
        for condition in ("normal", "anomaly"):
            found = [p for name in names for p in (folder / split).glob(f"{name}_*_{split}_{condition}_*.wav")]
            assert len(found) == int((own["condition"] == condition).sum())


def test_round_trip_through_a_release(store: Store, tmp_path: Path) -> None:
    """Exported, served, fetched with its checksums, built as it is: the very same samples."""
    export_store(store, tmp_path / "out", as_zip=True)
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "out/md5sums.txt").read_text().splitlines())
    assert sums == {n: hashlib.md5((tmp_path / "out" / n).read_bytes()).hexdigest() for n in ("fan.zip", "valve.zip")}
    dataset = load_dataset(str(tmp_path / "out/dataset.toml"))
    assert dataset.recording == "mixed", "noise was added, so its SNR can only be an added-noise SNR now"
    with LocalZenodo({dataset.records[0].id: tmp_path / "out"}) as server:
        fetch_dataset(dataset, tmp_path / "root2", base_url=server.url)
    findings = validate_dataset(dataset, tmp_path / "root2").findings
    assert not (findings["severity"] == "error").any()
    variant = derive_variant(load_variant("released"), dataset=str(tmp_path / "out/dataset.toml"))
    again = build_variant(variant, tmp_path / "root2").store
    for section in store.sections:
        np.testing.assert_array_equal(again.audio(*section.split("/"))[:], store.audio(*section.split("/"))[:])
        np.testing.assert_array_equal(again.logmel(*section.split("/"))[:], store.logmel(*section.split("/"))[:])
    assert again.clips["clip"].tolist() == store.clips["clip"].tolist()


def test_equal_stores_give_equal_archives(store: Store, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_store(store, tmp_path / name, as_zip=True)
    assert (tmp_path / "one/fan.zip").read_bytes() == (tmp_path / "two/fan.zip").read_bytes()


@pytest.mark.slow
def test_evaluation_sections_keep_their_truth_in_the_table(tmp_path: Path) -> None:
    name = "synthetic-1pct-seed0-eval"
    variant = derive_variant(load_variant("released"), dataset=name, sections=["bearing/04"])
    store = build_variant(variant, tmp_path / "root").store
    assert set(store.clips["condition"]) == {"normal", "anomaly"}
    export_store(store, tmp_path / "out", as_zip=True)
    archive = open_archive(tmp_path / "out/bearing_eval.zip")
    table = archive.read("bearing/attributes_04.csv").decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 4 and all("section_04_0" in row["file_name"] for row in rows)
    dataset = load_dataset(str(tmp_path / "out/dataset.toml"))
    folder = tmp_path / "root2/archives" / dataset.records[0].id
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "out/bearing_eval.zip", folder)
    fetch_dataset(dataset, tmp_path / "root2", offline=True)
    clips = validate_dataset(dataset, tmp_path / "root2").clips
    columns = ["clip", "domain", "condition", "split", "index", "attributes", "full_name"]
    assert clips[columns].to_dict() == store.clips[columns].to_dict()


def test_never_into_a_directory_that_is_in_use(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already and not empty"):
        export_store(store, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("as_zip", [False, True])
def test_an_interrupted_export_starts_over(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_zip: bool
) -> None:
    """Until it is all there, nothing of it is: neither a folder nor an archive that looks finished."""
    export_store(store, tmp_path / "whole", as_zip=as_zip)
    n_clips = 0

    def stopped(n: int) -> None:
        nonlocal n_clips
        n_clips += n
        if n_clips == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(store, tmp_path / "out", as_zip=as_zip, on_progress=stopped)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".partial"]
    written = export_store(store, tmp_path / "out", as_zip=as_zip)
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    content = [
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("whole", "out")
    ]
    assert content[0] == content[1]
    with pytest.raises(UsageError, match="is there already and not empty"):
        export_store(store, tmp_path / "out", as_zip=as_zip)
