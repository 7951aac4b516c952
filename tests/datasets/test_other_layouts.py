"""The layouts of MIMII, DCASE 2020 and DCASE 2021: grammars both ways, small releases, and what does not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.layouts import layout_of
from mimiidg_build.datasets.layouts.dcase2020.names import ClipName as Name2020
from mimiidg_build.datasets.layouts.dcase2021.names import ClipName as Name2021
from mimiidg_build.datasets.layouts.mimii.names import ClipPath
from mimiidg_build.datasets.manifest import load_dataset, recipe_of
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.truth import ClipTruth, Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest

MACHINES = st.from_regex("id_[0-9]{2}", fullmatch=True)
TWO_DIGITS = st.from_regex("[0-9]{2}", fullmatch=True)
CONDITIONS = st.sampled_from(["normal", "anomaly"])


def read(name: str, archives: dict[str, Iterable[str]], truth: Truth | None = None):
    """The clip table of archives of a dataset, and the findings; all files of no size."""
    dataset: DatasetManifest = load_dataset(name)
    members = {archive: dict.fromkeys(names, 0) for archive, names in archives.items()}
    reading = layout_of(dataset).read_clips(dataset, members, {}, truth or Truth())
    return build_clip_table(reading, recipe_of(dataset), dataset.counts)


def kinds(findings) -> list[tuple[str, str]]:
    return list(zip(findings["severity"], findings["kind"], strict=True))


# ---- Grammars --------------------------------------------------------------------------------------------------------


@given(st.builds(Name2020, MACHINES, CONDITIONS | st.just(""), st.integers(0, 99_999_999)))
def test_names_of_2020_read_back(name: Name2020) -> None:
    assert Name2020.parse(f"fan/test/{name.file_name}") == name


DOMAINS, SPLITS = st.sampled_from(["source", "target"]), st.sampled_from(["train", "test"])
TEXTS = st.none() | st.from_regex(r"[A-Za-z0-9_.+-]{0,20}", fullmatch=True)
FULL_2021 = st.builds(Name2021, TWO_DIGITS, DOMAINS, SPLITS, CONDITIONS, st.integers(0, 9999), TEXTS)
HIDDEN_2021 = st.builds(Name2021, TWO_DIGITS, DOMAINS, st.just("test"), st.just(""), st.integers(0, 9999))


@given(FULL_2021 | HIDDEN_2021)
def test_names_of_2021_read_back(name: Name2021) -> None:
    assert Name2021.parse(f"fan/train/{name.file_name}") == name


@given(st.builds(ClipPath, MACHINES, CONDITIONS, st.integers(0, 99_999_999)))
def test_paths_of_mimii_read_back(path: ClipPath) -> None:
    assert ClipPath.parse(f"fan/{path.path}") == path


@given(st.text() | st.from_regex(r"(section_|normal_id_|id_)[0-9_a-z.]*\.wav"))
def test_any_other_name_is_refused_or_reads_back(text: str) -> None:
    for grammar in (Name2020, Name2021):
        try:
            name = grammar.parse(text)
        except DataError:
            continue
        assert name.file_name == text.rpartition("/")[2]


@pytest.mark.parametrize(
    ("parse", "names"),
    [
        (Name2020.parse, ["normal_id_0_00000000.wav", "abnormal_id_00_00000000.wav", "normal_id_00_0000.wav", "x.wav"]),
        (Name2021.parse, ["section_00_0000.wav", "section_03_source_train_0000.wav", "section_00_source_test_.wav"]),
        (ClipPath.parse, ["fan/id_00/anomaly/00000000.wav", "fan/id_00/normal/0000.wav", "fan/normal/00000000.wav"]),
    ],
)
def test_names_of_another_grammar_are_refused(parse, names) -> None:
    for name in names:
        with pytest.raises(DataError, match=r"expected .*\.wav"):
            parse(name)


# ---- MIMII -----------------------------------------------------------------------------------------------------------

MIMII = "3384388/0_dB_fan.zip"


def mimii(n_normal: int, n_anomalous: int, machine: str = "id_00", first: int = 0) -> list[str]:
    return [f"fan/{machine}/normal/{i:08d}.wav" for i in range(first, first + n_normal)] + [
        f"fan/{machine}/abnormal/{i:08d}.wav" for i in range(n_anomalous)
    ]


def test_mimii_is_split_as_the_authors_baseline_does() -> None:
    clips, findings = read("mimii_0_dB", {MIMII: [*mimii(5, 2), *mimii(3, 1, "id_02")]})
    assert kinds(findings) == []
    found = Counter((row["section"], row["split"], row["condition"]) for row in records(clips))
    assert found == {
        ("id_00", "test", "anomaly"): 2,
        ("id_00", "test", "normal"): 2,
        ("id_00", "train", "normal"): 3,
        ("id_02", "test", "anomaly"): 1,
        ("id_02", "test", "normal"): 1,
        ("id_02", "train", "normal"): 2,
    }
    of_id_00 = clips[(clips["section"] == "id_00") & (clips["condition"] == "normal")]
    assert of_id_00[of_id_00["split"] == "test"]["index"].tolist() == [0, 1], "the first in order are test clips"
    row = records(clips)[0]
    assert (row["clip"], row["domain"], row["attributes"]) == ("id_00_normal_00000002", "", "{}")
    assert (row["full_name"], row["member"]) == ("00000002.wav", "fan/id_00/normal/00000002.wav")


def test_a_machine_of_mimii_without_training_clips_is_told() -> None:
    clips, findings = read("mimii_0_dB", {MIMII: mimii(2, 3)})
    assert ("warning", "no_training") in kinds(findings) and set(clips["split"]) == {"test"}
    assert "2 normal clips of fan/id_00 beside 3 anomalous ones" in findings["message"].iloc[0]


def test_a_gap_in_mimiis_numbers_is_told() -> None:
    _, findings = read("mimii_0_dB", {MIMII: [*mimii(3, 1), "fan/id_00/normal/00000007.wav"]})
    assert ("warning", "index_gap") in kinds(findings)


# ---- DCASE 2020 ------------------------------------------------------------------------------------------------------

DEV_2020 = [f"fan/{split}/normal_id_00_{i:08d}.wav" for split in ("train", "test") for i in range(2)]


def test_2020_has_one_name_for_a_training_and_a_test_clip() -> None:
    names = [*DEV_2020, "fan/test/anomaly_id_00_00000000.wav"]
    clips, findings = read("dcase2020", {"3678171/dev_data_fan.zip": names})
    assert kinds(findings) == []
    rows = {row["member"]: row for row in records(clips)}
    assert {row["clip"] for row in rows.values()} == {
        *("train_normal_id_00_00000000", "train_normal_id_00_00000001", "normal_id_00_00000000"),
        *("normal_id_00_00000001", "anomaly_id_00_00000000"),
    }
    test = rows["fan/test/normal_id_00_00000001.wav"]
    assert (test["section"], test["split"], test["domain"], test["full_name"]) == (
        *("id_00", "test", "", "normal_id_00_00000001.wav"),
    )


def test_2020_hides_the_condition_alone() -> None:
    archives = {"3841772/eval_data_test_fan.zip": ["fan/test/id_01_00000000.wav", "fan/test/id_01_00000001.wav"]}
    clips, findings = read("dcase2020", archives)
    assert kinds(findings) == [("error", "hidden_name")] and clips["condition"].tolist() == ["", ""]
    assert "2 clips hide condition in their names, as id_01_00000000.wav does" in findings["message"].iloc[0]
    truth = Truth(
        (("fan", f"id_01_{i:08d}.wav"), ClipTruth("", word, "", f"{word}_id_01_0000009{i}.wav"))
        for i, word in enumerate(("anomaly", "normal"))
    )
    clips, findings = read("dcase2020", archives, truth)
    assert kinds(findings) == []
    by_clip = {row["clip"]: (row["condition"], row["full_name"], row["index"]) for row in records(clips)}
    assert by_clip["id_01_00000000"] == ("anomaly", "anomaly_id_01_00000090.wav", 0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fan/train/id_01_00000000.wav", "misplaced"),
        ("fan/train/section_00_source_train_normal_0000.wav", "bad_name"),
        ("fan/train/anomaly_id_00_00000000.wav", "anomaly_in_train"),
        ("fan/other/normal_id_00_00000000.wav", "misplaced"),
        ("fan/test/deep/normal_id_00_00000000.wav", "misplaced"),
    ],
)
def test_what_does_not_fit_2020_is_an_error_that_names_it(name: str, kind: str) -> None:
    _, findings = read("dcase2020", {"3678171/dev_data_fan.zip": [*DEV_2020, name]})
    assert kinds(findings) == [("error", kind)]
    assert name.rpartition("/")[2] in findings["message"].iloc[0]


def test_two_clips_of_one_name_are_an_error_with_both_places() -> None:
    archives = {"3678171/dev_data_fan.zip": DEV_2020, "3727685/eval_data_train_fan.zip": DEV_2020[:1]}
    _, findings = read("dcase2020", archives)
    assert kinds(findings)[0] == ("error", "duplicate_clip")
    assert re.search("eval_data_train_fan|dev_data_fan.zip:fan/train", findings["message"].iloc[0])


# ---- DCASE 2021 and MIMII DUE ----------------------------------------------------------------------------------------


def test_2021_has_folders_by_domain_and_free_text() -> None:
    names = [
        "pump/train/section_00_source_train_normal_0000_serial_no_000_water.wav",
        "pump/source_test/section_00_source_test_anomaly_0000.wav",
        "pump/target_test/section_00_target_test_normal_0000.wav",
    ]
    clips, findings = read("mimii_due", {"4740355/dev_data_pump.zip": names})
    assert kinds(findings) == []
    assert clips["attributes"].tolist() == ['{"tail":"serial_no_000_water"}', "{}", "{}"]
    assert clips["domain"].tolist() == ["source", "source", "target"]
    assert clips["full_name"].tolist() == [name.rpartition("/")[2] for name in names]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pump/source_test/section_00_target_test_normal_0000.wav", "misplaced"),
        ("pump/train/section_00_source_test_normal_0000.wav", "misplaced"),
        ("pump/test/section_00_source_test_normal_0000.wav", "misplaced"),
        ("pump/source_test/section_00_0000.wav", "bad_name"),
    ],
)
def test_what_does_not_fit_2021_is_an_error_that_names_it(name: str, kind: str) -> None:
    good = "pump/train/section_00_source_train_normal_0000.wav"
    _, findings = read("dcase2021", {"4562016/dev_data_pump.zip": [good, name]})
    assert kinds(findings) == [("error", kind)] and name.rpartition("/")[2] in findings["message"].iloc[0]


def test_2021_tells_the_domain_and_a_list_that_says_another_is_of_another_year() -> None:
    archives = {"4884786/eval_data_fan_test.zip": ["fan/source_test/section_03_source_test_0000.wav"]}
    clips, findings = read("dcase2021", archives)
    assert kinds(findings) == [("error", "hidden_name")] and clips["domain"].tolist() == ["source"]
    key = ("fan", "section_03_source_test_0000.wav")
    right = ClipTruth("source", "anomaly", "", "section_03_source_test_anomaly_0000.wav")
    clips, findings = read("dcase2021", archives, Truth([(key, right)]))
    assert kinds(findings) == [] and clips["condition"].tolist() == ["anomaly"]
    other = ClipTruth("target", "anomaly", "", "section_03_target_test_anomaly_0000.wav")
    _, findings = read("dcase2021", archives, Truth([(key, other)]))
    assert ("error", "name_mismatch") in kinds(findings) and "of another year?" in findings["message"].iloc[0]


# ---- Extra recordings ------------------------------------------------------------------------------------------------


def test_supplemental_recordings_are_counted_and_are_no_clips() -> None:
    names = [f"fan/supplemental/{name}.wav" for name in ("clean_0", "deep/noise_1")]
    clip = "fan/train/section_00_source_train_normal_0000_noAttribute.wav"
    clips, findings = read("dcase2025", {"15097779/dev_fan.zip": [*names, clip]})
    assert clips["member"].tolist() == [clip]
    assert ("warning", "supplemental") in kinds(findings) and "2 supplemental recordings" in findings["message"].iloc[0]
    assert load_dataset("dcase2025").noise["fan"].members == "*supplemental/*.wav"
