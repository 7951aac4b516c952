"""The synthetic release of two channels: a machine near one microphone, and the hall that both hear."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import scipy.signal
import soundfile as sf

from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import archive_names, parse_name
from mimiidg_build.synthesis import hall
from mimiidg_build.synthesis.archive import content
from mimiidg_build.synthesis.contents import ClipEntry, entries
from mimiidg_build.synthesis.dsp import N_SAMPLES, SAMPLE_RATE
from mimiidg_build.synthesis.machines import synthesize_clip

SPEC = parse_name("synthetic-2ch-1pct-seed0")
SILENCE = np.zeros(N_SAMPLES, np.float32)
GEARBOX = ("gearbox", "00", "source", {"volt": "1.0"})


@cache
def noise_of(number: int) -> np.ndarray:
    """The hall alone, by both microphones [shape=(2, n_samples)]."""
    return hall.near_and_far(SILENCE, *GEARBOX, (0, f"clip {number}"))


def db(power: object) -> np.ndarray:
    return np.asarray(10 * np.log10(power))


def test_a_name_means_two_channels_in_noise() -> None:
    dataset = load_dataset(SPEC.name)
    assert (SPEC.name, dataset.name) == ("synthetic-2ch-1pct-seed0",) * 2
    assert (dataset.audio.channels, dataset.recording, dataset.layout) == (2, "mixed", "dcase2022")
    assert archive_names(SPEC)[:5] == [f"dev_{name}.zip" for name in ("bearing", "fan", "gearbox", "slider", "valve")]


def test_the_near_channel_is_the_machine_and_its_hall_as_its_name_says() -> None:
    """Bit by bit: what the archive holds follows from the seed and the clip's name."""
    entry = next(one for one in entries(SPEC, "dev_gearbox.zip") if isinstance(one, ClipEntry))
    samples, _ = sf.read(io.BytesIO(content(SPEC, entry)), dtype="int16")
    attributes = dict(entry.attributes)
    words = entry.machine_type, entry.section, entry.condition, attributes, SPEC.seed, entry.name
    machine = synthesize_clip(*words)
    place = entry.machine_type, entry.section, entry.domain, attributes
    made = hall.near_and_far(machine, *place, (SPEC.seed, entry.name))
    np.testing.assert_array_equal(samples.T, np.clip(np.rint(made * 32768), -32768, 32767))
    np.testing.assert_allclose(
        made[0] - hall.near_and_far(SILENCE, *place, (SPEC.seed, entry.name))[0], machine, atol=1e-6
    )
    assert not np.array_equal(made, hall.near_and_far(machine, *place, (1, entry.name)))
    assert not np.array_equal(made, hall.near_and_far(machine, *place, (SPEC.seed, entry.name + "0")))


@pytest.mark.parametrize("machine_type", ["fan", "valve"])
def test_the_far_microphone_hears_the_machine_10_to_15_db_more_quietly(machine_type: str) -> None:
    attributes = {"m-n": "W"} if machine_type == "fan" else {"pat": "00"}
    machine = synthesize_clip(machine_type, "00", "normal", attributes, 0, "clip")
    place = machine_type, "00", "source", attributes, (0, "clip")
    near, far = hall.near_and_far(machine, *place) - hall.near_and_far(SILENCE, *place)
    # a room is louder at some frequencies than at others
    assert -17 < db(np.mean(far**2) / np.mean(near**2)) < -8
    delay = int(np.argmax(scipy.signal.correlate(far, near, method="fft"))) - (N_SAMPLES - 1)
    assert 3.0 / 343 < delay / SAMPLE_RATE < 6.1 / 343, "m over m/s"


def test_both_hear_the_hall_alike_in_level_and_not_in_phase() -> None:
    powers = np.array([np.mean(noise_of(number) ** 2, axis=1) for number in range(8)])
    assert abs(db(powers.mean(axis=0)) - hall.HALL_DB).max() < 3
    differences = db(powers[:, 0] / powers[:, 1])
    assert abs(differences.mean()) < 2 and differences.std() < 3
    assert db(powers[:, 0]).std() > 2, "clips differ in noise"
    # half seconds go up and down together
    blocks = db(np.mean(np.array([noise_of(n) for n in range(8)]).reshape(8, 2, 20, -1) ** 2, axis=-1))
    blocks -= blocks.mean(axis=-1, keepdims=True)
    assert blocks.std() > 1, "not stationary"
    assert np.corrcoef(blocks[:, 0].ravel(), blocks[:, 1].ravel())[0, 1] > 0.7
    hz, coherence = scipy.signal.coherence(*noise_of(0), fs=SAMPLE_RATE, nperseg=1024)
    assert np.mean(coherence[hz > 500]) < 0.5


def test_the_hall_does_not_know_the_machine() -> None:
    """How loud it is depends on neither the machine's sound nor whether it is damaged."""
    loud = 0.1 * np.random.default_rng(0).standard_normal(N_SAMPLES).astype(np.float32)
    with_machine = hall.near_and_far(loud, *GEARBOX, (0, "clip 0"))
    np.testing.assert_allclose(with_machine[0] - loud, noise_of(0)[0], atol=1e-6)


def test_noise_is_what_table_1_and_the_attributes_say() -> None:
    """A pump beside the factory where the attribute names one, and a level where it names that."""
    rng = np.random.default_rng(0)
    kinds, _ = hall._noise_of("fan", "00", "target", {"m-n": "Y"}, rng)
    assert kinds[0] in ("A", "B") and kinds[1] == "Y"
    assert hall._noise_of("fan", "01", "target", {"f-n": "C"}, rng) == (["C", "C"], 0.0)
    louder = [hall._noise_of("fan", "02", "source", {"n-lv": level}, rng)[1] for level in ("L1", "L2", "L3", "L4")]
    assert louder == [-9.0, 3.0, -3.0, 9.0]
