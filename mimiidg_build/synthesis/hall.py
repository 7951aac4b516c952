"""A machine in the noise of its hall, as two microphones hear it: one near the machine, one far from it.

What DCASE 2026 records. The near microphone hears the machine as ever (:mod:`.machines`), and the hall. The far one
hears the same hall from its own place, and the machine 10 to 15 dB more quietly, later, through the room. The hall's
noise comes from two places in it, each with a recording of its own that swells and fades and reaches both microphones
by paths of its own: a short direct sound and a reverberation longer than a frame of any spectrogram. So levels go up
and down together in both channels while phases, and what a single frame holds, do not agree, as metres apart in a
room. Each microphone adds the hiss of its own amplifier.

Which factories, or pumps, a clip hears follows Table 1 (by domain, or as the clip's attribute says); how loud the hall
is does not depend on the machine, so that a loud machine has the better SNR.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.synthesis.dsp import (
    N_SAMPLES,
    SAMPLE_RATE,
    between,
    level,
    stream,
    to_signal,
    to_spectrum,
    white,
)
from mimiidg_build.synthesis.factory import HABITS, factory_noise, pump_noise
from mimiidg_build.synthesis.microphone import heard_anew

HALL_DB = -29.0  # mean square at the near microphone: SNRs of -2 to -16 dB by section, about those of Table 1
CLIP_DB, PLACE_DB, SWELL_DB = 3.0, 2.0, 2.5  # standard deviations: of a clip, of a place in it, within the clip
SWELLS = 20  # straight pieces of a clip's level: it turns every half second
N_RECORDINGS = 12  # of each factory and pump, that clips are drawn from
AWAY_DB = (10.0, 15.0)  # how much more quietly the far microphone hears the machine
DISTANCE_M, SPEED_OF_SOUND = (3.0, 6.0), 343.0  # m, m/s
OF_TWO_DB = 3.0  # that two equal, independent sounds are louder together than one
REVERBERATION_S = 0.5  # until 60 dB below
HISS_DB = -78.0
NEAR, FAR = "near", "far"
# dB by which each of the two places is louder at a microphone than at the other
NEARER_DB = ({NEAR: 1.0, FAR: -1.0}, {NEAR: -1.5, FAR: 1.5})


def near_and_far(
    machine: np.ndarray,
    machine_type: str,
    section: str,
    domain: str,
    attributes: Mapping[str, str],
    key: tuple[int, str],
) -> np.ndarray:
    """A machine's recording in its hall, near and far.

    Parameters
    ----------
    machine : np.ndarray [shape=(n_samples,)], float32
        What the near microphone hears of the machine.
    machine_type, section : str
        Of the physics.
    domain : str
    attributes : mapping of str to str
        The clip's; they may name what is heard beside the machine.
    key : tuple of int and str
        What the clip's randomness depends on: the release's seed and the clip's name.

    Returns
    -------
    np.ndarray [shape=(2, n_samples)], float32
    """
    seed, name = key
    rng = stream(seed, "hall", name)
    kinds, louder_db = _noise_of(machine_type, section, domain, attributes, rng)
    loudness_db = HALL_DB + louder_db + rng.normal(0, CLIP_DB)
    spectra: dict[str, np.ndarray] = dict.fromkeys((NEAR, FAR), np.zeros(1, np.complex64))
    for place, kind in enumerate(kinds):
        noise = _recording(seed, kind, int(rng.integers(N_RECORDINGS)))
        swell_db = np.convolve(rng.normal(0, SWELL_DB, SWELLS + 1), [0.5, 0.7, 0.5], "same")
        loud_db = loudness_db - OF_TWO_DB + rng.normal(0, PLACE_DB)
        spectrum = to_spectrum(noise * between(10 ** ((swell_db + loud_db) / 20)))
        for microphone in spectra:
            gain = np.float32(level(NEARER_DB[place][microphone]))
            spectra[microphone] = spectra[microphone] + spectrum * (gain * _path(kind, place, microphone))
    heard = machine_far_away(machine_type, section) * to_spectrum(machine)
    channels = [
        machine + to_signal(spectra[NEAR] * heard_anew(rng) + np.float32(level(HISS_DB)) * white(rng)),
        to_signal(heard + spectra[FAR] * heard_anew(rng) + np.float32(level(HISS_DB)) * white(rng)),
    ]
    return np.stack(channels).astype(np.float32)


def _noise_of(
    machine_type: str, section: str, domain: str, attributes: Mapping[str, str], rng: np.random.Generator
) -> tuple[list[str], float]:
    """The kinds of noise at the two places, and by how much an attribute makes the hall louder than usual, dB."""
    row = load_recipe("table1").row(SectionId(machine_type, section))
    assert row is not None
    kinds = []
    for layer in row.noise:
        possible = [attributes[layer.attribute]] if layer.attribute else layer.drawn_for(domain)
        kinds.append(possible[rng.integers(len(possible))])
    louder_db = 0.0
    if row.snr_attribute:
        of_values = row.snr_db_by_value
        louder_db = float(np.mean(list(of_values.values()))) - of_values[attributes[row.snr_attribute]]
    return (kinds * 2)[:2], louder_db


@lru_cache(maxsize=128)
def _recording(seed: int, kind: str, index: int) -> np.ndarray:
    """Noise of a factory or pump, of mean square 1: one of a few, as making it takes longer than all else."""
    make = factory_noise if kind in HABITS else pump_noise
    sound = make(kind, stream(seed, "hall", kind, index))
    return np.asarray(sound / np.sqrt(np.mean(np.square(sound))), np.float32)


@lru_cache(maxsize=64)
def _path(kind: str, place: int, microphone: str) -> np.ndarray:
    """From a place in a hall to a microphone: mostly reverberation."""
    return room(stream("hall", kind, place, microphone), direct=0.4, delay_s=0.0)


@lru_cache(maxsize=64)
def machine_far_away(machine_type: str, section: str) -> np.ndarray:
    """From a machine to the far microphone, as against the near one: later, quieter, and through the room."""
    rng = stream("hall", machine_type, section)
    gain = np.float32(level(-rng.uniform(*AWAY_DB)))
    return gain * room(rng, direct=0.7, delay_s=rng.uniform(*DISTANCE_M) / SPEED_OF_SOUND)


def room(rng: np.random.Generator, direct: float, delay_s: float) -> np.ndarray:
    """Response of a room: direct sound, and a tail of noise that decays; of mean power 1.

    Parameters
    ----------
    rng : np.random.Generator
    direct : float
        Share of the power that arrives without a reflection.
    delay_s : float
        When the direct sound arrives.

    Returns
    -------
    np.ndarray [shape=(n_frequencies,)], complex64
    """
    start = round(delay_s * SAMPLE_RATE)
    time_s = np.arange(round(REVERBERATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / REVERBERATION_S)
    impulse = np.zeros(N_SAMPLES, np.float32)
    impulse[start : start + len(tail)] = np.sqrt((1 - direct) / np.sum(tail**2)) * tail
    impulse[start] += np.sqrt(direct)
    return to_spectrum(impulse)
