"""What an export says of itself, beside the released layout: where it comes from, and how it was mixed.

    README.md       what it is, its provenance, its licence
    variant.toml    the variant, as `mimiidg build` reads it
    mix_plan.csv    which noise at what gain, one row a clip
    dataset.toml    of a release: a manifest that this program, and a person, can read

They are files, never folders: the official baselines take every folder beside the machine types' for one of those. All
of them depend on the store alone, so that equal stores give equal exports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import StoreAttributes
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import markdown_table, section_rows

README, VARIANT, MIX_PLAN, MANIFEST = "README.md", "variant.toml", "mix_plan.csv", "dataset.toml"


def about_files(store: Store, *, as_zip: bool) -> dict[str, bytes]:
    """Content by name of all but the manifest; the README tells one export from any other."""
    variant = store.attributes.variant
    shown = {"name": variant.name, "dataset": variant.dataset} | variant.model_dump(
        mode="json", exclude_defaults=True, exclude_none=True
    )
    return {
        MIX_PLAN: store.mix_plan.to_csv(index=False).encode(),
        VARIANT: "".join(f"{key} = {toml_value(value)}\n" for key, value in shown.items()).encode(),
        README: readme(store, as_zip=as_zip).encode(),
    }


def readme(store: Store, *, as_zip: bool) -> str:
    """``README.md``: what the export is, what it was made of, and its licence."""
    attributes, provenance = store.attributes, store.attributes.provenance
    n_clips = sum(section.n_clips for section in store.sections.values())
    layout = "one zip archive" if as_zip else "one folder"
    recordings = [f"{kind}: {name}" for kind, names in provenance.noise.items() for name in names]
    digests = [digest for names in provenance.noise.values() for digest in names.values()]
    parts = [
        f"# {attributes.variant.name}",
        attributes.variant.title,
        f"{n_clips:,} clips, exported from the dataset {attributes.dataset} ({attributes.data_kind}) by "
        f"mimiidg_build {provenance.versions.get('mimiidg_build', '')}, {layout} a machine type in the layout and "
        "naming of MIMII DG.",
        f"- store: `{store.fingerprint}`\n- seed of every draw: {attributes.variant.seed}\n"
        f"- license: {attributes.license}\n- citation: {attributes.citation}",
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
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)  # what JSON escapes, TOML reads the same


def manifest(store: Store, archives: Sequence[Path], sums: Mapping[str, str]) -> bytes:
    """A dataset manifest of an export as a release. Where noise was added, its recordings are mixed now.

    Parameters
    ----------
    store : Store
    archives : sequence of Path
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
    lines = [
        f'name = "{name}"',
        f"title = {toml_value(attributes.variant.name + ', exported from ' + attributes.dataset)}",
        f'recording = "{recording}"',
        f'layout = "{attributes.layout}"',
        f'protocol = "{attributes.protocol}"',
        f"machine_types = [{', '.join(toml_value(name) for name in machines)}]",
        f"audio = {_audio(attributes)}",
        *([f'recipe = "{attributes.recipe}"'] if attributes.recipe else []),
        f"citation = {toml_value(attributes.citation)}",
        "",
        "[[records]]",
        f'id = "{name}"',
        f'title = "{name}"',
        f"license = {toml_value(attributes.license)}",
    ]
    for path in archives:
        lines += ["", "[[records.files]]", f'name = "{path.name}"', f"size_bytes = {path.stat().st_size}"]
        lines += [f'md5 = "{sums[path.name]}"']
    return ("\n".join(lines) + "\n").encode()


def _audio(attributes: StoreAttributes) -> str:
    """What the exported files are, as a manifest's ``audio``."""
    shapes = {SectionId.parse(name).machine_type: section.audio for name, section in attributes.sections.items()}
    first = next(iter(shapes.values()))
    lengths = ", ".join(f"{machine_type} = {audio.seconds!r}" for machine_type, audio in shapes.items())
    return f"{{ sample_rate = {first.sample_rate}, channels = {first.channels or 1}, clip_seconds = {{ {lengths} }} }}"
