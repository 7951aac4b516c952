"""Evaluation clips of 2022 on, whose names hide everything: tables, lists, both, neither, and lists of other years."""

from __future__ import annotations

from collections.abc import Mapping

from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.layouts.dcase2022 import read_clips
from mimiidg_build.datasets.manifest import load_dataset, recipe_of
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.truth import ClipTruth, Truth

DATASET = load_dataset("dcase2024")
TEST = "11363076/eval_data_RoboticArm_test.zip"
NAMES = [f"RoboticArm/test/section_00_{index:04d}.wav" for index in range(3)]
TABLE = "RoboticArm/attributes_00.csv"


def read(truth: Truth, tables: Mapping[str, str] | None = None, names: list[str] = NAMES):
    members = dict.fromkeys([*names, *(tables or {})], 0)
    data = {(TEST, name): text.encode() for name, text in (tables or {}).items()}
    reading = read_clips(DATASET, {TEST: members}, data, truth)
    clips, findings = build_clip_table(reading, recipe_of(DATASET), {})
    return clips, list(zip(findings["severity"], findings["kind"], strict=True)), findings["message"].tolist()


def truth_of(*full_names: str, machine_type: str = "RoboticArm", label_only: bool = False) -> Truth:
    told = {}
    for index, name in enumerate(full_names):
        words = name.removesuffix(".wav").split("_")
        condition, tail = ("anomaly", "normal")["normal" in words], "_".join(words[words.index("0000") + 1 :])
        said = ClipTruth(words[2], condition) if label_only else ClipTruth(words[2], condition, tail, name)
        told[machine_type, f"section_00_{index:04d}.wav"] = said
    return Truth(told.items())


THREE = (
    "section_00_source_normal_0000_weight15_BckgF.wav",  # as the list of 2024 has them: without the split
    "section_00_target_test_anomaly_0000_spd_40V_mic_1_noise_6.wav",
    "section_00_source_test_normal_0000_noAttribute.wav",
)


def test_lists_tell_everything_and_full_names_stay_as_written() -> None:
    clips, kinds, _ = read(truth_of(*THREE))
    assert kinds == []
    rows = {row["index"]: row for row in records(clips)}
    assert [rows[i]["full_name"] for i in range(3)] == list(THREE)
    assert [rows[i]["attributes"] for i in range(3)] == [
        '{"weight":"15","Bckg":"F"}',
        '{"spd":"40V","mic":"1","noise":"6"}',
        "{}",
    ]
    assert [(rows[i]["domain"], rows[i]["condition"]) for i in range(3)] == [
        ("source", "normal"),
        ("target", "anomaly"),
        ("source", "normal"),
    ]


def test_lists_of_labels_and_domains_alone_are_enough() -> None:
    clips, kinds, _ = read(truth_of(*THREE, label_only=True))
    assert kinds == []
    assert sorted(clips["full_name"]) == [name.rpartition("/")[2] for name in NAMES], "nobody told another name"
    assert set(clips["attributes"]) == {"{}"} and "" not in set(clips["domain"])


def test_without_truth_one_error_a_section_and_the_clips_stay_without_a_condition() -> None:
    clips, kinds, messages = read(Truth())
    assert kinds == [("error", "hidden_name")]
    assert "3 clips hide domain and condition in their names, as section_00_0000.wav does" in messages[0]
    assert "(--truth FOLDER), or allow hidden_name" in messages[0]
    assert clips["condition"].tolist() == clips["domain"].tolist() == ["", "", ""]


def test_a_list_that_lacks_clips_is_of_another_year() -> None:
    clips, kinds, messages = read(truth_of(*THREE[:2]))
    assert kinds == [("error", "hidden_name")] and clips["condition"].tolist().count("") == 1
    assert "tell of 2 other clips of RoboticArm (of another year?), and 1 clips" in messages[0]


def test_a_list_of_other_machine_types_is_an_error() -> None:
    mixed = Truth([*truth_of(*THREE).items(), *truth_of(*THREE, machine_type="Vacuum").items()])
    _, kinds, messages = read(mixed)
    assert kinds == [("error", "other_truth")]
    assert messages[0].startswith("the truth lists tell of Vacuum, but dcase2024 has bearing, fan,")
    assert messages[0].endswith("Are they of another year?")


def test_a_list_that_names_another_section_is_an_error() -> None:
    _, kinds, messages = read(truth_of("section_03_source_test_normal_0000_x_1.wav"), names=NAMES[:1])
    assert ("error", "name_mismatch") in kinds
    assert "section_00_0000.wav is section_03_source_test_normal_0000_x_1.wav" in messages[0]


def test_clips_that_no_archive_holds_are_counted() -> None:
    _, kinds, messages = read(truth_of(*THREE), names=NAMES[:1])
    assert kinds == [("warning", "no_clip")]
    assert messages == [
        "the truth lists tell of 2 clips of RoboticArm/00 that no archive holds, as section_00_0001.wav"
    ]


def table(*full_names: str) -> dict[str, str]:
    rows = [f"{name},weight,15,RoboticArm/test/{full}" for name, full in zip(NAMES, full_names, strict=False)]
    return {TABLE: "\n".join(["file_name,d1p,d1v,file_name_with_attributes", *rows]) + "\n"}


RENUMBERED = [f"section_00_source_test_normal_00{index}_weight_15.wav" for index in (90, 17, 34)]


def test_tables_may_number_the_clips_anew() -> None:
    clips, kinds, _ = read(Truth(), table(*RENUMBERED))
    assert kinds == []
    assert {row["clip"]: row["full_name"] for row in records(clips)}["section_00_0001"] == RENUMBERED[1]


def test_lists_hold_where_the_table_says_otherwise() -> None:
    clips, kinds, messages = read(truth_of(*THREE), table(*RENUMBERED))
    assert ("warning", "truth_differs") in kinds and not [kind for kind in kinds if kind[0] == "error"]
    assert any("the lists are right" in message for message in messages)
    assert "anomaly" in set(clips["condition"])


def test_a_table_without_full_names_gives_attributes_alone() -> None:
    text = "file_name,d1p,d1v\n" + "".join(f"{name},weight,15\n" for name in NAMES)
    clips, kinds, _ = read(Truth(), {TABLE: text})
    assert set(kinds) == {("error", "hidden_name")}
    assert set(clips["attributes"]) == {'{"weight":"15"}'} and set(clips["condition"]) == {""}


def test_lists_add_attributes_that_released_names_leave_out() -> None:
    """The organisers' lists of 2024 for clips that were released as _noAttribute."""
    name = "section_00_source_train_normal_0001_noAttribute.wav"
    full = "section_00_source_train_normal_0001_pro_A_wt_200.wav"
    truth = Truth([(("RoboticArm", name), ClipTruth("source", "normal", "pro_A_wt_200", full))])
    text = f"file_name,d1p,d1v\nRoboticArm/train/{name},noAttribute,\n"
    clips, kinds, _ = read(truth, {TABLE: text}, [f"RoboticArm/train/{name}"])
    assert [kind for kind in kinds if kind[0] == "error"] == []
    assert clips["attributes"].tolist() == ['{"pro":"A","wt":"200"}'] and clips["full_name"].tolist() == [full]
    assert clips["clip"].tolist() == [name.removesuffix(".wav")]


def test_a_section_without_attributes_needs_no_table() -> None:
    names = [f"RoboticArm/train/section_00_source_train_normal_000{index}_noAttribute.wav" for index in range(2)]
    assert read(Truth(), names=names)[1] == []
    names.append("RoboticArm/train/section_00_target_train_normal_0000_weight_15.wav")
    assert read(Truth(), names=names)[1] == [("error", "missing_table")]
