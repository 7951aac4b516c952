"""The page of deviations: every model has its part, and what it says of settings is what the profiles have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from mimiidg_build.benchmark.published import paper_tables
from mimiidg_build.models import ABLATIONS, MODELS, PROFILES, model_class
from mimiidg_build.models.settings import Settings, augmentation_of, defaults

PAGE = Path(__file__).resolve().parents[2] / "mimiidg_build/models/README.md"
PARTS = {
    heading: body for heading, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
}


def part_of(model: str) -> str:
    """The heading of the part that names a model, in the heading or in the first paragraph."""
    named = [heading for heading in PARTS if f"`{model}`" in heading]
    (heading,) = named or [heading for heading, body in PARTS.items() if f"`{model}`" in body.strip().split("\n\n")[0]]
    return heading


def rows(heading: str) -> Iterator[tuple[str, str, str]]:
    """(setting, profile, what the table says) of a part's table of settings."""
    profiles: list[str] = []
    for line in PARTS[heading].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "setting":
            profiles = [cell.strip("`") for cell in cells[1:]]
        elif profiles and line.startswith("| `"):
            yield from ((cells[0].strip("`"), *pair) for pair in zip(profiles, cells[1:], strict=True))
        elif not line:
            profiles = []


@pytest.mark.parametrize("model", [*MODELS, *ABLATIONS])
def test_every_model_has_its_part(model: str) -> None:
    assert part_of(model)


# of each family, the model that its table is of
TABLES = ["autoencoder", "autoencoder_mahalanobis", "mobilenetv2", "bce_ddcsad", "attention", "conformer", "two_branch"]


@pytest.mark.parametrize("model", TABLES)
def test_settings_are_the_profiles(model: str) -> None:
    """All profiles that there are, and every setting in which one differs from another but what only smoke needs."""
    heading, profiles = part_of(model), model_class(model).profiles
    said = list(rows(heading))
    assert {profile for _, profile, _ in said} == set(profiles) and len(said) >= 4 * len(profiles)
    for setting, profile, text in said:
        assert text == json.dumps(asdict(profiles[profile])[setting]).strip('"'), (setting, profile)
    kept = [asdict(settings) for name, settings in profiles.items() if name in ("paper", "released", "cpu")]
    differing = {key for key in kept[0] if any(settings[key] != kept[0][key] for settings in kept)}
    assert differing <= {setting for setting, _, _ in said}


def test_settings_of_augmentation_are_all_in_their_table() -> None:
    """With their defaults, in the order of the code."""
    (heading,) = (heading for heading in PARTS if heading.startswith("Augmentation"))
    said = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", PARTS[heading], re.M)
    names = [name for name in defaults(Settings) if augmentation_of(name)]
    assert said == [(name, json.dumps(defaults(Settings)[name])) for name in names] and len(said) == 9


def test_every_system_with_a_papers_table_says_what_differs() -> None:
    """And what is said beside the paper's numbers is what the page says."""
    models = {model for table in paper_tables() for model in table.rows}
    assert {part_of(model) for model in models} == {part_of(model) for model in TABLES if model in models} and models
    assert "autoencoder_mahalanobis" not in models
    for model in models:
        assert re.search(r"^\| \| paper ", PARTS[part_of(model)], re.M), model
    page = " ".join(PAGE.read_text().split())
    for words in (
        *("by 8 points on average and by up to 33", "within 0.9 (source) and 0.8 (target) points"),
        *("7.28500", "31.571", "93.44 is no target", "on labelled anomalies", "last block of two convolutions"),
        *("20 log10", "we select the best combination of the scores from the training data", "pump 06 and slider 00"),
    ):
        assert words in page, words


def test_the_page_knows_no_profile_that_is_not_there() -> None:
    assert {profile for heading in PARTS for _, profile, _ in rows(heading)} == set(PROFILES)


def test_what_the_page_says_of_the_conformers_paper() -> None:
    """Its Table 1, at -6, 0 and 6 dB for fan, pump, valve and slider: the three scores, and the combined one."""
    scores = (
        [87.34, 92.60, 94.76, 88.85, 90.90, 98.29, 97.87, 98.07, 99.60, 92.99, 97.17, 99.53],
        [83.16, 88.41, 80.85, 88.22, 89.37, 97.25, 88.90, 94.03, 95.88, 85.42, 95.80, 98.59],
        [65.51, 78.11, 76.14, 80.09, 71.82, 70.83, 96.05, 81.84, 70.24, 94.41, 86.74, 73.62],
    )
    by_source = {table.source: table.rows["conformer"] for table in paper_tables() if "conformer" in table.rows}
    combined = [
        by_source[f"Zhang et al., Interspeech 2023, Table 1 ({snr} dB)"][machine_type][0]
        for machine_type in ("fan", "pump", "valve", "slider")
        for snr in (-6, 0, 6)
    ]
    best = [max(column) for column in zip(*scores, strict=True)]
    assert all(one >= single for one, single in zip(combined, best, strict=True))
    assert sum(one == single for one, single in zip(combined, best, strict=True)) == 2
