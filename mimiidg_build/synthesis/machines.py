"""One clean recording of any machine: which anomaly, how severe, how loud, then the machine's own physics.

A recording depends on (seed, machine type, section, clip name) and on its attributes, never on order. The domain is
no argument: a shift reaches the sound only through the attributes, as it does in a recording room.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mimiidg_build.errors import UsageError
from mimiidg_build.synthesis import bearing, fan, gearbox, slider, valve
from mimiidg_build.synthesis.dsp import level, stream

MODELS = {"bearing": bearing, "fan": fan, "gearbox": gearbox, "slider": slider, "valve": valve}

# Severities are drawn between these. Chosen so that, at Table 1's SNR, a nearest neighbour on time-averaged log-mel
# spectra finds most anomalies of the source domain, not all: machines that are mixed quieter are damaged worse.
SEVERITY = {"bearing": (0.1, 0.6), "fan": (0.2, 1.0), "gearbox": (0.2, 1.0), "slider": (0.2, 1.0), "valve": (0.1, 0.65)}


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
    model = MODELS[machine_type]
    rng = stream(seed, machine_type, section, name)
    # Drawn for normal clips too, so that the draws after them are the same.
    kind = str(model.ANOMALIES[rng.integers(len(model.ANOMALIES))])
    severity = rng.uniform(*SEVERITY[machine_type])
    loudness = level(rng.uniform(-1.5, 1.5))
    anomaly = kind if condition == "anomaly" else ""
    samples: np.ndarray = model.synthesize(section, attributes, anomaly, severity, rng)
    return (loudness * samples).astype(np.float32)
