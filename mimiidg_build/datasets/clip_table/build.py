"""From the clips that a layout reads to the clip table and its findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mimiidg_build.datasets.clip_table.clips import Attributes, Clip, Reading
from mimiidg_build.datasets.clip_table.frame import clip_frame
from mimiidg_build.datasets.clip_table.rules import Fault, check_row, judge
from mimiidg_build.datasets.clip_table.sections import check_sections
from mimiidg_build.datasets.findings import Finding, findings_frame
from mimiidg_build.schemas.manifests import Recipe, Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.tables import ClipTable, Findings

if TYPE_CHECKING:
    from pandera.typing.pandas import DataFrame

Verdicts = dict[tuple[SectionId, str, Attributes, bool], Fault | None]


def build_clip_table(
    reading: Reading, recipe: Recipe, expected_counts: Mapping[str, int]
) -> tuple[DataFrame[ClipTable], DataFrame[Findings]]:
    """The clip table of a dataset's machine archives.

    Parameters
    ----------
    reading : Reading
        What the dataset's layout reads from the archives.
    recipe : Recipe
        What each section may hold.
    expected_counts : mapping of str to int
        Clips of a section per ``<domain>_<split>_<condition>``; empty: counts are not checked.

    Returns
    -------
    clips : DataFrame[ClipTable]
        The clips that could be read, sorted; complete and right only if no finding is an error.
    findings : DataFrame[Findings]
        In the order of archives and members, then of sections.
    """
    table, findings = judge_clips(reading, recipe)
    if table.empty and not any(finding.severity == "error" for finding in findings):
        message = "not one clip was found; expected clips of a machine type that the dataset has. Are archives missing?"
        findings.append(Finding("error", "no_clips", "all archives", message))
    return table, findings_frame([*findings, *check_sections(reading.read_clips(), recipe, expected_counts)])


def judge_clips(reading: Reading, recipe: Recipe) -> tuple[DataFrame[ClipTable], list[Finding]]:
    """The clip table, and what is wrong with single clips: no check of a section as a whole."""
    sections = {section.section_id: section for section in recipe.sections}
    unknown: dict[SectionId, Clip] = {}
    verdicts: Verdicts = {}
    findings = list(reading.findings)
    for clip, faults in reading.clips:
        findings += faults
        if clip is None:
            continue
        if clip.section_id not in sections and (row := recipe.row(clip.section_id)) is not None:
            sections[clip.section_id] = row
        if (section := sections.get(clip.section_id)) is None:
            unknown.setdefault(clip.section_id, clip)  # one finding a section, not one a clip
        else:
            findings += _against_recipe(clip, section, verdicts)
    findings += reading.missing_tables
    findings += [_unknown_section(clip, sections) for clip in unknown.values()]
    table, failures = clip_frame(reading.read_clips())
    return table, findings + failures


def _against_recipe(clip: Clip, section: Section, verdicts: Verdicts) -> list[Finding]:
    # A release has thousands of clips and some dozens of combinations: each is judged once.
    key = (clip.section_id, clip.domain, clip.attributes, clip.is_hidden)
    if key not in verdicts:
        is_untold = clip.is_hidden and not clip.attributes  # of which lists give no more than a label
        verdicts[key] = None if is_untold else judge(section, clip.domain, dict(clip.attributes))
    findings = []
    if (fault := verdicts[key]) is not None:
        message = f"{clip.full_name}: {fault.message}"
        findings.append(clip.file.error(clip.row, fault.kind, message, fault.expected, fault.value))
    if (row := clip.row) is None:
        return findings
    if row.section_id != clip.section_id:
        message = f"a clip of {clip.section_id} in the table of {row.section_id}"
        return [
            *findings,
            row.finding("error", "misplaced_row", message, "file_name", row.file_name, str(row.section_id)),
        ]
    return findings + check_row(clip, row, section)


def _unknown_section(clip: Clip, sections: Mapping[SectionId, Section]) -> Finding:
    machine_type, number = clip.section_id
    known = ", ".join(key.section for key in sections if key.machine_type == machine_type) or "none"
    message = f"{clip.file.member} is of section {number}; Table 1 has sections {known} of {machine_type}"
    return Finding("error", "unknown_section", clip.file.archive, message, 0, "section", number, known)
