"""From members to clips, for MIMII.

No split is published. That of the authors' baseline is taken: of each machine, all anomalous clips and as many normal
ones, the first in order, are test clips; the rest are training clips.
"""

from __future__ import annotations

from collections.abc import Mapping

from mimiidg_build.datasets.clip_table.clips import Clip, ClipFile, ClipReading, Reading
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.layouts.members import Places, sort_members
from mimiidg_build.datasets.layouts.mimii.names import ClipPath
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import SectionId

PLACES = Places("id_[0-9]{2}/(?:normal|abnormal)", "{machine}/id_SS/{normal,abnormal}/*.wav")


def read_clips(
    dataset: DatasetManifest,
    archives: Mapping[str, Mapping[str, int]],
    tables: Mapping[tuple[str, str], bytes],
    truth: Truth,
) -> Reading:
    """The clips of a release; see :class:`mimiidg_build.datasets.layouts.Layout`."""
    members = sort_members(dataset, archives, PLACES)
    reading = Reading([_read_clip(file) for file in members.clips], members.findings)
    test, untrained = _test_clips(reading.read_clips())
    reading.clips = [
        ClipReading(clip._replace(split="test"), faults)
        if clip is not None and clip.stem in test[clip.section_id]
        else ClipReading(clip, faults)
        for clip, faults in reading.clips
    ]
    reading.findings += untrained
    return reading


def _read_clip(file: ClipFile) -> ClipReading:
    try:
        name = ClipPath.parse(file.path)
    except DataError as error:
        return ClipReading(None, [file.error(None, "bad_name", str(error))])
    section_id, base = SectionId(file.machine_type, name.section), file.path.rpartition("/")[2]
    return ClipReading(Clip(file, section_id, "train", "", name.condition, name.index, (), base, clip=name.clip), [])


def _test_clips(clips: list[Clip]) -> tuple[dict[SectionId, set[str]], list[Finding]]:
    """The test clips of each machine, and the machines that have no training clip left."""
    machines: dict[SectionId, dict[str, list[Clip]]] = {}
    for clip in clips:
        machines.setdefault(clip.section_id, {"normal": [], "anomaly": []})[clip.condition].append(clip)
    test, untrained = {}, []
    for section_id, by_condition in machines.items():
        normal = sorted(by_condition["normal"], key=lambda clip: clip.index)
        anomalous = by_condition["anomaly"]
        test[section_id] = {clip.stem for clip in (*normal[: len(anomalous)], *anomalous)}
        if len(normal) <= len(anomalous):
            message = (
                f"{len(normal)} normal clips of {section_id} beside {len(anomalous)} anomalous ones leave none to "
                "train with; expected more normal clips than anomalous ones. Is an archive incomplete?"
            )
            untrained.append(Finding("warning", "no_training", str(section_id), message, 0, "split", "0", "1 or more"))
    return test, untrained
