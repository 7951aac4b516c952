"""A clip's attributes as the clip table writes them: the text of a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def row_attributes(row: Mapping[str, Any] | pd.Series) -> dict[str, str]:
    """Attributes {key: value} of a clip's row, in the order of its name.

    Examples
    --------
    >>> row_attributes({"attributes": '{"vel":"8","loc":"A"}'})
    {'vel': '8', 'loc': 'A'}
    """
    return _attributes(str(row["attributes"])).copy()


@lru_cache(maxsize=2**12)  # thousands of clips have some dozens of combinations
def _attributes(text: str) -> dict[str, str]:
    pairs = json.loads(text)
    return {str(key): str(value) for key, value in pairs.items()}


def attributes_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Attributes as the clip table writes them.

    Examples
    --------
    >>> attributes_text([("vel", "8"), ("loc", "A")]), attributes_text([])
    ('{"vel":"8","loc":"A"}', '{}')
    """
    return _text(tuple(pairs))


@lru_cache(maxsize=2**12)  # as above
def _text(pairs: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(pairs), separators=(",", ":"), ensure_ascii=False)
