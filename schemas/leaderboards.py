"""The shape of ``leaderboard.json``: every system that was run on one store, the best first.

Scores are fractions in [0, 1], differences in [-1, 1], intervals (low, high) at 95 %; ``null`` is unknown, never zero.
``leaderboard.csv`` has a row for each of ``systems``, its nested fields as columns.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from mimiidg_build.schemas.manifests import Protocol, Strict
from mimiidg_build.schemas.results import Finite
from mimiidg_build.schemas.runs import Count
from mimiidg_build.schemas.sections import MachineType
from mimiidg_build.schemas.stores import Fingerprint

FORMAT_VERSION = 1

Measured = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PairedDifference(Strict):
    """A system's score less another's on the same test clips; the interval is over trainings as well if ``over_seeds``.

    ``than`` and ``than_profile`` name the other. Where ``low`` <= 0 <= ``high`` the two cannot be told apart.
    """

    than: str
    than_profile: str
    value: Finite
    low: Finite | None
    high: Finite | None
    over_seeds: bool

    @property
    def is_open(self) -> bool:
        """Whether the clips do not tell which of the two is better."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


class LeaderboardSystem(Strict):
    """A model's own score, a further score of it, or a back end on its embeddings, with one profile.

    ``rank`` is None where a system does not compete, which ``not_ranked`` says the reason of; equal scores share one.
    ``profile`` is the profile, with epochs and settings that were asked for in its place; those are ``changes``.
    ``machine_types`` are the score of each machine type's sections alone. ``less_best`` and ``less_baseline`` are None
    for the best and for the baseline themselves, and where systems cannot be paired, which a note tells.
    ``n_parameters`` are the trainable ones of one network, the largest, ``n_networks`` the networks of a seed.
    ``training_s`` is the wall-clock time of training all networks one after the other, the mean over seeds, on
    ``devices``; ``scoring_clips_per_s`` is over all of them. ``runs`` are the folders beside the file.
    """

    rank: Annotated[int, Field(ge=1)] | None
    not_ranked: str = ""
    name: str
    model: str
    score: str
    backend: str | None
    profile: str
    changes: dict[str, JsonValue]
    seeds: Annotated[list[int], Field(min_length=1)]
    value: Finite | None
    low: Finite | None
    high: Finite | None
    few_clips: bool
    machine_types: dict[MachineType, Finite | None]
    less_best: PairedDifference | None
    less_baseline: PairedDifference | None
    n_parameters: Count
    n_networks: Count
    training_s: Measured
    scoring_clips_per_s: Measured | None
    devices: Annotated[list[str], Field(min_length=1)]
    runs: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_ranked_or_says_why_not(self) -> LeaderboardSystem:
        if (self.rank is None) != bool(self.not_ranked):
            raise ValueError("expected a rank, or why there is none")
        return self


class Absent(Strict):
    """A system without a row, and why. ``profile`` is as a system's; with the seed, where it is of a run."""

    name: str
    profile: str
    state: Literal["failed", "not finished", "left out", "not run"]
    reason: str


class Leaderboard(Strict):
    """``leaderboard.json``.

    ``score`` is what systems are sorted by: the official score of the ``protocol``, or the mean AUC where the domains
    that it needs are unknown. ``notes`` are to be read with the numbers.
    """

    format_version: Literal[1] = 1
    variant: str
    fingerprint: Fingerprint
    dataset: str
    synthetic: bool
    protocol: Protocol
    score: Literal["official score", "mean AUC"]
    confidence_level: Annotated[float, Field(gt=0, lt=1)]
    n_test_clips: Count
    systems: list[LeaderboardSystem]
    absent: list[Absent]
    notes: list[str]
    written: dict[str, str]

    @model_validator(mode="after")
    def _has_each_machine_type_everywhere(self) -> Leaderboard:
        types = [list(system.machine_types) for system in self.systems]
        if odd := next((number for number, names in enumerate(types) if names != types[0]), None):
            raise ValueError(f"systems.{odd}.machine_types: expected {types[0]}, as of the first, found {types[odd]}")
        return self
