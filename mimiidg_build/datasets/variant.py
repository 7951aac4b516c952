"""Variants: what to build from a dataset. Loaded from files, derived from each other, checked against Table 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from mimiidg_build.datasets.noise_choice import check_noise_kinds
from mimiidg_build.datasets.recipes import check_choices, with_recipe
from mimiidg_build.datasets.toml_files import find_file, is_path, read_toml, validated
from mimiidg_build.errors import UsageError, shown
from mimiidg_build.schemas.variants import MAX_NAME, Variant, is_variant_name
from mimiidg_build.storage.places import place

OF_NOISE = {"noise", "noise_from", "noise_settings", "snr_db", "snr_offset_db"}  # idle where mixing = "none"


def load_variant(name: str) -> Variant:
    """A variant: a shipped name or the path of a TOML file, whose relative noise paths count from its own folder.

    Raises
    ------
    UsageError
        No such variant, a mistake in the file, or a section that Table 1 does not have.
    """
    path = find_file("variants", name)
    if not is_path(name):
        return parse_variant(read_toml(path), path)
    folder = Path(name).resolve().parent
    return with_absolute_noise(parse_variant(read_toml(path), path, folder), folder)


def parse_variant(content: dict[str, Any], source: object = "variant", folder: Path | None = None) -> Variant:
    """A variant from a variant file's content, as a flow's parameters carry it.

    Parameters
    ----------
    content : dict
    source : object
        Where it stands, for messages.
    folder : Path, optional
        What the path of a recipe counts from; the current folder by default.

    Returns
    -------
    Variant
        With the content of its recipe's file, if it names one: what is built from it does not change with the file.

    Raises
    ------
    UsageError
        A mistake in the content, or in the recipe's file.
    """
    variant = validated(Variant, with_recipe(content, source, folder or Path.cwd()), source)
    check_choices(variant, str(source))
    check_noise_kinds(variant, str(source))
    return variant


def derive_variant(variant: Variant, *, name: str | None = None, **changes: Any) -> Variant:
    """The variant with some keys set anew, and a name that says so where they differ.

    >>> derive_variant(load_variant("paper"), snr_offset_db=6.0, seed=1).name
    'paper-snr+6dB-seed1'
    >>> derive_variant(load_variant("paper"), snr_db=-6.0, sections=["fan/00"]).snr_db
    {'all': -6.0}

    Parameters
    ----------
    variant : Variant
    name : str, optional
        Its name, instead of the one that says how it differs.
    **changes
        Keys of a variant file; None changes nothing. A single number as ``snr_db`` is the SNR of all its sections,
        with no offset.

    Returns
    -------
    Variant

    Raises
    ------
    UsageError
        A key or value that a variant refuses, noise or an SNR for one that adds none, or a name that no folder can
        have.
    """
    changes = {k: value for k, value in changes.items() if value is not None and value != getattr(variant, k, None)}
    kept = variant.model_dump() | {"name": variant.name if name is None else name}
    if isinstance(changes.get("snr_db"), int | float):
        if "snr_offset_db" in changes:
            raise UsageError("an SNR for all sections and an offset to the recipe's exclude each other: give one")
        kept["snr_offset_db"] = 0.0
    # validated anew: pydantic's model_copy takes any value
    derived = parse_variant(kept | changes, "command line")
    if not derived.adds_noise and (idle := sorted(changes.keys() & OF_NOISE)):
        raise UsageError(
            f'{" and ".join(idle)}: variant {variant.name} takes the recordings as they are (mixing = "none"), so no '
            "noise would be added. Start from a variant that mixes, as `paper`, or give it a recipe (mixing = ...)."
        )
    if name is not None:
        return derived
    described = "-".join([variant.name, *_name_parts(changes)])
    if not is_variant_name(described):
        raise UsageError(
            f"{shown(described)}, which says how the variant differs, cannot be its name: letters, digits and _ . + -, "
            f"at most {MAX_NAME} characters. Give it another (--name)."
        )
    return parse_variant(derived.model_dump() | {"name": described})


def derive_grid(variant: Variant, *, name: str | None = None, **choices: Sequence[Any]) -> list[Variant]:
    """The variant at every combination of values, each named for its own.

    >>> [v.name for v in derive_grid(load_variant("paper"), snr_offset_db=[-6.0, 0.0], seed=[1, 2])]
    ['paper-snr-6dB-seed1', 'paper-snr-6dB-seed2', 'paper-seed1', 'paper-seed2']

    Parameters
    ----------
    variant : Variant
    name : str, optional
        The variant's own, where there is one combination.
    **choices
        Values by key, see :func:`derive_variant`; an empty list changes nothing.

    Returns
    -------
    list of Variant
        In the order of the values.

    Raises
    ------
    UsageError
        As :func:`derive_variant`; or a name for several combinations.
    """
    given = {key: [v for n, v in enumerate(values) if v not in values[:n]] for key, values in choices.items() if values}
    combinations = [dict(zip(given, values, strict=True)) for values in product(*given.values())]
    if name is not None and len(combinations) > 1:
        raise UsageError(f"one name for {len(combinations)} variants: without it each is named for what differs.")
    return [derive_variant(variant, name=name, **changes) for changes in combinations]


def _name_parts(changes: dict[str, Any]) -> list[str]:
    """How a derived variant's name says what differs, in a fixed order."""
    parts: dict[str, Callable[[Any], str]] = {
        "dataset": lambda v: Path(v).stem,
        "snr_db": lambda v: f"at{v:+g}dB" if isinstance(v, int | float) else "snr",
        "snr_offset_db": lambda v: f"snr{v:+g}dB",
        "seed": lambda v: f"seed{v}",
        "sections": lambda v: "-".join(choice.replace("/", "") for choice in v),
        "full_scale": str,
    }
    return [part(changes[key]) for key, part in parts.items() if key in changes]


def _absolute(base: Path, path: str) -> str:
    if "://" in path:  # a URL is absolute; Path would also merge its slashes
        return str(place(path))
    try:
        return str(base / Path(path).expanduser())
    except RuntimeError:  # "~name", and there is no such user
        raise UsageError(f"noise from {path!r}: no user of that name has a home directory here") from None


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


def with_noise(variant: Variant, noise: Mapping[str, str | Sequence[str]], source: str) -> Variant:
    """The variant with noise of some kinds from elsewhere; relative paths count from the current folder.

    Parameters
    ----------
    variant : Variant
    noise : mapping of kind to path or paths
    source : str
        Where they come from, for messages.

    Raises
    ------
    UsageError
        A kind that Table 1 does not have.
    """
    if not noise:
        return variant
    given = {kind: [paths] if isinstance(paths, str) else list(paths) for kind, paths in noise.items()}
    content = variant.model_dump()
    variant = parse_variant(content | {"noise": content["noise"] | given}, source)
    # the variant's own noise paths are absolute by now, and stay as they are
    return with_absolute_noise(variant, Path.cwd())
