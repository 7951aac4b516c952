"""Checks of a section as a whole: all warnings, most of them where the release and the paper's Table 1 differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from mimiidg_build.datasets.clip_table.clips import Clip
from mimiidg_build.datasets.clip_table.rules import allowed_values, shown
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.schemas.manifests import DOMAINS, SPLITS, Recipe, Section
from mimiidg_build.schemas.sections import SectionId


def check_sections(clips: Iterable[Clip], recipe: Recipe, expected_counts: Mapping[str, int]) -> list[Finding]:
    """Check every section that has clips and a row in the recipe.

    Parameters
    ----------
    clips : iterable of Clip
        Every clip of the release that could be read.
    recipe : Recipe
        Table 1, or a table like it.
    expected_counts : mapping of str to int
        Clips of a section per ``<domain>_<split>_<condition>``; empty: counts are not checked.

    Returns
    -------
    list of Finding
        ``count``, ``index_gap``, ``not_in_paper`` (the clips take values or attributes that the paper does not print),
        ``paper_only`` (printed values that never occur), ``train_values`` (target values that no target training clip
        takes), ``missing_section`` (other sections of the same machine type and set have clips).
    """
    groups: dict[SectionId, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.section_id, []).append(clip)
    findings: list[Finding] = []
    # sections of the recipe in its order, then those that its default stands for
    listed = [section.section_id for section in recipe.sections]
    for key in [key for key in listed if key in groups] + [key for key in groups if key not in listed]:
        section, own = recipe.row(key), groups[key]
        if section is not None:
            findings += _counts(section, own, expected_counts)
            findings += _indices(section, own)
            findings += _not_printed(section, own)
            findings += _printed_only(section, own)
            findings += _noise_outside_paper(section, own, recipe)
            findings += _train_values(section, own)
    return findings + _missing_sections(recipe, groups.keys())


def _warning(section: Section, kind: str, message: str, column: str, value: str, expected: str) -> Finding:
    return Finding("warning", kind, section.id, f"section {section.id}: {message}", 0, column, value, expected)


def _counts(section: Section, clips: Sequence[Clip], expected: Mapping[str, int]) -> list[Finding]:
    if not expected:
        return []
    found = Counter(_cell(clip) for clip in clips)
    cells = dict.fromkeys([*expected, *sorted(found)])
    wrong = [(cell, found[cell], expected.get(cell, 0)) for cell in cells if found[cell] != expected.get(cell, 0)]
    return [
        _warning(section, "count", f"{n} clips of {cell}, expected {wanted}", cell, str(n), str(wanted))
        for cell, n, wanted in wrong
    ]


def _cell(clip: Clip) -> str:
    """What a clip is counted under: domain, split and condition, those that it has."""
    return _joined(clip.domain, clip.split, clip.condition)


@cache  # thousands of clips have a dozen combinations
def _joined(*parts: str) -> str:
    return "_".join(filter(None, parts))


def _indices(section: Section, clips: Sequence[Clip]) -> list[Finding]:
    findings: list[Finding] = []
    whole: dict[tuple[str, str], list[int]] = {}  # MIMII numbers clips through, and is split afterwards
    for clip in clips:
        whole.setdefault((clip.domain, clip.condition), []).append(clip.index)
    for split in SPLITS:
        groups: dict[str, list[int]] = {}
        numbered_with: dict[str, tuple[str, str]] = {}
        for clip in clips:
            if clip.split == split:
                groups.setdefault(_cell(clip), []).append(clip.index)
                numbered_with[_cell(clip)] = clip.domain, clip.condition
        # evaluation sections number the whole test split through, the others each domain and condition by itself
        if _is_contiguous([index for group in groups.values() for index in group]):
            continue
        for cell, indices in groups.items():
            if not _is_contiguous(indices) and not _is_contiguous(whole[numbered_with[cell]]):
                found, expected = f"{min(indices)} to {max(indices)}", f"0 to {len(indices) - 1}"
                message = f"{len(indices)} clips of {cell} are numbered {found} with gaps, expected {expected}"
                findings.append(_warning(section, "index_gap", message, "index", found, expected))
    return findings


def _is_contiguous(indices: Sequence[int]) -> bool:
    return sorted(indices) == list(range(len(indices)))


def _found(clips: Iterable[Clip], domain: str, split: str | None = None) -> list[dict[str, str]]:
    """Distinct attribute combinations of a domain, in the order of first occurrence."""
    pairs = (c.attributes for c in clips if c.domain == domain and split in (None, c.split))
    return [dict(attributes) for attributes in dict.fromkeys(pairs)]


def _not_printed(section: Section, clips: Sequence[Clip]) -> list[Finding]:
    if not (section.printed_source or section.printed_target):
        return []
    printed = {domain: section.values(domain, printed=True) for domain in DOMAINS}
    keys = {key for combos in printed.values() for combo in combos for key in combo}
    extra: dict[str, None] = {}
    for domain in DOMAINS:
        pairs = {pair for combo in printed[domain] for pair in combo.items()}
        for key, value in (pair for combo in _found(clips, domain) for pair in combo.items()):
            if key not in keys:
                extra[key] = None
            elif (key, value) not in pairs:
                extra[f"{key} {value}"] = None
    if not extra:
        return []
    value, expected = ", ".join(extra), "; ".join(shown(combo) for domain in DOMAINS for combo in printed[domain])
    message = f"the paper's Table 1 does not print {value} ({section.note or 'no note'})"
    return [_warning(section, "not_in_paper", message, section.parameter, value, expected)]


def _printed_only(section: Section, clips: Sequence[Clip]) -> list[Finding]:
    # values that the release has and a small or partial set of clips lacks are no disagreement with the paper
    absent = [
        f"{domain} {shown(combo)}"
        for domain in DOMAINS
        for combo in section.values(domain, printed=True)
        if not any(combo.items() <= other.items() for other in (*section.values(domain), *_found(clips, domain)))
    ]
    if not absent:
        return []
    message = f"the paper's Table 1 prints values that never occur: {'; '.join(absent)} ({section.note or 'no note'})"
    return [_warning(section, "paper_only", message, section.parameter, "", "; ".join(absent))]


def _noise_outside_paper(section: Section, clips: Sequence[Clip], recipe: Recipe) -> list[Finding]:
    if section.in_paper:
        return []
    findings = []
    for key in (layer.attribute for layer in section.noise if layer.attribute):
        paper = [s for s in recipe.sections if s.in_paper]
        known = sorted({value for s in paper for domain in DOMAINS for value in allowed_values(s, domain, key)})
        found = {combo[key] for domain in DOMAINS for combo in _found(clips, domain) if key in combo}
        if extra := ", ".join(sorted(found - set(known))):
            message = f"noise {key} {extra} is not in the paper, which has {', '.join(known)}"
            findings.append(_warning(section, "not_in_paper", message, key, extra, ", ".join(known)))
    return findings


def _train_values(section: Section, clips: Sequence[Clip]) -> list[Finding]:
    trained = _found(clips, "target", "train")
    missing = "; ".join(shown(combo) for combo in section.values("target") if combo not in trained)
    if not trained or not missing:
        return []
    found = "; ".join(shown(combo) for combo in trained)
    message = f"no target training clip covers {missing}"
    return [_warning(section, "train_values", message, section.parameter, found, missing)]


def _missing_sections(recipe: Recipe, present: Iterable[SectionId]) -> list[Finding]:
    """Sections without clips, where another of the same machine type and of the same set (paper or not) has some."""
    here = set(present)
    sets = {(s.machine_type, s.in_paper) for s in recipe.sections if s.section_id in here}
    return [
        _warning(section, "missing_section", "no clips in the archives", "section", "", section.id)
        for section in recipe.sections
        if (section.machine_type, section.in_paper) in sets and section.section_id not in here
    ]
