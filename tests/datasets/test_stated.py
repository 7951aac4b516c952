"""A dataset that is not what its manifest says: machine types, sections, archives chosen by them."""

from __future__ import annotations

import pytest

from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import check_choices, clip_archives
from mimiidg_build.datasets.stated import check_stated
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId

DCASE2020 = load_dataset("dcase2020")


def clip(archive: str, machine_type: str, section: str) -> Clip:
    member = f"{machine_type}/train/normal_{section}_00000000.wav"
    file = ClipFile(machine_type, "train", archive, member, member)
    return Clip(file, SectionId(machine_type, section), "train", "", "normal", 0, (), member.rpartition("/")[2])


def found(clips: list[Clip], dataset: DatasetManifest = DCASE2020) -> list[tuple[str, str, str, str]]:
    findings = check_stated(dataset, {clip.file.archive for clip in clips}, clips)
    return [(finding.severity, finding.kind, finding.value, finding.expected) for finding in findings]


WHOLE = [clip("3678171/dev_data_fan.zip", "fan", f"id_0{number}") for number in (0, 2, 4, 6)]


def test_what_is_as_stated_has_no_finding() -> None:
    assert found(WHOLE) == []
    assert found([clip("3727685/eval_data_train_fan.zip", "fan", f"id_0{number}") for number in (1, 3, 5)]) == []


def test_sections_that_are_not_stated_and_stated_ones_that_are_not_there() -> None:
    other = clip("3678171/dev_data_fan.zip", "fan", "id_01")
    assert found([*WHOLE[1:], other]) == [
        ("error", "unknown_section", "id_01", "id_00, id_02, id_04, id_06"),
        ("warning", "missing_section", "", "fan/id_00"),
    ]


def test_an_archive_of_another_machine_type() -> None:
    clips = [clip("3678171/dev_data_fan.zip", "pump", f"id_0{number}") for number in (0, 2, 4, 6)]
    assert found(clips) == [("error", "wrong_machine", "pump", "fan")]


def test_a_machine_type_that_no_archive_is_named_after() -> None:
    more = DCASE2020.model_copy(update={"machine_types": [*DCASE2020.machine_types, "gearbox"]})
    assert found(WHOLE, more) == [("error", "no_archive", "gearbox", "an archive")]


def test_sections_choose_the_records_that_hold_them() -> None:
    dataset = load_dataset("dcase2022")

    def names(*choices: str) -> list[str]:
        return [name for _, name in clip_archives(dataset, choices=choices)]

    assert names("fan/00", "fan/02") == ["dev_fan.zip"]
    assert names("fan/03") == ["eval_data_fan_train.zip", "eval_data_fan_test.zip"]
    assert len(names("fan")) == 3 and len(names()) == 21
    check_choices(dataset, ["fan", "ToyCar/05"])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("fan/06", "dcase2022 has no section '06' of fan.* It has 00, 01, 02, 03, 04, 05"),
        ("pump", "dcase2022 has no machine type 'pump'.* It has bearing, fan"),
        ("fan/id_00", "dcase2022 has no section 'id_00' of fan"),
    ],
)
def test_choices_that_the_dataset_does_not_have(choice: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_choices(load_dataset("dcase2022"), [choice])
