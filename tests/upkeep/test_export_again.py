"""An export is a dataset: read again it gives the same samples and the same clip table, whatever its layout."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.layouts import LAYOUTS
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export import export_store

RATE, SECONDS = 16_000, 0.25
SAME = ["machine_type", "section", "split", "domain", "condition", "index", "attributes", "full_name", "clip", "member"]

# What lies where in a small release of each layout: archive, member.
CLIPS = {
    "mimii": [("0_dB_fan.zip", f"fan/id_00/normal/{index:08d}.wav") for index in range(4)]
    + [("0_dB_fan.zip", "fan/id_00/abnormal/00000000.wav")],
    "dcase2020": [("dev_data_fan.zip", f"fan/train/normal_id_00_{index:08d}.wav") for index in range(2)]
    + [("dev_data_fan.zip", f"fan/test/{condition}_id_00_00000000.wav") for condition in ("normal", "anomaly")]
    + [("eval_data_train_fan.zip", "fan/train/normal_id_01_00000000.wav")]
    + [("eval_data_test_fan.zip", f"fan/test/id_01_{index:08d}.wav") for index in range(2)],
    "dcase2021": [
        ("dev_data_fan.zip", "fan/train/section_00_source_train_normal_0000_strength_1_ambient.wav"),
        ("dev_data_fan.zip", "fan/source_test/section_00_source_test_normal_0000_strength_1_ambient.wav"),
        ("dev_data_fan.zip", "fan/target_test/section_00_target_test_anomaly_0000.wav"),
        ("eval_data_fan_train.zip", "fan/train/section_03_target_train_normal_0000_strength_2_ambient.wav"),
        ("eval_data_fan_test.zip", "fan/source_test/section_03_source_test_0000.wav"),
        ("eval_data_fan_test.zip", "fan/source_test/section_03_source_test_0001.wav"),
    ],
    "dcase2022": [
        ("dev_fan.zip", "fan/train/section_00_source_train_normal_0000_car_A1_spd_28V_mic_1.wav"),
        ("dev_fan.zip", "fan/test/section_00_target_test_anomaly_0000_car_A2_spd_28V_mic_1.wav"),
        ("eval_data_fan_train.zip", "fan/train/section_03_source_train_normal_0000_car_A1_spd_28V_mic_1.wav"),
        ("eval_data_fan_test.zip", "fan/test/section_03_0000.wav"),
        ("eval_data_fan_test.zip", "fan/test/section_03_0001.wav"),
    ],
}
# The organisers' lists, where names hide what clips are.
LISTS = {
    "dcase2020": {
        "eval_data_list_2020.csv": "fan\nid_01_00000000.wav,normal_id_01_00000098.wav,0\n"
        "id_01_00000001.wav,anomaly_id_01_00000064.wav,1\n"
    },
    "dcase2021": {
        "eval_data_list_2021.csv": "fan\nsection_03_source_test_0000.wav,section_03_source_test_anomaly_0000.wav\n"
        "section_03_source_test_0001.wav,section_03_source_test_normal_0001.wav\n"
    },
    "dcase2022": {
        "ground_truth_data/ground_truth_fan_section_03_test.csv": "section_03_0000.wav,0\nsection_03_0001.wav,1\n",
        "ground_truth_domain/ground_truth_fan_section_03_test.csv": "section_03_0000.wav,0\nsection_03_0001.wav,1\n",
        "ground_truth_attributes/fan/attributes_03.csv": "file_name,d1p,d1v,file_name_with_attributes\n"
        "fan/test/section_03_0000.wav,car,A1,"
        "fan/test/section_03_source_test_normal_0000_car_A1_spd_28V_mic_1.wav\n"
        "fan/test/section_03_0001.wav,car,A2,"
        "fan/test/section_03_target_test_anomaly_0001_car_A2_spd_28V_mic_1.wav\n",
    },
}


def table(members: list[str]) -> Iterator[tuple[str, str]]:
    """The attribute tables of named clips, as released."""
    for section in sorted({member.split("section_")[1][:2] for member in members}):
        rows = [f"{m},car,{m.split('_car_')[1][:2]},spd,28V,mic,1" for m in members if f"section_{section}" in m]
        yield f"fan/attributes_{section}.csv", "\n".join(["file_name,d1p,d1v,d2p,d2v,d3p,d3v", *rows, ""])


def noise(layout: str, channels: int) -> dict[str, dict[str, bytes]]:
    """The content of a small release's archives."""
    shape = (channels, round(SECONDS * RATE)) if channels > 1 else (round(SECONDS * RATE),)
    rng = np.random.default_rng(0)
    content: dict[str, dict[str, bytes]] = {}
    for archive, member in CLIPS[layout]:
        content.setdefault(archive, {})[member] = encode_wav(rng.normal(0, 2000, shape).astype(np.int16), RATE)
    for members in content.values() if layout == "dcase2022" else ():
        members |= {name: text.encode() for name, text in table([name for name in members if "_car_" in name])}
    return content


def release(root: Path, layout: str, content: dict[str, dict[str, bytes]], audio: str) -> str:
    """A dataset of archives in a layout, dropped into a root; the path of its manifest."""
    folder = root / "archives" / layout
    folder.mkdir(parents=True)
    for name, members in content.items():
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    protocol = {"mimii": "mimii", "dcase2022": "2022"}.get(layout, layout.removeprefix("dcase"))
    lines = [f'name = "{layout}"', 'title = "t"', 'recording = "mixed"', f'layout = "{layout}"', 'citation = "c"']
    lines += [f'protocol = "{protocol}"', f"audio = {audio}", "[[records]]"]
    lines += [f'id = "{layout}"', 'title = "t"', 'license = "l"']
    lines += [f'[[records.files]]\nname = "{name}"' for name in content]
    (root / f"{layout}.toml").write_text("\n".join(lines) + "\n")
    fetch_dataset(load_dataset(str(root / f"{layout}.toml")), root, offline=True)
    return str(root / f"{layout}.toml")


def build(manifest: str, root: Path, name: str, channels: int, truth: list[Path]) -> Store:
    keep = {"channels": "all"} if channels > 1 else {}
    variant = derive_variant(load_variant("released"), dataset=manifest, name=name).model_copy(update=keep)
    return build_variant(variant, root, **({"truth": truth} if truth else {})).store


def check_round_trip(store: Store, tmp_path: Path, channels: int) -> None:
    """Exported as archives, read as a dataset of its own, built again: all is the same."""
    export_store(store, out := tmp_path / "out", as_zip=True)
    dataset = load_dataset(str(out / "dataset.toml"))
    (tmp_path / "root2/archives").mkdir(parents=True)
    shutil.copytree(out, tmp_path / "root2/archives" / dataset.records[0].id)
    fetch_dataset(dataset, tmp_path / "root2", offline=True)
    needs_lists = any(out.glob("eval_data_list_*")) or any(out.glob("ground_truth_*"))
    again = build(str(out / "dataset.toml"), tmp_path / "root2", "again", channels, [out] if needs_lists else [])
    pd.testing.assert_frame_equal(again.clips[SAME], store.clips[SAME])
    for section in store.sections:
        np.testing.assert_array_equal(again.audio(*section.split("/"))[:], store.audio(*section.split("/"))[:])


@pytest.mark.parametrize(("layout", "channels"), [("mimii", 8), *((name, 1) for name in LISTS), ("dcase2022", 2)])
def test_every_layout_comes_back(tmp_path: Path, layout: str, channels: int) -> None:
    """Evaluation clips included: their names stay anonymous, and their truth is found in the export."""
    lists = []
    for name, text in LISTS.get(layout, {}).items():
        (path := tmp_path / "truth" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        lists = [tmp_path / "truth"]
    audio = f"{{ sample_rate = {RATE}, channels = {channels}, clip_seconds = {SECONDS} }}"
    manifest = release(tmp_path / "root", layout, noise(layout, channels), audio)
    store = build(manifest, tmp_path / "root", "first", channels, lists)
    assert sorted(store.clips["member"]) == sorted(member for _, member in CLIPS[layout])
    assert (store.clips["condition"] != "").all()
    check_round_trip(store, tmp_path, channels)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.zip")) == sorted({a for a, _ in CLIPS[layout]})


def test_every_layout_that_is_read_is_tried() -> None:
    assert LAYOUTS.keys() - {"recordings"} <= CLIPS.keys()


def real_clips(real: Path, layout: str) -> dict[str, dict[str, bytes]]:
    """Real clips laid out as their release has them: 8 channels; lengths that differ; free text in names."""
    content: dict[str, dict[str, bytes]] = {}
    if layout == "mimii":
        files = {path.relative_to(real / "audio_mimii").as_posix(): path for path in real.glob("audio_mimii/**/*.wav")}
        return {"-6_dB_fan.zip": {name: path.read_bytes() for name, path in sorted(files.items())}}
    for path in sorted(real.glob("audio_dcase2020/*/clips/*.wav" if layout == "dcase2020" else "audio/*/*.wav")):
        machine = path.relative_to(real).parts[1]
        folder = "train" if layout == "dcase2021" or path.name.startswith("normal_id_04") else "test"
        members = content.setdefault(f"dev_data_{machine}.zip", {})
        if len(members) < 8:
            members[f"{machine}/{folder}/{path.name}"] = path.read_bytes()
    return content


SLOW = pytest.mark.slow  # every layout comes back with made-up clips, too


@pytest.mark.parametrize("layout", [*(pytest.param(name, marks=SLOW) for name in ("mimii", "dcase2020")), "dcase2021"])
def test_real_clips_come_back(real: Path, tmp_path: Path, layout: str) -> None:
    channels = 8 if layout == "mimii" else 1
    content = real_clips(real, layout)
    seconds = "{ ToyCar = 11.0, ToyConveyor = 10.0, fan = 10.0, pump = 10.0, slider = 10.0, valve = 10.0 }"
    audio = f"{{ channels = {channels}, clip_seconds = {seconds} }}"
    store = build(release(tmp_path / "root", layout, content, audio), tmp_path / "root", "first", channels, [])
    assert len(store.clips) == sum(map(len, content.values())) >= 12
    check_round_trip(store, tmp_path, channels)
