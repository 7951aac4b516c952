"""Test sets with few clips: which cell of which section is the smallest, and how that is said beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mimiidg_build.evaluation.protocols import Protocol
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.results import SmallestCell
from mimiidg_build.schemas.sections import SectionId

FEW_CLIPS = 20
"""With fewer clips in a cell an interval is rough, and a mean or an official score says little."""
MARK = "*"


def smallest_cell(clips: Mapping[SectionId, pd.DataFrame], protocol: Protocol) -> SmallestCell:
    """The cell with the fewest clips, of those that the protocol's metrics are of; the first of several.

    Parameters
    ----------
    clips : mapping of SectionId to pd.DataFrame
        ``ScoredClips`` by section.
    protocol : Protocol

    Returns
    -------
    SmallestCell
    """
    cells = []
    for section, rows in clips.items():
        by_domain = protocol.has_domains and bool((rows["domain"] != "").all())
        for domain in DOMAINS if by_domain else ("",):
            for condition in ("normal", "anomaly"):
                of_cell = (rows["condition"] == condition) & ((rows["domain"] == domain) if by_domain else True)
                cells.append(
                    SmallestCell(section=str(section), cell=f"{domain} {condition}".strip(), n=int(of_cell.sum()))
                )
    return min(cells, key=lambda cell: cell.n)


def has_few_clips(smallest: SmallestCell | None) -> bool:
    """Whether means and official score are to be marked; what early versions wrote does not say."""
    return smallest is not None and smallest.n < FEW_CLIPS


def few_clips_notes(smallest: SmallestCell | None) -> list[str]:
    """What the mark means; nothing where there is none.

    >>> [note[:67] for note in few_clips_notes(SmallestCell(section="fan/00", cell="target anomaly", n=2))]
    ['* Few test clips: fan section 00 has 2 of the kind "target anomaly"']
    """
    if smallest is None or not has_few_clips(smallest):
        return []
    machine_type, section = SectionId.parse(smallest.section)
    return [
        f'{MARK} Few test clips: {machine_type} section {section} has {smallest.n} of the kind "{smallest.cell}". '
        f"Below {FEW_CLIPS} of a kind, numbers so marked say little, and their intervals are rough."
    ]
