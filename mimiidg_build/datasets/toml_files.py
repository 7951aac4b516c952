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
from pydantic_core import ErrorDetails

from mimiidg_build.errors import UsageError

RESOURCES = files("mimiidg_build") / "data_manifests"

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Traversable | Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises
    ------
    UsageError
        It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, say, is no TOMLDecodeError
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def validated(model: type[Model], content: dict[str, Any], source: object) -> Model:
    """The model of a file's content.

    Parameters
    ----------
    model : type
        A pydantic model.
    content : dict
        What the file holds.
    source : object
        Where it comes from, for messages: a path, or "command line".

    Returns
    -------
    model instance

    Raises
    ------
    UsageError
        One error that lists every mistake by key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{source}: {error.error_count()} mistake{'s' * (error.error_count() != 1)}"]
        lines += [_described(model, mistake) for mistake in error.errors(include_url=False)]
        raise UsageError("\n".join(lines)) from None


def _described(model: type[BaseModel], mistake: ErrorDetails) -> str:
    """One mistake in the words of the file: the key, what was expected, what was found."""
    key = ".".join(str(part) for part in mistake["loc"]) or "(whole file)"
    text = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        known = list(_model_at(model, mistake["loc"]).model_fields)
        near = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        text = f"unknown key{hint} (allowed: {', '.join(known)})"
    # a missing key has no value, and a whole table is too long to show
    elif mistake["type"] != "missing" and not isinstance(mistake["input"], dict):
        text += f", found {_shown(mistake['input'])}"
    return f"  {key}: {text}"


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

    >>> from mimiidg_build.schemas.variants import Variant
    >>> _model_at(Variant, ("noise", "A", 0, "foldr")).__name__
    'NoiseSource'
    """
    for part in loc[:-1]:
        # from the annotation through Optional, list and dict to the model within
        kinds: list[Any] = [model.model_fields[part].annotation] if part in model.model_fields else []
        while kinds:
            kind = kinds.pop()
            kinds += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model


def is_path(name: str) -> bool:
    """Whether a name means a file of the user's rather than a shipped one."""
    return name.endswith(".toml") or "/" in name


def find_file(kind: str, name: str, also: str = "") -> Traversable | Path:
    """The file that a name means: the user's, or a shipped one.

    Parameters
    ----------
    kind : "datasets" or "variants"
    name : str
        A shipped name, or a path.
    also : str
        What else may be named, for the message.

    Returns
    -------
    path
        It exists if it is a shipped one.

    Raises
    ------
    UsageError
        No shipped file has that name.
    """
    if is_path(name):
        return Path(name)
    path = RESOURCES / kind / f"{name}.toml"
    if not path.is_file():
        shipped = shipped_names(kind)
        near = difflib.get_close_matches(name, shipped, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"no {kind.removesuffix('s')} is named {name!r}.{hint} Shipped: {', '.join(shipped)}{also}; "
            "or give the path of a .toml file."
        )
    return path


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped ``datasets`` or ``variants``.

    >>> shipped_names("variants")
    ['demo', 'paper', 'released']
    """
    return sorted(entry.name.removesuffix(".toml") for entry in (RESOURCES / kind).iterdir() if entry.is_file())
