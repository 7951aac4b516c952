"""Draws: which noise a clip gets. A draw depends on (seed, section, clip name, layer) alone.

So it is the same whatever the order, the workers, the other clips or the SNR: variants that differ in SNR share their
noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mimiidg_build.datasets.rows import records
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import SPLITS, NoiseLayer, Section
from mimiidg_build.schemas.sections import SectionId

Sides = Mapping[str, Sequence[int]]  # by split, rows of the noise clips that its clips may get


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
    return uniform(f"{seed}/{section}/{clip}/{what}", n)


def uniform(key: str, n: int) -> int:
    """A uniform draw from range(n) that depends on its key alone.

    >>> uniform("0/A/hum.wav/piece 0", 1000)
    201
    """
    # scaled, not taken modulo n, which would favour small numbers
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") * n >> 64


def draw_noise(
    section: Section,
    clips: pd.DataFrame,
    n_noise_clips: Mapping[str, int],
    seed: int,
    sides: Mapping[str, Sides] | None = None,
) -> list[list[NoiseDraw]]:
    """Draw the noise of every clip, one noise clip a layer.

    Parameters
    ----------
    section : Section
    clips : pd.DataFrame
        The section's rows of the clip table.
    n_noise_clips : mapping of kind to number of noise clips
    seed : int
    sides : mapping of kind to Sides, optional
        Of the kinds that are split (:func:`halves`).

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
    for clip in records(clips, "clip", "domain", "attributes", *(["split"] if sides else [])):
        layers = []
        for number, layer in enumerate(section.noise, start=1):
            kinds = _allowed_kinds(section, layer, clip, n_noise_clips)
            kind = kinds[draw(seed, section_id, clip["clip"], f"layer {number} kind", len(kinds))]
            rows = sides[kind][clip["split"]] if sides and kind in sides else range(n_noise_clips[kind])
            row = draw(seed, section_id, clip["clip"], f"layer {number} clip", len(rows))
            layers.append(NoiseDraw(kind, rows[row]))
        drawn.append(layers)
    return drawn


def halves(kind: str, recordings: Sequence[str], seed: int) -> Sides:
    """Part a kind's noise clips into those for training clips and those for test clips, by recording.

    The recordings are shuffled by the seed and dealt out in turn, so each side has half of them, or one more.

    Parameters
    ----------
    kind : str
    recordings : sequence of str
        Of each noise clip, the recording that it was cut from.
    seed : int

    Returns
    -------
    dict of split to rows of noise clips

    Raises
    ------
    DataError
        There is one recording only.

    >>> halves("A", ["a.wav", "a.wav", "b.wav"], seed=0)
    {'train': [2], 'test': [0, 1]}
    """
    names = sorted(set(recordings), key=lambda name: (uniform(f"{seed}/{kind}/{name}/side", 2**32), name))
    if len(names) < 2:
        raise DataError(
            f"noise kind {kind}: split = true parts recordings between training and test clips, but {names[0]} is the "
            "only one. Give more recordings, or cut this one into files."
        )
    sides = {split: set(names[number :: len(SPLITS)]) for number, split in enumerate(SPLITS)}
    return {split: [row for row, name in enumerate(recordings) if name in side] for split, side in sides.items()}


def _allowed_kinds(section: Section, layer: NoiseLayer, clip: Mapping[str, Any], known: Container[str]) -> list[str]:
    """The noise kinds that a clip's layer is drawn from.

    Where the section's domain shift is the noise itself, the clip's attribute names the one kind that it may be.
    """
    if not layer.attribute:
        return layer.drawn_for(clip["domain"])
    kind = row_attributes(clip).get(layer.attribute, "")
    if kind not in known:
        raise DataError(
            f"{section.id}, {clip['clip']}: {layer.attribute} names its noise kind, but is {kind!r}; expected one of "
            f"{', '.join(section.noise_kinds)}."
        )
    return [kind]
