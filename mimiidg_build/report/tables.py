"""The page's tables of a store: sections, attribute values, findings, what it was built from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mimiidg_build.datasets.findings import summarise
from mimiidg_build.datasets.manifest import shift_of
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.cells import Cell, PageTable, attribute_value, number, signed_db, with_minus
from mimiidg_build.report.data_charts import GROUPS, ValueCount
from mimiidg_build.schemas.manifests import DOMAINS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import power_db, section_rows, snr_title


def sections(store: Store) -> PageTable:
    """Every section: its shift, clips by domain and split, power, attenuation and SNR."""
    counts_of = _train_columns(store)
    rows, title = [], snr_title(store)
    for row, (name, section) in zip(section_rows(store), store.sections.items(), strict=True):
        counts = section.counts
        planned = section.planned_added_noise_snr_db
        rows.append(
            (
                Cell(name),
                Cell(shift_of(SectionId.parse(name))),
                number(section.n_clips),
                *(number(counts.get(group, 0)) for group in counts_of),
                number(sum(n for group, n in counts.items() if "train" not in group.split("_"))),
                number(power_db(section.a), 2),
                # twice: power_db takes a power, and this is a gain of amplitude
                number(2 * power_db(section.attenuation), 2),
                Cell(with_minus(row[f"{title} planned [dB]"]), number=planned[0] if planned else math.nan),
                Cell(with_minus(row[f"{title} measured [dB]"]), number=planned[0] if planned else math.nan),
                number(section.n_saturated_clips),
            )
        )
    snr = (f"Planned {title} [dB]", f"Measured {title} [dB]")
    clips = ("Clips", *counts_of.values(), "Test")
    columns = ("Section", "Domain shift", *clips, "Power a [dB]", "Attenuation [dB]", *snr, "Saturated clips")
    caption, fewest_first = "Sections: clips, mean power before mixing, attenuation and SNR", frozenset({columns[-1]})
    return PageTable(caption, columns, tuple(rows), smallest_first=fewest_first)


def _train_columns(store: Store) -> dict[str, str]:
    """Columns of training clips, by the group that they count: by domain, but where the release has none."""
    groups = {group for section in store.sections.values() for group in section.counts}
    by_domain = {f"{domain}_train_normal": f"Train {domain}" for domain in DOMAINS}
    return by_domain if groups & by_domain.keys() or "train_normal" not in groups else {"train_normal": "Train"}


def values(counts: Sequence[ValueCount]) -> PageTable:
    """Clips per attribute value."""
    rows = tuple(
        (
            Cell(f"{count.machine_type}/{count.section}"),
            Cell(count.attribute),
            attribute_value(count.value),
            Cell(count.domain, tone=count.domain),
            *(number(n_clips) for n_clips in count.counts),
        )
        for count in counts
    )
    columns = ("Section", "Attribute", "Value", "Domain", *(title.capitalize() for _, _, title in GROUPS))
    return PageTable("Clips per attribute value", columns, rows)


def findings(found: pd.DataFrame) -> PageTable:
    """What validation found, one row per severity, kind and place."""
    rows = tuple(
        (
            Cell(row["severity"], tone=row["severity"]),
            Cell(row["kind"].replace("_", " ")),
            Cell(row["table"]),
            number(row["count"]),
            Cell(row["example"]),
        )
        for row in records(summarise(found))
    )
    return PageTable("Validation findings", ("Severity", "Kind", "Where", "Findings", "First one"), rows)


def facts(store: Store) -> dict[str, Any]:
    """The dataset at a glance: what a reader wants to know first, as (title, text)."""
    attributes, variant = store.attributes, store.attributes.variant
    size = attributes.size_bytes
    clips, hours = store.clips, sum(s.n_clips * s.audio.seconds for s in store.sections.values()) / 3600
    kinds = sorted(attributes.provenance.noise)
    offset_to = "offset to Table 1" if variant.recipe is None else "offset to the recipe"
    return {
        "clips": f"{len(clips):,}",
        "sections": str(len(store.sections)),
        "machine types": str(clips["machine_type"].nunique()),
        "hours of audio": f"{hours:.1f}",
        "normal training clips": f"{int((clips['split'] == 'train').sum()):,}",
        "test clips": f"{int((clips['split'] == 'test').sum()):,}",
        "noise kinds": " ".join(kinds) or "none added",
        "size": f"{size / 1e6:,.0f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB",
        offset_to: f"{signed_db(variant.snr_offset_db)} dB" if kinds else "",
    }


def digests(store: Store) -> PageTable:
    """What the store was built from: a row per archive and noise recording."""
    provenance = store.attributes.provenance
    archives = [("archive", name, digest) for name, digest in provenance.archives.items()]
    noise = [
        (f"noise {kind}", name, digest)
        for kind, recordings in provenance.noise.items()
        for name, digest in recordings.items()
    ]
    rows = tuple(tuple(Cell(text) for text in row) for row in [*archives, *noise])
    return PageTable("Archives and noise recordings", ("What", "Name", "Digest"), rows)
