"""Noise to mix in: four factories (A to D) and four pumps (W to Z), ten seconds a recording.

A factory is a floor of ventilation and distant machinery, motors that run or rest, impacts, and one habit of its own
(beeping fork-lifts, air blown off, a press). All share the floor, so that a detector that learned A and B meets in C
another place and not another world. A pump is an impeller's tones over flow noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimiidg_build.datasets.synthetic import NOISE_KINDS
from mimiidg_build.errors import UsageError
from mimiidg_build.synthesis.dsp import (
    N_SAMPLES,
    SAMPLE_RATE,
    between,
    drift,
    harmonic_count,
    harmonics,
    hump,
    knock,
    level,
    ringing,
    rotation,
    stream,
    strikes,
    tilt,
    to_signal,
    unit_power,
    white,
)
from mimiidg_build.synthesis.microphone import noise_heard


@dataclass(frozen=True)
class Factory:
    """One factory: spectra that its floor blends, motors' speeds in Hz, what is struck, and how often things happen."""

    floors: tuple[np.ndarray, ...]
    motors: tuple[float, ...]
    struck: np.ndarray
    blown: np.ndarray
    impacts_per_s: float
    beeps: bool
    blasts_per_s: float


HABITS = {"A": (1.2, False, 0.0), "B": (0.5, False, 0.15), "C": (1.4, True, 0.3), "D": (2.0, False, 0.1)}
PUMPS = {"W": (48.0, 6), "X": (29.0, 5), "Y": (37.0, 7), "Z": (57.0, 4)}  # shaft speed in Hz, blades of the impeller


@lru_cache(maxsize=4)
def factory(kind: str) -> Factory:
    """The factory of a kind."""
    rng = stream("factory", kind)
    bells = [(rng.uniform(150, 400), 0.7), (rng.uniform(500, 1300), 0.6), (rng.uniform(1800, 4500), 0.8)]
    floors = [unit_power(tilt(-4.5))] + [unit_power(hump(*bell) + 0.02 * tilt(-4)) for bell in bells]
    motors = tuple(rng.uniform(23, 65, 4).tolist())
    modes = [(rng.uniform(300, 3500), rng.uniform(0.02, 0.09), 0.3) for _ in range(5)]
    return Factory(tuple(floors), motors, knock(ringing(modes)), unit_power(hump(4500, 0.6)), *HABITS[kind])


def hum(rng: np.random.Generator, speed: float) -> np.ndarray:
    """A motor's tones, of mean square about 1."""
    order = np.arange(1, min(60, harmonic_count(speed)) + 1)
    tones = order**-0.9 * rng.lognormal(0, 0.5, len(order))
    tones *= np.sqrt(2 / np.sum(tones**2))
    return harmonics(rng, rotation(rng, speed * rng.normal(1, 0.003) * drift(rng, 0.001)), tones)


def beeps(rng: np.random.Generator) -> np.ndarray:
    """A fork-lift that backs: half a second on, half a second off, passing by."""
    clock = np.arange(N_SAMPLES) / SAMPLE_RATE
    on = (clock + rng.uniform(0, 1)) % 1.0 < 0.5
    near = np.exp(-0.5 * ((clock - rng.uniform(0, 10)) / 2) ** 2)
    return (np.sin(2 * np.pi * rng.uniform(1150, 1250) * clock) * on * near).astype(np.float32)


def factory_noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A recording of a factory."""
    site = factory(kind)
    weights = np.array([1.0, 0.45, 0.3, 0.22]) * rng.lognormal(0, 0.12, 4)
    floor = np.sum([w * shape for w, shape in zip(weights, site.floors, strict=True)], axis=0)
    sound: np.ndarray = to_signal(white(rng) * floor) * drift(rng, 0.08)
    for speed in site.motors:
        if rng.random() < 0.75:
            sound += level(rng.normal(-9, 2)) * hum(rng, speed)
    n_impacts = rng.poisson(10 * site.impacts_per_s)
    strengths = 1.6 * rng.lognormal(0, 0.6, n_impacts)
    sound += strikes(rng.uniform(0, N_SAMPLES, n_impacts), strengths, site.struck)
    if site.beeps and rng.random() < 0.8:
        sound += level(rng.normal(-6, 2)) * beeps(rng)
    n_blasts = rng.poisson(10 * site.blasts_per_s)
    if n_blasts:
        starts = rng.integers(0, 90, n_blasts)
        valve = np.zeros(101)  # every 0.1 s, and one more: between() wants the end of the last piece
        for start in starts:
            valve[start : start + rng.integers(3, 10)] = rng.uniform(0.2, 0.6)
        sound += to_signal(white(rng) * site.blown) * between(valve)
    return 0.03 * sound


def pump_noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A recording of a pump."""
    speed, blades = PUMPS[kind]
    order = np.arange(1, harmonic_count(speed) + 1)
    tones = np.where(order % blades == 0, (order / blades) ** -1.0, 0.08 * order**-0.3)
    unit = stream("pump", kind)
    tones = tones * unit.lognormal(0, 0.5, len(order)) * rng.lognormal(0, 0.12, len(order))
    flow = unit_power(hump(unit.uniform(900, 2600), 0.7) + 0.5 * tilt(-3))
    sound = harmonics(rng, rotation(rng, speed * rng.normal(1, 0.004) * drift(rng, 0.002)), tones)
    sound += level(rng.normal(-1, 0.7)) * to_signal(white(rng) * flow) * drift(rng, 0.05)
    return 0.04 * sound


def synthesize_noise(kind: str, index: int, seed: int) -> np.ndarray:
    """One noise recording.

    Parameters
    ----------
    kind : str
        A to D for factories, W to Z for pumps.
    index : int
        Which of the kind's recordings.
    seed : int
        The release's seed.

    Returns
    -------
    samples : np.ndarray [shape=(160000,)], float32 in [-1, 1], 16 kHz

    Raises
    ------
    UsageError
        An unknown kind.
    """
    if kind not in NOISE_KINDS:
        raise UsageError(f"unknown noise kind {kind!r}: expected one of {', '.join(NOISE_KINDS)}")
    rng = stream(seed, "noise", kind, index)
    make = factory_noise if kind in HABITS else pump_noise
    return noise_heard(make(kind, rng), rng).astype(np.float32)
