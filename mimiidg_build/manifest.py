"""Loading what people write: dataset manifests, Table 1 and variant files. TOML in, frozen validated models out.

A name without a path is looked up among the shipped ``data_manifests``; anything with a ``.toml`` ending or a slash is
a file of the user's. Mistakes come back as one :class:`UsageError` that names file, key, value and what was expected.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from mimiidg_build import synthesis
from mimiidg_build.errors import UsageError
from schemas.manifests import DatasetManifest, NoiseSource, Record, RecordFile, Table1
from schemas.variants import Variant

Model = TypeVar("Model", bound=BaseModel)
RESOURCES = files("data_manifests")


def _read_toml(place: Traversable | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(place.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, say, is no TOMLDecodeError
        raise UsageError(f"{place}: not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{place}: cannot be read: {error.strerror}") from None


def _validated(model: type[Model], content: dict[str, Any], place: object) -> Model:
    """The model of a file's content, or one error that lists every mistake by key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{place}: {error.error_count()} mistake{'s' * (error.error_count() != 1)}"]
        for mistake in error.errors(include_url=False):
            key = ".".join(str(part) for part in mistake["loc"]) or "(whole file)"
            text = mistake["msg"].removeprefix("Value error, ")
            if mistake["type"] == "extra_forbidden":
                known = list(_model_at(model, mistake["loc"]).model_fields)
                near = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                text = f"unknown key{hint} (allowed: {', '.join(known)})"
            elif mistake["type"] != "missing" and not isinstance(mistake["input"], dict):
                text += f", found {_shown(mistake['input'])}"
            lines.append(f"  {key}: {text}")
        raise UsageError("\n".join(lines)) from None


def _shown(value: object) -> str:
    """A value as a message shows it.

    >>> _shown("loud"), _shown(16**5000)
    ("'loud'", 'a value too long to show')
    """
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits
        return "a value too long to show"


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the key where a mistake stands.

    >>> _model_at(Variant, ("noise", "A", 0, "foldr")).__name__
    'NoiseSource'
    """
    for part in loc[:-1]:
        kinds: list[Any] = [model.model_fields[part].annotation] if part in model.model_fields else []
        while kinds:
            kind = kinds.pop()
            kinds += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name


def _place(kind: str, name: str, also: str = "") -> Traversable | Path:
    """Where the named manifest stands: the user's file, or a shipped one."""
    if _is_path(name):
        return Path(name)
    place = RESOURCES / kind / f"{name}.toml"
    if not place.is_file():
        shipped = shipped_names(kind)
        near = difflib.get_close_matches(name, shipped, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"no {kind.removesuffix('s')} is named {name!r}.{hint} Shipped: {', '.join(shipped)}{also}; "
            "or give the path of a .toml file."
        )
    return place


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped ``datasets`` or ``variants``.

    >>> shipped_names("variants")
    ['demo', 'paper', 'released']
    """
    return sorted(entry.name.removesuffix(".toml") for entry in (RESOURCES / kind).iterdir() if entry.is_file())


@lru_cache(maxsize=1)
def load_table1() -> Table1:
    """Table 1 of the paper, and the sections of the evaluation set."""
    place = RESOURCES / "table1.toml"
    return _validated(Table1, _read_toml(place), place)


def load_dataset(name: str) -> DatasetManifest:
    """The manifest of a dataset: a shipped name, a synthetic release's name, or the path of a TOML file.

    Raises
    ------
    UsageError
        No such dataset, or a mistake in the file.
    """
    if synthesis.is_synthetic(name):
        return _synthetic_manifest(synthesis.parse_name(name))
    place = _place("datasets", name, also=", synthetic[-<percent>pct][-seed<k>][-eval]")
    return _validated(DatasetManifest, _read_toml(place), place)


def default_noise(dataset: DatasetManifest) -> dict[str, NoiseSource]:
    """The noise kinds that a dataset brings along, for a variant that does not give them."""
    return load_dataset(dataset.noise_from).noise if dataset.noise_from else dataset.noise


def _synthetic_manifest(spec: synthesis.SyntheticSpec) -> DatasetManifest:
    """A synthetic release as a dataset: its checksums are pinned on first fetch, like any record without published
    ones."""
    archives = [RecordFile(name=name) for name in synthesis.archive_names(spec)]
    return DatasetManifest(
        name=spec.name,
        title=f"synthetic release, {spec.percent:g} % of MIMII DG's size, seed {spec.seed}",
        recording="clean",
        layout="mimii_dg",
        synthetic=True,
        citation="generated by mimiidg_build; data for trying, testing and timing",
        records=[Record(id=spec.name, title=spec.name, license="MIT", files=archives)],
        noise={
            kind: NoiseSource(dataset=spec.name, file="noise.zip", members=members)
            for kind, members in synthesis.NOISE_KINDS.items()
        },
    )


def load_variant(name: str) -> Variant:
    """A variant: a shipped name or the path of a TOML file, whose relative noise paths count from its own folder.

    Raises
    ------
    UsageError
        No such variant, a mistake in the file, or a section that Table 1 does not have.
    """
    place = _place("variants", name)
    variant = parse_variant(_read_toml(place), place)
    return with_absolute_noise(variant, Path(name).resolve().parent) if _is_path(name) else variant


def parse_variant(content: dict[str, Any], place: object = "variant") -> Variant:
    """A variant from a variant file's content, as a flow's parameters carry it.

    Raises
    ------
    UsageError
        A mistake in the content; ``place`` says where it stands.
    """
    variant = _validated(Variant, content, place)
    check_sections(variant, str(place))
    return variant


def derive(variant: Variant, **changes: Any) -> Variant:
    """The variant with some keys set anew, and a name that says so where they differ.

    >>> derive(load_variant("paper"), snr_offset_db=6.0, seed=1).name
    'paper-snr+6dB-seed1'

    Raises
    ------
    UsageError
        A value that a variant refuses.
    """
    changes = {key: value for key, value in changes.items() if value is not None and value != getattr(variant, key)}
    parts: dict[str, Callable[[Any], str]] = {
        "dataset": lambda v: Path(v).stem,
        "snr_offset_db": lambda v: f"snr{v:+g}dB",
        "seed": lambda v: f"seed{v}",
        "sections": lambda v: "-".join(choice.replace("/", "") for choice in v),
        "full_scale": str,
    }
    name = "-".join([variant.name, *(part(changes[key]) for key, part in parts.items() if key in changes)])
    return parse_variant(variant.model_dump() | {"name": name} | changes, "command line")


def check_sections(variant: Variant, place: str) -> None:
    """Refuse sections that Table 1 does not list."""
    known = {section.id for section in load_table1().sections}
    for key in [*variant.snr_db, *(choice for choice in variant.sections if "/" in choice)]:
        if key not in known:
            raise UsageError(f"{place}: {key!r} is no section of Table 1; it has {', '.join(sorted(known))}")


def _absolute(base: Path, place: str) -> str:
    if "://" in place:
        return place
    try:
        return str(base / Path(place).expanduser())
    except RuntimeError:
        raise UsageError(f"noise from {place!r}: nobody of that name has a home directory here") from None


def with_absolute_noise(variant: Variant, base: Path) -> Variant:
    """The variant with its noise paths made absolute, counted from ``base``."""
    noise = {
        kind: [
            source.model_copy(
                update={k: _absolute(base, v) for k, v in (("folder", source.folder), ("archive", source.archive)) if v}
            )
            for source in sources
        ]
        for kind, sources in variant.noise.items()
    }
    return variant.model_copy(update={"noise": noise})
