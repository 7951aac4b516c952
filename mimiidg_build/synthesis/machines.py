"""One clean recording of any machine: which anomaly, how severe, how loud, then the machine's own physics.

A recording depends on (seed, machine type, section, clip name) and on its attributes, never on order. The domain is
no argument: a shift reaches the sound only through the attributes, as it does in a recording room.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import Section
from mimiidg_build.synthesis import bearing, fan, gearbox, slider, valve
from mimiidg_build.synthesis.body import moved_body
from mimiidg_build.synthesis.dsp import level, stream, to_signal, to_spectrum
from mimiidg_build.synthesis.faults import SOUND, Fault, Severity, bouts, draw_fault
from mimiidg_build.synthesis.microphone import machine_response

MODELS = {"bearing": bearing, "fan": fan, "gearbox": gearbox, "slider": slider, "valve": valve}

LEVEL = {"bearing": 0.6, "fan": 0.17, "gearbox": 0.3, "slider": 0.18, "valve": 0.6}  # well below full scale
LOUDNESS_DB = 2.0  # a clip is up to so much louder or quieter than its machine

# By section 00 to 02 (03 to 05 have the same). What faults add was set so that the autoencoder has about Table 3's AUC
# in every section, what they move so that a classifier of sections has about MobileNetV2's; no other system was looked
# at. What added sound there is grows slower than these (faults.MOST): 10 is 2.3 times the fault's own measure. What the
# models themselves make of it, and what of the acceptance is met, stands in data_manifests/README.md.
SEVERITY = {
    "fan": (Severity(3.4, 0.15), Severity(1.5, 0.4), Severity(10.0, 0.7)),
    "gearbox": (Severity(4.2, 0.35), Severity(3.7, 0.35), Severity(10.0, 0.5)),
    "bearing": (Severity(0.45, 0.25), Severity(1.3, 0.1), Severity(0.0, 0.2)),
    "slider": (Severity(9.0, 1.0), Severity(3.7, 0.1), Severity(14.0, 1.0)),
    "valve": (Severity(0.2, 0.25), Severity(0.05, 0.2), Severity(0.45, 0.3)),
}


@lru_cache(maxsize=64)
def turned_down_db(machine_type: str, section: str) -> float:
    """How far a section is turned down in recording: with noise at Table 1's SNR, all of a type are equally loud.

    Else loudness would tell sections at once, and no fault changes that: a classifier of sections would learn nothing
    of the machine. Sections without a published SNR are recorded as they are.

    >>> round(turned_down_db("slider", "01"), 1), round(turned_down_db("slider", "02"), 1)  # -3 and -12 dB
    (0.0, 7.5)
    """
    rows = [row for row in load_recipe("table1").sections if row.machine_type == machine_type]
    with_noise = {row.section: over_clean_db(row) for row in rows if row.snr_db is not None or row.snr_db_by_value}
    return with_noise[section] - min(with_noise.values()) if section in with_noise else 0.0


def over_clean_db(section: Section) -> float:
    """How much louder than its clean recordings a section is with its noise; over source values, where they differ."""
    if section.snr_db is not None:
        stated = [section.snr_db]
    else:
        stated = [section.snr_db_by_value[values[section.snr_attribute or ""]] for values in section.values("source")]
    return float(10 * np.log10(1 + np.mean([10 ** (-snr / 10) for snr in stated])))


def synthesize_clip(
    machine_type: str, section: str, condition: str, attributes: Mapping[str, str], seed: int, name: str
) -> np.ndarray:
    """One clean recording, without factory noise.

    Parameters
    ----------
    machine_type, section : str
    condition : "normal" or "anomaly"
    attributes : mapping of str to str
        The clip's attribute values, as the file name writes them.
    seed : int
        The release's seed.
    name : str
        What the clip's randomness depends on: its full stem.

    Returns
    -------
    samples : np.ndarray [shape=(160000,)], float32 in [-1, 1], 16 kHz

    Raises
    ------
    UsageError
        An unknown machine type or condition.
    """
    if machine_type not in MODELS or condition not in ("normal", "anomaly"):
        raise UsageError(
            f"cannot synthesize {machine_type!r}, {condition!r}: expected one of {', '.join(MODELS)}, normal or anomaly"
        )
    rng = stream(seed, machine_type, section, name)
    # drawn first: clips of one name are heard alike, whatever the machine does
    loudness = LEVEL[machine_type] * level(
        rng.uniform(-LOUDNESS_DB, LOUDNESS_DB) - turned_down_db(machine_type, section)
    )
    gain = np.float32(loudness) * machine_response(seed, machine_type, rng)
    fault = SOUND
    if condition == "anomaly":
        severity = SEVERITY[machine_type][int(section) % 3]
        fault = draw_fault(severity, section, MODELS[machine_type].ANOMALIES, rng)
    spectrum = _machine(machine_type, section, attributes, fault, rng)
    if fault.comes_and_goes:
        present = bouts(rng)
        sound = to_signal(_machine(machine_type, section, attributes, SOUND, rng))
        spectrum = to_spectrum(present * to_signal(spectrum) + (1 - present) * sound)
    return to_signal(spectrum * gain)


def _machine(
    machine_type: str, section: str, attributes: Mapping[str, str], fault: Fault, rng: np.random.Generator
) -> np.ndarray:
    """Spectrum of a machine's sound as it leaves its body."""
    sound = MODELS[machine_type].synthesize(section, attributes, fault, rng)
    unit = f"{section}{attributes.get('id', '')}"  # gearboxes of a section have bodies of their own
    spectrum: np.ndarray = to_spectrum(sound) * moved_body(machine_type, unit, fault)
    return spectrum
