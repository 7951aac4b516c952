"""Draws: which noise a clip gets. A draw depends on (seed, section, clip name, layer) alone.

So it is the same whatever the order, the workers, the other clips or the SNR: variants that differ in SNR share their
noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import pandas as pd

from mimiidg_build.datasets.rows import records, row_attributes
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import NoiseLayer, Section
from mimiidg_build.schemas.sections import SectionId


class NoiseDraw(NamedTuple):
    """A noise clip that was drawn: its kind, and its row in that kind's noise bank."""

    kind: str
    row: int


def draw(seed: int, section: SectionId, clip: str, what: str, n: int) -> int:
    """A uniform draw from range(n) that depends on its arguments and nothing else.

    A hash rather than a random generator: a generator's stream would tie a clip's draw to those before it.

    Parameters
    ----------
    seed : int
        The variant's.
    section : SectionId
    clip : str
        The clip's name.
    what : str
        What is drawn: ``"layer 1 kind"``, ``"layer 1 clip"``, ...
    n : int
        Positive; below 2^32, the draw is uniform to one part in 2^32.

    Returns
    -------
    int

    >>> draw(0, SectionId("fan", "00"), "section_00_source_train_normal_0000_m-n_W", "layer 1 clip", 1000)
    950
    """
    # the key is part of MIX_PLAN_VERSION: spelled otherwise, every clip gets other noise
    key = f"{seed}/{section}/{clip}/{what}".encode()
    # scaled, not taken modulo n, which would favour small numbers
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") * n >> 64


def draw_noise(
    section: Section, clips: pd.DataFrame, n_noise_clips: Mapping[str, int], seed: int
) -> list[list[NoiseDraw]]:
    """Draw the noise of every clip, one noise clip a layer.

    Parameters
    ----------
    section : Section
    clips : pd.DataFrame
        The section's rows of the clip table.
    n_noise_clips : mapping of kind to number of noise clips
    seed : int

    Returns
    -------
    list of list of NoiseDraw
        A clip's layers, for every clip in the order given.

    Raises
    ------
    DataError
        An attribute that should name a clip's noise kind names none.
    """
    section_id = SectionId(section.machine_type, section.section)
    drawn = []
    for clip in records(clips):
        layers = []
        for number, layer in enumerate(section.noise, start=1):
            kinds = _allowed_kinds(section, layer, clip, n_noise_clips)
            kind = kinds[draw(seed, section_id, clip["clip"], f"layer {number} kind", len(kinds))]
            row = draw(seed, section_id, clip["clip"], f"layer {number} clip", n_noise_clips[kind])
            layers.append(NoiseDraw(kind, row))
        drawn.append(layers)
    return drawn


def _allowed_kinds(section: Section, layer: NoiseLayer, clip: Mapping[str, Any], known: Container[str]) -> list[str]:
    """The noise kinds that a clip's layer is drawn from.

    Where the section's domain shift is the noise itself, the clip's attribute names the one kind that it may be.
    """
    if not layer.attribute:
        return (layer.source if clip["domain"] == "source" else layer.target) or []
    kind = row_attributes(clip).get(layer.attribute, "")
    if kind not in known:
        raise DataError(
            f"{section.id}, {clip['clip']}: {layer.attribute} names its noise kind, but is {kind!r}; expected one of "
            f"{', '.join(section.noise_kinds)}."
        )
    return [kind]
