"""Valve: a solenoid opens and closes in a pattern, and air or water flows while it is open.

Every switch clicks and rings the body; the flow hisses. ``pat`` names the pattern; ``v1pat`` and ``v2pat`` those of
two valves, of which one may be at rest; ``panel`` names the panels around them: a colour and a short reverberation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimiidg_build.synthesis.dsp import (
    FREQUENCY,
    N_SAMPLES,
    SAMPLE_RATE,
    between,
    hump,
    knock,
    level,
    ringing,
    stream,
    strikes,
    tilt,
    to_signal,
    to_spectrum,
    unit_power,
    white,
)
from mimiidg_build.synthesis.faults import SOUND, Fault

ANOMALIES = ("contamination",)
HOP = 80

# Seconds open and closed in turn, over and over.
PATTERNS = {
    "00": (0.5, 0.5),
    "01": (0.3, 0.9),
    "02": (0.2, 0.3, 0.2, 1.1),
    "03": (1.2, 0.6),
    "04": (0.6, 0.4),
    "05": (0.25, 0.75, 0.25, 0.25),
    "06": (0.15, 0.35),
    "07": (0.8, 0.3, 0.2, 0.7),
}


@dataclass(frozen=True)
class Unit:
    """One valve behind its panels: clicks of opening, closing and of a dirty seat, spectra of flow, leak and pump."""

    opening: np.ndarray
    closing: np.ndarray
    dull: np.ndarray
    flow: np.ndarray
    leak: np.ndarray
    pump: np.ndarray


@lru_cache(maxsize=32)
def room(panel: str) -> np.ndarray:
    """Response of the panels: direct sound, reflections that fade within tens of milliseconds, a lost top end."""
    if panel in ("", "open"):
        return np.ones(len(FREQUENCY), np.complex64)
    rng = stream("valve", "panel", panel)
    fade = np.exp(-np.arange(1600) / rng.uniform(200, 400))
    echoes = np.zeros(N_SAMPLES, np.float32)
    echoes[40:1640] = 0.03 * rng.standard_normal(1600) * fade
    shelf = 1 / (1 + (FREQUENCY / rng.uniform(5000, 7000)) ** 2) ** 0.25
    heard: np.ndarray = level(rng.uniform(-0.3, 0.3)) * shelf * (1 + to_spectrum(echoes))
    return heard.astype(np.complex64)


@lru_cache(maxsize=32)
def unit(number: int, panel: str) -> Unit:
    """Valve 1 or 2, behind its panels.

    Parameters
    ----------
    number : int
        1 or 2.
    panel : str
        Value of the attribute ``panel``; empty for none.

    Returns
    -------
    Unit
        Spectra and impulse responses of its sounds.
    """
    walls = room(panel)
    tuned = (0.9, 1.1)[number - 1]
    opening = ringing([(f * tuned, decay, 0.3) for f, decay in ((850, 0.012), (2100, 0.007), (4700, 0.004))])
    closing = ringing([(f * tuned, decay, 0.3) for f, decay in ((560, 0.015), (1600, 0.009), (3600, 0.004))])
    dull = ringing([(f * tuned, decay, 0.4) for f, decay in ((330, 0.014), (900, 0.008))])
    heard = np.abs(walls)
    return Unit(
        knock(opening * walls),
        knock(closing * walls),
        knock(dull * walls),
        unit_power(hump(4200 * tuned, 0.7) + 0.2 * tilt(-2)) * heard,
        unit_power(hump(2300 * tuned, 0.35) + 0.05 * tilt(-2)) * heard,
        unit_power(hump(180, 0.6) + 0.05 * tilt(-3)) * heard,
    )


def switches(rng: np.random.Generator, pattern: str, sluggish: float) -> tuple[np.ndarray, np.ndarray]:
    """When the valve opens and closes.

    Parameters
    ----------
    rng : np.random.Generator
    pattern : str
        A key of ``PATTERNS``.
    sluggish : float
        From 0 to 1; a sluggish valve closes late and unevenly.

    Returns
    -------
    opens, closes : np.ndarray [shape=(n_times,)], samples, from before the clip's start to after its end
    """
    # 12 s and one cycle more: the clip begins anywhere in the first cycle
    steps = np.tile(PATTERNS[pattern], int(np.ceil(12 / sum(PATTERNS[pattern]))) + 1)
    edges = np.concatenate([[0.0], np.cumsum(steps)]) - rng.uniform(0, sum(PATTERNS[pattern]))
    edges += 0.002 * rng.standard_normal(len(edges))
    edges[1::2] += sluggish * rng.uniform(0.0, 0.2, len(edges[1::2]))
    at = edges * SAMPLE_RATE
    return at[0::2], at[1::2]


def openness(opens: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """How far the valve is open [shape=(n_samples,)], 0 to 1, with rises and falls of 20 ms."""
    clock = np.arange(N_SAMPLES // HOP + 1) * HOP
    is_open = np.searchsorted(opens, clock) - np.searchsorted(closes, clock) > 0
    return between(np.convolve(is_open, np.full(4, 0.25), "same"))


def sound_of(valve: Unit, pattern: str, fault: Fault, rng: np.random.Generator) -> np.ndarray:
    """One valve at work.

    Parameters
    ----------
    valve : Unit
    pattern : str
        A key of ``PATTERNS``.
    fault : Fault
        The dirt in it.
    rng : np.random.Generator

    Returns
    -------
    samples : np.ndarray [shape=(n_samples,)], float32
    """
    worse = min(1.0, fault.of("contamination"))
    opens, closes = switches(rng, pattern, fault.moved)
    sound = np.zeros(N_SAMPLES, np.float32)
    for times, click in ((opens, valve.opening), (closes, valve.closing)):
        strengths = rng.lognormal(0, 0.2, len(times))
        sound += strikes(times, strengths, (1 - 0.6 * worse) * click + 0.6 * worse * valve.dull)
    air = white(rng)
    hiss = level(rng.normal(-14, 0.5))
    sound += hiss * (1 - 0.3 * worse) * to_signal(air * valve.flow) * openness(opens, closes)
    # Dirt on the seat: the valve leaks, open or closed. The pump that feeds it hums at all times.
    leak = 0.09 * worse * np.sqrt(worse) * valve.leak + level(rng.normal(-27, 0.5)) * valve.pump
    # conjugate: the same noise backwards, unlike the hiss, and without another draw
    sound += to_signal(np.conj(air) * leak)
    return sound


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
    panel = attributes.get("panel", "")
    given = ((1, attributes.get("v1pat", attributes.get("pat", ""))), (2, attributes.get("v2pat", "")))
    running = [(number, pattern) for number, pattern in given if pattern]
    dirty = rng.integers(len(running))  # one valve is contaminated, the other is sound
    sound = np.zeros(N_SAMPLES, np.float32)
    for i, (number, pattern) in enumerate(running):
        wrong = fault if i == dirty else SOUND
        sound += sound_of(unit(number, panel), pattern, wrong, rng)
    return 0.13 * sound
