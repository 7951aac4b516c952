"""What makes the synthetic release rank detectors as recordings do: how clips, sections and anomalies lie to another.

The acceptance itself trains detectors and takes hours: ``python -m tests.benchmarks.synthetic_ranking``. Its figures
stand in data_manifests/README.md. Here is what those rest on.
"""

from __future__ import annotations

import numpy as np
import pytest

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.datasets.synthetic_families import DEFAULT_FAMILY, FAMILIES
from mimiidg_build.features.spectrogram import logmel
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.synthesis import faults, machines, slider
from mimiidg_build.synthesis.body import modes, moved_body, response
from mimiidg_build.synthesis.dsp import stream
from mimiidg_build.synthesis.faults import SHARE_OF_BOUTS, SOUND, Fault, Severity, bouts, draw_fault, neighbours
from mimiidg_build.synthesis.machines import SEVERITY, synthesize_clip
from mimiidg_build.synthesis.microphone import machine_response

MACHINES = list(FAMILIES[DEFAULT_FAMILY].machines)
N_CLIPS = 12


def heard(samples: np.ndarray) -> np.ndarray:
    """Log-mel [shape=(n_frames, n_mels)], dB."""
    return logmel(np.rint(samples * 32767).astype(np.int16), 16000)


def normal_clips(machine_type: str, section: str) -> np.ndarray:
    """Mean log-mel of normal clips of one attribute value [shape=(N_CLIPS, n_mels)]."""
    row = load_recipe("table1").row(SectionId(machine_type, section))
    assert row is not None
    values = row.values("source")[0]
    clips = [synthesize_clip(machine_type, section, "normal", values, 0, f"likeness {i}") for i in range(N_CLIPS)]
    return np.array([heard(clip).mean(axis=0) for clip in clips])


@pytest.fixture(scope="module")
def spectra() -> dict[str, dict[str, np.ndarray]]:
    """By machine type and section."""
    return {machine: {section: normal_clips(machine, section) for section in ("00", "01")} for machine in MACHINES}


@pytest.mark.parametrize("machine_type", MACHINES)
def test_clips_of_one_value_differ_as_real_ones_do(
    spectra: dict[str, dict[str, np.ndarray]], machine_type: str
) -> None:
    spread = np.median(spectra[machine_type]["00"].std(axis=0, ddof=1))
    assert 2.8 < spread < 5.0, "real fan and valve clips: 3.2 to 3.8 dB a band"


@pytest.mark.parametrize("machine_type", MACHINES)
def test_sections_are_units_of_one_machine(spectra: dict[str, dict[str, np.ndarray]], machine_type: str) -> None:
    one, other = (spectra[machine_type][section] for section in ("00", "01"))
    within = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / 2)
    apart = np.abs(one.mean(axis=0) - other.mean(axis=0)) / within
    assert np.median(apart) < 1.5, "they lay 21 standard deviations apart once"


@pytest.mark.parametrize("machine_type", MACHINES)
def test_with_their_noise_no_section_is_louder_than_another(machine_type: str) -> None:
    """No fault changes how loud the noise is: a classifier that tells sections by it hears nothing of the machine."""
    loudness = []
    for section in ("00", "01", "02"):
        row = load_recipe("table1").row(SectionId(machine_type, section))
        assert row is not None
        values = row.values("source")
        clips = [
            synthesize_clip(machine_type, section, "normal", values[i % len(values)], 0, f"loud {i}") for i in range(10)
        ]
        clean = 10 * np.log10(np.mean(np.square(clips)))
        loudness.append(clean + machines.over_clean_db(row))
    assert max(loudness) - min(loudness) < 3.5, "they lay 9 dB apart once"


def test_a_session_sounds_alike_in_every_section() -> None:
    """The microphone is told the machine type and the clip's stream, and draws one of the sessions."""
    first, again = (machine_response(0, "fan", np.random.default_rng(3)) for _ in range(2))
    other = machine_response(0, "valve", np.random.default_rng(3))
    assert np.array_equal(first, again) and not np.allclose(first, other)


@pytest.mark.parametrize("machine_type", MACHINES)
def test_damage_moves_a_body_to_its_neighbours(machine_type: str) -> None:
    own, other = response(machine_type, "00"), response(machine_type, "01")
    assert not np.allclose(modes(machine_type, "00")[0], modes(machine_type, "01")[0])
    whole = moved_body(machine_type, "00", Fault("any", moved=1.0, neighbour="01"))
    half = moved_body(machine_type, "00", Fault("any", moved=0.5, neighbour="01"))
    assert np.allclose(whole, other, rtol=1e-4)
    assert np.array_equal(moved_body(machine_type, "00", SOUND), own)
    ways = [np.abs(np.abs(half) - np.abs(body)).mean() for body in (own, other)]
    assert max(ways) < np.abs(np.abs(own) - np.abs(other)).mean(), "half way lies between the two"


@pytest.mark.parametrize("machine_type", MACHINES)
def test_anomalies_move_towards_a_neighbour(machine_type: str) -> None:
    """What is moved and adds nothing is nearer to the other unit than a sound machine is, all else being equal."""
    values = next(s for s in load_recipe("table1").sections if s.machine_type == machine_type).values("source")[0]

    def colour(section: str, fault: Fault) -> np.ndarray:
        clips = [
            np.abs(machines._machine(machine_type, section, values, fault, np.random.default_rng(seed)))
            for seed in range(4)
        ]
        bands = np.mean(np.square(clips), axis=0)[1:].reshape(500, 160).mean(axis=1)
        return np.asarray(10 * np.log10(bands))

    kind = machines.MODELS[machine_type].ANOMALIES[0]
    moved = colour("00", Fault(kind, added=0.0, moved=0.7, neighbour="01"))
    sound, other = colour("00", SOUND), colour("01", SOUND)
    assert np.abs(moved - other).mean() < 0.85 * np.abs(sound - other).mean()


def test_a_worn_belt_moves_how_a_slider_goes_to_and_fro() -> None:
    own, other = slider.unit("00"), slider.unit("01")
    assert slider.moved_unit("00", SOUND) is own
    half = slider.moved_unit("00", Fault("loose belt", moved=0.5, neighbour="01"))
    for figure in ("travel_m", "pitch_m", "pause_s"):
        low, high = sorted(getattr(unit, figure) for unit in (own, other))
        assert low < getattr(half, figure) < high, figure


def test_a_transient_fault_escapes_the_average_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same damage, what comes and goes is heard in few frames: the mean hardly moves, the frames do."""
    values = {"m-n": "W"}

    def difference(comes_and_goes: bool | None) -> np.ndarray:
        fault = Fault("wing damage", 2.0, 0.5, "01", bool(comes_and_goes)) if comes_and_goes is not None else SOUND
        monkeypatch.setattr(machines, "draw_fault", lambda *_: fault)
        return heard(synthesize_clip("fan", "00", "anomaly", values, 0, "one clip"))

    sound, always, sometimes = (difference(kind) for kind in (None, False, True))
    in_the_mean = [np.abs((clip - sound).mean(axis=0)).mean() for clip in (always, sometimes)]
    assert in_the_mean[1] < 0.5 * in_the_mean[0]
    by_frame = np.abs(sometimes - sound).mean(axis=1)
    assert np.percentile(by_frame, 98) > 3 * np.median(by_frame) or np.percentile(by_frame, 98) > 3


def test_bouts_are_short() -> None:
    present = np.array([bouts(np.random.default_rng(seed)).mean() for seed in range(50)])
    assert present.min() > 0 and present.max() < 0.16, "of ten seconds"


def test_faults_are_drawn_as_bad_as_the_section_says() -> None:
    drawn = [draw_fault(Severity(0.5, 0.2), "01", ("a", "b"), stream("fault", i)) for i in range(600)]
    lasting = [fault for fault in drawn if not fault.comes_and_goes]
    assert {fault.kind for fault in drawn} == {"a", "b"} and {fault.neighbour for fault in drawn} == {"00", "02"}
    assert np.mean([fault.added for fault in lasting]) == pytest.approx(0.5, rel=0.08)
    assert np.mean([fault.moved for fault in lasting]) == pytest.approx(0.2, rel=0.08)
    assert len(lasting) / len(drawn) == pytest.approx(1 - SHARE_OF_BOUTS, abs=0.05)
    assert max(draw_fault(Severity(0.5, 9.0), "01", ("a",), stream(i)).moved for i in range(20)) == 1.0


def test_a_neighbour_is_of_the_same_half_of_the_release() -> None:
    assert [neighbours(section) for section in ("00", "04")] == [["01", "02"], ["03", "05"]]
    assert Fault("a", 1.0, 0.25, "01").towards(2.0, 4.0) == 2.5
    assert Fault("a", 1.0).of("a") == 0.75 and Fault("a", 1.0).of("b") == 0.0
    assert Fault("a", 1e6).of("a") <= faults.MOST


def test_every_machine_type_has_a_severity_for_each_section() -> None:
    assert set(SEVERITY) == set(machines.MODELS)
    assert all(len(sections) == 3 for sections in SEVERITY.values())
    assert faults.WORSE_IN_BOUTS > 1
