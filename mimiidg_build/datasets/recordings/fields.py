"""From the words of a path or of a table's row to a recording: what stands for what, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mimiidg_build.datasets.clip_table.clips import Attributes
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.truth import attribute_pairs
from mimiidg_build.errors import did_you_mean, shown
from mimiidg_build.schemas.recordings import KNOWN_FIELDS, Recordings
from mimiidg_build.schemas.sections import MACHINE_TYPE, SECTION, SectionId

DEFAULT_SECTION = "00"
_SHAPES = {"machine_type": re.compile(MACHINE_TYPE), "section": re.compile(SECTION)}
_ALLOWED = {"machine_type": "letters, digits, _ and -", "section": "letters, digits and _ . + -"}


@dataclass(frozen=True, slots=True)
class OwnRecording:
    """A recording of the user's: ``path`` within the folder. ``split``, ``domain`` and ``session`` are ``""`` where
    nothing says them."""

    path: str
    section_id: SectionId
    split: str
    domain: str
    condition: str
    session: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the words stand, for findings: the folder, or a line of a table."""

    table: str
    path: str
    line: int = 0

    def error(self, kind: str, message: str, column: str = "path", value: str = "", expected: str = "") -> Finding:
        """An error there.

        Parameters
        ----------
        kind, message, column, value, expected : str
            As in :class:`~mimiidg_build.datasets.findings.Finding`; the value is the path by default.

        Returns
        -------
        Finding
        """
        return Finding("error", kind, self.table, message, self.line, column, value or self.path, expected)


def read_recording(
    recordings: Recordings, origin: Origin, values: Mapping[str, str]
) -> tuple[OwnRecording | None, list[Finding]]:
    """The recording that a path or a row describes.

    Parameters
    ----------
    recordings : Recordings
        What words mean, and which fields are the same for all.
    origin : Origin
    values : mapping of field to text
        Empty where it is not said.

    Returns
    -------
    recording : OwnRecording or None
        None where something is wrong.
    findings : list of Finding
    """
    said = {name: value.strip() for name, value in {**values, **recordings.fixed}.items() if value.strip()}
    findings = [
        _bad_shape(origin, field, said.get(field, ""))
        for field, shape in _SHAPES.items()
        if not shape.fullmatch(said.get(field, DEFAULT_SECTION if field == "section" else ""))
    ]
    meant = {}
    for field, words in recordings.words.items():
        word = said.get(field, "")
        meant[field] = words.get(word.lower(), "")
        if not meant[field] and (word or field == "condition"):
            findings.append(_unknown_word(recordings, origin, field, word))
    if findings:
        return None, findings
    section_id = SectionId(said["machine_type"], said.get("section", DEFAULT_SECTION))
    attributes = tuple(pair for key, value in said.items() for pair in _attributes(key, value))
    session = said.get("session", "")
    return OwnRecording(origin.path, section_id, **meant, session=session, attributes=attributes), []


def _attributes(field: str, value: str) -> Attributes:
    """The attributes that a field gives: itself, if nothing else is known of it; several where it is called that."""
    if field == "attributes":
        return tuple(attribute_pairs(value))
    return () if field in KNOWN_FIELDS and field != "session" else ((field, value),)


def _bad_shape(origin: Origin, field: str, value: str) -> Finding:
    what = field.replace("_", " ")
    message = f"{origin.path}: {shown(value)} cannot be a {what}" if value else f"{origin.path}: no {what} is given"
    expected = f"{_ALLOWED[field]}, beginning with a letter or digit"
    return origin.error("bad_field", f"{message}; expected {expected}", field, value, expected)


def _unknown_word(recordings: Recordings, origin: Origin, field: str, word: str) -> Finding:
    words = recordings.words[field]
    one, other = dict.fromkeys(words.values())
    expected = ", ".join(words)
    if not word:
        message = f"{origin.path}: nothing says whether it is {one} or {other}; expected one of the words {expected}"
        return origin.error("unknown_word", message, field, word, expected)
    message = f"{origin.path}: {shown(word)} stands for neither {one} nor {other}; known are {expected}."
    message += did_you_mean(word, words)
    if field != "split":
        message += f" Say what it means under [recordings]: {other} = [{shown(word)}]"
    return origin.error("unknown_word", message, field, word, expected)
