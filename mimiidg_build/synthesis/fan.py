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
    colour,
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

ANOMALIES = ("wing damage", "unbalance", "clogging", "over-voltage")


@dataclass(frozen=True)
class Unit:
    """One fan: shaft speed in Hz, number of blades, response of its casing, spectra of its air."""

    speed: float
    blades: int
    casing: np.ndarray
    knock: np.ndarray
    smooth_air: np.ndarray
    rough_air: np.ndarray


@lru_cache(maxsize=8)
def unit(section: str) -> Unit:
    """The fan of a section."""
    rng = stream("fan", section)
    speed, blades = rng.uniform(22, 28), int(rng.integers(5, 8))
    modes = [(f * rng.uniform(0.85, 1.15), 0.012, 0.25) for f in (320, 760, 1500, 2900)]
    air = tilt(-3.5) + hump(rng.uniform(380, 650), 0.8, 2)
    casing = ringing(modes)
    return Unit(speed, blades, casing, knock(casing), unit_power(air), unit_power(hump(1900, 0.7) + 0.15 * tilt(-3)))


def synthesize(
    section: str, attributes: Mapping[str, str], anomaly: str, severity: float, rng: np.random.Generator
) -> np.ndarray:
    """One clip.

    Parameters
    ----------
    section : str
        Section number, which decides the unit recorded.
    attributes : mapping of str to str
        The clip's attribute values.
    anomaly : str
        One of ``ANOMALIES``, or empty.
    severity : float
        From 0 to 1.
    rng : np.random.Generator
        The clip's own stream.

    Returns
    -------
    samples : np.ndarray [shape=(n_samples,)], float32
    """
    fan = unit(section)
    worse = {kind: severity * (kind == anomaly) for kind in ANOMALIES}
    speed = fan.speed * rng.normal(1, 0.004) * (1 + 0.09 * worse["over-voltage"] + 0.05 * worse["clogging"])
    phase = rotation(rng, speed * drift(rng, 0.002))

    order = np.arange(1, harmonic_count(speed) + 1)
    blade = order % fan.blades == 0
    tones = np.where(blade, 0.9 * (order / fan.blades) ** -0.9, 0.02 * order**-0.4)
    tones = tones * rng.lognormal(0, 0.12, len(order)) * (0.6 + 0.4 * colour(fan.casing, speed, len(order)) / 8)
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
