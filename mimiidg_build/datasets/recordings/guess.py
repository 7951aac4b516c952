"""A first guess of how the paths of recordings say what they are: a pattern, and what is the same for all.

A path is taken apart into slots: its folders, and the words of its name between underscores. What a slot's values are
over all paths tells what it says: the words for normal and anomalous, training and testing, source and target; numbers
that count recordings; dates and sessions; numbers of machines; and the first other words are machine types.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mimiidg_build.schemas.recordings import Recordings
from mimiidg_build.schemas.sections import MACHINE_TYPE

NORMAL = (*Recordings.model_fields["normal"].default, "norm", "healthy", "intact", "baseline", "reference")
ANOMALY = (
    *Recordings.model_fields["anomaly"].default,
    *("abnorm", "fault", "defect", "defective", "nok", "damaged", "damage", "worn", "fail", "failed", "failure"),
)
MOST_WORDS = 10  # that a slot of conditions has
USUAL = 0.9  # the share of paths whose shape is that of all
_SESSION = re.compile(
    r"(session|sess|day|date|run|shift|week|visit)-?[0-9]+|20[0-9]{6}|20[0-9]{2}-[0-9]{2}-[0-9]{2}", re.I
)
_MACHINE_NUMBER = re.compile(r"(id|section|unit|no|nr|sn|machine|line)?[-_]?[0-9]+", re.I)
_NUMBERED = re.compile(r"[A-Za-z]*[0-9]+")
_PREFIXED = re.compile(r"([A-Za-z]+)[-.]?[0-9][0-9.]*")
_DCASE = re.compile(r"section_[0-9]{2}_(source|target)_(train|test)_(normal|anomaly)_[0-9]+(_.*)?\.[a-z0-9]+", re.I)
# what folders and files are called whatever machine they are of, with or without a number
_GENERAL = re.compile(
    r"(data|(dev|eval)_data|audio|wav|raw|sounds?|rec|recordings?|dataset|mic|microphone|channel|ch|sample|file|track)"
    r"[-_]?[0-9]*"
)


@dataclass
class Guess:
    """A pattern, fields that are the same for all, and the words for normal and anomalous that were seen."""

    pattern: str
    fixed: dict[str, str] = field(default_factory=dict)
    normal: list[str] = field(default_factory=list)
    anomaly: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Slot:
    """A folder or a word of the name: its text in every path."""

    values: tuple[str, ...]
    in_name: bool
    is_last: bool

    @property
    def distinct(self) -> list[str]:
        """Its different values, in lower case, in order."""
        return sorted({value.lower() for value in self.values})

    def all_fit(self, pattern: re.Pattern[str]) -> bool:
        """Whether every value is of a pattern."""
        return all(pattern.fullmatch(value) for value in self.distinct)


def guess_pattern(paths: Sequence[str], folder_name: str) -> Guess:
    """How paths most likely say what recordings are.

    Parameters
    ----------
    paths : sequence of str
        Of sound files, within the folder; at least one.
    folder_name : str
        The machine type where paths name none.

    Returns
    -------
    Guess

    >>> guess_pattern(["pump_03_ok_0001.wav", "pump_03_bad_0002.wav", "pump_04_ok_0001.wav"], "hall").pattern
    '{machine_type}_{section}_{condition}_{index}.wav'
    >>> guess = guess_pattern(["good/a 1.wav", "bad/b.wav"], "press line")
    >>> guess.pattern, guess.fixed
    ('{condition}/*.wav', {'machine_type': 'press-line'})
    """
    folders, names = _usual_shape(paths)
    if all(_DCASE.fullmatch(path.rpartition("/")[2]) for path in paths):
        return _dcase(paths, folders)
    slots = [_Slot(values, False, False) for values in folders]
    slots += [_Slot(values, True, number == len(names) - 1) for number, values in enumerate(names)]
    roles = _roles(slots)
    guess = Guess("", _fixed(roles, folder_name))
    if "condition" in roles:
        words = slots[roles.index("condition")].distinct
        guess.normal = [word for word in words if word in NORMAL]
        guess.anomaly = [word for word in words if word not in NORMAL]
    texts = [_text(slot, role) for slot, role in zip(slots, roles, strict=True)]
    in_name = "_".join(texts[len(folders) :]) or "*"
    suffixes = {path.rpartition(".")[2].lower() for path in paths}
    guess.pattern = "/".join([*texts[: len(folders)], f"{in_name}.{suffixes.pop() if len(suffixes) == 1 else '*'}"])
    return guess


def slug(text: str) -> str:
    """A text as a machine type or a dataset's name.

    >>> slug("Halle 3 (süd)"), slug("...")
    ('Halle-3-s-d', 'machine')
    """
    return re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-_") or "machine"


def _usual_shape(paths: Sequence[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The values of every folder, and of every word of the names, of the paths whose shape is the usual one."""
    depth = Counter(path.count("/") for path in paths).most_common(1)[0][0]
    usual = [path for path in paths if path.count("/") == depth]
    folders = [tuple(path.split("/")[level] for path in usual) for level in range(depth)]
    words = [_words(path.rpartition("/")[2]) for path in usual]
    n_words, count = Counter(map(len, words)).most_common(1)[0]
    if count < USUAL * len(words):
        return folders, []
    same = [row for row in words if len(row) == n_words]
    if count < len(words):  # folders of the very same paths
        kept = [len(row) == n_words for row in words]
        folders = [tuple(v for v, keep in zip(values, kept, strict=True) if keep) for values in folders]
    return folders, list(zip(*same, strict=True))


def _words(name: str) -> list[str]:
    """The words of a file's name.

    >>> _words("normal_id_00_00000001.wav")
    ['normal', 'id_00', '00000001']
    """
    stem = name.rpartition(".")[0]
    return re.findall(r"id_[0-9]+(?=_|$)|[^_]+|(?<=_)(?=_|$)|^(?=_)", stem, re.IGNORECASE) or [""]


def _dcase(paths: Sequence[str], folders: Sequence[tuple[str, ...]]) -> Guess:
    """The names of DCASE 2021 on and MIMII DG say everything but the machine type, which a folder is called."""
    has_attributes = sum(len(_words(path.rpartition("/")[2])) > 6 for path in paths) > len(paths) / 2
    above = ["{machine_type}" if level == max(len(folders) - 2, 0) else "*" for level in range(len(folders))]
    if len(folders) > 1:
        above[-1] = "{split}"
    tail = "_{attributes}" if has_attributes else "*"
    pattern = "/".join([*above, f"section_{{section}}_{{domain}}_{{split}}_{{condition}}_{{index}}{tail}.wav"])
    fixed = {} if folders else {"machine_type": "machine"}
    return Guess(pattern, fixed, ["normal"], ["anomaly"])


# ---- What slots say --------------------------------------------------------------------------------------------------


def _roles(slots: Sequence[_Slot]) -> list[str]:
    """What each slot says; ``""`` where it is to stand as it is, ``"*"`` where hardly anything in it comes again."""
    roles = [""] * len(slots)
    tests: dict[str, Callable[[_Slot], bool]] = {
        "condition": _is_condition,
        "split": lambda slot: set(slot.distinct) <= {"train", "test"},
        "domain": lambda slot: set(slot.distinct) <= {"source", "target"},
        "session": lambda slot: slot.all_fit(_SESSION),
        "index": _is_index,
        "section": lambda slot: slot.all_fit(_MACHINE_NUMBER) and len(slot.distinct) <= max(len(slot.values) / 2, 2),
    }
    for role, test in tests.items():
        for number, slot in enumerate(slots):
            if not roles[number] and role not in roles and test(slot):
                roles[number] = role
    machine = _machine_type(slots, roles)
    if machine is not None:
        roles[machine] = "machine_type"
    for number, slot in enumerate(slots):
        if not roles[number] and len(slot.distinct) > 1:
            roles[number] = _attribute(slot, roles)
    return roles


def _is_condition(slot: _Slot) -> bool:
    """All words are known ones; or at least one stands for normal, and the others then for what is not."""
    words = slot.distinct
    known = [word for word in words if word in NORMAL or word in ANOMALY]
    return len(known) == len(words) or (bool(set(words) & set(NORMAL)) and len(words) <= MOST_WORDS)


def _is_index(slot: _Slot) -> bool:
    """The last word of names, a number; or one after a word that names no machine, as in rec0007."""
    if not slot.is_last or not slot.all_fit(_NUMBERED):
        return False
    return slot.all_fit(re.compile("[0-9]+")) or (bool(_prefix(slot)) and slot.all_fit(_GENERAL))


def _machine_type(slots: Sequence[_Slot], roles: Sequence[str]) -> int | None:
    """The slot that names machine types: the first whose words differ, or else the first word that may be a machine."""
    pattern = re.compile(MACHINE_TYPE)
    free = [
        (number, slot)
        for number, (slot, role) in enumerate(zip(slots, roles, strict=True))
        if not role and slot.all_fit(pattern) and not any(map(_GENERAL.fullmatch, slot.distinct))
    ]
    # the last word of a name tells recordings apart, and those that end in a number do, too
    free = [(n, slot) for n, slot in free if not slot.is_last or not any(w[-1].isdecimal() for w in slot.distinct)]
    free = [(n, slot) for n, slot in free if not any(word.isdecimal() for word in slot.distinct)]
    differing = [(n, slot) for n, slot in free if 1 < len(slot.distinct) <= len(slot.values) / 2]
    # 0_dB_fan/fan: the first says the second and more
    plain = [n for n, slot in differing if not any(_says_more(slot, other) for m, other in differing if m > n)]
    same = [n for n, slot in free if len(slot.distinct) == 1 and not slot.is_last]
    return next(iter([*plain, *same]), None)


def _says_more(slot: _Slot, other: _Slot) -> bool:
    return all(theirs in ours and theirs != ours for ours, theirs in zip(slot.values, other.values, strict=True))


def _attribute(slot: _Slot, roles: Sequence[str]) -> str:
    """An attribute's name, where values come again: the letters before its numbers if they are the same."""
    if len(slot.distinct) > len(slot.values) / 2:
        return "*"
    taken = [*roles, *Recordings.model_fields]
    if (name := _prefix(slot)) and name not in taken:
        return name
    return next(f"attribute-{n}" for n in range(1, len(roles) + 2) if f"attribute-{n}" not in taken)


def _prefix(slot: _Slot) -> str:
    """The letters before the numbers of all of a slot's values; empty where they differ or there are none."""
    prefixes = {match[1] if (match := _PREFIXED.fullmatch(value)) else "" for value in slot.values}
    return prefixes.pop() if len(prefixes) == 1 else ""


def _fixed(roles: Sequence[str], folder_name: str) -> dict[str, str]:
    fixed = {} if "machine_type" in roles else {"machine_type": slug(folder_name)}
    return fixed if "condition" in roles else {**fixed, "condition": "normal"}


def _text(slot: _Slot, role: str) -> str:
    """The slot in the pattern."""
    if role == "*":
        return "*"
    if role in ("index", _prefix(slot)) and role:
        return f"{_prefix(slot)}{{{role}}}"  # rec0007, rpm1500
    return f"{{{role}}}" if role else re.sub("[{}\\\\]", "*", slot.values[0])
