"""Bearing: a spindle turns a shaft in two ball bearings.

The sound is harmonics of the shaft, the balls' faint impulses ringing the housing, and hum. ``vel`` (krpm) sets the
shaft's speed, ``loc`` the microphone's place: a path difference and a slope of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimiidg_build.synthesis.dsp import (
    FREQUENCY,
    OCTAVE,
    colour,
    drift,
    harmonic_count,
    harmonics,
    hump,
    impulses,
    level,
    ringing,
    rotation,
    stream,
    tilt,
    to_signal,
    to_spectrum,
    unit_power,
    white,
)
from mimiidg_build.synthesis.faults import Fault

ANOMALIES = ("radial eccentricity", "axial eccentricity")
RATED_KRPM = 10.0
BALL_PASSES = (3.05, 3.58, 4.12)  # a turn, past a point of the outer ring, by unit: 8, 9 and 10 balls
BALL_SPINS = 4.71


@dataclass(frozen=True)
class Unit:
    """One bearing as one microphone hears it: response of the housing, spectrum of rolling and of hum."""

    path: np.ndarray
    housing: np.ndarray
    axial_housing: np.ndarray
    rolling: np.ndarray


@lru_cache(maxsize=32)
def unit(location: str) -> Unit:
    """The bearing from a location; without one, from straight above."""
    housing = ringing([(f, 0.004, 0.2) for f in (1450, 2700, 4300)])
    axial = ringing([(f, 0.005, 0.25) for f in (980, 3400, 5600)])
    rolling = unit_power(hump(3000, 1.0) + 0.3 * tilt(-3))
    path = np.ones(len(FREQUENCY), np.complex64)
    if location:
        place = stream("bearing", "location", location)
        echo = place.uniform(0.25, 0.55) * np.exp(-2j * np.pi * FREQUENCY * place.uniform(0.0003, 0.0015))
        slope = 10 ** (place.uniform(-2.0, 2.0) * OCTAVE / 20)
        path = (level(place.uniform(-1.5, 1.5)) * slope * (1 + echo)).astype(np.complex64)
    return Unit(path, housing * path, axial * path, rolling * np.abs(path))


def synthesize(section: str, attributes: Mapping[str, str], fault: Fault, rng: np.random.Generator) -> np.ndarray:
    """One clip.

    Parameters
    ----------
    section : str
        Section number, which decides the unit recorded.
    attributes : mapping of str to str
        The clip's attribute values.
    fault : Fault
        What is wrong with the machine.
    rng : np.random.Generator
        The clip's own stream.

    Returns
    -------
    samples : np.ndarray [shape=(n_samples,)], float32
    """
    bearing = unit(attributes.get("loc", ""))
    krpm = float(attributes.get("vel", RATED_KRPM))
    radial, axial = fault.of("radial eccentricity"), fault.of("axial eccentricity")
    # An inner ring off its place: balls pass as they do in another unit.
    ball_passes = BALL_PASSES[int(section) % 3]
    if fault.moved:
        ball_passes = fault.towards(ball_passes, BALL_PASSES[int(fault.neighbour) % 3])

    shaft = krpm * 1000 / 60 * rng.normal(1, 0.003)
    phase = rotation(rng, shaft * drift(rng, 0.0015))
    order = np.arange(1, harmonic_count(shaft) + 1)
    tones = 0.3 * order**-1.1 * rng.lognormal(0, 0.25, len(order))
    tones[0] *= 1 + 0.9 * radial
    tones[1] *= 1 + 0.8 * radial + 1.2 * axial
    tones[2:5] *= 1 + 0.8 * axial
    sound = harmonics(rng, phase, tones * colour(bearing.path, shaft, len(order)))

    spectrum = level(rng.normal(-5, 0.7)) * white(rng) * bearing.rolling
    # Balls pass irregularly: they slip, and each passes a little differently.
    # arange(0, x) has ceil(x) elements
    count = 10 * shaft * ball_passes
    passes = np.arange(0, count) + 0.12 * rng.standard_normal(int(np.ceil(count)))
    times = passes * (16000 / (shaft * ball_passes))
    strengths = (0.16 + 0.22 * radial) * rng.lognormal(0, 0.35, len(passes))
    # Off centre, the load on the balls goes round with the shaft.
    strengths *= 1 + (0.1 + 0.8 * radial) * np.cos(2 * np.pi * passes / ball_passes)
    spectrum += to_spectrum(impulses(times, strengths)) * bearing.housing
    if axial:
        spins = np.arange(0, 10 * shaft * BALL_SPINS) * (16000 / (shaft * BALL_SPINS))
        knocks = impulses(spins, axial * 0.2 * rng.lognormal(0, 0.4, len(spins)))
        spectrum += to_spectrum(knocks) * bearing.axial_housing
    sound += to_signal(spectrum)
    loudness: float = 0.03 * (krpm / RATED_KRPM) ** 0.1
    return loudness * sound
