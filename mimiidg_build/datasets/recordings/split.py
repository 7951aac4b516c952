"""The split: which recordings are for training and which for testing, where names or a table do not say it.

Anomalies are for testing. Of a section's normal clips about a share is held out for testing, in each domain: whole
sessions where there are sessions, else whole recordings, so that no piece of one stands on both sides. Which ones is
drawn by the seed from their names alone: neither the order of files nor other sections change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from mimiidg_build.datasets.recordings.fields import OwnRecording
from mimiidg_build.schemas.recordings import Recordings


@dataclass(frozen=True, slots=True)
class Measured:
    """A recording and how it is cut: clips, length in seconds, and what is left over at its end."""

    recording: OwnRecording
    n_clips: int
    seconds: float
    left_over_s: float


def with_split(settings: Recordings, measured: Sequence[Measured]) -> dict[str, str]:
    """Train or test for every recording.

    Parameters
    ----------
    settings : Recordings
        ``hold_out``, ``share`` and ``seed`` count.
    measured : sequence of Measured
        In any order.

    Returns
    -------
    dict of path to "train" or "test"
    """
    splits: dict[str, str] = {}
    cells: dict[tuple[str, str], list[Measured]] = {}
    for one in measured:
        recording = one.recording
        if recording.split or recording.condition == "anomaly":
            splits[recording.path] = recording.split or "test"
        else:
            cells.setdefault((str(recording.section_id), recording.domain), []).append(one)
    for (section, domain), own in cells.items():
        groups: dict[str, int] = {}
        for one in own:
            group = _group(settings, one.recording)
            groups[group] = groups.get(group, 0) + one.n_clips
        test = held_out(groups, settings.share, f"{settings.seed}/{section}/{domain}")
        splits |= {one.recording.path: "test" if _group(settings, one.recording) in test else "train" for one in own}
    return splits


def _group(settings: Recordings, recording: OwnRecording) -> str:
    """What is held out as a whole: the recording's session, or itself."""
    return recording.path if settings.hold_out == "recording" else recording.session or recording.path


def held_out(groups: dict[str, int], share: float, draw: str) -> set[str]:
    """Groups that together have about a share of all clips: at least one of them, and never all.

    Parameters
    ----------
    groups : dict of name to number of clips
    share : float
    draw : str
        Another one draws other groups.

    Returns
    -------
    set of str
        Empty where there is only one group.

    >>> sorted(held_out({"a": 5, "b": 5, "c": 5, "d": 5, "e": 5}, 0.4, "0/fan/00/"))
    ['d', 'e']
    >>> held_out({"a": 10}, 0.4, "")
    set()
    """
    drawn = sorted(groups, key=lambda name: blake3(f"{draw}/{name}".encode()).digest())
    wanted, chosen, n_chosen = share * sum(groups.values()), set[str](), 0
    for name in drawn[:-1]:  # the last one drawn always stays for training
        # taken where that comes closer to the share, so that one long session does not make half of the test clips
        if abs(n_chosen + groups[name] - wanted) < abs(n_chosen - wanted):
            chosen.add(name)
            n_chosen += groups[name]
    if not chosen and len(drawn) > 1:
        chosen.add(min(drawn, key=groups.__getitem__))  # all are long: the shortest, to have any normal test clip
    return chosen
