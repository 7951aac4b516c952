"""The shipped dataset manifests: valid, complete, and no more than what was found published."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path

import pytest

from mimiidg_build.datasets.layouts.archive_names import machine_type_of
from mimiidg_build.schemas.manifests import DatasetManifest

DATASETS = Path(__file__).parents[2] / "data_manifests" / "datasets"

# Files per record, how many of them have a published md5, a published size, an approximate size.
COUNTS = {
    "mimii_dg": {"6529888": (5, 5, 1, 4)},
    "mimii_due": {"4740355": (10, 10, 10, 0)},
    "mimii_-6_dB": {"3384388": (4, 4, 4, 0)},
    "mimii_0_dB": {"3384388": (4, 4, 4, 0)},
    "mimii_6_dB": {"3384388": (4, 4, 4, 0)},
    "dcase2020": {"3678171": (6, 6, 6, 0), "3727685": (6, 6, 6, 0), "3841772": (6, 6, 0, 0)},
    "dcase2021": {"4562016": (7, 0, 0, 0), "4660992": (7, 0, 0, 0), "4884786": (7, 0, 0, 0)},
    "dcase2022": {"6355122": (7, 0, 0, 0), "6462969": (7, 0, 0, 0), "6586456": (7, 0, 0, 0)},
    "dcase2023": {"7882613": (7, 0, 0, 0), "7830345": (7, 0, 0, 0), "7860847": (7, 0, 0, 0)},
    "dcase2024": {"10902294": (7, 0, 0, 0), "11259435": (9, 0, 0, 0), "11363076": (9, 0, 0, 0)},
    "dcase2025": {"15097779": (7, 0, 0, 0), "15392814": (8, 0, 0, 0), "15519362": (8, 0, 0, 0)},
    "dcase2026": {"19336329": (7, 0, 0, 0), "20151556": (5, 0, 0, 0), "20437238": (5, 0, 0, 0)},
}


def load(name: str) -> DatasetManifest:
    return DatasetManifest.model_validate(tomllib.loads((DATASETS / f"{name}.toml").read_text(encoding="utf-8")))


def test_every_shipped_manifest_is_known_here() -> None:
    assert {path.stem for path in DATASETS.glob("*.toml")} == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    manifest = load(name)
    assert manifest.name == name
    assert not manifest.synthetic
    found = {
        record.id: (
            len(record.files),
            sum(file.md5 is not None for file in record.files),
            sum(file.size_bytes is not None for file in record.files),
            sum(file.approximate_size_bytes is not None for file in record.files),
        )
        for record in manifest.records
    }
    assert found == COUNTS[name]


@pytest.mark.parametrize("path", sorted(DATASETS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_manifest_is_valid(path: Path) -> None:
    manifest = load(path.stem)
    assert manifest.name == path.stem
    assert manifest.recording == ("clean" if manifest.synthetic else "mixed")
    assert "\n" not in manifest.citation.strip()
    assert all(record.license for record in manifest.records)


def test_no_md5_stands_twice() -> None:
    # Two archives with one md5 would be a slip of the hand: all of these are different files.
    md5s = [file.md5 for name in COUNTS for record in load(name).records for file in record.files if file.md5]
    assert len(md5s) == len(set(md5s)) == 5 + 10 + 12 + 18


@pytest.mark.parametrize(
    ("name", "file", "md5", "size_bytes"),
    [
        ("mimii_dg", "fan.zip", "a1a9b488934a82426bacc933d87aacde", 928_511_244),
        ("mimii_dg", "valve.zip", "1da37b2e82942dfba720984541e2ef60", None),
        ("mimii_due", "dev_data_pump.zip", "8c7090f0974336404070315a1e1445f4", 1_077_021_452),
        ("mimii_-6_dB", "-6_dB_fan.zip", "f02ae808a58d84b6815b7ec38ff30879", 10_878_096_548),
        ("dcase2020", "eval_data_test_valve.zip", "f69c551d2088691050d20cccca9d631c", None),
    ],
)
def test_values_as_published(name: str, file: str, md5: str, size_bytes: int | None) -> None:
    (found,) = [f for record in load(name).records for f in record.files if f.name == file]
    assert (found.md5, found.size_bytes) == (md5, size_bytes)


def test_pumps_of_mimii_due_are_four_disjoint_kinds_and_ours() -> None:
    manifest = load("mimii_due")
    assert set(manifest.noise) == {"W", "X", "Y", "Z"}
    assert "ours" in (manifest.noise_note or "")
    clips = [
        f"pump/{folder}/section_{section}_{domain}_{split}_{condition}_0000.wav"
        for folder, split in (("train", "train"), ("source_test", "test"), ("target_test", "test"))
        for section in ("00", "01", "02")
        for domain in ("source", "target")
        for condition in ("normal", "anomaly")
    ]
    taken = {kind: set(fnmatch.filter(clips, source.members)) for kind, source in manifest.noise.items()}
    assert all(taken.values())
    assert not any("anomaly" in clip for clips in taken.values() for clip in clips)
    assert sum(map(len, taken.values())) == len(set().union(*taken.values()))


def test_licences_found_published() -> None:
    assert load("mimii_dg").records[0].license == "CC-BY-4.0"
    assert load("mimii_due").records[0].license == "CC-BY-NC-SA-4.0"


def test_archives_that_replace_their_first_issue_stand_in_for_it() -> None:
    files = {name: [file.name for record in load(name).records for file in record.files] for name in COUNTS}
    for name, first in (
        ("dcase2024", "eval_data_3DPrinter_train"),
        ("dcase2024", "eval_data_RoboticArm_train"),
        ("dcase2026", "dev_ToyCar"),
    ):
        assert f"{first}_r2.zip" in files[name] and f"{first}.zip" not in files[name]


@pytest.mark.parametrize("name", COUNTS)
def test_every_archive_is_of_a_machine_type_and_every_machine_type_has_one(name: str) -> None:
    manifest = load(name)
    for record in manifest.records:
        machines = [machine_type_of(manifest, file.name) for file in record.files]
        assert None not in machines
        if isinstance(record.sections, dict):
            assert set(record.sections) == set(machines)
    found = {machine_type_of(manifest, file.name) for record in manifest.records for file in record.files}
    assert found == set(manifest.machine_types)
    assert {"mimii": "mimii", "dcase2020": "2020", "dcase2021": "2021"}.get(
        manifest.layout, "2022"
    ) == manifest.protocol


@pytest.mark.parametrize("name", COUNTS)
def test_noise_that_a_dataset_offers_is_in_its_archives(name: str) -> None:
    for source in load(name).noise.values():
        assert source.dataset is not None
        assert source.file in [file.name for record in load(source.dataset).records for file in record.files]


def test_sections_and_audio_as_the_facts_say() -> None:
    dcase2020 = load("dcase2020")
    development, training, test = dcase2020.records
    assert development.sections_of("ToyConveyor") == ["id_01", "id_02", "id_03"]
    assert training.sections_of("ToyCar") == test.sections_of("ToyCar") == ["id_05", "id_06", "id_07"]
    assert dcase2020.audio.clip_samples("ToyCar") == 176_000 and dcase2020.audio.clip_samples("fan") == 160_000
    assert load("mimii_6_dB").records[0].sections_of("valve") == ["id_00", "id_02", "id_04", "id_06"]
    assert [record.sections_of("fan") for record in load("dcase2022").records] == [
        ["00", "01", "02"],
        *2 * [["03", "04", "05"]],
    ]
    assert load("dcase2026").audio.channels == 2 and load("mimii_0_dB").audio.channels == 8
    assert load("dcase2023").audio.clip_samples("fan") is None, "which machine type has which length is not known"
