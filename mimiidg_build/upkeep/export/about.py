"""What an export says of itself, beside its clips: where they come from, and how they were mixed.

    README.md       what it is, its provenance, its licences
    variant.toml    the variant, as `mimiidg build` reads it
    mix_plan.csv    which noise at what gain, one row a clip
    dataset.toml    of a release: a manifest that this program, and a person, can read

They are files, never folders: the official baselines take every folder beside the machine types' for one of those. All
of them depend on the store alone, so that equal stores give equal exports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from mimiidg_build.datasets.toml_files import MAX_DOTS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import StoreAttributes
from mimiidg_build.store.croissant import NOT_STATED, stated_sources
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import markdown_table, section_rows

README, VARIANT, MIX_PLAN, MANIFEST = "README.md", "variant.toml", "mix_plan.csv", "dataset.toml"


def about_files(store: Store, form: str, front_matter: str = "") -> dict[str, bytes]:
    """Content by name of all but the manifest; the README tells one export from any other.

    Parameters
    ----------
    store : Store
    form : str
        What the clips were written as, in words.
    front_matter : str
        What the README begins with.

    Returns
    -------
    dict of str to bytes
    """
    variant = store.attributes.variant
    shown = {"name": variant.name, "dataset": variant.dataset} | variant.model_dump(
        mode="json", exclude_defaults=True, exclude_none=True
    )
    return {
        MIX_PLAN: store.mix_plan.to_csv(index=False).encode(),
        VARIANT: "".join(f"{key} = {toml_value(value)}\n" for key, value in shown.items()).encode(),
        README: (front_matter + readme(store, form)).encode(),
    }


def readme(store: Store, form: str) -> str:
    """``README.md``: what the export is, what it was made of, and its licences."""
    attributes, provenance = store.attributes, store.attributes.provenance
    n_clips = sum(section.n_clips for section in store.sections.values())
    recordings = [f"{kind}: {name}" for kind, names in provenance.noise.items() for name in names]
    digests = [digest for names in provenance.noise.values() for digest in names.values()]
    parts = [
        f"# {attributes.variant.name}",
        attributes.variant.title,
        f"{n_clips:,} clips, exported from the dataset {attributes.dataset} ({attributes.data_kind}) by "
        f"mimiidg_build {provenance.versions.get('mimiidg_build', '')}, {form}. `clips.parquet` has a row for each of "
        "them, `croissant.json` describes all of it for other programs.",
        f"- store: `{store.fingerprint}`\n- seed of every draw: {attributes.variant.seed}",
        "## Licences and citations",
        markdown_table(_source_rows(attributes)),
        "## Sections",
        "*a* is the mean power of a section's recordings before mixing; the attenuation is common to all of its clips.",
        markdown_table(section_rows(store)),
        "## Provenance",
        f"`{MIX_PLAN}` says of every clip which noise was added at what gain, `{VARIANT}` builds the variant again:",
        f"    mimiidg build {VARIANT}",
        markdown_table([{"archive": name, "md5": md5} for name, md5 in provenance.archives.items()]),
        markdown_table([{"noise": n, "digest": d} for n, d in zip(recordings, digests, strict=True)]),
        markdown_table([{"software": name, "version": version} for name, version in provenance.versions.items()]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _source_rows(attributes: StoreAttributes) -> list[dict[str, str]]:
    return [
        {
            "source": source.name,
            "holds": source.role,
            "licence": source.license or NOT_STATED,
            "citation": " ".join((source.citation or "").split()),
            "address": source.url or "",
        }
        for source in stated_sources(attributes)
    ]


def toml_value(value: object) -> str:
    """A value of JSON's kinds in TOML.

    >>> print(toml_value({"A": ["x", 1.5], "b": True}))
    {"A" = ["x", 1.5], "b" = true}
    >>> print(toml_value('the "fan"'))
    "the \\"fan\\""
    """
    match value:
        case dict():
            return "{" + ", ".join(f"{toml_value(key)} = {toml_value(entry)}" for key, entry in value.items()) + "}"
        case list():
            entries = list(map(toml_value, value))
            # a recipe's rows come one a line: files of long lines are refused
            is_long = sum(entry.count(".") for entry in entries) > MAX_DOTS / 2
            return "[" + (",\n    " if is_long else ", ").join(entries) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)  # what JSON escapes, TOML reads the same


def manifest(store: Store, directory: Path, sums: Mapping[str, str]) -> bytes:
    """A dataset manifest of an export as a release. Where noise was added, its recordings are mixed now.

    Parameters
    ----------
    store : Store
    directory : Path
        Where the archives lie.
    sums : mapping of str to str
        The archives' md5 by name.

    Returns
    -------
    bytes
        ``dataset.toml``.
    """
    attributes = store.attributes
    name = re.sub("[^A-Za-z0-9_-]", "_", f"{attributes.variant.name}-{store.fingerprint[:12]}")
    recording = "mixed" if attributes.variant.adds_noise else attributes.recording
    machines = dict.fromkeys(section_id.machine_type for section_id in attributes.section_ids)
    sources = stated_sources(attributes)
    licences = dict.fromkeys(source.license or NOT_STATED for source in sources)
    citations = dict.fromkeys(source.citation for source in sources if source.citation)
    lines = [
        f'name = "{name}"',
        f"title = {toml_value(attributes.variant.name + ', exported from ' + attributes.dataset)}",
        f'recording = "{recording}"',
        f'layout = "{attributes.layout}"',
        f'protocol = "{attributes.protocol}"',
        f"machine_types = [{', '.join(toml_value(name) for name in machines)}]",
        f"audio = {_audio(attributes)}",
        *([f'recipe = "{attributes.recipe}"'] if attributes.recipe else []),
        f"citation = {toml_value(chr(10).join(citations) or attributes.citation)}",
        "",
        "[[records]]",
        f'id = "{name}"',
        f'title = "{name}"',
        f"license = {toml_value('; '.join(licences))}",
    ]
    for file, md5 in sums.items():
        lines += ["", "[[records.files]]", f"name = {toml_value(file)}"]
        lines += [f"size_bytes = {(directory / file).stat().st_size}", f'md5 = "{md5}"']
    return ("\n".join(lines) + "\n").encode()


def _audio(attributes: StoreAttributes) -> str:
    """What the exported files are, as a manifest's ``audio``; no length where a machine type's sections differ."""
    shapes: dict[str, set[float]] = {}
    for name, section in attributes.sections.items():
        shapes.setdefault(SectionId.parse(name).machine_type, set()).add(section.audio.seconds)
    first = next(iter(attributes.sections.values())).audio
    lengths = ", ".join(f"{name} = {found.pop()!r}" for name, found in shapes.items() if len(found) == 1)
    return f"{{ sample_rate = {first.sample_rate}, channels = {first.channels or 1}, clip_seconds = {{ {lengths} }} }}"
