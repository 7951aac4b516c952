"""Patterns: how the path of a recording says what it is.

``{field}`` stands for a part of a path without ``/``, as short as it can be, ``{index}`` for digits, ``*`` for anything
without ``/``, ``**/`` for any folders or none. A field that stands twice has the same text twice. Upper and lower case
are the same in what stands between fields, so that ``.wav`` means ``.WAV``, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mimiidg_build.schemas.recordings import FIELD

_PART = re.compile(rf"{FIELD.pattern}|(\*\*/)|(\*)|([^{{}}*]+)")


@dataclass(frozen=True)
class PathPattern:
    """A pattern, ready to read paths.

    ``readings`` are its ways to read one, best first: with words that are known, then with any; each with fields as
    short as they can be, and as long.
    """

    text: str
    fields: tuple[str, ...]
    readings: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]

    @classmethod
    def of(cls, text: str, words: Mapping[str, Mapping[str, str]]) -> PathPattern:
        """The pattern of a text.

        Parameters
        ----------
        text : str
        words : mapping
            By field, the words that are known of it.

        Returns
        -------
        PathPattern
        """
        names = tuple(dict.fromkeys(FIELD.findall(text)))
        ways = [
            [re.compile("".join(_regexes(text, names, known, lazy)), re.IGNORECASE) for lazy in ("?", "")]
            for known in (words, {})
        ]
        return cls(text, names, tuple((shortest, longest) for shortest, longest in ways))

    def read(self, path: str) -> dict[str, str] | None:
        """The fields of a path in their order, None where it does not fit.

        >>> pattern = PathPattern.of("{machine_type}/{condition}_{section}_{index}.wav", {})
        >>> pattern.read("fan/ok_id_00_0001.WAV")
        {'machine_type': 'fan', 'condition': 'ok', 'section': 'id_00', 'index': '0001'}
        >>> pattern.read("fan/ok.wav") is None
        True
        """
        return next((self._fields(shortest, path) for shortest, _ in self.readings if shortest.fullmatch(path)), None)

    def other_reading(self, path: str) -> dict[str, str] | None:
        """Another way to read a path that fits, if there is one between its fields.

        >>> PathPattern.of("{machine_type}_{section}.wav", {}).other_reading("fan_big_02.wav")
        {'machine_type': 'fan_big', 'section': '02'}
        """
        if "*" in self.text:
            return None  # what a field leaves over there, the * takes: that is what it is for
        longest = next((longest for _, longest in self.readings if longest.fullmatch(path)), None)
        fields = None if longest is None else self._fields(longest, path)
        return None if fields == self.read(path) else fields

    def _fields(self, reading: re.Pattern[str], path: str) -> dict[str, str]:
        match = reading.fullmatch(path)
        return {} if match is None else dict(zip(self.fields, match.groups(), strict=True))


def _regexes(text: str, names: tuple[str, ...], words: Mapping[str, Mapping[str, str]], lazy: str) -> Iterator[str]:
    """A pattern's parts as regular expressions."""
    seen: set[str] = set()
    for field, folders, star, literal in (match.groups() for match in _PART.finditer(text)):
        if folders:
            yield "(?:[^/]+/)*"
        elif star:
            yield f"[^/]*{lazy}"
        elif literal:
            yield re.escape(literal)
        elif field in seen:
            yield f"(?P=f{names.index(field)})"
        else:
            seen.add(field)
            yield f"(?P<f{names.index(field)}>{_field(field, words.get(field, {}), lazy)})"


def _field(field: str, words: Mapping[str, str], lazy: str) -> str:
    if field == "index":
        return "[0-9]+"
    # longest first: of "ok" and "okay", each alternative is tried in turn
    known = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
    return "|".join(known) or f"[^/]+{lazy}"
