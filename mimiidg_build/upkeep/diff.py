"""What differs between two stores: dataset, settings, versions, recordings, clips, noise, gains, samples, features.

Clips are matched by section and name, so stores of other sections, sizes and formats can be compared. Names and titles
of the variants, and the fingerprints made with them, are no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from mimiidg_build.errors import shown
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.stores import StoreAttributes
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.diff_arrays import compare_arrays
from mimiidg_build.upkeep.difference import ABSENT, THERE, Difference, clip_name

KEY = ["machine_type", "section", "clip"]
ATTRIBUTES = ("dataset", "layout", "protocol", "recipe", "recording", "license", "citation")
NO_SETTINGS = ("name", "title", "dataset")
# Columns of the two tables that say how a clip was mixed; all others of the clip table say what it is.
TOPICS = {
    "noise": ("noise_1_kind", "noise_1_clip", "noise_2_kind", "noise_2_clip"),
    "gains": ("added_noise_snr_db", "attenuation", "noise_1_gain", "noise_2_gain"),
    "levels": ("power", "peak", "measured_added_noise_snr_db", "n_saturated"),
}
TOPIC_OF = {column: topic for topic, columns in TOPICS.items() for column in columns}


@dataclass(frozen=True)
class StoreDifferences:
    """The two stores' paths, and what differs between them."""

    first: str
    second: str
    differences: tuple[Difference, ...]

    @property
    def content(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self) | {"equal": not self.differences}


def diff_stores(first: Store, second: Store, reporter: Reporter | None = None) -> StoreDifferences:
    """What differs between two stores.

    Parameters
    ----------
    first, second : Store
    reporter : Reporter, optional
        Shows progress where samples and features have to be read, that is where shards have other digests.

    Returns
    -------
    StoreDifferences
        Its ``differences`` are empty where the stores hold the same.

    Raises
    ------
    DataError
        A table or a shard is damaged.
    """
    reporter = reporter or Reporter()
    both = first.attributes, second.attributes
    clips, plan = _joined(first.clips, second.clips), _joined(first.mix_plan, second.mix_plan)
    found = [
        *_of_attributes(*both),
        *_of_settings(both[0].variant, both[1].variant),
        *_of_provenance(*both),
        *_of_sections(*both),
        *_only_in_one(clips),
        *_of_columns(clips),
        *_of_columns(plan),
        *compare_arrays(first, second, _rows(clips), reporter),
        *_of_statistics(*both),
    ]
    return StoreDifferences(str(first.path), str(second.path), tuple(found))


# ---- What the stores say of themselves -------------------------------------------------------------------------------


def _of_attributes(first: StoreAttributes, second: StoreAttributes) -> Iterator[Difference]:
    named = [{key: getattr(a, key) for key in ATTRIBUTES} for a in (first, second)]
    yield from _of_mappings("dataset", named[0], named[1])
    yield from _of_mappings(
        "format", {"format_version": first.format_version}, {"format_version": second.format_version}
    )


def _of_settings(first: Variant, second: Variant) -> Iterator[Difference]:
    yield from _of_mappings("settings", _settings(first), _settings(second))


def _settings(variant: Variant) -> dict[str, Any]:
    """By key as a variant file has it; those of a table by ``table.key``."""
    settings: dict[str, Any] = {}
    for key in [key for key in Variant.model_fields if key not in NO_SETTINGS]:
        value = getattr(variant, key)
        if key == "features":  # all of them: the file leaves defaults out
            value = {name: getattr(value, name) for name in type(value).model_fields}
        elif isinstance(value, dict):
            value = variant.model_dump(exclude_none=True).get(key, {})
        settings |= {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
    return settings


def _of_provenance(first: StoreAttributes, second: StoreAttributes) -> Iterator[Difference]:
    """Versions each; of archives and of the recordings of a noise kind, how many differ and the first."""
    yield from _of_mappings("versions", first.provenance.versions, second.provenance.versions)
    yield from _first_of("archives", "md5", first.provenance.archives, second.provenance.archives)
    for kind in sorted({*first.provenance.noise, *second.provenance.noise}):
        recordings = [a.provenance.noise.get(kind, {}) for a in (first, second)]
        yield from _first_of("noise recordings", f"digest in kind {kind}", recordings[0], recordings[1])


def _of_sections(first: StoreAttributes, second: StoreAttributes) -> Iterator[Difference]:
    """Sections that one store lacks, and those whose clips have another shape."""
    there = [dict.fromkeys(a.sections, THERE) for a in (first, second)]
    yield from _first_of("sections", "presence", there[0], there[1])
    common = [name for name in first.sections if name in second.sections]
    shapes = [{name: a.sections[name].audio.model_dump() for name in common} for a in (first, second)]
    yield from _first_of("sections", "shape of clips", shapes[0], shapes[1])


def _of_statistics(first: StoreAttributes, second: StoreAttributes) -> Iterator[Difference]:
    common = [name for name in first.sections if name in second.sections]
    odd = [name for name in common if first.sections[name].logmel != second.sections[name].logmel]
    if odd:
        said = [
            ABSENT
            if (found := a.sections[odd[0]].logmel) is None
            else f"{sum(found.mean_db) / len(found.mean_db):.3f} dB"
            for a in (first, second)
        ]
        yield Difference(
            "statistics", "mean log-mel of the training clips", said, n=len(odd), of=len(common), example=odd[0]
        )


def _of_mappings(topic: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    """A difference for each key."""
    for key in dict.fromkeys([*first, *second]):
        if first.get(key) != second.get(key):
            yield Difference(topic, key, [_text(m[key]) if key in m else ABSENT for m in (first, second)])


def _first_of(topic: str, what: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    """One difference for all keys, with their number and the first of them."""
    keys = list(dict.fromkeys([*first, *second]))
    odd = [key for key in keys if first.get(key) != second.get(key)]
    if odd:
        said = [_text(m[odd[0]]) if odd[0] in m else ABSENT for m in (first, second)]
        yield Difference(topic, what, said, n=len(odd), of=len(keys), example=odd[0])


# ---- Tables ----------------------------------------------------------------------------------------------------------


def _joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The clips of both tables; columns that are not the key end in ``|1`` and ``|2``."""
    numbered = first.assign(number=range(len(first)))  # pandas would put them in the order of their names
    joined = numbered.merge(second, how="outer", on=KEY, suffixes=("|1", "|2"), indicator="of", validate="one_to_one")
    return joined.sort_values("number", kind="stable", ignore_index=True).drop(columns="number")


def _rows(clips: pd.DataFrame) -> pd.DataFrame:
    """Of clips that both stores have: where they lie in the sections' arrays."""
    both = clips[clips["of"] == "both"]
    return both[[*KEY, "row|1", "row|2"]].astype({"row|1": int, "row|2": int})


def _only_in_one(clips: pd.DataFrame) -> Iterator[Difference]:
    for side, said in (("left_only", (THERE, ABSENT)), ("right_only", (ABSENT, THERE))):
        lone = clips[clips["of"] == side]
        if len(lone):
            yield Difference("clips", "presence", said, n=len(lone), of=len(clips), example=clip_name(lone.iloc[0]))


def _of_columns(joined: pd.DataFrame) -> Iterator[Difference]:
    """A difference for each column in which clips of both stores differ."""
    both = joined[joined["of"] == "both"]
    columns = [name.removesuffix("|1") for name in both.columns if name.endswith("|1")]
    for column in [name for name in columns if name != "row" or len(both) == len(joined)]:  # else all move up
        first, second = both[f"{column}|1"], both[f"{column}|2"]
        odd = both[(first != second) & ~(first.isna() & second.isna())]
        if len(odd):
            row = odd.iloc[0]
            said = [_text(row[f"{column}|{number}"]) for number in (1, 2)]
            topic = TOPIC_OF.get(column, "clips")
            yield Difference(topic, column, said, n=len(odd), of=len(both), example=clip_name(row))


def _text(value: object) -> str:
    """A value in a message; a text without quotes."""
    return shown(value.item() if hasattr(value, "item") else value).strip("'")
