"""Releases of other layouts from the command line: validated, built, verified deep and repaired, with truth lists."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build import build_variant, open_store, repair_store, validate_dataset, verify_store
from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.cli import main
from mimiidg_build.datasets.variant import load_variant
from mimiidg_build.errors import DataError
from mimiidg_build.store.store import Store

Output = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Case:
    """A layout, its clips by archive, and a truth list of those that hide what they are, with what it tells."""

    layout: str
    archives: dict[str, list[str]]
    list_name: str = ""
    lines: tuple[str, ...] = ()
    full_names: tuple[str, ...] = ()


CASES = {
    "dcase2020": Case(
        "dcase2020",
        {
            "dev_data_fan.zip": [
                *(f"fan/train/normal_id_00_{index:08d}.wav" for index in range(3)),
                *("fan/test/normal_id_00_00000000.wav", "fan/test/anomaly_id_00_00000000.wav"),
            ],
            "eval_data_test_fan.zip": ["fan/test/id_01_00000000.wav", "fan/test/id_01_00000001.wav"],
            "eval_data_train_fan.zip": ["fan/train/normal_id_01_00000000.wav"],
        },
        "eval_data_list_2020.csv",
        ("fan", "id_01_00000000.wav,anomaly_id_01_00000007.wav,1", "id_01_00000001.wav,normal_id_01_00000009.wav,0"),
        ("anomaly_id_01_00000007.wav", "normal_id_01_00000009.wav"),
    ),
    "dcase2021": Case(
        "dcase2021",
        {
            "dev_data_fan.zip": [
                "fan/train/section_00_source_train_normal_0000_strength_1_ambient.wav",
                "fan/train/section_00_target_train_normal_0000_strength_2_ambient.wav",
                "fan/source_test/section_00_source_test_anomaly_0000.wav",
                "fan/target_test/section_00_target_test_normal_0000.wav",
            ],
            "eval_data_fan_test.zip": [
                "fan/source_test/section_03_source_test_0000.wav",
                "fan/target_test/section_03_target_test_0000.wav",
            ],
        },
        "eval_data_list_2021.csv",
        (
            "fan",
            "section_03_source_test_0000.wav,section_03_source_test_normal_0000.wav",
            "section_03_target_test_0000.wav,section_03_target_test_anomaly_0000.wav",
        ),
        ("section_03_source_test_normal_0000.wav", "section_03_target_test_anomaly_0000.wav"),
    ),
    "dcase2022": Case(
        "dcase2022",
        {
            "eval_data_3DPrinter_train_r2.zip": [
                "3DPrinter/train/section_00_source_train_normal_0000_noAttribute.wav",
                "3DPrinter/train/section_00_target_train_normal_0000_.wav",
            ],
            "eval_data_3DPrinter_test.zip": [
                "3DPrinter/test/section_00_0000.wav",
                "3DPrinter/test/section_00_0001.wav",
            ],
        },
        "ground_truth_3DPrinter_section_00_test.csv",
        (
            "section_00_0000.wav,section_00_source_normal_0035_weight15_BckgF",
            "section_00_0001.wav,section_00_target_test_anomaly_0012_id_C1_spd_2_mic_2",
        ),
        (
            "section_00_source_normal_0035_weight15_BckgF.wav",
            "section_00_target_test_anomaly_0012_id_C1_spd_2_mic_2.wav",
        ),
    ),
    "mimii": Case(
        "mimii",
        {
            "0_dB_fan.zip": [
                *(f"fan/id_00/normal/{index:08d}.wav" for index in range(4)),
                "fan/id_00/abnormal/00000000.wav",
            ]
        },
    ),
}


class Place:
    """A root with a case's archives, verified, its truth list, its manifest and a variant that builds it as it is."""

    def __init__(self, directory: Path, case: Case) -> None:
        directory.mkdir(exist_ok=True)
        self.root, self.lists, self.case = directory / "root", directory / "lists", case
        self.manifest, self.variant = directory / "d.toml", directory / "v.toml"
        for number, (name, members) in enumerate(case.archives.items()):
            _pack(self.root / "archives/d" / name, members, 100 * number)
        files = ", ".join(f'{{ name = "{name}" }}' for name in case.archives)
        self.manifest.write_text(
            f'name = "d"\ntitle = "d"\nrecording = "mixed"\nlayout = "{case.layout}"\ncitation = "c"\n'
            'audio = { clip_seconds = 1.0 }\n[[records]]\nid = "d"\ntitle = "d"\nlicense = "l"\n'
            f"files = [{files}]\n"
        )
        self.variant.write_text(f'name = "v"\ndataset = "{self.manifest}"\nmixing = "none"\n')
        self.lists.mkdir()
        (self.lists / (case.list_name or "none.csv")).write_text("\n".join(case.lines))
        assert self.run("fetch", self.manifest, "--offline", "--quiet") == 0

    def run(self, *arguments: object) -> int:
        return main([*map(str, arguments), "--root", str(self.root)])

    @property
    def truth(self) -> list[object]:
        return ["--truth", self.lists] if self.case.lines else []

    @property
    def store(self) -> Store:
        return open_store(self.root / "variants/v")


def _pack(path: Path, members: list[str], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, member in enumerate(members):
            samples = np.random.default_rng(seed + number).integers(-999, 999, 16_000)
            archive.writestr(member, encode_wav(samples.astype(np.int16)))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, CASES["dcase2022"])


@pytest.mark.parametrize("name", CASES)
def test_a_release_is_validated_built_and_verified_deep(name: str, tmp_path: Path, capsys: Output) -> None:
    place = Place(tmp_path, CASES[name])
    allowed = ["--allow", "missing_table"]  # none of these has a table
    capsys.readouterr()
    assert place.run("validate", place.manifest, *place.truth, *allowed, "--json") == 0
    n_clips = sum(map(len, place.case.archives.values()))
    assert json.loads(capsys.readouterr().out)["clips"] == n_clips
    assert place.run("build", place.variant, *place.truth, *allowed, "--quiet") == 0
    clips = place.store.clips
    assert len(clips) == n_clips and set(clips["condition"]) == {"normal", "anomaly"}
    assert set(clips["member"]) == {member for members in place.case.archives.values() for member in members}
    assert set(place.case.full_names) <= set(clips["full_name"])


def test_without_lists_a_build_is_refused_and_says_what_to_do(place: Place, capsys: Output) -> None:
    capsys.readouterr()
    assert place.run("build", place.variant, "--allow", "missing_table", "--quiet") == 1
    told = capsys.readouterr().err
    assert "hidden_name in d/eval_data_3DPrinter_test.zip" in told and "(--truth FOLDER)" in told
    assert not (place.root / "variants").exists()


def test_allowed_hidden_clips_are_built_without_a_condition_and_verify(place: Place) -> None:
    allow = ["hidden_name", "missing_table"]
    built = build_variant(load_variant(str(place.variant)), place.root, allow=allow)
    test = built.store.clips[built.store.clips["split"] == "test"]
    assert test[["condition", "domain"]].to_numpy().tolist() == [["", ""], ["", ""]]
    assert verify_store(built.store, place.root, deep=True) == []


def test_a_missing_folder_of_lists_is_a_mistake_before_any_work(place: Place, capsys: Output) -> None:
    capsys.readouterr()
    assert place.run("build", place.variant, "--truth", place.lists / "nowhere") == 2
    assert "does not exist" in capsys.readouterr().err


def test_python_takes_lists_as_paths(place: Place) -> None:
    release = validate_dataset(str(place.manifest), place.root, truth=place.lists)
    assert sorted(release.clips["condition"]) == ["anomaly", "normal", "normal", "normal"]
    assert release.clips["attributes"].tolist()[-2:] == [
        '{"weight":"15","Bckg":"F"}',
        '{"id":"C1","spd":"2","mic":"2"}',
    ]


# ---- Verifying and repairing what was built with lists ---------------------------------------------------------------


@pytest.fixture
def built(place: Place) -> Place:
    assert place.run("build", place.variant, *place.truth, "--allow", "missing_table", "--quiet") == 0
    return place


def test_a_store_knows_its_truth_when_it_is_verified_and_repaired(built: Place) -> None:
    assert verify_store(built.store, built.root, deep=True) == []
    shard = next(path for path in sorted(built.store.path.rglob("audio/c/*/*")) if path.is_file())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert repair_store(built.store.path, built.root) and shard.read_bytes() == whole


def test_a_repair_of_the_clip_table_asks_for_the_lists(built: Place, capsys: Output) -> None:
    table = built.store.path / "clips.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="2 clips hide their condition: give the truth lists that it was built with"):
        repair_store(table.parent, built.root)
    capsys.readouterr()
    assert built.run("verify", "v", "--repair", *built.truth, "--quiet") == 0
    assert table.read_bytes() == whole


def test_lists_for_a_plain_verification_are_a_mistake(built: Place, capsys: Output) -> None:
    assert built.run("verify", "v", *built.truth) == 2
    assert "--truth" in capsys.readouterr().err


def test_a_store_of_labels_and_domains_alone_verifies_too(place: Place) -> None:
    (place.lists / place.case.list_name).unlink()
    for folder, codes in (("ground_truth_data", "01"), ("ground_truth_domain", "10")):
        (place.lists / folder).mkdir()
        lines = (f"section_00_000{number}.wav,{code}" for number, code in enumerate(codes))
        (place.lists / folder / place.case.list_name).write_text("\n".join(lines))
    allow, variant = ["missing_table"], load_variant(str(place.variant))
    store = build_variant(variant, place.root, allow=allow, truth=place.lists).store
    test = store.clips[store.clips["split"] == "test"]
    assert sorted(zip(test["domain"], test["condition"], strict=True)) == [("source", "anomaly"), ("target", "normal")]
    assert verify_store(store, place.root, deep=True) == []


def test_lists_that_a_record_holds_are_used_unasked(place: Place) -> None:
    """As of the synthetic releases, whose evaluation part comes with its list."""
    name = place.case.list_name
    (place.root / "archives/d" / name).write_bytes((place.lists / name).read_bytes())
    text = place.manifest.read_text().replace("files = [", f'files = [{{ name = "{name}" }}, ', 1)
    place.manifest.write_text(text.replace("citation", f'truth = ["{name}"]\ncitation', 1))
    assert place.run("fetch", place.manifest, "--section", "3DPrinter", "--offline", "--quiet") == 0
    assert place.run("build", place.variant, "--allow", "missing_table", "--quiet") == 0
    assert set(place.case.full_names) <= set(place.store.clips["full_name"])


def test_lengths_that_are_not_what_the_manifest_states(tmp_path: Path, capsys: Output) -> None:
    place = Place(tmp_path, CASES["dcase2020"])
    place.manifest.write_text(place.manifest.read_text().replace("clip_seconds = 1.0", "clip_seconds = 2.0"))
    capsys.readouterr()
    for command in (["validate", place.manifest], ["build", place.variant, "--quiet"]):
        assert place.run(*command, *place.truth) == 1
        printed = capsys.readouterr()
        told = " ".join((printed.out + printed.err).split())
        assert (
            "clip_length" in told
            and "has 1 s, and not one of the 5 clips of fan/id_00 has the 2 s that d states" in told
        )
    assert not (place.root / "variants").exists()


def test_one_clip_of_another_length_is_for_the_decoder(tmp_path: Path) -> None:
    place = Place(tmp_path, CASES["dcase2020"])
    member = "fan/train/normal_id_00_00000003.wav"
    with zipfile.ZipFile(place.root / "archives/d/dev_data_fan.zip", "a") as archive:
        archive.writestr(member, encode_wav(np.ones(15_999, np.int16)))
    assert place.run("fetch", place.manifest, "--offline", "--quiet") == 1, "no longer the archive that was pinned"
    (place.root / "archives/d/archives.lock.json").unlink()
    assert place.run("fetch", place.manifest, "--offline", "--quiet") == 0
    findings = validate_dataset(str(place.manifest), place.root, truth=place.lists).findings
    assert findings[["severity", "kind"]].to_numpy().tolist() == [["warning", "size"]]
    with pytest.raises(DataError, match=f"{member}: expected .*16000 samples, found .*15999 samples"):
        build_variant(load_variant(str(place.variant)), place.root, truth=place.lists)
