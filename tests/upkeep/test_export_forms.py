"""Exports in other layouts and for other libraries, read back by what they are made for."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from mimiidg_build.cli import main
from mimiidg_build.datasets.layouts.writing import WRITING
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.evaluate import evaluate_scores
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export import export_store
from tests.upkeep.any_store import N_SAMPLES, any_store, clip, two_parts

FORMS: list[dict[str, Any]] = [
    {},
    {"as_zip": True},
    {"layout": "dcase"},
    {"file_format": "webdataset"},
    {"file_format": "huggingface"},
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Fans of one channel and 320 samples, bearings of two channels and 480 samples at 8 kHz."""
    shapes = {f"bearing/{s}": {"n_samples": 480, "sample_rate": 8000, "channels": 2} for s in ("00", "03")}
    return any_store(tmp_path / "root", two_parts() + two_parts("bearing"), shapes=shapes)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def stored(store: Store, row: pd.Series) -> np.ndarray:
    """A clip's samples as soundfile reads them: (sample,) or (sample, channel)."""
    return np.asarray(store.audio(row["machine_type"], row["section"])[int(row["row"])]).T


# ---- dcase -----------------------------------------------------------------------------------------------------------


def test_baselines_find_development_and_evaluation_data(store: Store, tmp_path: Path) -> None:
    """As the organisers' loaders glob: <part>/raw/<machine>/<folder>/*section_NN_*.wav."""
    export_store(store, out := tmp_path / "out", layout="dcase")
    for machine in ("fan", "bearing"):
        for part, section in (("dev_data", "00"), ("eval_data", "03")):
            folder = out / part / "raw" / machine
            assert len(list(folder.glob(f"train/section_{section}_*_normal_*.wav"))) == 2
            assert len(list(folder.glob("test/*.wav"))) == 8
        for name, folder in (("dev_data", "test"), ("eval_data", "test_rename")):
            for condition in ("normal", "anomaly"):
                assert len(list((out / name / "raw" / machine / folder).glob(f"section_*_{condition}_*.wav"))) == 4
        assert all(re.fullmatch(r"section_03_\d{4}\.wav", path.name) for path in folder_of(out, machine).glob("*"))
    for _, row in store.clips.iterrows():
        part = "dev_data" if row["section"] == "00" else "eval_data"
        samples, rate = sf.read(out / part / "raw" / row["member"], dtype="int16")
        np.testing.assert_array_equal(samples, stored(store, row))
        assert rate == (16_000 if row["machine_type"] == "fan" else 8000)


def folder_of(out: Path, machine: str) -> Path:
    return out / "eval_data/raw" / machine / "test"


def test_renamed_clips_are_the_anonymous_ones(store: Store, tmp_path: Path) -> None:
    export_store(store, out := tmp_path / "out", layout="dcase")
    hidden = store.clips[(store.clips["section"] == "03") & (store.clips["split"] == "test")]
    for _, row in hidden.iterrows():
        renamed = out / "eval_data/raw" / row["machine_type"] / "test_rename" / row["full_name"]
        assert renamed.read_bytes() == (out / "eval_data/raw" / row["member"]).read_bytes()


def test_evaluators_find_their_lists(store: Store, tmp_path: Path) -> None:
    """As they read them: (anonymous name, 0 or 1), and full names without the suffix."""
    export_store(store, out := tmp_path / "out", layout="dcase")
    hidden = store.clips[
        (store.clips["machine_type"] == "fan") & (store.clips["full_name"] != store.clips["clip"] + ".wav")
    ]
    expected = {
        "data": [str(int(condition == "anomaly")) for condition in hidden["condition"]],
        "domain": [str(int(domain == "target")) for domain in hidden["domain"]],
        "attributes": [name.removesuffix(".wav") for name in hidden["full_name"]],
    }
    for kind, values in expected.items():
        lists = sorted(path.name for path in (out / f"ground_truth_{kind}").iterdir())
        assert lists == [f"ground_truth_{m}_section_03_test.csv" for m in ("bearing", "fan")]
        rows = list(csv.reader((out / f"ground_truth_{kind}" / lists[1]).read_text().splitlines()))
        assert rows == [list(row) for row in zip(hidden["clip"] + ".wav", values, strict=True)]


def test_all_sections_are_evaluated_with_the_export_as_truth(store: Store, tmp_path: Path) -> None:
    export_store(store, out := tmp_path / "out", layout="dcase")
    (run := tmp_path / "run").mkdir()
    tests = store.clips[store.clips["split"] == "test"]
    for (machine, section), rows in tests.groupby(["machine_type", "section"]):
        scores = [f"{name}.wav,{number}" for number, name in enumerate(rows["clip"])]
        (run / f"anomaly_score_{machine}_section_{section}_test.csv").write_text("\n".join(scores) + "\n")
    found = evaluate_scores(run, [out]).sections
    assert list(zip(found["machine_type"], found["section"], strict=True)) == [
        (machine, section) for machine in ("bearing", "fan") for section in ("00", "03")
    ]
    # the same scores and the same truth under both sorts of names
    assert found["auc_source"].nunique() == 1 and (found["n_normal"] == 4).all()


@pytest.mark.parametrize("layout", ["dcase2020", "dcase2021"])
def test_earlier_years_are_evaluated_with_the_export_as_truth(tmp_path: Path, layout: str) -> None:
    """Score files by machine ID, or by domain; a development section beside one that hides its labels."""
    rows, run = [], tmp_path / "run"
    run.mkdir()
    for number, domain, index in ((n, d, i) for n in ("00", "03") for d in ("source", "target") for i in range(4)):
        condition = ("normal", "anomaly")[index % 2]
        if layout == "dcase2020":
            section, domain, index = f"id_{number}", "", index + 4 * (domain == "target")
            full, own = f"{condition}_id_{number}_{index:08d}.wav", f"id_{number}_{index:08d}.wav"
            member, scores = "fan/test", f"anomaly_score_fan_id_{number}.csv"
        else:
            section = number
            full = f"section_{number}_{domain}_test_{condition}_{index:04d}.wav"
            own = f"section_{number}_{domain}_test_{index:04d}.wav"
            member, scores = f"fan/{domain}_test", f"anomaly_score_fan_section_{number}_{domain}_test.csv"
        name = full if number == "00" else own
        given = {"split": "test", "domain": domain, "condition": condition, "index": index}
        rows.append(clip("fan", section, f"{member}/{name}", full, **given))
        with (run / scores).open("a") as file:
            file.write(f"{name},{index}\n")
    protocol = layout.removeprefix("dcase")
    store = any_store(tmp_path / "root", rows, layout, protocol=protocol)
    export_store(store, out := tmp_path / "out", layout="dcase")
    found = evaluate_scores(run, [out]).sections
    assert found["section"].tolist() == sorted({row["section"] for row in rows})
    assert found["auc_all"].nunique() == 1 and (found["n_normal"] == 4).all()


def test_wrong_full_names_do_not_become_labels(tmp_path: Path) -> None:
    """The published full names of 2022's toys are wrong: the lists have what is right, and nothing is renamed."""
    rows = two_parts()
    for row in rows:
        if row["section"] == "03" and row["split"] == "test":
            row["condition"] = "anomaly" if row["condition"] == "normal" else "normal"
    store = any_store(tmp_path / "root", rows)
    export_store(store, out := tmp_path / "out", layout="dcase")
    listed = (out / "ground_truth_data/ground_truth_fan_section_03_test.csv").read_text().split()
    assert listed[:3] == ["section_03_0000.wav,1", "section_03_0001.wav,1", "section_03_0002.wav,0"]
    assert not (out / "eval_data/raw/fan/test_rename").exists()
    export_store(store, own := tmp_path / "own")
    assert (own / "ground_truth_data/ground_truth_fan_section_03_test.csv").read_text().split() == listed


def test_clips_whose_truth_nobody_knows_are_evaluation_clips(tmp_path: Path) -> None:
    rows = [row for row in two_parts() if row["section"] == "03"]
    for row in rows:
        if row["split"] == "test":
            row |= {"condition": "", "domain": "", "attributes": "{}", "full_name": Path(row["member"]).name}
    export_store(any_store(tmp_path / "root", rows), out := tmp_path / "out", layout="dcase")
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["eval_data"]
    assert "eval_data/raw/fan/test/section_03_0000.wav" in names(out)
    table = (out / "eval_data/raw/fan/attributes_03.csv").read_text()
    assert len(table.splitlines()) == 3 and "test" not in table


def test_mimii_gets_the_names_of_2020(tmp_path: Path) -> None:
    rows = [
        clip("fan", "id_00", f"fan/id_00/{folder}/0000000{index}.wav", split=split, condition=condition, domain="")
        | {"clip": f"id_00_{condition}_{index}", "index": index}
        for folder, condition, split, index in (
            ("normal", "normal", "train", 0),
            ("normal", "normal", "test", 1),
            ("abnormal", "anomaly", "test", 0),
        )
    ]
    store = any_store(tmp_path / "root", rows, "mimii", {"fan/id_00": {"channels": 8}})
    export_store(store, out := tmp_path / "out", layout="dcase")
    folder = "dev_data/raw/fan"
    assert [name for name in names(out) if name.endswith(".wav")] == [
        f"{folder}/test/anomaly_id_00_00000000.wav",
        f"{folder}/test/normal_id_00_00000001.wav",
        f"{folder}/train/normal_id_00_00000000.wav",
    ]
    export_store(store, own := tmp_path / "own")
    assert [name for name in names(own) if name.endswith(".wav")] == sorted(row["member"] for row in rows)
    assert sf.info(own / rows[0]["member"]).channels == 8


@pytest.mark.parametrize(
    ("layout", "own", "full", "expected"),
    [
        (
            "dcase2020",
            "id_01_00000000.wav",
            "anomaly_id_01_00000064.wav",
            "fan\nid_01_00000000.wav,anomaly_id_01_00000064.wav,1\n",
        ),
        (
            "dcase2021",
            "section_03_source_test_0000.wav",
            "section_03_source_test_anomaly_0000.wav",
            "fan\nsection_03_source_test_0000.wav,section_03_source_test_anomaly_0000.wav\n",
        ),
    ],
)
def test_the_lists_of_2020_and_2021(tmp_path: Path, layout: str, own: str, full: str, expected: str) -> None:
    """As in ``real/truth/eval_data_list_*.csv``; in the release's folders, and no attribute table beside."""
    folder = "test" if layout == "dcase2020" else "source_test"
    domain = "" if layout == "dcase2020" else "source"
    row = clip("fan", "03", f"fan/{folder}/{own}", full, split="test", condition="anomaly", domain=domain)
    export_store(any_store(tmp_path / "root", [row], layout), out := tmp_path / "out")
    name = f"eval_data_list_{layout.removeprefix('dcase')}.csv"
    assert (out / name).read_text() == expected
    assert (out / row["member"]).is_file()
    assert [path for path in names(out) if path.endswith(".csv")] == [name, "mix_plan.csv"]
    export_store(any_store(tmp_path / "root2", [row], layout), dcase := tmp_path / "dcase", layout="dcase")
    assert f"eval_data/raw/fan/test/{own}" in names(dcase), "2021's two folders of test clips are one for baselines"
    assert f"eval_data/raw/fan/test_rename/{full}" in names(dcase)


def test_attribute_tables_have_as_many_columns_as_a_clip_has_pairs() -> None:
    pairs = [("car", "A1"), ("spd", "28V"), ("mic", "1")]
    rows = [
        clip("fan", "00", "fan/train/section_00_source_train_normal_0000_car_A1_spd_28V_mic_1.wav", pairs=pairs),
        clip("fan", "00", "fan/train/section_00_source_train_normal_0001_car_A1.wav", pairs=pairs[:1]),
        clip("pump", "00", "pump/train/section_00_source_train_normal_0000_noAttribute.wav"),
    ]
    tables = WRITING["dcase2022"].tables(pd.DataFrame(rows))
    assert tables["pump/attributes_00.csv"].decode().splitlines() == ["file_name", rows[2]["member"]]
    assert list(csv.reader(io.StringIO(tables["fan/attributes_00.csv"].decode()))) == [
        ["file_name", "d1p", "d1v", "d2p", "d2v", "d3p", "d3v"],
        [rows[0]["member"], "car", "A1", "spd", "28V", "mic", "1"],
        [rows[1]["member"], "car", "A1", "", "", "", ""],
    ]


def test_flac_is_written_as_wav(tmp_path: Path) -> None:
    row = clip("fan", "00", "fan/train/section_00_source_train_normal_0000_n-lv_L1-6.5.flac")
    store = any_store(tmp_path / "root", [row])
    export_store(store, out := tmp_path / "out")
    assert [path for path in names(out) if path.startswith("fan/train")] == [row["member"].replace(".flac", ".wav")]


def test_two_clips_of_one_path_are_refused(tmp_path: Path) -> None:
    rows = [clip("fan", section, "fan/train/a.wav", clip=section) for section in ("00", "01")]
    with pytest.raises(DataError, match=r"'fan/train/a\.wav' is more than one clip; nothing is written"):
        export_store(any_store(tmp_path / "root", rows), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.wav"))


# ---- other libraries -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the library leaves the closing of its files to Python
def test_webdataset_reads_every_clip(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wds = pytest.importorskip("webdataset")
    monkeypatch.setattr("mimiidg_build.upkeep.export.webdataset.SHARD_BYTES", 5000)
    export_store(store, out := tmp_path / "out", file_format="webdataset")
    clips = store.clips
    shards = {split: sorted(path.name for path in out.glob(f"{split}-*.tar")) for split in ("train", "test")}
    assert len(shards["test"]) > 2, "several, or what a reader does at their ends is not tried"
    for split, files in shards.items():
        pattern = f"{out}/{split}-{{000000..{len(files) - 1:06d}}}.tar"
        samples = list(wds.WebDataset(pattern, shardshuffle=False).decode())
        own = clips[clips["split"] == split]
        assert [sample["json"]["clip"] for sample in samples] == own["clip"].tolist()
        for sample, (_, row) in zip(samples, own.iterrows(), strict=True):
            audio, rate = sf.read(io.BytesIO(sample["wav"]), dtype="int16")
            np.testing.assert_array_equal(audio, stored(store, row))
            said = sample["json"]
            assert (rate, audio.shape[0]) == (said["sample_rate"], said["n_samples"])
            assert said["label"] == int(row["condition"] == "anomaly")
            assert said["attributes"] == json.loads(row["attributes"])
            assert said["measured_added_noise_snr_db"] is None


def test_tar_archives_hold_no_time_and_no_owner(store: Store, tmp_path: Path) -> None:
    export_store(store, tmp_path / "out", file_format="webdataset")
    with tarfile.open(tmp_path / "out/train-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_datasets_loads_the_folder(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``load_dataset(DIR)`` alone: configurations, splits and types stand in the export."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    monkeypatch.setattr("mimiidg_build.upkeep.export.huggingface.SHARD_BYTES", 5000)
    export_store(store, out := tmp_path / "out", file_format="huggingface")
    assert len(list(out.glob("data/fan/test-*.parquet"))) > 1
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 8, "test": 32}
    features = loaded["test"].features
    assert features["audio"] == datasets.Audio(), "no one rate: a fan's is another than a bearing's"
    assert features["label"].names == ["normal", "anomaly"]
    assert features["attributes"].feature == {"key": datasets.Value("string"), "value": datasets.Value("string")}
    rows = loaded["test"].cast_column("audio", datasets.Audio(decode=False))
    by_clip = store.clips.set_index(["machine_type", "clip"], drop=False)
    for found in rows:
        row = by_clip.loc[found["machine_type"], found["clip"]]
        audio, _ = sf.read(io.BytesIO(found["audio"]["bytes"]), dtype="int16")
        np.testing.assert_array_equal(audio, stored(store, row))
        assert found["label"] == int(row["condition"] == "anomaly")
        assert {p["key"]: p["value"] for p in found["attributes"]} == json.loads(row["attributes"])
        assert (found["channels"], found["n_samples"]) == (
            (2, 480) if row["machine_type"] == "bearing" else (1, N_SAMPLES)
        )
    fans = datasets.load_dataset(str(out), "fan", split="test", cache_dir=str(tmp_path / "cache"))
    assert set(fans["machine_type"]) == {"fan"}


def test_one_rate_is_the_audio_columns_own(tmp_path: Path) -> None:
    export_store(any_store(tmp_path / "root", two_parts()), tmp_path / "out", file_format="huggingface")
    schema = pq.read_schema(tmp_path / "out/data/fan/train-00000-of-00001.parquet")
    said = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert said["audio"] == {"_type": "Audio", "sampling_rate": 16_000}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_croissant_describes_an_export(store: Store, tmp_path: Path, options: dict[str, Any]) -> None:
    """mlcroissant validates it without an error and reads the clips by it."""
    mlcroissant = pytest.importorskip("mlcroissant")
    export_store(store, out := tmp_path / "out", **options)
    dataset = mlcroissant.Dataset(out / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    found = [row["clip-table/clip"].decode() for row in dataset.records("clip-table")]
    assert found == store.clips["clip"].tolist()
    if options.get("file_format") == "huggingface":
        audio = {row["clips/clip"]: row["clips/audio"] for row in dataset.records("clips")}
        assert len(audio) == store.clips["clip"].nunique() and all(wav[:4] == b"RIFF" for wav in audio.values())


# ---- every form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_an_interrupted_export_goes_on(
    store: Store, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was whole is not written again, all clips are counted, and the bytes are those of one that ran through."""
    monkeypatch.setattr("mimiidg_build.upkeep.export.webdataset.SHARD_BYTES", 5000)
    monkeypatch.setattr("mimiidg_build.upkeep.export.huggingface.SHARD_BYTES", 5000)
    export_store(store, whole := tmp_path / "whole", **options)
    counted: list[int] = []

    def stopped(n_clips: int) -> None:
        counted.append(n_clips)
        if sum(counted) >= 35:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(store, out := tmp_path / "out", on_progress=stopped, **options)
    assert [path.name for path in out.iterdir()] == [".partial"]
    left = {name: (out / ".partial" / name).stat().st_ino for name in names(out / ".partial")}
    left = {name: number for name, number in left.items() if name.endswith((".wav", ".zip", ".tar", ".parquet"))}
    assert left
    counted.clear()
    export_store(store, out, on_progress=counted.append, **options)
    assert sum(counted) == len(store.clips)
    assert {name: (out / name).stat().st_ino for name in left} == left
    assert {n: (out / n).read_bytes() for n in names(out)} == {n: (whole / n).read_bytes() for n in names(whole)}


def test_another_export_does_not_go_on_with_what_is_left(store: Store, tmp_path: Path) -> None:
    def stop(n_clips: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(store, out := tmp_path / "out", on_progress=stop)
    assert list((out / ".partial").rglob("*.wav"))
    export_store(store, out, file_format="webdataset")
    assert not list(out.rglob("*.wav")) and not list(out.rglob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "dcase", "--zip"], "layout 'dcase' is for WAV files in folders"),
        (["--layout", "dcase", "--format", "webdataset"], "layout 'dcase' is for WAV files in folders"),
        (["--format", "huggingface", "--zip"], "--zip is for WAV files"),
        (["--format", "flac"], "'flac' is not one of"),
    ],
)
def test_options_that_exclude_each_other(
    store: Store, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["export", str(store.path), str(tmp_path / "out"), *options])
    assert code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_form_in_python(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a layout is one of own, dcase"):
        export_store(store, tmp_path / "out", layout="kaldi")
