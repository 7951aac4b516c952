"""The synthetic release: its archives hold what its name says, to the byte, and every machine sounds like one."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from mimiidg_build.datasets import synthetic
from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.layouts.dcase2022 import is_attribute_table, read_clips
from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.datasets.synthetic import SyntheticSpec, clip_counts, parse_name
from mimiidg_build.datasets.synthetic_families import DEFAULT_FAMILY, FAMILIES
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.synthesis import contents, factory, machines
from mimiidg_build.synthesis.archive import encode_wav, write_archive, write_release
from mimiidg_build.synthesis.factory import synthesize_noise
from mimiidg_build.synthesis.faults import Fault
from mimiidg_build.synthesis.machines import synthesize_clip
from mimiidg_build.synthesis.slider import moves
from mimiidg_build.synthesis.valve import openness, switches
from tests.conftest import RECORD

Values = dict[str, str]

SMALLEST = SyntheticSpec(percent=1, seed=0, evaluation=True)
SECTIONS = load_recipe("table1").sections
FULL_NAME = re.compile(
    r"section_0[0-5]_(source|target)_(train|test)_(normal|anomaly)_[0-9]{4}"
    r"(_(vel|loc|f-n|m-n|n-lv|volt|wt|id|ac|pat|panel|v1pat|v2pat)_[A-Za-z0-9.-]+){1,2}"
)


def md5_sums(paths: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


def clip(
    machine_type: str, section: str, condition: str = "normal", name: str = "some clip", **values: str
) -> np.ndarray:
    """A clip whose attributes are the section's first source values, but for those given."""
    table1 = load_recipe("table1").row(SectionId(machine_type, section))
    assert table1 is not None
    attributes = table1.values("source")[0] | values
    return synthesize_clip(machine_type, section, condition, attributes, 0, name)


def bands(samples: np.ndarray) -> np.ndarray:
    """Mean power spectrum in 64 bands of 125 Hz, dB."""
    _, power = signal.welch(samples, 16000, nperseg=1024, noverlap=0)
    return np.asarray(10 * np.log10(power[1:].reshape(64, 8).mean(axis=1)))


def normals(machine_type: str, section: str, count: int, **values: str) -> np.ndarray:
    return np.array([bands(clip(machine_type, section, name=f"normal {i}", **values)) for i in range(count)])


def colours(spectra: np.ndarray) -> np.ndarray:
    """Spectra without their level, which varies from clip to clip."""
    return np.asarray(spectra - spectra.mean(axis=1, keepdims=True))


def strongest_hz(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    frequency, power = signal.periodogram(samples, 16000)
    inside = (frequency > low_hz) & (frequency < high_hz)
    return float(frequency[inside][power[inside].argmax()])


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, synthetic_archives: Path) -> tuple[list[Path], int]:
    """The smallest release with everything in it, and how many clips it said it made.

    All but its evaluation sections is there already, of the release that all tests share: it was written by two
    processes, too.
    """
    directory, made = tmp_path_factory.mktemp("release"), list[int]()
    for path in (synthetic_archives / "archives" / RECORD).glob("*.zip"):
        os.link(path, directory / path.name)
    paths = write_release(SMALLEST, directory, workers=2, on_progress=made.append)
    return paths, sum(made)


@pytest.mark.parametrize(
    ("name", "spec", "why"),
    [
        ("synthetic", SyntheticSpec(5, 0, False), "every part has a default"),
        ("synthetic-5pct-seed0", SyntheticSpec(5, 0, False), "the canonical name says the defaults"),
        ("synthetic-2.5pct", SyntheticSpec(2.5, 0, False), "a percent may have decimals"),
        ("synthetic-100pct-seed12", SyntheticSpec(100, 12, False), "full size"),
        ("synthetic-seed7-eval", SyntheticSpec(5, 7, True), "size left out"),
        ("synthetic-eval", SyntheticSpec(5, 0, True), "size and seed left out"),
        ("synthetic-5pct-gen2", SyntheticSpec(5, 0, False), "the generation may be said"),
    ],
)
def test_names_that_parse(name: str, spec: SyntheticSpec, why: str) -> None:
    assert parse_name(name) == spec, why


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("synthetic-0.5pct", "from 1 to 100, found 0.5"),
        ("synthetic-101pct", "from 1 to 100, found 101"),
        ("synthetic-5", "not a synthetic release: expected synthetic"),
        ("synthetic-5pct-", "not a synthetic release"),
        ("synthetic-eval-seed1", "not a synthetic release"),
        ("synthetic-5pct-seed-1", "not a synthetic release"),
        ("mimii_dg", "'mimii_dg' is not a synthetic release"),
        ("synthetic-5pct-gen1", "is of generation 1 of the synthetic release; this version makes generation 2"),
    ],
)
def test_names_that_do_not(name: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_name(name)


@pytest.mark.parametrize(
    ("percent", "seed", "match"), [(float("nan"), 0, "percent"), (5, -1, "seed must be 0 or more")]
)
def test_specs_out_of_range(percent: float, seed: int, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        SyntheticSpec(percent, seed)


@given(st.floats(1, 100), st.integers(0, 10**12), st.booleans())
def test_every_spec_comes_back_from_its_name(percent: float, seed: int, evaluation: bool) -> None:
    spec = SyntheticSpec(percent, seed, evaluation)
    assert parse_name(spec.name) == parse_name(spec.record_id) == spec
    assert synthetic.is_synthetic(spec.name)


def test_the_front_door_imports_no_numerics() -> None:
    code = "import sys, mimiidg_build.synthesis; print(sorted({'numpy', 'scipy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("percent", "counts", "why"),
    [
        (1, (7, 1, 1, 1, 1, 1), "12 clips: a test clip per cell, a target training clip"),
        (5, (39, 1, 5, 5, 5, 5), "60 clips: five test clips per cell rather than a proportional two or three"),
        (100, (990, 10, 50, 50, 50, 50), "Table 2 of the paper"),
    ],
)
def test_counts(percent: float, counts: tuple[int, ...], why: str) -> None:
    assert tuple(clip_counts(percent).values()) == counts, why
    assert list(clip_counts(percent)) == list(load_dataset("mimii_dg").counts)


def test_full_size_has_the_published_counts() -> None:
    assert clip_counts(100) == load_dataset("mimii_dg").counts


@given(st.floats(1, 100))
def test_counts_add_up_and_none_is_empty(percent: float) -> None:
    counts = clip_counts(percent)
    assert sum(counts.values()) == round(12 * percent)
    assert min(counts.values()) >= 1


@pytest.mark.parametrize("percent", [5, 100])
@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.id)
def test_every_attribute_value_occurs_evenly(section: Section, percent: float) -> None:
    drawn = contents.draw_values(SyntheticSpec(percent), section)
    for domain in ("source", "target"):
        expected = [str(values) for values in section.values(domain)]
        cells = {cell: Counter(map(str, hand)) for cell, hand in drawn.items() if cell.startswith(domain)}
        total = sum(cells.values(), Counter())
        assert set(total) == set(expected)
        for cell, found in cells.items():
            narrowed = (
                cell == "target_train_normal"
                and (section.machine_type, section.section) in contents.INTERIOR_TARGET_TRAIN
            )
            values = [str(v) for v in contents.interior(section)] if narrowed else expected
            each = [found[value] for value in values]
            assert sum(each) == found.total(), f"{cell} holds values that it must not"
            assert max(each) - min(each) <= 1


@pytest.mark.parametrize(
    ("machine_type", "values"),
    [
        ("gearbox", {"1.3", "1.8", "2.3", "2.8"}),
        ("bearing", {"8", "12", "16", "20"}),
        ("slider", {"400", "600", "800", "1000"}),
    ],
)
def test_target_training_clips_cover_interior_values_only(machine_type: str, values: set[str]) -> None:
    section = load_recipe("table1").row(SectionId(machine_type, "00"))
    assert section is not None
    hand = contents.draw_values(SyntheticSpec(100), section)["target_train_normal"]
    assert {value[section.parameter] for value in hand} == values


def test_release_holds_what_was_planned(release: tuple[list[Path], int]) -> None:
    paths, made = release
    assert [path.name for path in paths] == synthetic.archive_names(SMALLEST)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)
    n_clips = 0
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == [entry.member for entry in contents.entries(SMALLEST, path.name)]
            for info in archive.infolist():
                assert (info.date_time, info.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_DEFLATED)
                if info.filename.endswith(".wav"):
                    n_clips += 1
                    assert info.file_size == 320_044
    assert n_clips == made == 30 * 12 + 8 * 6


def test_release_reads_as_a_valid_dataset(release: tuple[list[Path], int]) -> None:
    members: dict[str, dict[str, int]] = {}
    tables: dict[tuple[str, str], bytes] = {}
    for path in release[0]:
        if path.name == "noise.zip":
            continue
        with zipfile.ZipFile(path) as archive:
            members[path.name] = {info.filename: info.file_size for info in archive.infolist()}
            tables |= {(path.name, m): archive.read(m) for m in archive.namelist() if is_attribute_table(m)}
    counts = clip_counts(SMALLEST.percent)
    clips, findings = build_clip_table(
        read_clips(load_dataset("mimii_dg"), members, tables, Truth()), load_recipe("table1"), counts
    )
    assert findings[findings["severity"] == "error"].empty, findings["message"].tolist()
    # What is left is what the release itself differs in from the paper, and ten target training clips being few.
    assert set(findings["kind"]) == {"train_values", "not_in_paper", "paper_only"}
    assert len(clips) == 30 * 12
    cells = clips.groupby(["machine_type", "section", "domain", "split", "condition"]).size()
    assert set(cells.groupby(["domain", "split", "condition"]).unique().map(tuple).items()) == {
        (tuple(cell.split("_")), (count,)) for cell, count in counts.items()
    }


def test_attribute_tables_and_names(release: tuple[list[Path], int]) -> None:
    directory = release[0][0].parent
    with zipfile.ZipFile(directory / "valve.zip") as archive:
        rows = list(csv.reader(io.StringIO(archive.read("valve/attributes_02.csv").decode()), strict=True))
        assert rows[0] == ["file_name", "d1p", "d1v", "d2p", "d2v"]
        assert {len(row) for row in rows} == {5}
        assert {row[0] for row in rows[1:]} == {m for m in archive.namelist() if "section_02" in m}
        assert any(row[3:] == ["", ""] for row in rows) and any(row[3:] == ["v2pat", "05"] for row in rows)
    with zipfile.ZipFile(directory / "fan_eval.zip") as archive:
        rows = list(csv.reader(io.StringIO(archive.read("fan/attributes_03.csv").decode()), strict=True))
        assert rows[0] == ["file_name", "d1p", "d1v", "file_name_with_full_attributes"]
        assert [row[0] for row in rows[1:]] == [f"fan/test/section_03_{i:04d}.wav" for i in range(4)]
        for file_name, key, value, full in rows[1:]:
            stem = Path(full).stem
            assert FULL_NAME.fullmatch(stem) and stem.endswith(f"{key}_{value}")
            assert stem.split("_")[5] == Path(file_name).stem.split("_")[-1], "both names carry the same index"


@pytest.mark.parametrize("machine_type", list(FAMILIES[DEFAULT_FAMILY].machines))
def test_clip_names_follow_the_grammar(machine_type: str) -> None:
    for name in (f"{machine_type}.zip", f"{machine_type}_eval.zip"):
        clips = [e for e in contents.entries(SyntheticSpec(10, 0, True), name) if isinstance(e, contents.ClipEntry)]
        assert len({c.member for c in clips}) == len(clips) == 3 * 120
        for each in clips:
            assert FULL_NAME.fullmatch(each.name), each.name
            hidden = name.endswith("_eval.zip") and each.split == "test"
            assert Path(each.member).stem == (
                "_".join([*each.name.split("_")[:2], each.name.split("_")[5]]) if hidden else each.name
            )
            assert not hidden or re.fullmatch(rf"{machine_type}/test/section_0[345]_[0-9]{{4}}\.wav", each.member)


def test_bytes_depend_on_neither_process_nor_order(release: tuple[list[Path], int], tmp_path: Path) -> None:
    expected = md5_sums(release[0])
    for name in ("valve_eval.zip", "noise.zip"):
        path = write_archive(SMALLEST, name, tmp_path)
        assert md5_sums([path])[name] == expected[name]


def test_finished_archives_are_kept_and_counted(release: tuple[list[Path], int], tmp_path: Path) -> None:
    spec = SyntheticSpec(1, 0)
    for path in release[0][1:6]:
        (tmp_path / path.name).write_bytes(b"finished")
    made: list[int] = []
    paths = write_release(spec, tmp_path, workers=1, on_progress=made.append)
    assert sum(made) == 5 * 36 + 48
    assert [path.read_bytes() == b"finished" for path in paths] == [False, True, True, True, True, True]
    assert paths[0].read_bytes() == release[0][0].read_bytes(), "the evaluation sections change nothing in the others"


def test_a_broken_run_leaves_no_archive(tmp_path: Path) -> None:
    def stop(n_clips: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(SMALLEST, "fan.zip", tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def test_unknown_archive(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no archive 'pump\.zip', only bearing\.zip"):
        write_archive(SMALLEST, "pump.zip", tmp_path)
    with pytest.raises(UsageError, match=r"has no archive 'fan_eval\.zip'"):
        write_archive(SyntheticSpec(1), "fan_eval.zip", tmp_path)


@pytest.mark.parametrize(
    ("section", "seed", "name", "why"),
    [("00", 1, "a", "another seed"), ("00", 0, "b", "another clip"), ("01", 0, "a", "another section")],
)
def test_a_clip_depends_on_its_key(section: str, seed: int, name: str, why: str) -> None:
    first = synthesize_clip("fan", "00", "normal", {}, 0, "a")
    other = synthesize_clip("fan", section, "normal", {}, seed, name)
    assert np.array_equal(first, synthesize_clip("fan", "00", "normal", {}, 0, "a")), "whatever was drawn in between"
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.5, why


def test_unknown_machines_and_kinds() -> None:
    with pytest.raises(UsageError, match="expected one of bearing, fan"):
        synthesize_clip("pump", "00", "normal", {}, 0, "a")
    with pytest.raises(UsageError, match="normal or anomaly"):
        synthesize_clip("fan", "00", "broken", {}, 0, "a")
    with pytest.raises(UsageError, match="unknown noise kind 'E': expected one of A, B"):
        synthesize_noise("E", 0, 0)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.id)
def test_level_and_shape(section: Section) -> None:
    for condition, values in zip(
        ("normal", "anomaly"), (section.values("source")[0], section.values("target")[-1]), strict=True
    ):
        samples = synthesize_clip(section.machine_type, section.section, condition, values, 0, "level")
        assert samples.shape == (160_000,) and samples.dtype == np.float32
        assert 0.004 < np.sqrt(np.mean(samples.astype(float) ** 2)) < 0.12
        assert 0.01 < np.abs(samples).max() < 0.8


def test_machine_types_differ_more_than_their_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "machine_response", lambda *_: np.float32(1))  # whatever the microphone makes of them
    spectra = {machine: normals(machine, "00", 3) for machine in list(FAMILIES[DEFAULT_FAMILY].machines)}
    centred = {machine: colours(each) for machine, each in spectra.items()}
    spread = max(np.abs(each - each.mean(axis=0)).mean() for each in centred.values())
    means = [each.mean(axis=0) for each in centred.values()]
    apart = min(np.abs(a - b).mean() for i, a in enumerate(means) for b in means[:i])
    assert apart > 3 * spread


@pytest.mark.parametrize("machine_type", list(FAMILIES[DEFAULT_FAMILY].machines))
def test_every_kind_of_anomaly_is_heard(machine_type: str) -> None:
    model = machines.MODELS[machine_type]
    values = next(s for s in SECTIONS if s.machine_type == machine_type).values("source")[0]

    def heard(kind: str) -> np.ndarray:
        # The same stream for both: what differs is the anomaly alone.
        return bands(model.synthesize("00", values, Fault(kind, added=1.3), np.random.default_rng(5)))

    spectra = {kind: heard(kind) for kind in ("", *model.ANOMALIES)}
    for kind in model.ANOMALIES:
        assert np.abs(spectra[kind] - spectra[""]).max() > 2, f"{kind} does not change the sound by 2 dB anywhere"
    assert len({spectrum.tobytes() for spectrum in spectra.values()}) == len(spectra)


@pytest.mark.parametrize(
    ("machine_type", "section", "one", "other"),
    [
        ("gearbox", "00", {"volt": "1.0"}, {"volt": "3.0"}),
        ("gearbox", "01", {"wt": "0"}, {"wt": "200"}),
        ("gearbox", "02", {"id": "05"}, {"id": "08"}),
        ("bearing", "00", {"vel": "6"}, {"vel": "22"}),
        ("bearing", "01", {"loc": "A"}, {"loc": "F"}),
        ("slider", "00", {"vel": "300"}, {"vel": "1100"}),
        ("slider", "01", {"ac": "0.03"}, {"ac": "0.11"}),
        ("valve", "01", {"panel": "open"}, {"panel": "b-c"}),
        ("valve", "02", {"v1pat": "04"}, {"v1pat": "04", "v2pat": "05"}),
    ],
)
def test_the_shift_parameter_drives_the_sound(machine_type: str, section: str, one: Values, other: Values) -> None:
    # clips of one name are heard through the same microphone
    here, there = (normals(machine_type, section, 3, **values) for values in (one, other))
    shifts = there - here
    assert np.abs(shifts.mean(axis=0)).mean() > 1.2 * np.abs(shifts - shifts.mean(axis=0)).mean()


@pytest.mark.parametrize(
    ("machine_type", "section", "values"),
    [
        ("fan", "00", {"m-n": "Y"}),
        ("fan", "01", {"f-n": "C"}),
        ("fan", "02", {"n-lv": "L4"}),
        ("bearing", "02", {"f-n": "C"}),
        ("slider", "02", {"f-n": "C"}),
    ],
)
def test_a_noise_parameter_leaves_the_clean_machine_alone(machine_type: str, section: str, values: Values) -> None:
    assert np.array_equal(clip(machine_type, section), clip(machine_type, section, **values))


@pytest.mark.parametrize("krpm", [6, 14, 22])
def test_bearing_turns_at_its_speed(krpm: int) -> None:
    assert strongest_hz(clip("bearing", "00", vel=str(krpm)), 20, 600) == pytest.approx(krpm * 1000 / 60, rel=0.02)


def test_slider_covers_its_rail_between_stops() -> None:
    speed, way, stroke = moves(travel_m=0.5, cruise=0.4, acceleration=2.0, pause_s=0.3, start_s=0.0)
    assert speed.max() == pytest.approx(0.4)
    assert way.max() == pytest.approx(0.5)
    whole = stroke == 1
    assert np.sum(speed[whole]) * 100 / 16000 == pytest.approx(0.5, rel=0.01), "speed adds up to the way"
    assert np.abs(np.diff(speed)).max() <= 2.0 * 100 / 16000 + 1e-9, "no ramp is steeper than the acceleration"


def test_valve_is_open_as_its_pattern_says() -> None:
    opens, closes = switches(np.random.default_rng(0), "03", sluggish=0.0)
    assert openness(opens, closes).mean() == pytest.approx(1.2 / 1.8, abs=0.06)
    assert np.diff(opens) / 16000 == pytest.approx(1.8, abs=0.02)


@pytest.mark.parametrize(("pattern", "period_s"), [("00", 1.0), ("01", 1.2), ("03", 1.8)])
def test_valve_clicks_in_its_pattern(pattern: str, period_s: float) -> None:
    frames = (clip("valve", "00", pat=pattern).astype(float) ** 2).reshape(1000, 160).mean(axis=1)
    level = np.sqrt(frames) - np.sqrt(frames).mean()
    lags = np.arange(40, 250)
    best = lags[np.argmax([np.sum(level[:-lag] * level[lag:]) for lag in lags])]
    assert best / 100 == pytest.approx(period_s, abs=0.03)


def test_noise_kinds(release: tuple[list[Path], int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(synthetic.NOISE_KINDS) == list("ABCDWXYZ")
    with zipfile.ZipFile(release[0][0].parent / "noise.zip") as archive:
        for kind, pattern in synthetic.NOISE_KINDS.items():
            assert sum(fnmatchcase(member, pattern) for member in archive.namelist()) == 6, kind
    monkeypatch.setattr(factory, "noise_heard", lambda sound, rng: sound)  # whatever the microphone makes of them
    spectra = {kind: np.array([bands(synthesize_noise(kind, i, 0)) for i in range(3)]) for kind in "ABCDWXYZ"}
    for kind, own in spectra.items():
        spread = np.abs(own - own.mean(axis=0)).mean()
        for other in spectra.keys() - {kind}:
            assert np.abs(own.mean(axis=0) - spectra[other].mean(axis=0)).mean() > spread, f"{kind} is like {other}"


def test_wav_is_written_as_16_bit_and_saturates() -> None:
    data = encode_wav(np.array([0.0, 0.5, -1.0, 1.0, -3.0, 3.0], np.float32))
    assert len(data) == 44 + 12
    assert np.frombuffer(data, "<i2", offset=44).tolist() == [0, 16384, -32768, 32767, -32768, 32767]
