"""The body that a machine's sound leaves through: the resonances by which one unit is told from another.

All units of a machine type are built alike, so their resonances lie in the same places, a little higher or lower in
every unit. What loosens, cracks or wears moves them: towards where another unit has them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mimiidg_build.synthesis.dsp import MEL_HZ, MEL_POINTS, over_frequency, resonance, stream
from mimiidg_build.synthesis.faults import Fault

LOWEST_HZ, HIGHEST_HZ = 170.0, 6900.0
N_MODES = 11
APART = 0.16  # octaves by which a unit's resonances differ, at most, from the type's
Q = 9.0


@lru_cache(maxsize=64)
def modes(machine_type: str, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Resonances of a unit: centres in Hz, and heights."""
    built, own = stream(machine_type, "body"), stream(machine_type, "body", unit)
    octaves = np.linspace(np.log2(LOWEST_HZ), np.log2(HIGHEST_HZ), N_MODES) + built.uniform(-0.12, 0.12, N_MODES)
    heights = built.uniform(1.0, 2.2, N_MODES) * own.lognormal(0, 0.15, N_MODES)
    return 2 ** (octaves + own.choice([-APART, 0.0, APART], N_MODES)), heights


def response(machine_type: str, unit: str, neighbour: str = "", moved: float = 0.0) -> np.ndarray:
    """The body's response, of magnitude about 1 between resonances.

    Parameters
    ----------
    machine_type : str
    unit : str
        A section, or another name of a unit.
    neighbour : str
        The unit that damage makes it like.
    moved : float
        How far, 0 to 1.

    Returns
    -------
    response : np.ndarray [shape=(n_frequencies,)], complex64
    """
    centres, heights = modes(machine_type, unit)
    if moved:
        others, other_heights = modes(machine_type, neighbour)
        centres = centres * (others / centres) ** moved
        heights = heights * (other_heights / heights) ** moved
    total = np.ones(MEL_POINTS, np.complex64)
    for centre, height in zip(centres.tolist(), heights.tolist(), strict=True):
        total += np.complex64(height) * resonance(centre, Q, MEL_HZ)
    return over_frequency(total)


@lru_cache(maxsize=64)
def _as_built(machine_type: str, unit: str) -> np.ndarray:
    return response(machine_type, unit)


def moved_body(machine_type: str, unit: str, fault: Fault) -> np.ndarray:
    """The response of a unit's body with a fault."""
    if not fault.moved:
        return _as_built(machine_type, unit)  # nearly every clip's: worth keeping
    return response(machine_type, unit, fault.neighbour, fault.moved)
