"""TOML files that people write, as validated models: shipped ones by name, their own by path.

A name without a path is looked up among the shipped ``data_manifests``; anything with a ``.toml`` ending or a slash is
a file of the user's. Mistakes come back as one :class:`UsageError` that names file, key, value and what was expected.
"""

from __future__ import annotations

import difflib
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from mimiidg_build.errors import UsageError

RESOURCES = files("data_manifests")


Model = TypeVar("Model", bound=BaseModel)


def read_toml(place: Traversable | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(place.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, say, is no TOMLDecodeError
        raise UsageError(f"{place}: not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{place}: cannot be read: {error.strerror}") from None


def validated(model: type[Model], content: dict[str, Any], place: object) -> Model:
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

    >>> from schemas.variants import Variant
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


def is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name


def find_file(kind: str, name: str, also: str = "") -> Traversable | Path:
    """Where the named manifest stands: the user's file, or a shipped one."""
    if is_path(name):
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
