"""``mimiidg datasets``: the list, one of them, what is fetched; and archives chosen by section."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.cli import complete, main
from mimiidg_build.cli.values import one_value_each
from mimiidg_build.datasets.toml_files import shipped_names
from mimiidg_build.synthesis.local_zenodo import LocalZenodo

Output = pytest.CaptureFixture[str]


def shown(root: Path, output: Output, *arguments: str) -> Any:
    output.readouterr()
    assert main(["datasets", *arguments, "--json", "--root", str(root)]) == 0
    return json.loads(output.readouterr().out)


def test_every_shipped_dataset_is_listed(tmp_path: Path, capsys: Output) -> None:
    listed = {row["name"]: row for row in shown(tmp_path, capsys)}
    assert list(listed) == shipped_names("datasets")
    assert listed["mimii_dg"] == {
        "name": "mimii_dg",
        "title": listed["mimii_dg"]["title"],
        "machine_types": ["bearing", "fan", "gearbox", "slider", "valve"],
        "clips": 18_000,
        "hours": 50.0,
        "size_bytes": 928_511_244 + 772_300_000 + 946_400_000 + 913_700_000 + 825_400_000,
        "size_is_of_all": True,
        "licenses": ["CC-BY-4.0"],
        "archives": 5,
        "fetched": 0,
    }
    assert listed["dcase2024"]["clips"] is None and listed["dcase2024"]["size_bytes"] is None, "nobody published them"
    assert not listed["dcase2020"]["size_is_of_all"]


def test_the_table_says_what_is_not_known(tmp_path: Path, capsys: Output) -> None:
    assert main(["datasets", "--root", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(shipped_names("datasets")) <= set(lines)
    assert "18,000" in lines["mimii_dg"] and "4.4" in lines["mimii_dg"] and "CC-BY-4.0" in lines["mimii_dg"]
    assert "12.3 or more" in lines["dcase2020"] and "or more" not in lines["mimii_0_dB"]


def test_one_dataset_with_its_records_and_archives(tmp_path: Path, capsys: Output) -> None:
    found = shown(tmp_path, capsys, "dcase2020")
    assert (found["layout"], found["protocol"], found["recipe"], found["noise"]) == ("dcase2020", "2020", None, [])
    assert [record["id"] for record in found["records"]] == ["3678171", "3727685", "3841772"]
    assert found["records"][0]["sections"]["ToyConveyor"] == ["id_01", "id_02", "id_03"]
    assert found["archives"][0] == {
        "record": "3678171",
        "name": "dev_data_fan.zip",
        "size_bytes": 1_354_774_772,
        "is_approximate": False,
        "md5": "649bdfc06263ae7a838963f43b6641e6",
        "md5_is": "published",
        "is_fetched": False,
    }
    assert main(["datasets", "dcase2025", "--root", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "pinned on first fetch" in told and "record 15392814: DCASE 2025 Challenge Task 2 Additional" in told
    assert "noise: bearing, fan" in told
    assert "sections of bearing, fan, gearbox, slider, ToyCar, ToyTrain, valve: 00" in told


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Some of DCASE 2022's archives, of a few bytes each, on a server of their own."""
    names = {"6355122": ["dev_fan.zip", "dev_valve.zip"], "6462969": ["eval_data_fan_train.zip"]}
    folders = {}
    for record, files in names.items():
        folders[record] = tmp_path / "served" / record
        folders[record].mkdir(parents=True)
        for name in files:
            (folders[record] / name).write_bytes(name.encode())
    server = LocalZenodo(folders)
    with server as running:
        monkeypatch.setenv("MIMIIDG_ZENODO_URL", running.url)
        yield tmp_path / "root"


def test_archives_are_fetched_by_section_pinned_and_shown(served: Path, capsys: Output) -> None:
    arguments = ["fetch", "dcase2022", "--section", "fan/00", "valve/01", "--quiet", "--root", str(served)]
    assert main(arguments) == 0
    assert sorted(path.name for path in served.rglob("*.zip")) == ["dev_fan.zip", "dev_valve.zip"]
    states = {state["name"]: state for state in shown(served, capsys, "dcase2022")["archives"]}
    assert {name for name, state in states.items() if state["is_fetched"]} == {"dev_fan.zip", "dev_valve.zip"}
    fan = states["dev_fan.zip"]
    assert (fan["md5"], fan["md5_is"]) == (hashlib.md5(b"dev_fan.zip").hexdigest(), "pinned")
    assert fan["size_bytes"] == len("dev_fan.zip") and states["dev_ToyCar.zip"]["md5_is"] == ""
    listed = {row["name"]: row for row in shown(served, capsys)}
    assert listed["dcase2022"]["fetched"] == 2 and listed["dcase2022"]["size_bytes"] == len("dev_fan.zipdev_valve.zip")
    assert listed["dcase2022"]["size_is_of_all"] is False
    assert main(["fetch", "dcase2022", "--section", "fan/00", "--offline", "--root", str(served)]) == 0


def test_sections_of_every_dataset_are_offered_and_taken_in_a_row() -> None:
    choices = complete.section_choices()
    assert {"fan/00", "fan/id_06", "ToyConveyor/id_03", "3DPrinter/00", "ToyCarEmu", "ToyTrain/05"} <= set(choices)
    assert one_value_each(["--section", "fan/id_00", "ToyCar/id_01", "paper"])[-3:] == [
        *("--section", "ToyCar/id_01", "paper"),
    ]
