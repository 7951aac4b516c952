"""Own recordings as a dataset: a manifest's table ``[recordings]``, and what is noted of the clips cut from them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mimiidg_build.schemas.sections import MachineType, SectionName

KNOWN_FIELDS = ("machine_type", "section", "condition", "split", "domain", "session", "index")
FIELD = re.compile(r"\{([A-Za-z][A-Za-z0-9-]*(?:_[A-Za-z0-9-]+)*)\}")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1)]
Word = Annotated[str, Field(min_length=1, max_length=100)]
Share = Annotated[float, Field(gt=0, lt=1)]
# of one path: no field of it is longer than a file system's names
Pattern = Annotated[str, Field(min_length=1, max_length=1000)]


class Recordings(BaseModel):
    """Where recordings lie, what their names or a table say of them, and how they become clips.

    folder        searched with all folders within; relative to the manifest's own
    pattern       how paths within the folder say what a recording is:
                  ``{machine_type}/{condition}/{section}_{index}.wav``. A field of another name is an attribute;
                  ``*`` stands for anything but ``/``, ``**/`` for any folders.
                  Of several patterns each file fits one
    table         instead, a CSV file with columns of these names and ``path``, relative to the folder
    ignore        globs of paths that are no recordings of this dataset
    machine_type, section, condition, split, domain, session
                  what is the same for all recordings, and no field
    normal, anomaly, source, target
                  the words that stand for these in names and tables, whatever their case
    channel       of recordings with several: its number from 0, or ``"mean"`` of all
    hold_out      what is held out for testing as a whole, among normal recordings: every ``"session"``'s or every
                  ``"recording"``'s clips. Sessions where there are, by default
    share         of a section's normal clips that are held out, about
    seed          draws which
    license       of the recordings
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    folder: str = "."
    pattern: Pattern | Annotated[list[Pattern], Field(min_length=1)] | None = None
    table: str | None = None
    ignore: list[str] = Field(default_factory=list)
    machine_type: MachineType | None = None
    section: SectionName | None = None
    condition: Word | None = None
    split: Word | None = None
    domain: Word | None = None
    session: Word | None = None
    normal: Words = ["normal", "ok", "good", "healthy"]
    anomaly: Words = ["anomaly", "anomalous", "abnormal", "bad", "broken", "faulty", "ng"]
    source: Words = ["source"]
    target: Words = ["target"]
    channel: Annotated[int, Field(ge=0)] | Literal["mean"] = 0
    hold_out: Literal["session", "recording"] | None = None
    share: Share = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    license: str = "not stated"

    @property
    def patterns(self) -> list[str]:
        """The patterns, none where a table is given."""
        return [self.pattern] if isinstance(self.pattern, str) else list(self.pattern or ())

    @property
    def fixed(self) -> dict[str, str]:
        """Fields that are the same for all recordings."""
        return {name: value for name in KNOWN_FIELDS[:-1] if (value := getattr(self, name)) is not None}

    @property
    def words(self) -> dict[str, dict[str, str]]:
        """By field, what each word stands for, in lower case."""
        kinds = {"condition": ("normal", "anomaly"), "domain": ("source", "target")}
        meanings = {
            field: {word.lower(): kind for kind in both for word in getattr(self, kind)}
            for field, both in kinds.items()
        }
        return {**meanings, "split": {"train": "train", "test": "test"}}

    @model_validator(mode="after")
    def _says_what_is_what(self) -> Recordings:
        if (self.pattern is None) == (self.table is None):
            raise ValueError('give pattern = "..." or table = "clips.csv", one of the two')
        for one, other in (("normal", "anomaly"), ("source", "target")):
            if both := {w.lower() for w in getattr(self, one)} & {w.lower() for w in getattr(self, other)}:
                raise ValueError(f"{sorted(both)[0]!r} stands for both {one} and {other}")
        for field, words in self.words.items():
            if (value := self.fixed.get(field)) is not None and value.lower() not in words:
                raise ValueError(f"{field} = {value!r} is none of the words {', '.join(words)}")
        for pattern in self.patterns:
            self._check_pattern(pattern)
        return self

    @model_validator(mode="after")
    def _sessions_are_said(self) -> Recordings:
        lacking = [pattern for pattern in self.patterns if "session" not in FIELD.findall(pattern)]
        if self.hold_out == "session" and self.session is None and lacking:
            raise ValueError(f'hold_out = "session", and pattern {lacking[0]!r} has no field {{session}}')
        return self

    def _check_pattern(self, pattern: str) -> None:
        rest = FIELD.sub("", pattern)
        if odd := [sign for sign in "{}\\" if sign in rest]:
            raise ValueError(f"pattern {pattern!r}: {odd[0]!r} belongs to no field; write fields as {{machine_type}}")
        fields = FIELD.findall(pattern)
        if twice := sorted(set(fields) & self.fixed.keys()):
            raise ValueError(f"pattern {pattern!r} has a field {twice[0]}, and {twice[0]} = ... is given as well")
        if "condition" not in (*fields, *self.fixed):
            raise ValueError(
                f"pattern {pattern!r} does not say which recordings are normal: give it a field {{condition}}, or "
                'condition = "normal" for all'
            )


class CutSource(BaseModel):
    """A recording that clips were cut from: its state then, and the digest of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: Annotated[int, Field(ge=0)]
    mtime_ns: int
    blake3: Digest


class CutArchive(BaseModel):
    """One archive of clips: the settings that decided them, the recordings by path within the folder (those that gave
    no clip included), what was said of each, and what was odd."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    sources: dict[str, CutSource]
    readings: dict[str, str]
    findings: list[dict[str, Any]]


class CutIndex(BaseModel):
    """``recordings.json`` beside the archives: what each was cut from, and what was odd about the folder or table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    findings: list[dict[str, Any]] = Field(default_factory=list)
    archives: dict[str, CutArchive] = Field(default_factory=dict)
