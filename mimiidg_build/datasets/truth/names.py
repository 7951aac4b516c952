"""What a clip's full name says of it.

Conventions
-----------
Development test clips say it themselves, by ``section_SS_<domain>_test_<condition>_NNNN_<attributes>.wav`` (DCASE 2021
on; the lists of 2024 leave ``_test`` out of some) or ``<condition>_id_SS_NNNNNNNN.wav`` (2020, no domains). MIMII's
folders say it, ``id_SS/<condition>/NNNNNNNN.wav``: ``id_SS_<condition>_NNNNNNNN.wav`` where a name must stand alone.
Clips cut from own recordings are called ``[<domain>_]test_<condition>_<recording>_pNNNN.wav``.
Evaluation clips, ``section_SS_NNNN.wav``, ``section_SS_<domain>_test_NNNN.wav`` or ``id_SS_NNNNNNNN.wav``, hide it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The tail is any text: other machines' names carry more attributes than MIMII DG's (car_A1_spd_28V_mic_1), or none.
_FULL_NAMES = (
    re.compile(
        r"^section_[0-9]{2}_(?P<domain>source|target)_(?P<split>train_|test_)?(?P<condition>normal|anomaly)_[0-9]+"
        r"(?:_(?P<attributes>.*))?\.wav$"
    ),
    re.compile(r"^(?P<condition>normal|anomaly|abnormal)_id_[0-9]{2}_[0-9]+\.wav$"),
    re.compile(r"^id_[0-9]{2}_(?P<condition>normal|anomaly|abnormal)_[0-9]+\.wav$"),
    re.compile(
        r"^(?:(?P<domain>source|target)_)?(?P<split>train_|test_)(?P<condition>normal|anomaly)_.+_p[0-9]{4,}\.wav$"
    ),
)
_SECTION = re.compile(r"^section_(?P<number>[0-9]{2})_|(?:^|_)(?P<id>id_[0-9]{2})_(?:[a-z]+_)?[0-9]+\.")
NO_ATTRIBUTES = ("", "noAttribute")  # tails that stand for none
_KEY = re.compile(r"^[A-Za-z]")
# A key and a value run together: a number (spd1000), or one capital (BckgA) after a word.
_RUN_TOGETHER = re.compile(r"^(?P<key>[A-Za-z]+)(?P<value>[0-9]+)$|^(?P<word>[A-Z]?[a-z]+)(?P<letter>[A-Z])$")


@dataclass(frozen=True)
class ClipTruth:
    """What a clip is; ``""`` where unknown.

    ``attributes`` is the tail of the full name, ``vel_6_f-n_A``. ``full_name`` is the file name with nothing hidden, as
    the list that gives it writes it; where lists disagree it may say another condition or domain than is true, and
    then the fields are right.
    """

    domain: str = ""
    condition: str = ""
    attributes: str = ""
    full_name: str = ""


def truth_of_name(file_name: str, training: bool = False) -> ClipTruth | None:
    """The truth in a clip's base name, None where the name hides it, or is a training clip's unless ``training``.

    >>> truth_of_name("section_00_target_test_normal_0001_m-n_Y.wav")  # doctest: +NORMALIZE_WHITESPACE
    ClipTruth(domain='target', condition='normal', attributes='m-n_Y',
              full_name='section_00_target_test_normal_0001_m-n_Y.wav')
    >>> truth_of_name("anomaly_id_01_00000002.wav").condition
    'anomaly'
    >>> truth_of_name("source_test_anomaly_press_day3_0007_p0002.wav").condition
    'anomaly'
    >>> truth_of_name("section_03_0001.wav") is None
    True
    """
    match = next((found for pattern in _FULL_NAMES if (found := pattern.match(file_name))), None)
    if match is None:
        return None
    said = match.groupdict()
    if said.get("split") == "train_" and not training:
        return None
    condition = "normal" if said["condition"] == "normal" else "anomaly"
    return ClipTruth(said.get("domain") or "", condition, said.get("attributes") or "", file_name)


def section_of_name(file_name: str) -> str | None:
    """The section that a clip's base name says, hidden or not, as sections are written; None where it says none.

    >>> section_of_name("section_03_0001.wav"), section_of_name("anomaly_id_01_00000002.wav")
    ('03', 'id_01')
    >>> section_of_name("00000000.wav") is None
    True
    """
    match = _SECTION.search(file_name)
    return match["number"] or match["id"] if match else None


def attribute_pairs(attributes: str) -> list[tuple[str, str]]:
    """The tail of a full name as (attribute, value); a tail that is no list of pairs is one attribute, ``tail``.

    >>> attribute_pairs("vel_6_f-n_A")
    [('vel', '6'), ('f-n', 'A')]
    >>> attribute_pairs("spd1000_BckgA"), attribute_pairs("pro_A_damage1")
    ([('spd', '1000'), ('Bckg', 'A')], [('pro', 'A'), ('damage', '1')])
    >>> attribute_pairs("noAttribute"), attribute_pairs("strength_1_ambient")
    ([], [('tail', 'strength_1_ambient')])
    """
    if attributes in NO_ATTRIBUTES:
        return []
    pairs = _pairs(attributes.split("_"))
    keys = [key for key, _ in pairs]
    is_list = pairs and len(set(keys)) == len(keys) and all(_KEY.match(key) for key in keys)
    return pairs if is_list else [("tail", attributes)]


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """Words as pairs, one after the other or each run together; nothing where they are neither."""
    if "" in words:
        return []
    split = [_split(word) for word in words]
    if all(split):
        return [pair for pair in split if pair]
    last = [split[-1]] if len(words) % 2 and split[-1] else []
    rest = words[: len(words) - len(last)]
    return [*zip(rest[::2], rest[1::2], strict=True), *last] if len(rest) % 2 == 0 else []


def _split(word: str) -> tuple[str, str] | None:
    """A key and a value that are run together, None where it is not clear that they are."""
    match = _RUN_TOGETHER.match(word)
    return (match["key"] or match["word"], match["value"] or match["letter"]) if match else None
