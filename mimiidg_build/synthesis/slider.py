"""Slide rail: a platform driven by a belt goes to and fro, with ramps of velocity at both ends.

Rolling noise, the belt's teeth and the motor follow the velocity; the stops click. ``vel`` (mm/s) sets the velocity
between the ramps, ``ac`` (in units of standard gravity: the paper's m/s^2 would need rails of metres) their steepness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mimiidg_build.synthesis.dsp import (
    N_SAMPLES,
    SAMPLE_RATE,
    between,
    drift,
    harmonics,
    hump,
    knock,
    level,
    ringing,
    rotation,
    sine,
    strikes,
    tilt,
    to_signal,
    unit_power,
    white,
)
from mimiidg_build.synthesis.faults import Fault

ANOMALIES = ("rail crack", "lost grease", "loose belt")
RATED_MM_PER_S = 400.0
RATED_G = 0.15
STANDARD_GRAVITY = 9.80665
HOP = 100  # samples between the points at which the velocity is computed


@dataclass(frozen=True)
class Unit:
    """One slide rail: travel and belt pitch in m, rest in s, response of the frame, spectra of rolling, dry or not."""

    travel_m: float
    pitch_m: float
    pause_s: float
    knock: np.ndarray
    rolling: np.ndarray
    dry: np.ndarray


@lru_cache(maxsize=8)
def unit(section: str) -> Unit:
    """The slide rail of a section."""
    number = int(section) % 3
    frame = knock(ringing([(f, 0.009, 0.2) for f in (240, 640, 1700, 3300)]))
    rolling = unit_power(hump(900, 1.2) + 0.4 * tilt(-3))
    dry = unit_power(hump(3600, 0.45) + 0.15 * tilt(-1))
    travel, pitch, pause = (0.42, 0.36, 0.48)[number], (0.003, 0.0027, 0.0033)[number], (0.2, 0.15, 0.25)[number]
    return Unit(travel, pitch, pause, frame, rolling, dry)


def moved_unit(section: str, fault: Fault) -> Unit:
    """The slide rail of a section with a fault: a belt that is worn skips teeth, and the carriage turns elsewhere."""
    own = unit(section)
    if not fault.moved:
        return own
    other = unit(fault.neighbour)
    return replace(
        own,
        travel_m=fault.towards(own.travel_m, other.travel_m),
        pitch_m=fault.towards(own.pitch_m, other.pitch_m),
        pause_s=fault.towards(own.pause_s, other.pause_s),
    )


def moves(
    travel_m: float, cruise: float, acceleration: float, pause_s: float, start_s: float
) -> tuple[np.ndarray, ...]:
    """Speed and position along the clip, trapezoids with pauses between.

    Parameters
    ----------
    travel_m : float
        Length of a move, m.
    cruise : float
        Highest speed, m/s.
    acceleration : float
        m/s^2, the same for braking.
    pause_s : float
        Rest between two moves, s.
    start_s : float
        How long the slider has been running when the clip begins, s.

    Returns
    -------
    speed : np.ndarray [shape=(n_samples // HOP + 1,)], m/s, without sign
    way : np.ndarray, same shape, m since the beginning of the move
    stroke : np.ndarray, same shape, which move it is

    Examples
    --------
    >>> speed, way, stroke = moves(0.4, 0.5, 1.0, 0.2, 0.0)
    >>> round(float(speed.max()), 2), round(float(way.max()), 2)
    (0.5, 0.4)
    """
    peak = min(cruise, np.sqrt(travel_m * acceleration))  # a short rail is a triangle: no time to cruise
    ramp_s = peak / acceleration
    cruise_s = travel_m / peak - ramp_s
    move_s = 2 * ramp_s + cruise_s
    clock = np.arange(N_SAMPLES // HOP + 1) * (HOP / SAMPLE_RATE) + start_s
    stroke, within = np.divmod(clock, move_s + pause_s)
    speed = np.clip(np.minimum(within, move_s - within) * acceleration, 0, peak)
    up = np.minimum(within, ramp_s)
    flat = np.clip(within - ramp_s, 0, cruise_s)
    down = np.clip(within - ramp_s - cruise_s, 0, ramp_s)
    way = acceleration * up**2 / 2 + peak * flat + peak * down - acceleration * down**2 / 2
    return speed, way, stroke


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
    rail = moved_unit(section, fault)
    worse = {kind: fault.of(kind) for kind in ANOMALIES}
    cruise = float(attributes.get("vel", RATED_MM_PER_S)) / 1000 * rng.normal(1, 0.005)
    acceleration = float(attributes.get("ac", RATED_G)) * STANDARD_GRAVITY
    speed, way, stroke = moves(rail.travel_m, cruise, acceleration, rail.pause_s, rng.uniform(0, 20))
    moving = between(np.sqrt(speed))  # an amplitude: the power is proportional to the speed
    fast = between(speed)

    flutter = 1 + worse["loose belt"] * 0.5 * sine(rotation(rng, rng.uniform(8, 14)))
    phase = rotation(rng, fast / (2 * rail.pitch_m) * drift(rng, 0.004) * (1 + 0.06 * (flutter - 1)))
    order = np.arange(1, 41)
    # Two tooth pitches are one period: a belt under tension sounds at even harmonics, a loose one at odd ones too.
    tones = np.where(order % 2 == 0, 1.0, 0.06 + 0.9 * worse["loose belt"]) * (order / 2) ** -1.0
    # The harder the motor pulls, the louder the belt's teeth.
    pull = (acceleration / (RATED_G * STANDARD_GRAVITY)) ** 1.0
    belt = harmonics(rng, phase, 0.9 * pull * tones * rng.lognormal(0, 0.25, len(tones))) * flutter

    # Fast wheels hiss.
    dry = 0.07 * (1000 * cruise / RATED_MM_PER_S) ** 1.8 * rng.lognormal(0, 0.15)
    rolling = rail.rolling + (dry + 0.28 * worse["lost grease"]) * rail.dry
    noise = to_signal(white(rng) * rolling) * level(rng.normal(0, 0.4))
    # At rest the motor is held in place, and barely heard.
    sound: np.ndarray = (belt + noise) * moving + 0.015 * noise
    if worse["lost grease"]:
        screech = harmonics(rng, rotation(rng, rng.uniform(900, 1300) * drift(rng, 0.01)), np.array([1.0, 0.6, 0.3]))
        sound += 0.25 * worse["lost grease"] * screech * fast

    knocks, strengths = clicks(rng, rail, way, stroke, worse)
    sound += strikes(knocks, strengths, rail.knock)
    return 0.04 * sound


def clicks(
    rng: np.random.Generator, rail: Unit, way: np.ndarray, stroke: np.ndarray, worse: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """What strikes the frame: stops at the ends, slaps of the belt, the crack.

    Parameters
    ----------
    rng : np.random.Generator
    rail : Unit
    way, stroke : np.ndarray [shape=(n_samples // HOP + 1,)]
        As :func:`moves` gives them.
    worse : mapping of str to float
        Severity by kind of anomaly, 0 where it is absent.

    Returns
    -------
    times : np.ndarray [shape=(n_strikes,)], samples
    strengths : np.ndarray [shape=(n_strikes,)]
    """
    stops = np.flatnonzero(np.diff(stroke)) * HOP
    strengths = (1.6 + 5 * worse["loose belt"]) * rng.lognormal(0, 0.2, len(stops))
    times, weights = [stops], [strengths]
    if worse["rail crack"]:
        # The way is measured from where a move began: on every other move the crack is met from the other side.
        place = rng.uniform(0.3, 0.7) * rail.travel_m
        met = np.where(stroke % 2 == 0, way - place, way - (rail.travel_m - place))
        passes = np.flatnonzero((met[1:] >= 0) & (met[:-1] < 0) & (np.diff(stroke) == 0)) * HOP
        for wheel_gap in (0, 180, 410, 700, 1130):
            times.append(passes + wheel_gap)
            weights.append(11 * worse["rail crack"] * rng.lognormal(0, 0.25, len(passes)))
    return np.concatenate(times), np.concatenate(weights)
