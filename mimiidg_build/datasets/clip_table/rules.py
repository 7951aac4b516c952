"""Rules for one clip: its attributes against Table 1, its row in the attribute table against its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mimiidg_build.datasets.clip_names import ClipName
from mimiidg_build.datasets.findings import Finding
from schemas.manifests import DOMAINS, Section


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an attribute table; ``full_name`` is ``""`` where the table has none."""

    table: str
    machine_type: str
    section: str
    line: int
    file_name: str
    attributes: tuple[tuple[str, str], ...]
    full_name: str

    def finding(self, severity: str, kind: str, message: str, column: str, value: str, expected: str) -> Finding:
        """A finding in this row."""
        return Finding(severity, kind, self.table, message, self.line, column, value, expected)


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip: its place, and its name with nothing hidden."""

    machine_type: str
    archive: str
    member: str
    name: ClipName

    @property
    def stem(self) -> str:
        """The file's base name without ``.wav``: a test clip's name may hide what ``name`` tells."""
        return self.member.rpartition("/")[2].removesuffix(".wav")


class Fault(NamedTuple):
    """Why attributes do not fit Table 1."""

    kind: str
    value: str
    expected: str
    message: str


def judge(section: Section, domain: str, attributes: Mapping[str, str]) -> Fault | None:
    """Whether the attributes are ones that the domain of this section takes; None where they are.

    Returns
    -------
    Fault of kind ``unknown_key`` (other keys than the section's), ``unknown_value`` (a value, or a combination, that
    the section never takes) or ``wrong_domain`` (values of the other domain).
    """
    other = DOMAINS[1 - DOMAINS.index(domain)]
    given = shown(attributes)
    if attributes in section.values(domain):
        return None
    if attributes in section.values(other):
        message = f"section {section.id}: {given} belongs to the {other} domain, the name says {domain}"
        return Fault("wrong_domain", given, f"{domain}: {_combinations(section, domain)}", message)
    keys = {frozenset(grid): " and ".join(grid) for side in DOMAINS for grid in getattr(section, side)}
    if frozenset(attributes) not in keys:
        expected = " or ".join(keys.values())
        message = f"section {section.id} has no clips with {' and '.join(attributes)}; its attributes are {expected}"
        return Fault("unknown_key", " and ".join(attributes), expected, message)
    for key, value in attributes.items():
        own, theirs = allowed_values(section, domain, key), allowed_values(section, other, key)
        if value not in (*own, *theirs):
            return _unknown_value(section, f"the {domain} domain", key, value, own or theirs)
        if value not in own:
            expected = ", ".join(own) or f"no {key}"
            message = f"section {section.id}: {key} {value} belongs to the {other} domain; {domain} has {expected}"
            return Fault("wrong_domain", f"{key} {value}", expected, message)
    expected = _combinations(section, domain)
    message = f"section {section.id} never combines {given} in the {domain} domain; it has {expected}"
    return Fault("unknown_value", given, expected, message)


def allowed_values(section: Section, domain: str, key: str) -> list[str]:
    """Values of one key in one domain, in the order of Table 1; empty where the domain lacks the key."""
    return list(dict.fromkeys(value for grid in getattr(section, domain) for value in grid.get(key, ())))


def closest(value: str, allowed: list[str]) -> str:
    """The allowed value that a wrong one was most likely meant to be.

    Examples
    --------
    >>> closest("2.9", ["0.6", "2.3", "2.8"]), closest("bsc", ["open", "bs-c"])
    ('2.8', 'bs-c')
    """
    try:
        return min(allowed, key=lambda candidate: abs(float(candidate) - float(value)))
    except ValueError:
        return difflib.get_close_matches(value, allowed, n=1, cutoff=0.0)[0]


def check_row(row: Row, name: ClipName, section: Section) -> list[Finding]:
    """Compare the attributes of a table's row with those of the clip's name.

    A value or key that the section does not know is an error (the table is damaged); one that it knows, at odds with
    the name, is the warning ``attribute_contradiction`` (the name is right); an attribute that stands in the name
    alone is the warning ``missing_attribute``.
    """
    if row.attributes == name.attributes:
        return []
    wrong = [(i, *pair) for i, pair in enumerate(row.attributes, start=1) if pair not in name.attributes]
    unknown = [finding for i, key, value in wrong for finding in _unknown_pair(row, section, i, key, value)]
    if unknown:
        return unknown
    named = shown(dict(name.attributes))
    if wrong:
        listed = ", ".join(f"{key} {value}" for _, key, value in wrong)
        message = f"the table says {listed}, the file name {name.file_name} says {named}; the file name is right"
        column = f"d{wrong[0][0]}v"
        return [row.finding("warning", "attribute_contradiction", message, column, listed, named)]
    missing = ", ".join(f"{key} {value}" for key, value in name.attributes if (key, value) not in row.attributes)
    if missing:
        message = f"the table leaves out {missing}, which the file name {name.file_name} carries"
        return [row.finding("warning", "missing_attribute", message, "d2p", "", missing)]
    return []


def _unknown_pair(row: Row, section: Section, number: int, key: str, value: str) -> list[Finding]:
    allowed = [value for domain in DOMAINS for value in allowed_values(section, domain, key)]
    if not allowed:
        keys = ", ".join(dict.fromkeys(key for domain in DOMAINS for grid in getattr(section, domain) for key in grid))
        message = f"section {section.id} has no attribute {key!r}; its attributes are {keys}"
        return [row.finding("error", "unknown_key", message, f"d{number}p", key, keys)]
    if value not in allowed:
        fault = _unknown_value(section, "either domain", key, value, list(dict.fromkeys(allowed)))
        return [row.finding("error", fault.kind, fault.message, f"d{number}v", value, fault.expected)]
    return []


def _unknown_value(section: Section, where: str, key: str, value: str, allowed: list[str]) -> Fault:
    expected = ", ".join(allowed)
    message = (
        f"section {section.id} has no {key} {value!r} in {where}; "
        f"allowed are {expected}, closest is {closest(value, allowed)}"
    )
    return Fault("unknown_value", value, expected, message)


def shown(attributes: Mapping[str, str]) -> str:
    """Attributes as a message shows them.

    Examples
    --------
    >>> shown({"vel": "8", "loc": "A"})
    'vel 8, loc A'
    """
    return ", ".join(f"{key} {value}" for key, value in attributes.items())


def _combinations(section: Section, domain: str) -> str:
    return "; ".join(
        " and ".join(f"{key} {'|'.join(values)}" for key, values in grid.items()) for grid in getattr(section, domain)
    )
