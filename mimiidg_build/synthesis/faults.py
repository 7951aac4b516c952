"""How badly a machine is damaged: what a fault adds to its sound, and how far it makes it sound like another unit.

A fault does two things. It *adds* sound: a knock, a rub, a rush of air. And it *moves* what tells units apart:
resonances, side bands, timing. The first is what an autoencoder hears, the second what a classifier of sections does.
Some faults come and go: they are heard for less than a second of a clip, which no average over time can see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mimiidg_build.synthesis.dsp import HOP, N_SAMPLES, between

SHARE_OF_BOUTS = 0.2  # of the anomalies, those that come and go
WORSE_IN_BOUTS = 1.6
MOST = 3.0  # that any damage adds, as a multiple of the fault's own measure


class Severity(NamedTuple):
    """What the faults of a section add and move in the mean, as multiples of the fault's own measure."""

    added: float
    moved: float


@dataclass(frozen=True)
class Fault:
    """What is wrong with a machine in one clip; nothing by default.

    Attributes
    ----------
    kind : str
        One of the machine's ``ANOMALIES``, or empty.
    added : float
        How strong what it adds is.
    moved : float
        How far it moves what is the unit's own towards the neighbour's, 0 to 1.
    neighbour : str
        The section whose unit that is.
    comes_and_goes : bool
        Whether it is heard in bouts only.
    """

    kind: str = ""
    added: float = 0.0
    moved: float = 0.0
    neighbour: str = ""
    comes_and_goes: bool = False

    def of(self, kind: str) -> float:
        """What a fault of this kind adds: 0 where it is another that is wrong.

        Damage grows without bound, what is heard of it does not: no voltage is ten times too high.
        """
        return self.added / (1 + self.added / MOST) * (kind == self.kind)

    def towards(self, own: float, other: float) -> float:
        """A unit's own figure, moved towards its neighbour's."""
        return own + self.moved * (other - own)


SOUND = Fault()


def neighbours(section: str) -> list[str]:
    """The other units of a section's half of the release.

    >>> neighbours("01"), neighbours("05")
    (['00', '02'], ['03', '04'])
    """
    first = int(section) // 3 * 3
    return [f"{number:02d}" for number in range(first, first + 3) if f"{number:02d}" != section]


def draw_fault(severity: Severity, section: str, kinds: tuple[str, ...], rng: np.random.Generator) -> Fault:
    """What is wrong in one anomalous clip.

    Parameters
    ----------
    severity : Severity
        Of the section.
    section : str
    kinds : tuple of str
        The machine's anomalies.
    rng : np.random.Generator
        The clip's own stream.
    """
    kind, neighbour = str(rng.choice(kinds)), str(rng.choice(neighbours(section)))
    bad, comes_and_goes = rng.uniform(0.4, 1.6), bool(rng.random() < SHARE_OF_BOUTS)
    worse = bad * (WORSE_IN_BOUTS if comes_and_goes else 1.0)
    moved = min(1.0, worse * severity.moved)
    return Fault(kind, worse * severity.added, moved, neighbour, comes_and_goes)


def bouts(rng: np.random.Generator) -> np.ndarray:
    """When a fault that comes and goes is there [shape=(n_samples,)]: one to three bouts of up to half a second."""
    points = np.zeros(N_SAMPLES // HOP + 1)
    for start in rng.integers(0, len(points), rng.integers(1, 4)):
        points[start : start + rng.integers(10, 50)] = 1.0
    return between(points)
