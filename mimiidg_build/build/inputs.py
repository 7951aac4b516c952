"""What decides a store's bytes, read and validated before any audio is opened, and the fingerprints made of it.

A fingerprint is the sha256 of the canonical form of everything that decides the bytes: archives' checksums, clip table,
Table 1's row, the variant's settings, the noise recordings' digests, the versions of the code that computes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build import features
from mimiidg_build.build.checks import check_held, check_snrs
from mimiidg_build.build.render import SHARD_CLIPS
from mimiidg_build.datasets.findings import raise_on_errors
from mimiidg_build.datasets.manifest import load_dataset, load_table1
from mimiidg_build.datasets.noise_choice import check_noise_kinds, choose_noise
from mimiidg_build.datasets.release import Release
from mimiidg_build.errors import UsageError
from mimiidg_build.fetch.dataset import noise_archive, validate_dataset
from mimiidg_build.mixing import mix, mix_plan, noise_bank
from mimiidg_build.mixing.noise_recordings import ListedNoise, list_noise
from mimiidg_build.schemas.manifests import DatasetManifest, Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import FORMAT_VERSION
from mimiidg_build.schemas.tables import MixPlan
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.cached_table import UNREADABLE
from mimiidg_build.storage.places import Place


def digest(content: object) -> str:
    """sha256 of the canonical form of JSON-able content.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Inputs:
    """Everything that decides a store's bytes, read and validated; no audio opened yet."""

    variant: Variant
    release: Release
    noise: dict[str, ListedNoise]
    plan: pd.DataFrame | None = None
    fingerprints: dict[str, str] = field(default_factory=dict)  # section id -> digest

    @property
    def fingerprint(self) -> str:
        """Name of the store."""
        return digest({"format": FORMAT_VERSION, "variant": self.variant.name, "sections": self.fingerprints})[:32]

    def clips(self, section: Section) -> pd.DataFrame:
        """The section's rows of the clip table."""
        clips = self.release.clips
        chosen = (clips["machine_type"] == section.machine_type) & (clips["section"] == section.section)
        return clips[chosen].reset_index(drop=True)

    @property
    def sections(self) -> list[Section]:
        """Table 1's rows of the sections to build."""
        rows = (load_table1().section(*SectionId.parse(section_id)) for section_id in self.fingerprints)
        return [row for row in rows if row is not None]


def read_inputs(
    variant: Variant,
    root: Place,
    *,
    plan: Path | None = None,
    allow: Collection[str] = (),
    release: Release | None = None,
) -> Inputs:
    """Read archives' directories, tables and noise recordings' names: what a fingerprint needs.

    Parameters
    ----------
    variant : Variant
    root : Place
    plan : Path, optional
        A mix plan to render instead of drawing one (parquet or CSV).
    allow : collection of str
        Kinds of findings that are warnings rather than errors.
    release : Release, optional
        The dataset, if it was read already.

    Raises
    ------
    DataError, FetchError, UsageError
        The data has errors; an archive is missing; a section, SNR or noise kind that the variant needs is not given.
    """
    dataset = load_dataset(variant.dataset)
    if release is None:
        machines = {choice.split("/")[0] for choice in variant.sections}
        release = validate_dataset(dataset, root, lambda machine: not machines or machine in machines, allow)
    raise_on_errors(release.findings)
    held = [row for key in release.sections if (row := load_table1().section(*key)) is not None]
    check_held(variant, dataset, held, [str(key) for key in release.sections])
    sections = [row for row in held if variant.wants(row.machine_type, row.section)]
    mixing = variant.mixing == "table1"
    noise = _listed_noise(variant, sections, dataset, root) if mixing else {}
    given = read_plan(plan) if plan else None
    inputs = Inputs(variant, release, noise, given)  # without fingerprints, which are made from it
    return Inputs(variant, release, noise, given, {s.id: section_fingerprint(inputs, s) for s in sections})


def _listed_noise(
    variant: Variant, sections: list[Section], dataset: DatasetManifest, root: Place
) -> dict[str, ListedNoise]:
    """What is there of every noise kind that the sections use."""
    check_snrs(sections, variant)  # before any noise is looked for
    check_noise_kinds(variant, f"variant {variant.name}")
    return {
        kind: list_noise(kind, given, lambda name, file: noise_archive(root, name, file))
        for kind, given in choose_noise(variant, dataset, sections).items()
    }


def section_fingerprint(inputs: Inputs, section: Section) -> str:
    """Digest of everything that decides the bytes of one section."""
    variant, clips = inputs.variant, inputs.clips(section)
    content: dict[str, Any] = {
        # Versions are raised by hand: without that, a store of the old code passes for one of the new.
        "format": [FORMAT_VERSION, SHARD_CLIPS, features.LOGMEL_VERSION],
        "features": variant.features.model_dump(),
        "clips": clips.drop(columns="archive").to_csv(index=False),
        "archives": {key: inputs.release.checksums[key] for key in sorted(set(clips["archive"]))},
        "mixing": variant.mixing,
    }
    # Only here, so that a new version of the mix or another seed leaves stores without added noise valid.
    if variant.mixing == "table1":
        content |= {
            "mix": [mix_plan.MIX_PLAN_VERSION, mix.RENDER_VERSION, noise_bank.NOISE_VERSION],
            "recording": inputs.release.dataset.recording,
            "table1": section.model_dump(include={"noise", "snr_db", "snr_attribute", "snr_db_by_value"}),
            "snr": [variant.snr_offset_db, variant.snr_db.get(section.id)],
            "seed": variant.seed,
            "full_scale": variant.full_scale,
            "noise": {
                kind: noise_bank.kind_fingerprint(
                    kind, inputs.noise[kind].recordings, load_table1().n_samples, noise_bank.cutting_of(variant, kind)
                )
                for kind in section.noise_kinds
            },
        }
        # only where it is set, so that variants without it keep their stores
        if split := [kind for kind in section.noise_kinds if variant.settings_of(kind).split]:
            content["noise_split"] = split
    if inputs.plan is not None:
        rows = inputs.plan[(inputs.plan["machine_type"] + "/" + inputs.plan["section"]) == section.id]
        content["plan"] = rows.to_csv(index=False)
    return digest(content)[:32]


def read_plan(path: Path) -> pd.DataFrame:
    """A mix plan from a parquet or CSV file.

    Raises
    ------
    UsageError
        Not readable, or not a mix plan.
    """
    from pandera.errors import SchemaErrors

    # As text, or section 00 would be read as 0. Only the SNR may be missing: an absent noise layer is an empty text.
    strings = {name: str for name in MixPlan.to_schema().columns if not name.endswith(("_db", "_gain", "attenuation"))}
    try:
        if path.suffix == ".csv":
            plan = pd.read_csv(path, dtype=strings, keep_default_na=False, na_values={"added_noise_snr_db": [""]})
        else:
            plan = pd.read_parquet(path)
        return MixPlan.validate(plan, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case", "index"]].head(5).to_string(index=False)
        raise UsageError(f"{path}: not a mix plan (`mix_plan.parquet` of a store is one):\n{cases}") from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: cannot be read as a mix plan: {error}") from None
