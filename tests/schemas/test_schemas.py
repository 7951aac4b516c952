"""The shape of what crosses a boundary: Table 1 as published, and tables that refuse what they cannot hold."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandera.errors import SchemaErrors
from pydantic import ValidationError

from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.schemas.manifests import DatasetManifest, NoiseLayer, NoiseSource, Recipe, Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.tables import ClipTable, Findings, Levels, MixPlan, NoiseTable, Table
from mimiidg_build.schemas.variants import Variant

MACHINES = ("bearing", "fan", "gearbox", "slider", "valve")
AB, ABC, ABD = "A B / A B", "A B / C", "A B / D"

# The facts, section by section: values "source / target", SNR in dB (None: not published), kinds of factory noise.
FACTS: dict[str, tuple[str, float | None, str]] = {
    "fan/00": ("m-n: W X / Y Z", -6, AB),
    "fan/01": ("f-n: A B / C", -12, ABC),
    "fan/02": ("n-lv: L1 L2 / L3 L4", None, AB),
    "fan/03": ("m-n: W X / Y Z", None, AB),
    "fan/04": ("f-n: A B / D", None, ABD),
    "fan/05": ("n-lv: L1 L2 / L3 L4", None, AB),
    "gearbox/00": ("volt: 1.0 1.5 2.0 2.5 3.0 / 0.6 0.8 1.3 1.8 2.3 2.8 3.3 3.5", -6, AB),
    "gearbox/01": ("wt: 0 50 100 150 200 / 30 80 130 180 230 250", -12, AB),
    "gearbox/02": ("id: 05 08 13 / 00 02 11", -12, AB),
    "gearbox/03": ("volt: 1.0 1.5 2.0 2.5 3.0 / 0.5 0.7 1.2 1.7 2.2 2.7 3.2 3.7", None, AB),
    "gearbox/04": ("wt: 0 50 100 150 200 / 20 70 120 170 220 250", None, AB),
    "gearbox/05": ("id: 03 06 07 / 01 04 12", None, AB),
    "bearing/00": ("vel: 6 10 14 18 22 / 2 4 8 12 16 20 24 26", 12, AB),
    "bearing/01": ("vel: 4 12 / 4 12; loc: A B C D / E F G H", 12, AB),
    "bearing/02": ("vel: 6 14 / 6 14; f-n: A B / C", 12, ABC),
    "bearing/03": ("vel: 5 9 13 17 21 / 1 3 7 11 15 19 23 25", None, AB),
    "bearing/04": ("vel: 8 16 / 8 16; loc: A B C D / E F G H", None, AB),
    "bearing/05": ("vel: 2 10 / 2 10; f-n: A B / D", None, ABD),
    "slider/00": ("vel: 300 500 700 900 1100 / 100 200 400 600 800 1000 1200 1300", -6, AB),
    "slider/01": ("ac: 0.03 0.05 0.07 0.09 0.11 / 0.01 0.02 0.04 0.06 0.08 0.10 0.12 0.14", -3, AB),
    "slider/02": ("f-n: A B / C", -12, ABC),
    "slider/03": ("vel: 100 175 250 325 400 / 25 50 140 210 290 360 440 490", None, AB),
    "slider/04": ("ac: 0.03 0.05 0.07 0.09 0.11 / 0.01 0.02 0.04 0.06 0.08 0.10 0.12 0.13", None, AB),
    "slider/05": ("f-n: A B / D", None, ABD),
    "valve/00": ("pat: 00 01 / 02 03", 0, AB),
    "valve/01": ("pat: 04 05 / 04 05; panel: open bs-c / b-c s-c", 0, AB),
    "valve/03": ("pat: 00 01 / 06 07", None, AB),
    "valve/04": ("pat: 04 05 / 04 05; panel: open bs-c / b-c s-c", None, AB),
}
SOURCE_OF_TWO_VALVES = [{"v1pat": "04"}, {"v1pat": "05"}, {"v2pat": "05"}]
TARGET_OF_TWO_VALVES = [{"v1pat": "04", "v2pat": "05"}, {"v1pat": "05", "v2pat": "05"}]


def section(section_id: str) -> Section:
    found = load_recipe("table1").row(SectionId(*section_id.split("/")))
    assert found is not None
    return found


def test_table_1_holds_all_sections_of_all_machines() -> None:
    table1 = load_recipe("table1")
    assert sorted(s.id for s in table1.sections) == [f"{m}/{n:02d}" for m in MACHINES for n in range(6)]
    assert table1.row(SectionId("fan", "06")) is table1.row(SectionId("pump", "00")) is None


def test_a_development_section_has_1_200_clips() -> None:
    counts = load_dataset("mimii_dg").counts
    assert counts == {
        "source_train_normal": 990,
        "target_train_normal": 10,
        **{f"{domain}_test_{condition}": 50 for domain in ("source", "target") for condition in ("normal", "anomaly")},
    }
    assert 15 * sum(counts.values()) == 18_000


@pytest.mark.parametrize("section_id", FACTS)
def test_values_snr_and_noise_are_as_published(section_id: str) -> None:
    values, snr, noise = FACTS[section_id]
    found = section(section_id)
    for side, domain in enumerate(("source", "target")):
        keys = {key: sides.split(" / ")[side].split() for key, sides in (v.split(": ") for v in values.split("; "))}
        assert getattr(found, domain) == [keys]
        assert len(found.values(domain)) == len({tuple(combo.items()) for combo in found.values(domain)})
        kinds = noise.split(" / ")[side].split()
        layer = found.noise[0]
        named = [combo[layer.attribute] for combo in found.values(domain)] if layer.attribute else []
        assert sorted(set(named)) == kinds if named else getattr(layer, domain) == kinds
    assert found.snr_db == snr
    assert found.in_paper == (found.section <= "02")
    assert found.parameter in found.source[0]


@pytest.mark.parametrize("section_id", ["valve/02", "valve/05"])
def test_two_valves_come_in_the_combinations_that_the_release_has(section_id: str) -> None:
    found = section(section_id)
    assert (found.values("source"), found.values("target")) == (SOURCE_OF_TWO_VALVES, TARGET_OF_TWO_VALVES)
    assert found.snr_db == (0 if section_id == "valve/02" else None)


def test_fan_02s_snr_goes_by_its_level_and_fan_05s_is_not_published() -> None:
    assert section("fan/02").snr_db_by_value == {"L1": 3, "L2": -9, "L3": -3, "L4": -15}
    assert section("fan/05").snr_db_by_value == {}


@pytest.mark.parametrize("section_id", ["fan/00", "fan/03"])
def test_fan_00_has_two_layers(section_id: str) -> None:
    factory, pump = section(section_id).noise
    assert (factory.source, factory.target, factory.attribute) == (["A", "B"], ["A", "B"], None)
    assert (pump.source, pump.target, pump.attribute) == (None, None, "m-n")
    assert {len(s.noise) for s in load_recipe("table1").sections if s.id not in ("fan/00", "fan/03")} == {1}


def test_where_paper_and_release_differ_both_are_kept() -> None:
    differ = {s.id: s for s in load_recipe("table1").sections if s.printed_source or s.printed_target}
    assert sorted(differ) == ["bearing/01", "bearing/02", "gearbox/00", "valve/01", "valve/02"]
    assert all(s.note for s in differ.values())
    gearbox = differ["gearbox/00"]
    assert [combo["volt"] for combo in gearbox.values("target", printed=True)].count("2.3") == 2
    assert gearbox.values("source", printed=True) == gearbox.values("source")
    printed = differ["valve/02"].values("source", printed=True) + differ["valve/02"].values("target", printed=True)
    missing = [combo for combo in printed if combo not in SOURCE_OF_TWO_VALVES + TARGET_OF_TWO_VALVES]
    assert missing == [{"v2pat": "04"}, {"v1pat": "04", "v2pat": "04"}, {"v1pat": "05", "v2pat": "04"}]


# -------------------- models of the manifests

ROW: dict[str, Any] = {
    **{"machine_type": "fan", "section": "00", "shift": "x", "parameter": "m-n", "snr_db": 0.0},
    **{"source": [{"m-n": ["W"]}], "target": [{"m-n": ["Y"]}], "noise": [{"attribute": "m-n"}]},
}
BY_VALUE: dict[str, Any] = {"snr_db": None, "snr_attribute": "m-n"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine_type": "pump/1"}, "String should match pattern"),
        ({"section": "../00"}, "String should match pattern"),
        ({"source": []}, "values are given for both domains or for none"),
        ({"noise": [{"kinds": ["A"]}] * 3}, "List should have at most 2 items"),
        ({"snr_attribute": "m-n"}, "snr_db and snr_attribute exclude each other"),
        ({"snr": 1}, "Extra inputs are not permitted"),
        ({"snr_db_by_value": {"W": 0.0}}, "snr_db_by_value needs snr_attribute"),
        (
            {"snr_db": None, "snr_attribute": "m-n", "snr_db_by_value": {"W": 0.0}},
            r"must name exactly the values \['W', 'Y'\] of m-n",
        ),
        (
            {"snr_db": None, "snr_attribute": "m-n", "snr_db_by_value": {"W": 0, "Y": 0, "Z": 0}},
            "must name exactly the values",
        ),
        ({"noise": [{"source": ["A"]}]}, "a layer has either kinds, or source and target kinds, or an attribute"),
        ({"noise": [{"source": ["A"], "target": []}]}, "a layer has either kinds, or source and target kinds"),
        ({"noise": [{"source": ["A"], "target": ["A"], "attribute": "m-n"}]}, "a layer has either"),
        ({"noise": [{}]}, "a layer has either"),
    ],
)
def test_a_section_that_is_not_whole_is_refused(change: dict[str, Any], message: str) -> None:
    assert Section.model_validate(ROW).id == "fan/00"
    with pytest.raises(ValidationError, match=message):
        Section.model_validate(ROW | change)


def test_a_section_stands_once_in_table_1() -> None:
    content: dict[str, Any] = {"source": "x", "sections": [ROW, ROW]}
    with pytest.raises(ValidationError, match="lists fan/00 more than once"):
        Recipe.model_validate(content)


@pytest.mark.parametrize(
    "value",
    [Variant(name="v"), NoiseLayer(attribute="f-n"), NoiseSource(folder="x"), load_recipe("table1").sections[0]],
)
def test_values_are_frozen(value: Any) -> None:
    with pytest.raises(ValidationError, match="Instance is frozen"):
        setattr(value, next(iter(type(value).model_fields)), "changed")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *((key, name) for key in ("record", "file") for name in ("..", ".", ".hidden", "a/b", "")),
        *(("record", name) for name in ("a b", "ä")),  # a record's file may be called so, its folder is ours to name
    ],
)
def test_names_that_would_leave_their_folder_are_refused(key: str, name: str) -> None:
    text = (Path(__file__).parents[2] / "data_manifests" / "datasets" / "mimii_dg.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    record = content["records"][0]
    (record if key == "record" else record["files"][0])["id" if key == "record" else "name"] = name
    with pytest.raises(ValidationError, match="String should match pattern"):
        DatasetManifest.model_validate(content)


# -------------------- tables

CLIP: dict[str, Any] = {
    **{"machine_type": "fan", "section": "00", "split": "train", "domain": "source", "condition": "normal", "index": 0},
    **{
        "attributes": '{"m-n":"W"}',
        "full_name": "c.wav",
        "clip": "c",
        "archive": "1/fan.zip",
        "member": "fan/train/c.wav",
    },
}
PLANNED: dict[str, Any] = {
    **{"machine_type": "fan", "section": "00", "clip": "c", "archive": "1/fan.zip", "member": "fan/train/c.wav"},
    **{"added_noise_snr_db": -6.0, "attenuation": 1.0, "noise_1_kind": "A", "noise_1_clip": "a#0", "noise_1_gain": 0.5},
    **{"noise_2_kind": "", "noise_2_clip": "", "noise_2_gain": 0.0},
}
LEVEL: dict[str, Any] = {"member": "a.wav", "power": 0.5, "peak": 1.0}
NOISE: dict[str, Any] = {
    **{"kind": "A", "noise_clip": "a#0", "row": 0, "power": 0.5, "peak": 1.0, "band_limited": False},
    **{"recording": "a", "recording_s": 10.0, "sample_rate": 16_000, "channels": 1, "silent_pieces": 0},
}
FINDING: dict[str, Any] = {
    **{"severity": "warning", "kind": "short_row", "table": "t.csv", "line": 2, "column": "d1p", "value": ""},
    **{"expected": "x", "message": "y"},
}


@pytest.mark.parametrize(
    ("model", "row", "change", "check"),
    [
        (ClipTable, CLIP, {"machine_type": "../pump"}, "str_matches"),
        (ClipTable, CLIP, {"section": ""}, "str_matches"),
        (ClipTable, CLIP, {"attributes": "m-n_W"}, "str_matches"),
        (ClipTable, CLIP, {"domain": "Source"}, "isin"),
        (ClipTable, CLIP, {"index": -1}, "greater_than_or_equal_to"),
        (ClipTable, CLIP, {"index": "0"}, "dtype"),
        (ClipTable, CLIP, {"condition": "anomaly"}, "anomaly_in_train"),
        (ClipTable, CLIP, {"more": 1}, "column_in_schema"),
        (MixPlan, PLANNED, {"attenuation": 0.0}, "greater_than"),
        (MixPlan, PLANNED, {"attenuation": 1.5}, "less_than_or_equal_to"),
        (MixPlan, PLANNED, {"noise_1_gain": -1.0}, "greater_than_or_equal_to"),
        (MixPlan, PLANNED, {"noise_1_gain": float("nan")}, "not_nullable"),
        (MixPlan, PLANNED, {"machine_type": "x/y"}, "str_matches"),
        (Levels, LEVEL, {"power": -0.1}, "greater_than_or_equal_to"),
        (Levels, LEVEL, {"peak": 1.1}, "less_than_or_equal_to"),
        (Levels, LEVEL, {"power": float("nan")}, "not_nullable"),
        (NoiseTable, NOISE, {"power": 0.0}, "greater_than"),
        (NoiseTable, NOISE, {"row": -1}, "greater_than_or_equal_to"),
        (Findings, FINDING, {"severity": "fatal"}, "isin"),
    ],
)
def test_tables_refuse_what_they_cannot_hold(
    model: type[Table], row: dict[str, Any], change: dict[str, Any], check: str
) -> None:
    model.validate(pd.DataFrame([row]), lazy=True)
    with pytest.raises(SchemaErrors, match=check):
        model.validate(pd.DataFrame([row | change]), lazy=True)


@pytest.mark.parametrize(
    ("model", "row", "change"),
    [
        (ClipTable, CLIP, {"member": "elsewhere.wav"}),
        (MixPlan, PLANNED, {"section": "01"}),
        (Levels, LEVEL, {"power": 0.1}),
        (NoiseTable, NOISE, {"row": 1}),
    ],
    ids=["a clip in two places", "a clip planned twice", "a member measured twice", "a noise clip twice"],
)
def test_what_is_named_is_named_once(model: type[Table], row: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(SchemaErrors, match=r"(?i)duplicate|unique"):
        model.validate(pd.DataFrame([row, row | change]), lazy=True)


def test_columns_that_are_missing_are_refused() -> None:
    with pytest.raises(SchemaErrors, match="column_in_dataframe"):
        MixPlan.validate(pd.DataFrame([PLANNED]).drop(columns="attenuation"), lazy=True)


def test_no_noise_and_loud_noise_are_allowed() -> None:
    MixPlan.validate(pd.DataFrame([PLANNED | {"added_noise_snr_db": float("nan")}]), lazy=True)
    NoiseTable.validate(pd.DataFrame([NOISE | {"peak": 2.0, "power": 1.5}]), lazy=True)  # a floating recording
