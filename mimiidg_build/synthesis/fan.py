"""Fan: blade-pass tones over shaft harmonics, motor hum, and the turbulence of moving air.

The paper's fan runs the same in both domains: its sections differ in the noise that is mixed in, so the attributes
(m-n, f-n, n-lv) do not touch the clean sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimiidg_build.synthesis.dsp import (
    between,
    crossings,
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
from mimiidg_build.synthesis.faults import Fault

ANOMALIES = ("wing damage", "unbalance", "clogging", "over-voltage")


@dataclass(frozen=True)
class Unit:
    """One fan: shaft speed in Hz, number of blades, what its mounting's knock sounds like, spectra of its air."""

    speed: float
    blades: int
    knock: np.ndarray
    smooth_air: np.ndarray
    rough_air: np.ndarray


@lru_cache(maxsize=8)
def unit(section: str) -> Unit:
    """The fan of a section."""
    # One model of fan with wheels of 5, 6 and 7 blades; what else differs is the casing, which is its body.
    speed = 24.5 * stream("fan", section).uniform(0.99, 1.01)
    modes = [(f, 0.012, 0.25) for f in (320.0, 760.0, 1500.0, 2900.0)]
    air = tilt(-3.5) + hump(500, 0.8, 2)
    rough_air = unit_power(hump(1900, 0.7) + 0.15 * tilt(-3))
    return Unit(speed, 5 + int(section) % 3, knock(ringing(modes)), unit_power(air), rough_air)


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
    fan = unit(section)
    worse = {kind: fault.of(kind) for kind in ANOMALIES}
    speed = fan.speed * rng.normal(1, 0.004) * (1 + 0.09 * worse["over-voltage"] + 0.05 * worse["clogging"])
    phase = rotation(rng, speed * drift(rng, 0.002))

    order = np.arange(1, harmonic_count(speed) + 1)
    blade = order % fan.blades == 0
    tones = np.where(blade, 0.9 * (order / fan.blades) ** -0.9, 0.02 * order**-0.4)
    if fault.moved:
        # A bent or broken blade: the wheel beats the air as one of another number of blades does, too.
        other = order % unit(fault.neighbour).blades == 0
        tones = np.where(blade, tones * (1 - 0.7 * fault.moved), tones)
        tones = np.where(other, tones + 0.7 * fault.moved * (order / fan.blades) ** -0.9, tones)
    tones = tones * rng.lognormal(0, 0.25, len(order))
    # A damaged blade leaves the wheel without its symmetry: every shaft harmonic sounds, not the blade pass alone.
    tones[~blade] *= 1 + 9 * worse["wing damage"]
    tones[:3] += worse["unbalance"] * np.array([0.9, 0.5, 0.25])
    tones[blade] *= 1 - 0.5 * worse["clogging"]
    tones *= level(3 * worse["over-voltage"])
    tones[: len(order) // 40 * 4 : 4] += 0.08 + 0.5 * worse["over-voltage"]  # pole pairs of the motor
    sound = harmonics(rng, phase, tones)

    roughness = rng.uniform(0.04, 0.08) + 0.32 * worse["clogging"] + 0.22 * worse["wing damage"]
    air = white(rng) * (fan.smooth_air + roughness * fan.rough_air)
    surge = drift(rng, 0.06 + 0.25 * worse["clogging"])
    sound += level(rng.normal(0, 0.5) + 2 * worse["over-voltage"]) * to_signal(air) * surge
    if worse["unbalance"]:
        # The mounting knocks once a turn.
        knocks = crossings(phase)
        strengths = worse["unbalance"] * 2.2 * rng.lognormal(0, 0.3, len(knocks))
        sound += strikes(knocks, strengths, fan.knock)
    sound *= between(1 + 0.04 * rng.standard_normal(11))
    return 0.03 * sound
