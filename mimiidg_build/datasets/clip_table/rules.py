"""Rules for one clip: its attributes against Table 1, its row in the attribute table against its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mimiidg_build.datasets.clip_table.clips import Clip, TableRow
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.schemas.manifests import DOMAINS, Section


class Fault(NamedTuple):
    """Why attributes do not fit Table 1."""

    kind: str
    value: str
    expected: str
    message: str


def judge(section: Section, domain: str, attributes: Mapping[str, str]) -> Fault | None:
    """Whether the attributes are ones that the domain of this section takes.

    Parameters
    ----------
    section : Section
        Its row of Table 1.
    domain : "source" or "target"
    attributes : mapping of str to str
        Value by key.

    Returns
    -------
    Fault or None
        None where the domain takes them. Of kind ``unknown_key`` (other keys than the section's), ``unknown_value`` (a
        value, or a combination, that the section never takes) or ``wrong_domain`` (values of the other domain).
    """
    if not section.source or domain not in DOMAINS:
        return None  # nobody published which values it takes
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
    # The keys are right and the combination is not: a single value is to blame, or none by itself.
    for fault in _value_faults(section, domain, attributes):
        return fault
    expected = _combinations(section, domain)
    message = f"section {section.id} never combines {given} in the {domain} domain; it has {expected}"
    return Fault("unknown_value", given, expected, message)


def _value_faults(section: Section, domain: str, attributes: Mapping[str, str]) -> Iterator[Fault]:
    """Every value that the domain never takes, in the order of the attributes."""
    other = DOMAINS[1 - DOMAINS.index(domain)]
    for key, value in attributes.items():
        own, theirs = allowed_values(section, domain, key), allowed_values(section, other, key)
        if value not in (*own, *theirs):
            yield _unknown_value(section, f"the {domain} domain", key, value, own or theirs)
        elif value not in own:
            expected = ", ".join(own) or f"no {key}"
            message = f"section {section.id}: {key} {value} belongs to the {other} domain; {domain} has {expected}"
            yield Fault("wrong_domain", f"{key} {value}", expected, message)


def allowed_values(section: Section, domain: str, key: str) -> list[str]:
    """Values of one attribute in one domain.

    Parameters
    ----------
    section : Section
    domain : "source" or "target"
    key : str
        The attribute.

    Returns
    -------
    list of str
        In the order of Table 1; empty where the domain lacks the attribute.
    """
    return list(dict.fromkeys(value for grid in getattr(section, domain) for value in grid.get(key, ())))


def closest(value: str, allowed: list[str]) -> str:
    """The allowed value that a wrong one was most likely meant to be.

    Examples
    --------
    >>> closest("2.9", ["0.6", "2.3", "2.8"]), closest("bsc", ["open", "bs-c"])
    ('2.8', 'bs-c')
    """
    try:
        # numbers by value, words by spelling
        return min(allowed, key=lambda candidate: abs(float(candidate) - float(value)))
    except ValueError:
        return difflib.get_close_matches(value, allowed, n=1, cutoff=0.0)[0]


def check_row(clip: Clip, row: TableRow, section: Section) -> list[Finding]:
    """Compare the attributes of a clip's name with those of its table row.

    Parameters
    ----------
    clip : Clip
    row : TableRow
        The clip's row.
    section : Section
        The clip's row of Table 1.

    Returns
    -------
    list of Finding
        A value or key that the section does not know is an error (the table is damaged); one that it knows, at odds
        with the name, is the warning ``attribute_contradiction`` (the name is right); an attribute that stands in the
        name alone is the warning ``missing_attribute``.
    """
    if row.attributes == clip.attributes:
        return []
    wrong = [(i, *pair) for i, pair in enumerate(row.attributes, start=1) if pair not in clip.attributes]
    unknown = [
        finding for i, key, value in wrong if section.source for finding in _unknown_pair(row, section, i, key, value)
    ]
    if unknown:
        return unknown
    named = shown(dict(clip.attributes))
    if wrong:
        listed = ", ".join(f"{key} {value}" for _, key, value in wrong)
        message = f"the table says {listed}, the file name {clip.full_name} says {named}; the file name is right"
        column = f"d{wrong[0][0]}v"
        return [row.finding("warning", "attribute_contradiction", message, column, listed, named)]
    missing = ", ".join(f"{key} {value}" for key, value in clip.attributes if (key, value) not in row.attributes)
    if missing:
        message = f"the table leaves out {missing}, which the file name {clip.full_name} carries"
        return [row.finding("warning", "missing_attribute", message, "d2p", "", missing)]
    return []


def _unknown_pair(row: TableRow, section: Section, number: int, key: str, value: str) -> list[Finding]:
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
