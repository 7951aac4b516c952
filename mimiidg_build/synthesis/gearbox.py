"""Gearbox: a DC motor drives, through one pair of gears, a slider-crank that raises and lowers a weight.

The sound is gear mesh and its side bands, brush noise of the motor, and the load of the crank, which slows the motor
and swells the mesh once a turn. ``volt`` sets the motor's speed, ``wt`` the load, ``id`` the gears' geometry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimiidg_build.synthesis.dsp import (
    crossings,
    drift,
    harmonic_count,
    harmonics,
    hump,
    knock,
    level,
    ringing,
    rotation,
    sine,
    stream,
    strikes,
    tilt,
    to_signal,
    unit_power,
    white,
)
from mimiidg_build.synthesis.faults import Fault

ANOMALIES = ("gear damage", "over-voltage")
RATED_VOLT = 2.0
RATED_GRAM = 100.0


@dataclass(frozen=True)
class Unit:
    """One gearbox: teeth of pinion and wheel, depth of side bands, sound of a knock, spectrum of its brushes."""

    pinion: int
    wheel: int
    side_band: float
    knock: np.ndarray
    brushes: np.ndarray


@lru_cache(maxsize=32)
def unit(section: str, identity: str) -> Unit:
    """The gearbox of a section; with an ``id``, the one of that number, whose gears are its own."""
    rng = stream("gearbox", section, identity)
    pinion = 15 + 2 * (int(section) % 3) + (int(rng.integers(-1, 2)) if identity else 0)
    modes = [(f, 0.006, 0.22) for f in (520.0, 1150.0, 2300.0, 3900.0)]
    brushes = unit_power(hump(2600, 0.9) + 0.5 * tilt(-2))
    # 1 to 3: in harmonics of the wheel, side bands of the pinion lie 3 apart (see mesh)
    return Unit(pinion, 3 * pinion, 0.12 + 0.08 * (int(section) % 3), knock(ringing(modes)), brushes)


def mesh(box: Unit, count: int, damage: float, slope: float, side_band: float) -> np.ndarray:
    """Amplitudes of the output shaft's harmonics: gear mesh, with side bands of both shafts' rotation.

    Parameters
    ----------
    box : Unit
    count : int
        Number of harmonics.
    damage : float
        Severity of gear damage, 0 to 1.
    slope : float
        Power by which the mesh's own harmonics fall.
    side_band : float
        Depth of the side bands.

    Returns
    -------
    amplitudes : np.ndarray [shape=(count,)]
    """
    order = np.arange(1, count + 1)
    tones = 0.05 * order**-0.5
    for multiple in range(1, count // box.wheel + 1):
        centre = multiple * box.wheel - 1
        strength = multiple**-slope
        tones[centre] += strength
        for step, depth in ((3, side_band), (6, 0.4 * side_band), (1, 0.05), (2, 0.03)):
            # Damage on a tooth of the wheel modulates the mesh with the wheel's own rotation.
            grown = depth + damage * (0.35 if step < 3 else 0.15)
            for side in (centre - step, centre + step):
                if 0 <= side < count:
                    tones[side] += grown * strength
    return tones


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
    box = unit(section, attributes.get("id", ""))
    volt = float(attributes.get("volt", RATED_VOLT))
    weight = float(attributes.get("wt", RATED_GRAM)) / 250
    damage, excess = fault.of("gear damage"), fault.of("over-voltage")

    wheel_speed = (2 + 5 * volt * (1 + 0.14 * excess)) * rng.normal(1, 0.006) * (1 - 0.08 * weight)
    turn = rotation(rng, wheel_speed / 4)
    load = sine(turn)
    speed = wheel_speed * (1 - (0.004 + 0.03 * weight) * load) * drift(rng, 0.002)
    phase = rotation(rng, speed)

    count = harmonic_count(wheel_speed * 1.05)  # headroom: load and drift raise the speed above its mean
    slope, side_band = 1.0 - 0.25 * weight, box.side_band
    tones = mesh(box, count, damage, slope, side_band)
    if fault.moved:
        # Worn teeth: the mesh fades, and what meshes is as uneven as another pair of gears.
        other = unit(fault.neighbour, "")
        tones = (1 - fault.moved) * tones + fault.moved * mesh(other, count, damage, slope, other.side_band)
    tones *= rng.lognormal(0, 0.25, count)
    swell = 1 + (0.1 + 0.6 * weight) * load
    loudness = level(1.2 * (volt - RATED_VOLT) + 1.5 * excess + 4 * weight)
    sound: np.ndarray = harmonics(rng, phase, tones) * swell

    spectrum = (level(rng.normal(-2, 0.5) + 1.2 * (volt - RATED_VOLT) + 1.2 * excess)) * white(rng) * box.brushes
    if damage:
        # The broken tooth meets the pinion once a turn of the wheel, and rings the case.
        knocks = crossings(phase)
        strengths = damage * 9 * rng.lognormal(0, 0.25, len(knocks))
        sound += strikes(knocks, strengths, box.knock)
    sound += to_signal(spectrum)
    return (0.022 * loudness) * sound
