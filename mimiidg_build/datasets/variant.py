"""Variants: what to build from a dataset. Loaded from files, derived from each other, checked against Table 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mimiidg_build.datasets.manifest import load_table1
from mimiidg_build.datasets.noise_choice import check_noise_kinds
from mimiidg_build.datasets.toml_files import find_file, is_path, read_toml, validated
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.variants import Variant


def load_variant(name: str) -> Variant:
    """A variant: a shipped name or the path of a TOML file, whose relative noise paths count from its own folder.

    Raises
    ------
    UsageError
        No such variant, a mistake in the file, or a section that Table 1 does not have.
    """
    path = find_file("variants", name)
    variant = parse_variant(read_toml(path), path)
    return with_absolute_noise(variant, Path(name).resolve().parent) if is_path(name) else variant


def parse_variant(content: dict[str, Any], source: object = "variant") -> Variant:
    """A variant from a variant file's content, as a flow's parameters carry it.

    Raises
    ------
    UsageError
        A mistake in the content; ``source`` says where it stands.
    """
    variant = validated(Variant, content, source)
    check_sections(variant, str(source))
    check_noise_kinds(variant, str(source))
    return variant


def derive_variant(variant: Variant, **changes: Any) -> Variant:
    """The variant with some keys set anew, and a name that says so where they differ.

    >>> derive_variant(load_variant("paper"), snr_offset_db=6.0, seed=1).name
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
    # validated anew: pydantic's model_copy takes any value
    return parse_variant(variant.model_dump() | {"name": name} | changes, "command line")


def check_sections(variant: Variant, source: str) -> None:
    """Refuse sections that Table 1 does not list.

    Raises
    ------
    UsageError
        The message begins with ``source``, where the variant comes from.
    """
    known = {section.id for section in load_table1().sections}
    for key in [*variant.snr_db, *(choice for choice in variant.sections if "/" in choice)]:
        if key not in known:
            raise UsageError(f"{source}: {key!r} is not a section of Table 1; it has {', '.join(sorted(known))}")


def _absolute(base: Path, path: str) -> str:
    if "://" in path:  # a URL is absolute; Path would also merge its slashes
        return path
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
