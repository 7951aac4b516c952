"""What decides a store's bytes, read and validated before any audio is opened, and the fingerprints made of it.

A fingerprint is the sha256 of the canonical form of everything that decides the bytes: archives' checksums, clip table,
the recipe's row, the variant's settings, the noise recordings' digests, the versions of the code that computes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build import features
from mimiidg_build.audio.wav import ClipFormat
from mimiidg_build.build.audio import clip_format, section_shapes
from mimiidg_build.build.checks import check_features, check_held, check_snrs
from mimiidg_build.build.render import SHARD_CLIPS
from mimiidg_build.datasets.findings import raise_on_errors
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.noise_choice import check_noise_kinds, choose_noise
from mimiidg_build.datasets.recipes import section_rows
from mimiidg_build.datasets.release import Release
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import UsageError
from mimiidg_build.fetch.dataset import noise_archive, validate_dataset
from mimiidg_build.mixing import mix, mix_plan, noise_bank
from mimiidg_build.mixing.noise_recordings import ListedNoise, list_noise
from mimiidg_build.schemas.manifests import DatasetManifest, MixRule, Section
from mimiidg_build.schemas.sections import SectionId, rows_by_section
from mimiidg_build.schemas.stores import FORMAT_VERSION, SectionAudio
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
    shapes: dict[SectionId, SectionAudio]  # of every section of the release
    plan: pd.DataFrame | None = None
    rows: tuple[Section, ...] = ()  # the recipe's, of the sections to build
    fingerprints: dict[str, str] = field(default_factory=dict)  # section id -> digest

    @property
    def fingerprint(self) -> str:
        """Name of the store."""
        return digest({"format": FORMAT_VERSION, "variant": self.variant.name, "sections": self.fingerprints})[:32]

    def clips(self, section: Section) -> pd.DataFrame:
        """The section's rows of the clip table."""
        return self._clips_by_section[section.section_id]

    @cached_property
    def _clips_by_section(self) -> dict[SectionId, pd.DataFrame]:
        """Cut once: pandas takes 4 ms to find a section's rows, and each is asked for several times.

        Each is a slice: a section's rows stand together, and a slice of a table copies nothing of it.
        """
        clips, cut = self.release.clips, {}
        for section_id, rows in self.release.rows_by_section.items():
            assert rows[-1] - rows[0] + 1 == len(rows), f"{section_id}: the clip table is not sorted by section"
            cut[section_id] = clips.iloc[rows[0] : rows[-1] + 1].reset_index(drop=True)
        return cut

    def given_plan(self, section: Section) -> pd.DataFrame | None:
        """The section's rows of a user's plan, perhaps none; None where there is no plan."""
        return None if self.plan is None else self.plan.iloc[self._plan_rows.get(section.section_id, [])]

    @cached_property
    def _plan_rows(self) -> dict[SectionId, npt.NDArray[np.intp]]:
        return {} if self.plan is None else rows_by_section(self.plan)

    @property
    def sections(self) -> list[Section]:
        """The recipe's rows of the sections to build."""
        return list(self.rows)

    def audio(self, section: Section) -> SectionAudio:
        """The shape of the section's clips as stored."""
        return self.shapes[section.section_id]

    @property
    def any_clip_format(self) -> ClipFormat:
        """What clips of all sections are held to and what is kept of them: all but their length."""
        stated, variant = self.release.dataset.audio, self.variant
        return clip_format(stated, variant, SectionAudio(sample_rate=variant.sample_rate or stated.sample_rate))

    def clip_format(self, section: Section) -> ClipFormat:
        """What the section's clips are held to, and what is kept of them."""
        return clip_format(self.release.dataset.audio, self.variant, self.audio(section))


def read_inputs(
    variant: Variant,
    root: Place,
    *,
    plan: Path | None = None,
    allow: Collection[str] = (),
    release: Release | None = None,
    truth: Truth | Path | Sequence[Path] | None = None,
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
    truth : Truth, path or paths, optional
        The organisers' lists of what clips are whose names hide it.

    Raises
    ------
    DataError, FetchError, UsageError
        The data has errors; an archive is missing; a section, SNR or noise kind that the variant needs is not given.
    """
    dataset = load_dataset(variant.dataset)
    if release is None:
        wants = variant.wants_machine_type
        release = validate_dataset(dataset, root, wants, allow, sections=variant.sections, truth=truth)
    raise_on_errors(release.findings)
    held = [Section(machine_type=key.machine_type, section=key.section) for key in release.sections]
    check_held(variant, dataset, held, [row.id for row in held])
    sections = section_rows(variant, dataset, release.sections, release.clips)
    noise = _listed_noise(variant, sections, dataset, root) if variant.adds_noise else {}
    shapes = section_shapes(release, variant)
    check_features(variant, {shapes[row.section_id].sample_rate for row in sections})
    inputs = Inputs(variant, release, noise, shapes, read_plan(plan) if plan else None, sections)
    return replace(inputs, fingerprints={row.id: section_fingerprint(inputs, row) for row in sections})


def _listed_noise(
    variant: Variant, sections: Collection[Section], dataset: DatasetManifest, root: Place
) -> dict[str, ListedNoise]:
    """What is there of every noise kind that the sections use."""
    check_snrs(sections, variant)  # before any noise is looked for
    check_noise_kinds(variant, f"variant {variant.name}", sections)
    return {
        kind: list_noise(kind, given, lambda name, file: noise_archive(root, name, file))
        for kind, given in choose_noise(variant, dataset, sections).items()
    }


def section_fingerprint(inputs: Inputs, section: Section) -> str:
    """Digest of everything that decides the bytes of one section."""
    variant, clips = inputs.variant, inputs.clips(section)
    content: dict[str, Any] = {
        # Versions are raised by hand: without that, a store of the old code passes for one of the new.
        "format": [
            FORMAT_VERSION,
            SHARD_CLIPS,
            *features.versions(variant.features, inputs.audio(section).sample_rate),
        ],
        "features": variant.features.model_dump(),
        "clips": table_text(clips, leave_out="archive"),
        "archives": {key: inputs.release.checksums[key] for key in sorted(set(clips["archive"]))},
        "audio": inputs.audio(section).model_dump(),
    }
    if variant.channels not in (0, "all"):  # which one is stored, of several
        content["channel"] = variant.channels
    # Only here, so that a new version of the mix or another seed leaves stores without added noise valid.
    if variant.adds_noise:
        content |= {
            "mix": [mix_plan.MIX_PLAN_VERSION, mix.RENDER_VERSION, noise_bank.NOISE_VERSION],
            "recording": inputs.release.dataset.recording,
            "recipe": section.model_dump(include=set(MixRule.model_fields)),
            "snr": [variant.snr_offset_db, variant.snr_of(section.section_id)],
            "seed": variant.seed,
            "full_scale": variant.full_scale,
            "noise": {
                kind: noise_bank.kind_fingerprint(
                    kind,
                    inputs.noise[kind].recordings,
                    inputs.audio(section).n_samples,
                    noise_bank.cutting_of(variant, kind),
                    inputs.audio(section).sample_rate,
                )
                for kind in section.noise_kinds
            },
        }
        # only where it is set, so that variants without it keep their stores
        if split := [kind for kind in section.noise_kinds if variant.settings_of(kind).split]:
            content["noise_split"] = split
    if (rows := inputs.given_plan(section)) is not None:
        content["plan"] = rows.to_csv(index=False)
    return digest(content)[:32]


def table_text(table: pd.DataFrame, leave_out: str = "") -> str:
    r"""A table of texts and whole numbers as CSV: what pandas' own ``to_csv`` writes of it, in a third of the time.

    A column may be left out, which pandas takes longer for than the text takes.

    >>> table_text(pd.DataFrame({"clip": ["a", 'b "c", d'], "index": [0, 1]}))
    'clip,index\na,0\n"b ""c"", d",1\n'
    """
    names = [str(name) for name in table.columns if name != leave_out]
    columns = [list(map(str, table[name].to_numpy(object).tolist())) for name in names]
    joined = "".join(map("".join, columns))
    if "\n" in joined or "\r" in joined:  # which no name of a clip has: Python's versions quote them differently
        return table.to_csv(index=False, columns=names)
    lines = map(",".join, zip(*map(_quoted, columns), strict=True))
    return "\n".join([",".join(names), *lines, ""])


def _quoted(column: list[str]) -> list[str]:
    """The cells of a column, in quotes where CSV needs them."""
    text = "".join(column)
    if '"' not in text and "," not in text:
        return column
    # thousands of clips have some dozens of attributes
    quoted = {cell: '"' + cell.replace('"', '""') + '"' for cell in set(column) if '"' in cell or "," in cell}
    return [quoted.get(cell, cell) for cell in column]


def read_plan(path: Path) -> pd.DataFrame:
    """A mix plan from a parquet or CSV file.

    Raises
    ------
    UsageError
        Not readable, or not a mix plan.
    """
    from pandera.errors import SchemaErrors

    try:
        if path.suffix == ".csv":
            # As text, or section 00 would be read as 0 and, before pandas 3.1, some decimals as the number beside them.
            plan = pd.read_csv(path, dtype=str, keep_default_na=False)
            numbers = [name for name in map(str, plan) if name.endswith(("_db", "_gain", "attenuation"))]
            # Only the SNR may be missing: an absent noise layer is an empty text.
            plan = plan.replace({"added_noise_snr_db": {"": "nan"}}).astype(dict.fromkeys(numbers, float))
        else:
            plan = pd.read_parquet(path)
        return MixPlan.validate(plan, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case", "index"]].head(5).to_string(index=False)
        raise UsageError(f"{path}: not a mix plan (`mix_plan.parquet` of a store is one):\n{cases}") from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: cannot be read as a mix plan: {error}") from None
