"""Which section a recording is from: what its name says in a layout's form, what the user says, or the only one.

Never guessed: where several sections remain and the network tells them apart, the recording is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mimiidg_build.benchmark.detection.recordings import Unfit
from mimiidg_build.datasets.truth import section_of_name
from mimiidg_build.errors import UsageError, did_you_mean
from mimiidg_build.evaluation.score_files import clip_name
from mimiidg_build.schemas.sections import SectionId

UNKNOWN = "unknown"  # in place of a section's number, where the network does not need it
# folders between a machine type's and its clips, in the layouts of the releases
_CLIP_FOLDERS = re.compile(
    r"(?P<machine_type>[^/]+)/(?:(?:(?:source|target)_)?(?:train|test)|id_[0-9]{2}/(?:ab)?normal)"
)


def official_name(path: Path) -> str:
    """A recording's name in score files: its base name, of MIMII's with the folders that tell clips apart.

    >>> official_name(Path("fan/id_00/normal/00000007.wav")), official_name(Path("fan/test/section_00_0001.wav"))
    ('id_00_normal_00000007.wav', 'section_00_0001.wav')
    """
    return clip_name(path.as_posix())


def sections_meant(wanted: str, sections: Sequence[SectionId]) -> list[SectionId]:
    """The sections of a run that ``fan/00`` or ``fan`` names.

    Raises
    ------
    UsageError
        It names none of them.
    """
    meant = [section for section in sections if wanted in (str(section), section.machine_type)]
    if not meant:
        names = list(map(str, sections))
        raise UsageError(f"the run has no section {wanted!r}; it has {', '.join(names)}.{did_you_mean(wanted, names)}")
    return meant


def section_of(path: Path, sections: Sequence[SectionId], needs_number: bool) -> SectionId:
    """The section that a recording is from.

    Parameters
    ----------
    path : Path
    sections : sequence of SectionId
        Those that are possible: all of the run, or those that the user says.
    needs_number : bool
        Whether the model's scores depend on the section.

    Returns
    -------
    SectionId
        With ``UNKNOWN`` as its number where nothing says it and nothing needs it.

    Raises
    ------
    Unfit
        Its name says another section, or nothing tells which of several it is.
    """
    machine_type, number = _said(path, {section.machine_type for section in sections})
    fit = [s for s in sections if machine_type in (None, s.machine_type) and number in (None, s.section)]
    if len(fit) == 1:
        return fit[0]
    listed = ", ".join(map(str, sections))
    if not fit:
        said = "/".join(word for word in (machine_type, number) if word)
        raise Unfit("unknown_section", f"{path}: by its name and folder it is from {said}; expected one of {listed}.")
    if not needs_number and len({section.machine_type for section in fit}) == 1:
        return SectionId(fit[0].machine_type, UNKNOWN)
    remain = ", ".join(map(str, fit))
    raise Unfit(
        "unknown_section",
        f"{path}: neither name nor folder says which of {remain} it is from. Say it: --section {fit[0]}",
    )


def _said(path: Path, machine_types: set[str]) -> tuple[str | None, str | None]:
    """Machine type and section number that a name and its folders say; None where they say none."""
    folder = path.absolute().parent.as_posix()
    number = section_of_name(official_name(path.absolute()))
    # in a layout's form the folder's name is a machine type, also where the run has none of it
    layout = re.search(rf"(?:^|/){_CLIP_FOLDERS.pattern}$", folder) if number else None
    if layout:
        return layout["machine_type"], number
    name = folder.rpartition("/")[2]
    return name if name in machine_types else None, number
