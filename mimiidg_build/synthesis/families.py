"""Names and tables of synthetic releases that are laid out as other families than MIMII DG's.

The clips and their physics are those of :mod:`mimiidg_build.synthesis.contents`; only what they are called, where they
lie and what is told of them differs. Source of the names: the organisers' releases and lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.datasets.synthetic import TRUTH_LIST, SyntheticSpec
from mimiidg_build.datasets.synthetic_families import FAMILIES, Machine, Unit
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.synthesis.contents import ClipEntry, Entry, Row, TableEntry, hidden_order, section_rows


class Named(NamedTuple):
    """A clip with its names: ``file`` as the archive has it, ``full`` with nothing hidden, both with their folder."""

    row: Row
    file: str
    full: str

    @property
    def is_hidden(self) -> bool:
        """Whether the file's name hides what the clip is."""
        return self.file != self.full


class NameParts(NamedTuple):
    """What a name is made of. ``hidden`` is the number that stands in for what is hidden, None where nothing is."""

    machine_type: str
    section: str
    row: Row
    tail: str
    hidden: int | None


# ---- Names, by layout ------------------------------------------------------------------------------------------------


def _mimii(parts: NameParts) -> tuple[str, str]:
    folder = "normal" if parts.row.condition == "normal" else "abnormal"
    name = f"{parts.machine_type}/{parts.section}/{folder}/{parts.row.number:08d}.wav"
    return name, name


def _dcase2020(parts: NameParts) -> tuple[str, str]:
    folder = f"{parts.machine_type}/{parts.row.split}"
    full = f"{folder}/{parts.row.condition}_{parts.section}_{parts.row.number:08d}.wav"
    return full if parts.hidden is None else f"{folder}/{parts.section}_{parts.hidden:08d}.wav", full


def _dcase2021(parts: NameParts) -> tuple[str, str]:
    row = parts.row
    folder = f"{parts.machine_type}/{'train' if row.split == 'train' else f'{row.domain}_test'}"
    start = f"section_{parts.section}_{row.domain}_{row.split}"
    if parts.hidden is not None:  # the organisers' list gives true names without their tails
        return f"{folder}/{start}_{parts.hidden:04d}.wav", f"{folder}/{start}_{row.condition}_{row.number:04d}.wav"
    words = "_".join(row.values.values())  # values without their keys
    name = f"{folder}/{start}_{row.condition}_{row.number:04d}_strength_1_{words}.wav"
    return name, name


def _dcase2022(parts: NameParts) -> tuple[str, str]:
    folder, row = f"{parts.machine_type}/{parts.row.split}", parts.row
    full = (
        f"{folder}/section_{parts.section}_{row.domain}_{row.split}_{row.condition}_{row.number:04d}_{parts.tail}.wav"
    )
    return full if parts.hidden is None else f"{folder}/section_{parts.section}_{parts.hidden:04d}.wav", full


_NAMES: dict[str, Callable[[NameParts], tuple[str, str]]] = {
    "mimii": _mimii,
    "dcase2020": _dcase2020,
    "dcase2021": _dcase2021,
    "dcase2022": _dcase2022,
}


def _pairs(machine: Machine, row: Row) -> dict[str, str]:
    """The attributes that the names of a machine type tell."""
    if machine.tail == "none":
        return {}
    return {"car": "A1", **row.values, "mic": "1"} if machine.tail == "three" else row.values


# ---- Clips -----------------------------------------------------------------------------------------------------------


def _without_domains(rows: Sequence[Row], source: Sequence[dict[str, str]]) -> list[Row]:
    """The rows of a release without domains: nothing shifts, and clips are numbered through split and condition."""
    counts: dict[tuple[str, str], int] = {}
    found = []
    for row in rows:
        index = counts.get((row.split, row.condition), 0)
        counts[row.split, row.condition] = index + 1
        values = row.values if row.domain == "source" else source[index % len(source)]
        found.append(Row("", row.split, row.condition, index, values))
    return found


def _section(spec: SyntheticSpec, machine_type: str, unit: Unit, hides: bool) -> list[Named]:
    """The clips of a section with their names."""
    family = FAMILIES[spec.family]
    machine = family.machines[machine_type]
    physics = load_recipe("table1").row(SectionId(machine.physics, unit.physics))
    assert physics is not None
    rows = section_rows(spec, physics)
    if not family.has_domains:
        rows = _without_domains(rows, physics.values("source"))
    if family.layout == "mimii":  # normal clips are numbered through: which are for training, the reader decides
        normal = sum(row.condition == "normal" and row.split == "train" for row in rows)
        rows = [
            row._replace(number=row.number + normal) if (row.split, row.condition) == ("test", "normal") else row
            for row in rows
        ]
    hidden = hidden_order(spec, machine_type, unit.section, rows) if hides else {}
    named = []
    for place, row in enumerate(rows):
        tail = "_".join(f"{key}_{value}" for key, value in _pairs(machine, row).items()) or "noAttribute"
        parts = NameParts(machine_type, unit.section, row, tail, hidden.get(place))
        named.append(Named(row, *_NAMES[family.layout](parts)))
    return named


@lru_cache(maxsize=64)
def _units(spec: SyntheticSpec, machine_type: str, part: str) -> tuple[tuple[Unit, tuple[Named, ...]], ...]:
    """The sections of one machine type in one part of the release, each with its clips."""
    machine = FAMILIES[spec.family].machines[machine_type]
    wanted = {"train": ("train",), "test": ("test",), "dev": ("train", "test")}[part]
    return tuple(
        (unit, tuple(named for named in _section(spec, machine_type, unit, part != "dev") if named.row.split in wanted))
        for unit in (machine.dev if part == "dev" else machine.evaluation)
    )


def family_entries(spec: SyntheticSpec, name: str) -> tuple[Entry, ...]:
    """Everything that an archive of the release holds: attribute tables, then clips by name."""
    family = FAMILIES[spec.family]
    if name == TRUTH_LIST:
        return (TableEntry("".join(_truth(spec)), TRUTH_LIST),)
    machine_type, part = next(
        (archive.machine_type, archive.part) for archive in family.archives(spec.evaluation) if archive.name == name
    )
    machine, tables, clips = family.machines[machine_type], [], []
    for unit, section in _units(spec, machine_type, part):
        if family.layout == "dcase2022" and machine.tail != "none" and part != "test":
            tables.append(_table(machine_type, unit.section, machine, section))
        clips += [
            ClipEntry(
                *(machine.physics, unit.physics, named.row.domain, named.row.split, named.row.condition),
                *(tuple(named.row.values.items()), f"{spec.family}/{named.full}", named.file),
                machine.seconds,
                family.channels,
            )
            for named in section
        ]
    return (*tables, *sorted(clips, key=lambda clip: clip.member))


def _table(machine_type: str, section: str, machine: Machine, clips: Sequence[Named]) -> TableEntry:
    """``attributes_NN.csv`` of a section whose names tell everything."""
    rows = [[named.file, *(word for pair in _pairs(machine, named.row).items() for word in pair)] for named in clips]
    width = max(map(len, rows))
    header = ["file_name", *(f"d{number // 2 + 1}{'pv'[number % 2]}" for number in range(width - 1))]
    lines = [header, *(row + [""] * (width - len(row)) for row in sorted(rows))]
    text = "".join(",".join(line) + "\n" for line in lines)
    return TableEntry(text, f"{machine_type}/attributes_{section}.csv")


def _truth(spec: SyntheticSpec) -> Iterator[str]:
    """The lines of the list that says what hidden clips are: a machine type, then its clips by number."""
    family = FAMILIES[spec.family]
    for archive in family.archives(spec.evaluation):
        if archive.part != "test":
            continue
        yield f"{archive.machine_type}\n"
        for _, clips in _units(spec, archive.machine_type, "test"):
            for named in sorted(clips, key=lambda named: named.file):
                words = [path.rpartition("/")[2] for path in (named.file, named.full)]
                code = [str(int(named.row.condition == "anomaly"))] if family.layout == "dcase2020" else []
                yield ",".join([*words, *code]) + "\n"
