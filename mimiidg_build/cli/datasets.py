"""``mimiidg datasets``: what datasets there are, and what one of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json, print_lines, print_table

if TYPE_CHECKING:
    from mimiidg_build.fetch.fetched import ArchiveState
    from mimiidg_build.schemas.manifests import DatasetManifest, Record
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("name", required=False, shell_complete=complete.datasets)
@common
def datasets(name: str | None, root: Place, as_json: bool, quiet: bool) -> None:
    """List the datasets, or show one: records, archives, checksums.

    Size, licence and what is fetched under ROOT of each. NAME may also be a synthetic release or the path of a manifest
    of your own.

    Example: mimiidg datasets dcase2022
    """
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.toml_files import shipped_names
    from mimiidg_build.fetch.fetched import archive_states

    if name is not None:
        dataset = load_dataset(name)
        _show(dataset, archive_states(dataset, root), as_json)
        return
    found = [load_dataset(shipped) for shipped in shipped_names("datasets")]
    listed = [_summary(dataset, archive_states(dataset, root)) for dataset in found]
    if as_json:
        print_json(listed)
        return
    print_table(f"datasets, and what of them is under {root}", [_row(summary) for summary in listed])
    click.echo("mimiidg datasets NAME shows one of them; synthetic-5pct and its kin are made here.")


def _summary(dataset: DatasetManifest, states: Sequence[ArchiveState]) -> dict[str, Any]:
    """What the list says of a dataset; None where it is not known."""
    sizes = [state.size_bytes for state in states if state.size_bytes is not None]
    clips = _n_clips(dataset)
    seconds = dataset.audio.clip_seconds
    return {
        "name": dataset.name,
        "title": dataset.title,
        "machine_types": dataset.machine_types,
        "clips": clips,
        "hours": round(clips * seconds / 3600, 1) if clips and isinstance(seconds, float) else None,
        "size_bytes": sum(sizes) if sizes else None,
        "size_is_of_all": len(sizes) == len(states),
        "licenses": list(dict.fromkeys(record.license for record in dataset.records)),
        "archives": len(states),
        "fetched": sum(state.is_fetched for state in states),
    }


def _n_clips(dataset: DatasetManifest) -> int | None:
    """Clips of all sections, where their number is published."""
    from mimiidg_build.datasets.manifest import recipe_of

    sections = [
        row for row in recipe_of(dataset).sections if row.in_paper and row.machine_type in dataset.machine_types
    ]
    return sum(dataset.counts.values()) * len(sections) or None


def _row(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": summary["name"],
        "title": summary["title"].partition(":")[0],
        "machine types": str(len(summary["machine_types"])),
        "clips": "" if summary["clips"] is None else f"{summary['clips']:,}",
        "hours": "" if summary["hours"] is None else f"{summary['hours']:g}",
        "GB": _gigabytes(summary),
        "licence": ", ".join(summary["licenses"]),
        "archives": str(summary["archives"]),
        "fetched": str(summary["fetched"] or ""),
    }


def _gigabytes(summary: dict[str, Any], unit: str = "") -> str:
    if summary["size_bytes"] is None:
        return ""
    return f"{summary['size_bytes'] / 1e9:.1f}{unit}{'' if summary['size_is_of_all'] else ' or more'}"


# ---- One dataset -----------------------------------------------------------------------------------------------------


def _show(dataset: DatasetManifest, states: Sequence[ArchiveState], as_json: bool) -> None:
    content = _content(dataset, states)
    if as_json:
        print_json(content)
        return
    shown = content | {"size_bytes": None, "size": _gigabytes(_summary(dataset, states), " GB")}
    print_lines(
        f"{key.replace('_', ' ')}: {_text(value)}" for key, value in shown.items() if key not in LISTS and value
    )
    for record in content["records"]:
        print_lines(["", f"record {record['id']}: {record['title']} ({record['license']})"])
        print_lines(_section_lines(record["sections"]))
        print_table("", [_archive_row(state) for state in states if state.record == record["id"]])


def _section_lines(sections: dict[str, list[str]]) -> list[str]:
    """The sections of each machine type, one line for those that have the same.

    >>> _section_lines({"fan": ["id_00"], "pump": ["id_00"], "ToyCar": ["id_01"]})
    ['  sections of fan, pump: id_00', '  sections of ToyCar: id_01']
    """
    machines: dict[str, list[str]] = {}
    for machine, names in sections.items():
        machines.setdefault(", ".join(names), []).append(machine)
    return [f"  sections of {', '.join(its)}: {names}" for names, its in machines.items()]


LISTS = ("records", "archives")


def _content(dataset: DatasetManifest, states: Sequence[ArchiveState]) -> dict[str, Any]:
    summary = _summary(dataset, states)
    return {
        "name": dataset.name,
        "title": dataset.title,
        "citation": " ".join(dataset.citation.split()),
        "url": dataset.url,
        "recordings": dataset.recording,
        "machine_types": dataset.machine_types,
        "clips": summary["clips"],
        "hours": summary["hours"],
        "size_bytes": summary["size_bytes"],
        "audio": dataset.audio.model_dump(mode="json"),
        "layout": dataset.layout,
        "protocol": dataset.protocol,
        "recipe": dataset.recipe,
        "noise": list(dataset.noise),
        "noise_from": dataset.noise_from,
        "noise_note": " ".join((dataset.noise_note or "").split()),
        "records": [_record(dataset, record) for record in dataset.records],
        "archives": [asdict(state) for state in states],
    }


def _record(dataset: DatasetManifest, record: Record) -> dict[str, Any]:
    sections = {machine: record.sections_of(machine) for machine in dataset.machine_types}
    return {
        "id": record.id,
        "title": record.title,
        "license": record.license,
        "doi": record.doi,
        "sections": {machine: names for machine, names in sections.items() if names and _holds(record, machine)},
    }


def _holds(record: Record, machine_type: str) -> bool:
    return any(machine_type in file.name.removesuffix(".zip").split("_") for file in record.files)


def _archive_row(state: ArchiveState) -> dict[str, str]:
    size = "" if state.size_bytes is None else f"{'about ' * state.is_approximate}{state.size_bytes / 1e6:,.1f}"
    md5 = f"{state.md5} ({state.md5_is})" if state.md5 else "pinned on first fetch"
    return {"archive": state.name, "MB": size, "md5": md5, "fetched": "yes" if state.is_fetched else ""}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items() if part is not None).replace("_", " ")
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
