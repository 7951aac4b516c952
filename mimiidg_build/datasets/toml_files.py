"""TOML files that people write, as validated models: shipped ones by name, their own by path.

A name without a path is looked up among the shipped ``data_manifests``; anything with a ``.toml`` ending or a slash is
a file of the user's. Mistakes come back as one :class:`UsageError` that names file, key, value and what was expected.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mimiidg_build.errors import LONGEST_VALUE, UsageError, counted, did_you_mean, nearest, shown

MAX_BYTES = 500_000  # of a file; what people write has a few thousand
MAX_DOTS = 100  # in a line: tomllib takes the square of a key's length, minutes for a long one
MAX_MISTAKES = 20  # that one message lists

RESOURCES = files("mimiidg_build") / "data_manifests"

TomlFile = Traversable | Path
Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Traversable | Path) -> dict[str, Any]:
    """The content of a TOML file of at most half a megabyte.

    Raises
    ------
    UsageError
        It cannot be read, or is no TOML, or larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # no more of it, whatever it is
        if len(content) > MAX_BYTES:
            raise UsageError(
                f"{path}: larger than {MAX_BYTES:,} bytes. A variant or manifest has a few thousand: is this another "
                "file?"
            )
        text = content.decode("utf-8-sig")  # editors on Windows put a byte order mark first
        _check_lines(path, text)
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, say, is no TOMLDecodeError
        raise UsageError(f"{path}: not valid TOML: {str(error)[:LONGEST_VALUE]}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _check_lines(path: Traversable | Path, text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if (n_dots := line.count(".")) > MAX_DOTS:
            raise UsageError(
                f"{path}: line {number} has {n_dots:,} dots, expected at most {MAX_DOTS}. Write a long list over "
                "several lines."
            )


def validated(
    model: type[Model], content: dict[str, Any], source: object, known: Mapping[str, Collection[str]] | None = None
) -> Model:
    """The model of a file's content.

    Parameters
    ----------
    model : type
        A pydantic model.
    content : dict
        What the file holds.
    source : object
        Where it comes from, for messages: a path, or "command line".
    known : mapping of str to collection of str, optional
        The values that a list of names may hold, by key: of a wrong one the message says which it is near to.

    Returns
    -------
    model instance

    Raises
    ------
    UsageError
        One error that lists the mistakes by key, the first twenty of them.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        n_mistakes = error.error_count()
        lines = [f"{source}: {counted(n_mistakes, 'mistake')}"]
        mistakes = error.errors(include_url=False)[:MAX_MISTAKES]
        lines += [_described(model, mistake, known or {}) for mistake in mistakes]
        if n_mistakes > MAX_MISTAKES:
            lines.append(f"  ... and {n_mistakes - MAX_MISTAKES:,} more")
        raise UsageError("\n".join(lines)) from None


def _described(model: type[BaseModel], mistake: ErrorDetails, known: Mapping[str, Collection[str]]) -> str:
    """One mistake in the words of the file: the key, what was expected, what was found."""
    key = ".".join(str(part) for part in mistake["loc"]) or "(whole file)"
    text = mistake["msg"].removeprefix("Value error, ")[: 2 * LONGEST_VALUE]
    if mistake["type"] == "extra_forbidden":
        keys = list(_model_at(model, mistake["loc"]).model_fields)
        near = nearest(str(mistake["loc"][-1]), keys)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        text = f"unknown key{hint} (allowed: {', '.join(keys)})"
    # a missing key has no value, and a whole table is too long to show
    elif mistake["type"] != "missing" and not isinstance(mistake["input"], dict):
        names = known.get(key, ())
        text += f", found {shown(mistake['input'])}"
        text += "".join(did_you_mean(str(name), names) for name in _unknown(mistake["input"], names))
    return f"  {key if key.isprintable() and len(key) <= LONGEST_VALUE else shown(key)}: {text}"


def _unknown(value: object, names: Collection[str]) -> list[object]:
    """The first of a list's entries that is none of the names it may hold."""
    return [entry for entry in value if entry not in names][:1] if names and isinstance(value, list) else []


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
    shipped = shipped_names(kind)
    if name not in shipped:
        raise UsageError(
            f"no {kind.removesuffix('s')} is named {shown(name)}.{did_you_mean(name, shipped)} Shipped: "
            f"{', '.join(shipped)}{also}; or give the path of a .toml file."
        )
    return RESOURCES / kind / f"{name}.toml"


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped ``datasets`` or ``variants``.

    >>> shipped_names("variants")
    ['demo', 'paper', 'released']
    """
    return sorted(entry.name.removesuffix(".toml") for entry in (RESOURCES / kind).iterdir() if entry.is_file())
