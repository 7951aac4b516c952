"""A user's recordings through every command, from an empty directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.cli import main
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.release import needed_archives
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.store.store import open_store
from tests.own_recordings import own_dataset, write_folder, write_manifest, write_sound

RECIPE = """
source = "the hall next door"
[[sections]]
machine_type = "press"
section = "00"
snr_db = 0.0
noise = [{ kinds = ["street", "fans"] }]
"""
VARIANT = """
name = "mixed"
dataset = "hall.toml"
mixing = "recipe.toml"
[noise]
street = "street.wav"
fans = "fans"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory: recordings and a manifest."""
    own_dataset(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> int:
    return main([*command.split(), "--quiet"])


def test_recordings_are_validated_built_verified_and_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate hall.toml") == 0
    assert "14 clips in 1 section: 0 errors, 1 warning" in capsys.readouterr().out
    assert run("build released --dataset hall.toml --name hall") == 0
    store = open_store(here / "mimiidg-data/variants/hall")
    assert (store.attributes.dataset, store.attributes.protocol, store.attributes.layout) == (
        "hall",
        "2020",
        "recordings",
    )
    clip = store.clips.iloc[0]
    recording = "_".join(clip["clip"].split("_")[4:6])  # train_normal_press_ok_day0_0000_p0000
    expected, _ = sf.read(here / f"recordings/press/ok/{recording}.wav", dtype="int16")
    assert np.array_equal(store.audio("press", "00")[0], expected[:16_000])
    for command in ("verify hall --deep", "verify hall.toml", "list", "prune", "fetch hall.toml --offline"):
        assert run(command) == 0, command
    assert run("build hall") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_noise_is_mixed_in_by_a_recipe_with_a_rule_for_all_sections(here: Path) -> None:
    write_sound(here / "street.wav", 3.0, seed=200)
    write_sound(here / "fans/a.wav", 3.0, seed=201)
    (here / "recipe.toml").write_text(RECIPE)
    (here / "mixed.toml").write_text(VARIANT)
    assert run("build mixed.toml") == 0
    store = open_store(here / "mimiidg-data/variants/mixed")
    measured = store.clips["measured_added_noise_snr_db"]
    assert len(measured) == 14 and np.abs(measured).max() < 0.05
    assert set(store.mix_plan["noise_1_kind"]) == {"street", "fans"}
    assert run("verify mixed --deep") == 0


def test_a_build_does_not_pass_over_recordings_that_changed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("build released --dataset hall.toml --name hall") == 0
    write_sound(here / "recordings/press/ok/day7_0007.wav", 2.0)
    capsys.readouterr()
    assert run("build released --dataset hall.toml --name hall") == 1
    assert "day7_0007.wav is new" in capsys.readouterr().err
    assert run("validate hall.toml") == 0
    assert "changed_recordings" in capsys.readouterr().out
    assert run("verify hall --deep") == 0, "the store is what its archives give"
    assert run("build released --dataset hall.toml --name hall --allow changed_recordings") == 0
    assert run("fetch hall.toml --again") == 0
    assert run("build released --dataset hall.toml --name hall") == 0
    assert len(open_store(here / "mimiidg-data/variants/hall").clips) == 16


def test_recordings_that_were_replaced_under_their_names_are_built_anew(here: Path) -> None:
    """In one process, which has the old archive open."""
    assert run("build released --dataset hall.toml --name hall") == 0
    path = here / "recordings/press/ok/day0_0000.wav"
    write_sound(path, 2.5, seed=77)
    assert run("fetch hall.toml --again") == 0 and run("build released --dataset hall.toml --name hall") == 0
    store = open_store(here / "mimiidg-data/variants/hall")
    row = int(store.clips.set_index("clip").loc["train_normal_press_ok_day0_0000_p0001", "row"])
    expected, _ = sf.read(path, dtype="int16")
    assert np.array_equal(store.audio("press", "00")[row], expected[16_000:32_000])


def test_errors_end_a_command_before_anything_is_built(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sound(here / "recordings/press/squeaks/day1_0001.wav")
    for command in ("validate hall.toml", "fetch hall.toml", "build released --dataset hall.toml"):
        assert run(command) == 1
        assert "'squeaks' stands for neither normal nor anomaly" in capsys.readouterr().err
    assert run("build paper --dataset hall.toml --noise A=x") == 2
    assert not (here / "mimiidg-data/variants").exists()


def test_a_section_without_normal_training_clips_cannot_be_built(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (here / "recordings/press/ok").iterdir():
        path.unlink()
    assert run("validate hall.toml --json") == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {f["kind"] for f in findings if f["severity"] == "error"} == {"no_training_clips"}
    assert run("build released --dataset hall.toml") == 1


def test_normal_recordings_alone_are_trained_on_with_a_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (here / "recordings/press/broken").iterdir():
        path.unlink()
    assert run("validate hall.toml") == 0
    assert "no_anomalies" in capsys.readouterr().out
    assert run("build released --dataset hall.toml --name hall") == 0


def test_again_is_for_own_recordings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch mimii_dg --again") == 2
    assert run("fetch hall.toml --again --offline") == 2
    assert "--again cuts own recordings anew" in capsys.readouterr().err


def test_several_machine_types_are_cut_as_they_are_wanted(here: Path) -> None:
    write_folder(here / "recordings", ("saw",))
    assert run("build released --dataset hall.toml --section saw --name saw") == 0
    assert [path.name for path in (here / "mimiidg-data/archives/hall").glob("*.zip")] == ["saw.zip"]


def test_a_schedule_fetches_a_users_dataset_by_its_manifest(here: Path) -> None:
    variant = derive_variant(load_variant("released"), dataset="hall.toml", name="hall")
    assert needed_archives(variant) == {"hall.toml": ["press.zip"]}


@pytest.mark.parametrize("with_domains", [False, True])
def test_detectors_are_benchmarked_evaluated_and_reported(
    here: Path, capsys: pytest.CaptureFixture[str], with_domains: bool
) -> None:
    """By the protocol that fits: AUC and pAUC a section, or with both domains that of 2022."""
    if with_domains:
        write_manifest(here / "hall.toml", {"pattern": '"{machine_type}/{condition}/{domain}_{index}.wav"'})
        for number, domain in enumerate(("source", "target")):
            for path in [*(here / "recordings").rglob("day*.wav")]:
                index = f"{path.stem[3]}{path.stem[-1]}"
                write_sound(path.with_name(f"{domain}_{index}.wav"), 2.5, seed=1_000 * number + int(index))
        for path in (here / "recordings").rglob("day*.wav"):
            path.unlink()
    assert run("build released --dataset hall.toml --name hall") == 0
    assert run("benchmark hall --model nearest_neighbour --profile smoke") == 0
    said = capsys.readouterr().out
    assert "press/00" in said and "pAUC" in said and ("target" in said) == with_domains
    (scores,) = (here / "mimiidg-data/runs/hall").glob("*/nearest_neighbour-smoke-0")
    assert run(f"evaluate {scores} --json") == 0
    found = json.loads(capsys.readouterr().out)
    (section,) = found["sections"]
    assert (section["machine_type"], section["section"], found["complete"]) == ("press", "00", True)
    assert section["auc_all"] > 0 and (section.get("auc_source") is not None) == with_domains
    assert run("report hall") == 0
    assert (here / "mimiidg-data/reports/hall").is_dir()


def test_an_export_is_a_dataset_with_the_same_clips(here: Path) -> None:
    """As zip, with its manifest: fetched, validated and built, it gives the same samples and rows."""
    assert run("build released --dataset hall.toml --name hall") == 0
    assert run("export hall out --zip") == 0
    manifest = here / "out/dataset.toml"
    name = load_dataset(str(manifest)).name
    (here / "mimiidg-data/archives" / name).mkdir(parents=True)
    shutil.copy(here / "out/press.zip", here / "mimiidg-data/archives" / name)
    assert run(f"fetch {manifest} --offline") == 0 and run(f"validate {manifest}") == 0
    assert run(f"build released --dataset {manifest} --name again") == 0
    first, again = (open_store(here / "mimiidg-data/variants" / name) for name in ("hall", "again"))
    assert np.array_equal(first.audio("press", "00")[:], again.audio("press", "00")[:])
    columns = ["clip", "section", "split", "domain", "condition", "index", "attributes", "full_name", "member"]
    assert first.clips[columns].equals(again.clips[columns])
