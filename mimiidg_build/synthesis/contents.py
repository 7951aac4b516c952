"""What each archive of a synthetic release holds: every clip and every attribute table, decided before any is made.

An archive is a tuple of entries in the order in which they are written: attribute tables, then clips. Here are the
names and tables of MIMII DG (sections 00-02) and of the DCASE 2022 Task 2 evaluation set (03-05): there, test clips
are numbered through the section and the table alone gives domain, condition and attributes. Those of other families
are in :mod:`mimiidg_build.synthesis.families`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.datasets.synthetic import NOISE_KINDS, SyntheticSpec, archive_names, clip_counts, noise_count
from mimiidg_build.datasets.synthetic_families import DEFAULT_FAMILY
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import Section
from mimiidg_build.synthesis.dsp import stream

EVALUATION_SECTIONS = ("03", "04", "05")

# The release's ten target training clips of these sections take only values between the source domain's.
INTERIOR_TARGET_TRAIN = frozenset({("gearbox", "00"), ("bearing", "00"), ("slider", "00")})


@dataclass(frozen=True)
class ClipEntry:
    """One machine recording. ``name`` is the full stem, which seeds its randomness; ``member`` its path in the zip.

    Machine type and section are those of the physics. The file holds ``seconds`` of sound in ``channels``.
    """

    machine_type: str
    section: str
    domain: str
    split: str
    condition: str
    attributes: tuple[tuple[str, str], ...]
    name: str
    member: str
    seconds: float = 10.0
    channels: int = 1


@dataclass(frozen=True)
class TableEntry:
    """One attribute table, as text."""

    text: str
    member: str


@dataclass(frozen=True)
class NoiseEntry:
    """One recording of factory noise (A to D) or of a pump (W to Z)."""

    kind: str
    index: int
    member: str


Entry = ClipEntry | TableEntry | NoiseEntry


def stem(section: str, domain: str, split: str, condition: str, index: int, attributes: dict[str, str]) -> str:
    """A clip's name as the release writes it, without ``.wav``.

    Parameters
    ----------
    section, domain, split, condition : str
    index : int
        From 0 within the section's domain, split and condition.
    attributes : dict of str to str
        Value by key, in the order of the name.

    Returns
    -------
    str

    Examples
    --------
    >>> stem("02", "source", "train", "normal", 7, {"vel": "6", "f-n": "A"})
    'section_02_source_train_normal_0007_vel_6_f-n_A'
    """
    pairs = "_".join(f"{key}_{value}" for key, value in attributes.items())
    return f"section_{section}_{domain}_{split}_{condition}_{index:04d}_{pairs}"


def interior(section: Section) -> list[dict[str, str]]:
    """Target values that lie strictly between the lowest and the highest source value of the shift parameter."""
    key = section.parameter
    source = [float(values[key]) for values in section.values("source")]
    return [values for values in section.values("target") if min(source) < float(values[key]) < max(source)]


def draw_values(spec: SyntheticSpec, section: Section) -> dict[str, list[dict[str, str]]]:
    """Attribute values of every clip, per domain_split_condition.

    A domain's values are dealt in turn, each cell continuing where the one before it stopped, so that as many occur as
    there are clips, and their numbers differ by one at most; then each cell is shuffled.
    """
    rng = stream(spec.seed, "values", section.machine_type, section.section)
    drawn: dict[str, list[dict[str, str]]] = {}
    for domain in ("source", "target"):
        whole = section.values(domain)
        deck = [whole[i] for i in rng.permutation(len(whole))]
        dealt = 0
        for cell, count in clip_counts(spec.percent).items():
            if not cell.startswith(domain):
                continue
            narrow = cell == "target_train_normal" and (section.machine_type, section.section) in INTERIOR_TARGET_TRAIN
            cards = [values for values in deck if values in interior(section)] if narrow else deck
            hand = [cards[(dealt + i) % len(cards)] for i in range(count)]
            # A narrowed cell deals from its own deck, so the whole deck is still to be dealt from the start.
            dealt += 0 if narrow else count
            drawn[cell] = [hand[i] for i in rng.permutation(count)]
    return drawn


class Row(NamedTuple):
    """One clip before it has a name: ``number`` counts from 0 within the domain, split and condition."""

    domain: str
    split: str
    condition: str
    number: int
    values: dict[str, str]


def section_rows(spec: SyntheticSpec, section: Section) -> list[Row]:
    """Every clip of a section."""
    rows = []
    for cell, hand in draw_values(spec, section).items():
        domain, split, condition = cell.split("_")
        rows += [Row(domain, split, condition, index, values) for index, values in enumerate(hand)]
    return rows


def hidden_order(spec: SyntheticSpec, machine_type: str, section: str, rows: Sequence[Row]) -> dict[int, int]:
    """The numbers that test clips get whose names hide what they are, by place in ``rows``.

    Parameters
    ----------
    spec : SyntheticSpec
    machine_type, section : str
    rows : sequence of Row

    Returns
    -------
    dict of int to int
    """
    test = [i for i, row in enumerate(rows) if row.split == "test"]
    # shuffled: else the number of a clip would tell its condition
    order = stream(spec.seed, "order", machine_type, section).permutation(len(test))
    return dict(zip(test, order.tolist(), strict=True))


def section_clips(spec: SyntheticSpec, section: Section) -> list[ClipEntry]:
    """Every clip of a section: training clips, then test clips, in the order of their member names."""
    machine_type, number = section.machine_type, section.section
    rows, hidden_indices = section_rows(spec, section), {}
    if number in EVALUATION_SECTIONS:
        hidden_indices = hidden_order(spec, machine_type, number, rows)
    clips = []
    for i, (domain, split, condition, index, values) in enumerate(rows):
        index = hidden_indices.get(i, index)
        name = stem(number, domain, split, condition, index, values)
        base = f"section_{number}_{index:04d}" if i in hidden_indices else name
        member = f"{machine_type}/{split}/{base}.wav"
        clips.append(ClipEntry(machine_type, number, domain, split, condition, tuple(values.items()), name, member))
    return sorted(clips, key=lambda clip: (clip.split == "test", clip.member))


def attribute_table(machine_type: str, section: str, clips: list[ClipEntry]) -> TableEntry:
    """``attributes_NN.csv``: every clip in sections 00-02, the test clips with their full names in 03-05.

    Parameters
    ----------
    machine_type : str
    section : str
        Section number.
    clips : list of ClipEntry
        All of the section's.

    Returns
    -------
    TableEntry
    """
    hidden = section in EVALUATION_SECTIONS
    n_attributes = max(len(clip.attributes) for clip in clips)
    header = ["file_name"] + [f"d{i}{what}" for i in range(1, n_attributes + 1) for what in "pv"]
    lines = [header + ["file_name_with_full_attributes"] * hidden]
    for clip in clips:
        if hidden and clip.split == "train":
            continue
        cells = [cell for pair in clip.attributes for cell in pair]
        cells += [""] * (2 * n_attributes - len(cells))
        lines.append([clip.member, *cells] + [f"{machine_type}/{clip.split}/{clip.name}.wav"] * hidden)
    text = "".join(",".join(line) + "\n" for line in lines)
    return TableEntry(text, f"{machine_type}/attributes_{section}.csv")


def noise_entries(spec: SyntheticSpec) -> list[NoiseEntry]:
    """The members of ``noise.zip``."""
    count = noise_count(spec.percent)
    return [
        NoiseEntry(kind, index, pattern.replace("*", f"{index:04d}"))
        for kind, pattern in NOISE_KINDS.items()
        for index in range(count)
    ]


@lru_cache(maxsize=32)  # a worker asks again for every batch, and the content of an archive is decided once
def entries(spec: SyntheticSpec, name: str) -> tuple[Entry, ...]:
    """Everything that the archive ``name`` holds, in the order in which it is written.

    Raises
    ------
    UsageError
        The release has no archive of that name.
    """
    if name not in archive_names(spec):
        raise UsageError(f"{spec.name} has no archive {name!r}, only {', '.join(archive_names(spec))}")
    if name == "noise.zip":
        return tuple(noise_entries(spec))
    if spec.family != DEFAULT_FAMILY:
        from mimiidg_build.synthesis.families import family_entries  # which names what is drawn here

        return family_entries(spec, name)
    machine_type = name.removesuffix(".zip").removesuffix("_eval")
    tables: list[TableEntry] = []
    clips: list[ClipEntry] = []
    for section in load_recipe("table1").sections:
        hidden = section.section in EVALUATION_SECTIONS
        if section.machine_type == machine_type and hidden == name.endswith("_eval.zip"):
            own = section_clips(spec, section)
            tables.append(attribute_table(machine_type, section.section, own))
            clips += own
    return (*tables, *clips)
