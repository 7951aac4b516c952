"""Clip names: the grammar, both ways, on made-up and on real names."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.errors import DataError
from tests.conftest import REAL

REAL_SCORES = REAL / "baseline_ae_results"

KEYS = st.from_regex(r"[a-z][a-z0-9-]{0,5}-", fullmatch=True)  # which no value can be run together with
VALUES = st.from_regex(r"[A-Za-z0-9.+-]{1,5}", fullmatch=True)
PAIRS = st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=4, unique_by=lambda pair: pair[0])
TAILS = PAIRS.map(lambda pairs: "_".join(word for pair in pairs for word in pair))
SECTIONS = st.from_regex("[0-9]{2}", fullmatch=True)
INDICES = st.integers(0, 9999)
FULL = st.builds(
    ClipName,
    section=SECTIONS,
    domain=st.sampled_from(["source", "target"]),
    split=st.sampled_from(["train", "test"]),
    condition=st.sampled_from(["normal", "anomaly"]),
    index=INDICES,
    tail=TAILS | st.sampled_from([None, "", "noAttribute", "spd1000_BckgA", "pro_A_wt_200_damage1"]),
)
HIDDEN = st.builds(
    ClipName,
    section=SECTIONS,
    domain=st.none(),
    split=st.just("test"),
    condition=st.none(),
    index=INDICES,
    tail=st.none(),
)


@given(FULL | HIDDEN)
def test_what_is_written_is_read_back(name):
    assert ClipName.parse(name.file_name) == name
    assert ClipName.parse(f"any/source/train/{name.file_name}") == name


@given(PAIRS)
def test_pairs_of_any_number_are_the_attributes(pairs):
    tail = "_".join(word for pair in pairs for word in pair)
    assert ClipName.parse(f"section_00_source_train_normal_0000_{tail}.wav").attributes == tuple(pairs)


@given(st.text() | st.from_regex(r"section_[0-9_a-z.-]*\.wav"))
def test_anything_else_is_refused_or_reads_back(text):
    try:
        name = ClipName.parse(text)
    except DataError:
        return
    assert name.file_name == text.rpartition("/")[2]


@pytest.mark.parametrize(
    ("name", "attributes", "reason"),
    [
        ("section_00_source_train_normal_0000_m-n_W.wav", (("m-n", "W"),), "a key may hold a hyphen"),
        ("section_01_target_test_normal_0003_pat_04_panel_bs-c.wav", (("pat", "04"), ("panel", "bs-c")), "a value too"),
        ("section_01_source_test_anomaly_0049_ac_0.10.wav", (("ac", "0.10"),), "values stay strings, zeros kept"),
        ("section_05_source_test_normal_0001_v2pat_05.wav", (("v2pat", "05"),), "a key may hold digits"),
        ("section_00_source_train_normal_0000_noAttribute.wav", (), "2024 on: none told"),
        ("section_00_source_train_normal_0000_.wav", (), "an empty tail"),
        ("section_00_source_train_normal_0000.wav", (), "no tail"),
        (
            "section_00_source_train_normal_0000_car_A2_spd_40V_mic_1.wav",
            (("car", "A2"), ("spd", "40V"), ("mic", "1")),
            "three pairs, units",
        ),
        (
            "section_05_source_test_normal_0040_car_H1_spd_8_mic_1_noise_6.wav",
            (("car", "H1"), ("spd", "8"), ("mic", "1"), ("noise", "6")),
            "four pairs",
        ),
        (
            "section_00_source_test_normal_0003_spd1000_BckgC.wav",
            (("spd", "1000"), ("Bckg", "C")),
            "keys and values run together",
        ),
        (
            "section_00_source_train_normal_0050_strength_1_ambient.wav",
            (("tail", "strength_1_ambient"),),
            "three words are no pairs (MIMII DUE)",
        ),
        (
            "section_00_source_train_normal_0875_serial_no_000_water.wav",
            (("tail", "serial_no_000_water"),),
            "a key starts with a letter (MIMII DUE)",
        ),
    ],
)
def test_attributes_as_written(name, attributes, reason):
    assert ClipName.parse(name).attributes == attributes, reason


def test_only_the_base_name_counts():
    name = ClipName.parse(
        "source/section_09_source_train_normal_0001_a_b/section_00_target_test_anomaly_0007_wt_30.wav"
    )
    assert (name.section, name.domain, name.condition, name.index) == ("00", "target", "anomaly", 7)


def test_a_hidden_name_hides():
    name = ClipName.parse("fan/test/section_03_0199.wav")
    assert (name.section, name.split, name.index) == ("03", "test", 199)
    assert name.is_hidden and name.domain is None and name.condition is None and name.attributes == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("section_00_source_train_normal_0000_vel_6_vel_8.wav", "one key twice"),
        ("section_00_source_train_normal_0000_vel_.wav", "no value"),
        ("section_0_source_train_normal_0000_vel_6.wav", "one digit"),
        ("section_٠٠_source_train_normal_0000_vel_6.wav", "digits of another script"),
        ("section_00_both_train_normal_0000_vel_6.wav", "no such domain"),
        ("section_00_source_dev_normal_0000_vel_6.wav", "no such split"),
        ("section_00_source_train_broken_0000_vel_6.wav", "no such condition"),
        ("section_00_source_train_normal_000_vel_6.wav", "three digits"),
        ("section_00_source_train_normal_0000_vel_6.WAV", "suffix in capitals"),
        ("section_00_source_train_normal_0000_vel_6.wav\n", "a line end behind the suffix"),
        ("section_03_0000_vel_6.wav", "hidden, but with an attribute"),
        ("normal_id_00_00000000.wav", "another dataset"),
    ],
)
def test_bad_names_are_refused(name, reason):
    with pytest.raises(DataError, match=r"is not a clip name: expected section_SS_\(source\|target\)") as caught:
        ClipName.parse(name)
    assert repr(name) in str(caught.value), reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("00", "source", "train", "normal", 0, "a_1_"), "a word of a tail is not empty"),
        (("00", "source", "train", "normal", 0, "a_1_a_2"), "one key twice"),
        (("00", "source", "train", "normal", 0, "a b_1"), "a space"),
        (("00", "source", "train", "normal", 10000, "a_1"), "index of five digits"),
        (("00", "source", "train", "normal", -1, "a_1"), "negative index"),
        (("00", None, "train", None, 0, None), "hidden names are of test clips"),
        (("00", None, "test", "normal", 0, None), "a hidden name tells no condition"),
        (("00", None, "test", None, 0, "a_1"), "a hidden name tells no attribute"),
        (("0", "source", "train", "normal", 0, "a_1"), "section of one digit"),
    ],
)
def test_a_name_that_cannot_be_written_is_never_made(fields, reason):
    with pytest.raises(ValueError, match="no clip name can say"):
        ClipName(*fields)
    assert reason


@pytest.mark.skipif(not REAL_SCORES.is_dir(), reason=f"real score files are not at {REAL_SCORES}")
def test_every_real_test_clip_is_read():
    names = []
    for path in sorted(REAL_SCORES.glob("anomaly_score_*.csv")):
        with path.open(newline="") as file:
            names += [row[0] for row in csv.reader(file)]
    parsed = [ClipName.parse(name) for name in names]
    assert [name.file_name for name in parsed] == names
    assert len(parsed) == 3000
    assert sum(name.domain == "source" for name in parsed) == sum(name.condition == "normal" for name in parsed) == 1500
