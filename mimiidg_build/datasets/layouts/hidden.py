"""Clips whose names hide what they are, and the truth that lists beside the release tell of them.

The names of evaluation clips hide the condition, those of 2022 on the domain and the attributes, too. The organisers
publish the truth later, in lists. Where nobody gives it a clip stays without a condition, which is an error unless the
caller allows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mimiidg_build.datasets.clip_table.clips import Attributes, Clip, ClipReading
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.truth import ClipTruth, Truth
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId

ASK = "give the organisers' lists (--truth FOLDER), or allow hidden_name to have such clips scored without a label"
_SECTION = re.compile(r"(?:section|id)_([0-9]{2})")
_TELLING = re.compile(r"(?:^|_)(?:normal|anomaly)_")


@dataclass
class HiddenClips:
    """Completes clips from truth lists, and collects what is wrong on the way.

    Parameters
    ----------
    truth : Truth
        May be empty.
    read_tail : callable
        From the tail of a full name to attributes, as the layout reads them.
    hides : str
        What names hide, for messages.
    """

    truth: Truth
    read_tail: Callable[[str], Attributes]
    hides: str = "domain and condition"
    told: dict[SectionId, set[str]] = field(default_factory=dict)
    untold: dict[SectionId, list[Clip]] = field(default_factory=dict)

    def of(self, clip: Clip) -> ClipTruth | None:
        """What the lists tell of a clip; None where they leave its condition open."""
        found = self.truth.get((clip.section_id.machine_type, clip.base_name))
        return found if found is not None and found.condition else None

    def complete(self, clip: Clip) -> ClipReading:
        """The clip with all that lists tell of it.

        A name that says everything is right; lists only add attributes that it leaves out.
        """
        if not self.truth and not clip.is_hidden:
            return ClipReading(clip, [])
        found = self.of(clip)
        if not clip.is_hidden:
            return ClipReading(self._with_attributes(clip, found), [])
        if found is None:
            self.untold.setdefault(clip.section_id, []).append(clip)
            return ClipReading(clip, [])
        self.told.setdefault(clip.section_id, set()).add(clip.base_name)
        if fault := _contradiction(clip, found):
            return ClipReading(None, [fault])
        return ClipReading(self._as_told(clip, found), [])

    def _as_told(self, clip: Clip, found: ClipTruth) -> Clip:
        return clip._replace(
            domain=found.domain or clip.domain,
            condition=found.condition,
            attributes=self.read_tail(found.attributes) or clip.attributes,
            full_name=found.full_name or clip.full_name,
        )

    def _with_attributes(self, clip: Clip, found: ClipTruth | None) -> Clip:
        more = self.read_tail(found.attributes) if found is not None else ()
        if found is None or clip.attributes or not more:
            return clip
        return clip._replace(attributes=more, full_name=found.full_name or clip.full_name)

    def findings(self, dataset: DatasetManifest) -> list[Finding]:
        """What the lists lack, disagree on, or tell of other clips; in that order."""
        read = {key.machine_type for key in (*self.told, *self.untold)}
        return [
            *(self._untold(key, clips) for key, clips in self.untold.items()),
            *(finding for finding in self.truth.findings if finding.table in read),
            *self._without_clip(),
            *_of_other_machines(dataset, self.truth),
        ]

    def _untold(self, section_id: SectionId, clips: list[Clip]) -> Finding:
        first, machine_type = clips[0], section_id.machine_type
        n_listed = sum(name == machine_type for name, _ in self.truth)
        if reason := self.truth.refused.get(machine_type):
            why = f"the truth lists given of {section_id} cannot be believed ({reason})"
        elif n_listed:
            why = f"the truth lists given tell of {n_listed} other clips of {machine_type} (of another year?)"
        else:
            why = f"no truth list tells of {section_id}"
        message = f"{why}, and {len(clips)} clips hide {self.hides} in their names, as {first.base_name} does; {ASK}"
        return Finding(
            "error", "hidden_name", first.file.archive, message, 0, "file_name", first.base_name, "a truth list"
        )

    def _without_clip(self) -> list[Finding]:
        """Clips that lists tell of and the archives do not hold, of sections whose hidden clips they do hold."""
        findings = []
        for key, told in self.told.items():
            absent = [
                name
                for machine_type, name in self.truth
                if machine_type == key.machine_type
                and name not in told
                and _section_of(name) == _section_of(key.section)
                and not _TELLING.search(name)
            ]
            if absent:
                message = f"the truth lists tell of {len(absent)} clips of {key} that no archive holds, as {absent[0]}"
                findings.append(Finding("warning", "no_clip", str(key), message, 0, "file_name", absent[0], "a clip"))
        return findings


def _section_of(name: str) -> str:
    match = _SECTION.search(name)
    return match[1] if match else name


def _contradiction(clip: Clip, found: ClipTruth) -> Finding | None:
    """A list that cannot be of this clip: it names another section, or another domain than the clip's own name."""
    wrong = bool(clip.domain and found.domain and clip.domain != found.domain)
    if found.full_name:
        wrong |= _section_of(found.full_name) != _section_of(clip.base_name)
    if not wrong:
        return None
    said = found.full_name or found.domain
    message = (
        f"the truth lists say that {clip.file.member} is {said}: another domain or section. Are they of another year?"
    )
    return clip.file.error(None, "name_mismatch", message, clip.base_name, said)


def _of_other_machines(dataset: DatasetManifest, truth: Truth) -> list[Finding]:
    listed = list(dict.fromkeys(machine_type for machine_type, _ in truth))
    foreign = [name for name in listed if name not in dataset.machine_types] if dataset.machine_types else []
    if not foreign:
        return []
    # an error: the same names of clips come again every year, and would take the truth of another year
    known, value = ", ".join(dataset.machine_types), ", ".join(foreign)
    message = f"the truth lists tell of {value}, but {dataset.name} has {known}. Are they of another year?"
    return [Finding("error", "other_truth", "truth lists", message, 0, "machine_type", value, known)]
