"""Recipes of one's own: read with the variant, by path or inline; rows, defaults and layers; mistakes named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.noise_choice import check_noise
from mimiidg_build.datasets.recipes import section_rows
from mimiidg_build.datasets.release import needed_archives
from mimiidg_build.datasets.variant import derive_variant, load_variant, parse_variant
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import Variant

HALL = {"default": {"snr_db": -3.0, "noise": [{"kinds": ["hall"]}]}}


def variant(recipe: dict[str, Any], **content: Any) -> Variant:
    noise = {"noise": {"hall": "hall"}} if "hall" in str(recipe) else {}
    return parse_variant({"name": "v", "dataset": "mimii_dg", "recipe": recipe, **noise, **content})


def clips(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Of (section, domain, attributes)."""
    columns = {"machine_type": "fan", "clip": [f"clip-{n}" for n in range(len(rows))]}
    found = pd.DataFrame(rows, columns=["section", "domain", "attributes"])
    return found.assign(**columns)


def rows_of(found: pd.DataFrame, recipe: dict[str, Any], **content: Any) -> tuple[Section, ...]:
    sections = list(dict.fromkeys(SectionId("fan", section) for section in found["section"]))
    return section_rows(variant(recipe, **content), load_dataset("mimii_dg"), sections, found)


# ---- Where a recipe stands -------------------------------------------------------------------------------------------


def write(
    folder: Path, text: str, recipe: str = 'source = "mine"\n[default]\nsnr_db = 0\nnoise = [{ kinds = ["hall"] }]'
):
    (folder / "hall.toml").write_text(recipe)
    (folder / "v.toml").write_text(f'name = "v"\n{text}')
    return str(folder / "v.toml")


def test_a_recipes_path_counts_from_the_variants_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    read = load_variant(write(tmp_path, 'mixing = "hall.toml"\nnoise = { hall = "n" }'))
    assert (read.mixing, read.recipe.default.snr_db, read.noise["hall"][0].folder) == ("hall", 0, f"{tmp_path}/n")
    with pytest.raises(UsageError, match="hall.toml: cannot be read: No such file"):
        parse_variant({"name": "v", "mixing": "hall.toml"})  # from the current folder
    monkeypatch.chdir(tmp_path)
    assert parse_variant({"name": "v", "mixing": "./hall.toml"}).recipe == read.recipe


def test_a_recipe_stays_with_its_variant(tmp_path: Path) -> None:
    """Derived, written and read again, it is the same, whatever becomes of the file."""
    read = load_variant(write(tmp_path, 'mixing = "hall.toml"\nnoise = { hall = "n" }'))
    (tmp_path / "hall.toml").unlink()
    assert derive_variant(read, seed=1).recipe == read.recipe
    assert Variant.model_validate_json(read.model_dump_json()) == read == parse_variant(read.model_dump())
    assert "recipe" not in load_variant("paper").model_dump()
    assert read.model_dump()["recipe"] == {
        "source": "mine",
        "default": {"snr_db": 0.0, "noise": [{"kinds": ["hall"]}]},
    }, "as it was written"


def test_a_recipe_named_as_a_shipped_one_is_ones_own(tmp_path: Path) -> None:
    (tmp_path / "table1.toml").write_text("[default]\nsnr_db = 0.0")
    read = parse_variant({"name": "v", "mixing": str(tmp_path / "table1.toml")})
    assert (read.mixing, read.recipe.sections) == ("own-table1", [])


@pytest.mark.parametrize("mixing", ["table1", "none", "hall.toml"])
def test_two_recipes_are_a_mistake(tmp_path: Path, mixing: str) -> None:
    text = f'mixing = "{mixing}"\n[recipe.default]\nsnr_db = 0.0'
    with pytest.raises(UsageError, match=f"v.toml: mixing = '{mixing}', and a .recipe. of its own: give one"):
        load_variant(write(tmp_path, text))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("[default]\nsnr_dB = 0", r"hall.toml: 1 mistake\n  default.snr_dB: unknown key; did you mean 'snr_db'"),
        ('[[sections]]\nmachine_type = "fan"', r"hall.toml: 1 mistake\n  sections.0.section: Field required"),
        (
            '[[sections]]\nmachine_type = "fan"\nsection = "00"\nnoise = [{ source = ["A"] }]',
            "hall.toml: 1 mistake\n  sections.0.noise.0: a layer has either kinds, or source and target kinds",
        ),
        ('[default]\nsnr_db = "loud"', r"hall.toml: 1 mistake\n  default.snr_db: .* valid number.*'loud'"),
        ("[[sections]\n", "hall.toml: not valid TOML"),
    ],
)
def test_mistakes_name_the_recipes_file(tmp_path: Path, recipe: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_variant(write(tmp_path, 'mixing = "hall.toml"', recipe))


def test_mistakes_in_a_recipe_within_name_the_variants_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"v.toml: 1 mistake\n  recipe.default.snr: unknown key"):
        load_variant(write(tmp_path, "[recipe.default]\nsnr = 0"))


def test_an_unknown_recipe() -> None:
    with pytest.raises(UsageError, match="no recipe is named 'table2'. Did you mean 'table1'[?] Shipped: .*table1"):
        parse_variant({"name": "v", "mixing": "table2"})


# ---- Rows of the sections --------------------------------------------------------------------------------------------


def test_a_row_or_the_default() -> None:
    row = {"machine_type": "fan", "section": "id_00", "snr_db": 6.0, "noise": [{"kinds": ["yard", "hall"]}]}
    found = clips(("id_00", "", "{}"), ("id_02", "", "{}"))
    listed, other = rows_of(found, HALL | {"sections": [row]}, noise={"hall": "h", "yard": "y"})
    assert (listed.id, listed.snr_db, listed.noise_kinds) == ("fan/id_00", 6.0, ["hall", "yard"])
    assert (other.id, other.snr_db, other.noise_kinds) == ("fan/id_02", -3.0, ["hall"])


def test_kinds_that_only_clips_tell() -> None:
    recipe = {"default": {"snr_db": 0.0, "noise": [{"kinds": ["hall"]}, {"attribute": "noise"}]}}
    found = clips(("00", "", '{"noise":"saw"}'), ("00", "", '{"noise":"drill"}'), ("01", "", '{"noise":"saw"}'))
    first, second = rows_of(found, recipe)
    assert (first.noise_kinds, second.noise_kinds) == (["drill", "hall", "saw"], ["hall", "saw"])
    assert first.open_attributes == []


def test_kinds_that_an_attribute_may_name_can_be_stated() -> None:
    layer = {"attribute": "noise", "kinds": ["saw", "drill"]}
    (row,) = rows_of(clips(("00", "", '{"noise":"saw"}')), {"default": {"snr_db": 0.0, "noise": [layer]}})
    assert row.noise_kinds == ["drill", "saw"]


BY_VALUE = {"snr_db": None, "snr_attribute": "lv", "snr_db_by_value": {"L1": 0.0, "L2": -6.0}}


@pytest.mark.parametrize(
    ("recipe", "found", "message"),
    [
        (
            {"sections": [{"machine_type": "fan", "section": "07"}]},
            clips(("00", "source", "{}")),
            "recipe own: its row fan/07 is of a section that mimii_dg does not have; it has fan/00. Did you mean",
        ),
        (
            {"sections": [{"machine_type": "fan", "section": "00"}]},
            clips(("00", "source", "{}"), ("01", "source", "{}"), ("02", "source", "{}")),
            "recipe own has no row for fan/01, fan/02, and no default for sections that it does not list. Add one",
        ),
        (
            {"default": {"snr_db": 0.0, "noise": [{"attribute": "nosie"}]}},
            clips(("00", "source", '{"noise":"A","vel":"6"}')),
            "recipe own, row fan/00: the attribute 'nosie' says the noise kind of layer 1, but 1 of 1 clips do not "
            "have it, first clip-0; the section's clips have noise, vel. Did you mean 'noise'",
        ),
        (
            {"default": {"snr_db": 0.0, "noise": [{"attribute": "noise"}]}},
            clips(("00", "source", '{"noise":"A"}'), ("00", "source", "{}")),
            "but 1 of 2 clips do not have it, first clip-1",
        ),
        (
            {"default": {"snr_db": 0.0, "noise": [{"source": ["A"], "target": ["B"]}]}},
            clips(("id_00", "", "{}")),
            "row fan/id_00: layer 1 has noise kinds for source and target, but the section's clips have no domain",
        ),
        (
            {"default": {**BY_VALUE, "noise": [{"kinds": ["hall"]}]}},
            clips(("00", "source", '{"lv":"L1"}'), ("00", "source", '{"lv":"L3"}')),
            "row fan/00: snr_db_by_value has no SNR for lv = 'L3', which 1 clips have; it has L1, L2",
        ),
        (
            {"default": {**BY_VALUE, "noise": [{"kinds": ["hall"]}]}},
            clips(("00", "source", "{}")),
            "the attribute 'lv' says its SNR, but 1 of 1 clips do not have it",
        ),
    ],
)
def test_rows_that_do_not_fit(recipe: dict[str, Any], found: pd.DataFrame, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows_of(found, recipe)


def test_an_snr_of_the_variants_needs_no_attribute() -> None:
    recipe = {"default": {**BY_VALUE, "noise": [{"kinds": ["hall"]}]}}
    assert rows_of(clips(("00", "source", "{}")), recipe, snr_db=-6.0)[0].noise_kinds == ["hall"]


def test_as_they_are_recordings_need_no_row() -> None:
    plain = parse_variant({"name": "v", "dataset": "dcase2022", "mixing": "none", "sections": ["ToyCar/00", "fan"]})
    sections = [SectionId("ToyCar", "00"), SectionId("ToyCar", "01"), SectionId("fan", "00")]
    rows = section_rows(plain, load_dataset("dcase2022"), sections, clips())
    assert [row.id for row in rows] == ["ToyCar/00", "fan/00"]


# ---- What is certain before archives are read ------------------------------------------------------------------------


def test_noise_that_is_certain_to_be_needed() -> None:
    with pytest.raises(UsageError, match=r"no noise is given for hall \(every section\). Give it with --noise hall="):
        check_noise(variant(HALL, noise={}))
    row = {"machine_type": "fan", "section": "00", "snr_db": 0.0, "noise": [{"kinds": ["yard"]}]}
    with pytest.raises(UsageError, match=r"no noise is given for yard \(fan/00\)"):
        check_noise(variant(HALL | {"sections": [row]}))
    check_noise(variant(HALL | {"sections": [row]}, sections=["fan/01"]))
    # whether any section is left for the default is known when the archives are read
    check_noise(variant(HALL | {"sections": [row]}, noise={"yard": "y"}))


def test_unknown_kinds_of_noise() -> None:
    with pytest.raises(UsageError, match="uses noise of kind 'hal'. Did you mean 'hall'[?] The kinds wanted are hall"):
        variant(HALL, noise={"hal": "h"})
    layer = {"snr_db": 0.0, "noise": [{"attribute": "noise"}]}
    open_recipe = {"default": layer}
    assert variant(open_recipe, noise={"saw": "s"}).noise, "the clips say which kinds there are"
    known = {"default": {"snr_db": 0.0, "noise": [{"attribute": "noise", "kinds": ["drill"]}]}}
    with pytest.raises(UsageError, match="noise of kind 'saw'. .* are drill"):
        variant(known, noise={"saw": "s"})


def test_archives_that_noise_may_come_from() -> None:
    recipe = {"default": {"snr_db": 0.0, "noise": [{"kinds": ["W"]}]}}
    assert needed_archives(variant(recipe))["mimii_due"] == ["dev_data_pump.zip"], (
        "the default's, whatever the sections"
    )
    open_recipe = {"default": {"snr_db": 0.0, "noise": [{"attribute": "m-n"}]}}
    assert needed_archives(variant(open_recipe))["mimii_due"] == ["dev_data_pump.zip"]
    assert "mimii_due" not in needed_archives(variant(open_recipe, noise={"W": "w"}))
    assert needed_archives(variant(open_recipe, noise={"W": "w"}, noise_from="mimii_due"))["mimii_due"]
    assert "mimii_due" not in needed_archives(variant(HALL))
