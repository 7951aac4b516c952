"""Loading what people write: shipped files are whole, mistakes come back in the words of the file."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.datasets import synthetic
from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.datasets.toml_files import shipped_names
from mimiidg_build.datasets.variant import derive_variant, load_variant, parse_variant, with_absolute_noise
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.variants import Variant

PAPER = (Path(__file__).parents[2] / "data_manifests" / "variants" / "paper.toml").read_text(encoding="utf-8")
DATASET = """
name = "mine"
title = "Mine"
recording = "clean"
layout = "mimii_dg"
citation = "me"
[[records]]
id = "1"
title = "One"
license = "MIT"
files = [{ name = "fan.zip" }]
"""


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", shipped_names("variants"))
def test_every_shipped_variant_is_valid(name: str) -> None:
    variant = load_variant(name)
    assert variant.name == name
    assert variant.title
    assert load_dataset(variant.dataset).records


@pytest.mark.parametrize("name", shipped_names("datasets"))
def test_every_shipped_dataset_is_valid(name: str) -> None:
    dataset = load_dataset(name)
    assert dataset.name == name
    assert all(record.license for record in dataset.records)


def test_what_is_shipped() -> None:
    assert shipped_names("variants") == ["demo", "paper", "released"]
    assert {"mimii_dg", "mimii_due"} <= set(shipped_names("datasets"))
    assert (load_variant("released").mixing, load_variant("paper").mixing) == ("none", "table1")
    assert synthetic.is_synthetic(load_variant("demo").dataset)


@pytest.mark.parametrize("line", re.findall(r"^# (.*=.*)$", PAPER, re.MULTILINE))
def test_commented_examples_of_the_paper_variant_are_valid(line: str, tmp_path: Path) -> None:
    load_variant(write(tmp_path / "v.toml", PAPER.replace(f"# {line}", line)))


ALLOWED = (
    r"\(allowed: name, title, dataset, mixing, recipe, sections, snr_offset_db, snr_db, channels, sample_rate, seed, "
    r"full_scale, noise, noise_from, noise_settings, features\)"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "v"\nsede = 1', rf"sede: unknown key; did you mean 'seed'\? {ALLOWED}"),
        ('name = "v"\nzzz = 1', rf"zzz: unknown key {ALLOWED}"),
        (
            'name = "v"\n[features]\ndytpe = "float16"',
            r"features.dytpe: unknown key; did you mean 'dtype'\? \(allowed: n_fft, hop_length, window, window_length, "
            r"n_mels, f_min_hz, f_max_hz, power, mel_scale, mel_norm, stft, dtype, reference, primary_channel, "
            r"reference_channel, over_subtraction, spectral_floor\)",
        ),
        (
            'name = "v"\n[noise]\nA = [{ foldr = "x" }]',
            r"noise.A.0.foldr: unknown key; did you mean 'folder'\? \(allowed: folder,",
        ),
        ("seed = 1", r"name: Field required"),
        ('name = "../v"', r"name: String should match pattern .*, found '../v'"),
        (
            'name = "v"\nfull_scale = "clip"',
            r"full_scale: Input should be 'attenuate', 'saturate' or 'error', found 'clip'",
        ),
        (
            'name = "v"\n[features]\ndtype = "int8"',
            r"features.dtype: Input should be 'float32' or 'float16', found 'int8'",
        ),
        (
            'name = "v"\n[features]\nhop_length = 0',
            r"features.hop_length: Input should be greater than or equal to 1, found 0",
        ),
        (
            'name = "v"\n[features]\nn_fft = 1000000',
            r"features.n_fft: Input should be less than or equal to 32768, found 1000000",
        ),
        (
            'name = "v"\n[features]\nwindow_length = 2048',
            r"features.window_length: expected at most n_fft = 1024, the samples of the FFT .*, found 2048",
        ),
        ('name = "v"\n[features]\nwindow = "kaiser"', r"features.window: Input should be 'hann', .*, found 'kaiser'"),
        (
            'name = "v"\n[features]\nf_min_hz = 500.0\nf_max_hz = 500.0',
            r"features.f_max_hz: expected more than f_min_hz = 500, found 500",
        ),
        ('name = "v"\n[features]\nf_max_hz = nan', r"features.f_max_hz: Input should be .*, found nan"),
        ('name = "v"\n[features]\npower = 3', r"features.power: Input should be 1 or 2, found 3"),
        ('name = "v"\n[features]\nmel_scale = "bark"', r"features.mel_scale: Input should be 'slaney' or 'htk', found"),
        ('name = "v"\n[features]\nstft = 1', r"features.stft: Input should be a valid boolean, found 1"),
        ('name = "v"\nseed = -1', r"seed: Input should be greater than or equal to 0, found -1"),
        ('name = "v"\nseed = 1.5', r"seed: Input should be a valid integer.*, found 1.5"),
        ('name = "v"\nsnr_offset_db = 61', r"snr_offset_db: Input should be less than or equal to 60, found 61"),
        ('name = "v"\nsnr_offset_db = nan', r"snr_offset_db: Input should be .*, found nan"),
        ('name = "v"\nsnr_offset_db = -inf', r"snr_offset_db: Input should be greater .*, found -inf"),
        ('name = "v"\n[snr_db]\n"fan/00" = "loud"', r"snr_db.fan/00: Input should be a valid number.*, found 'loud'"),
        (
            'name = "v"\nsections = ["fan//0"]',
            r"sections: 'fan//0' is not a section: write a machine type \('fan'\) or a section",
        ),
        ('name = "v"\nsections = ["f ans"]', r"sections: 'f ans' is not a section"),
        ('name = "v"\nsections = "fan"', r"sections: Input should be a valid list, found 'fan'"),
        ('name = "v"\nnoise = "dir"', r"noise: Input should be a valid dictionary, found 'dir'"),
        ('name = "v"\n[noise]\nA = 5', r"noise.A.0: Input should be a valid dictionary.*, found 5"),
        ('name = "v"\n[noise]\nA = {}', r"noise.A.0: give exactly one of: folder, archive, dataset"),
        (
            'name = "v"\n[noise]\nA = { folder = "x", archive = "y.zip" }',
            r"noise.A.0: give exactly one of: folder, archive",
        ),
        ('name = "v"\n[noise]\nA = { dataset = "x" }', r"noise.A.0: dataset and file go together"),
    ],
)
def test_mistakes_in_a_variant_name_file_key_and_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    place = write(tmp_path / "mine.toml", text)
    with pytest.raises(UsageError, match=rf"^{re.escape(place)}: 1 mistake\n  {message}"):
        load_variant(place)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    place = write(tmp_path / "mine.toml", 'nmae = "v"\nseed = -1\nfull_scale = "x"')
    with pytest.raises(UsageError, match=r"4 mistakes\n") as caught:
        load_variant(place)
    lines = str(caught.value).splitlines()[1:]
    assert sorted(line.split(":")[0].strip() for line in lines) == ["full_scale", "name", "nmae", "seed"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('name = "v"\nsections = ["fan", "fan/07"]', "fan/07"),
        ('name = "v"\n[snr_db]\n"fan/06" = 0', "fan/06"),
        ('name = "v"\n[snr_db]\npump = 0', "pump"),
    ],
    ids=["a section that there is not", "the SNR of one", "the SNR of a machine type that there is not"],
)
def test_sections_that_table_1_does_not_have(tmp_path: Path, text: str, key: str) -> None:
    place = write(tmp_path / "mine.toml", text)
    with pytest.raises(
        UsageError,
        match=rf"^{re.escape(place)}: '{key}' is not a section of recipe table1; it has (fan|bearing/00), ",
    ):
        load_variant(place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", r"not valid TOML: Invalid value \(at "),
        (b'name = "v"\nname = "w"', r"not valid TOML: Cannot overwrite a value"),
        (b'name = "\xff"', r"not valid TOML: .*decode"),
        (None, r"cannot be read: No such file or directory"),
    ],
    ids=["half a line", "a key twice", "not UTF-8", "no file"],
)
def test_files_that_are_no_toml(tmp_path: Path, content: bytes | None, message: str) -> None:
    place = tmp_path / "mine.toml"
    if content is not None:
        place.write_bytes(content)
    for load in (load_variant, load_dataset):
        with pytest.raises(UsageError, match=f"^{re.escape(str(place))}: {message}"):
            load(str(place))


HOSTILE = {
    "a key of 100,000 parts": (".".join("a" * 100_000) + " = 1", r"line 1 has 99,999 dots, expected at most 100"),
    "the same as a table": ("[" + ".".join("a" * 100_000) + "]", r"line 1 has 99,999 dots"),
    "30,000 unknown keys": (
        'name = "v"\n' + "".join(f"k{n} = 1\n" for n in range(30_000)),
        r"30,000 mistakes\n  k0: unknown key",
    ),
    "a key of 400,000 characters": ("k" * 400_000 + " = 1", r"2 mistakes\n"),
    "a value of 400,000 characters": ('name = "' + "v" * 400_000 + '"', r"1 mistake\n  name: .*\(400,002 characters\)"),
    "a list of 100,000 values": (f"name = {[1] * 100_000}", r"1 mistake\n  name: .*characters\)"),
    "a number of 400,000 digits": ("seed = " + "9" * 400_000, r"not valid TOML: Exceeds the limit"),
    "tables within tables": ("x = " + "{a = " * 5_000 + "1" + "}" * 5_000, r"not valid TOML: .*recursion"),
    "10 MB": ('name = "' + "v" * 10_000_000 + '"', r"larger than 500,000 bytes"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_at_once_in_a_few_lines(tmp_path: Path, text: str, message: str) -> None:
    place, begun = write(tmp_path / "mine.toml", text), time.process_time()
    for load in (load_variant, load_dataset):
        with pytest.raises(UsageError) as caught:
            load(place)
        assert len(str(caught.value)) < 6_000
        if load is load_variant:
            assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert time.process_time() - begun < 5, "seconds of this process; a second on an idle machine"


def test_a_file_that_never_ends() -> None:
    with pytest.raises(UsageError, match="^/dev/zero: larger than 500,000 bytes"):
        load_variant("/dev/zero")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbfname = 'mine'\r\n")
    assert load_variant(str(tmp_path / "mine.toml")).name == "mine"


def test_unknown_names_say_what_is_shipped() -> None:
    shipped = "Shipped: demo, paper, released; or give the path of a .toml file"
    with pytest.raises(UsageError, match=rf"^no variant is named 'papr'\. Did you mean 'paper'\? {shipped}"):
        load_variant("papr")
    with pytest.raises(UsageError, match=rf"^no variant is named 'xyz'\. {shipped}"):
        load_variant("xyz")
    with pytest.raises(
        UsageError, match=r"^no dataset is named 'mimii-dg'\. Did you mean 'mimii_dg'\? .*, synthetic\[-<percent"
    ):
        load_dataset("mimii-dg")


def test_a_file_beats_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "paper.toml", 'name = "mine"')
    assert load_variant("paper.toml").name == "mine"
    assert load_variant("./paper.toml").name == "mine"
    assert load_variant("paper").name == "paper"


def test_a_dataset_of_ones_own(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path / "mine.toml", DATASET))
    assert (dataset.name, dataset.recording, dataset.records[0].files[0].md5) == ("mine", "clean", None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"clean"', '"dirty"', r"recording: Input should be 'clean' or 'mixed', found 'dirty'"),
        ('{ name = "fan.zip" }', '{ name = "../fan.zip" }', r"records.0.files.0.name: String should match pattern"),
        (
            '{ name = "fan.zip" }',
            '{ name = "a", md5 = "xyz" }',
            r"records.0.files.0.md5: String should match .* found 'xyz'",
        ),
        (
            '{ name = "fan.zip" }',
            '{ name = "a", size_byte = 1 }',
            r"records.0.files.0.size_byte: unknown key; did you mean 'size_bytes'\?",
        ),
        ('{ name = "fan.zip" }', '{ name = "a", size_bytes = 0 }', r"records.0.files.0.size_bytes: .*greater than 0"),
        ('{ name = "fan.zip" }', '{ name = "a" }, { name = "a" }', r"records.0: record 1 lists a more than once"),
        ('{ name = "fan.zip" }', "", r"records.0.files: List should have at least 1 item"),
        ('license = "MIT"', "", r"records.0.license: Field required"),
        (
            'license = "MIT"',
            'licence = "MIT"\nlicense = "MIT"',
            r"records.0.licence: unknown key; did you mean 'license'\?",
        ),
    ],
)
def test_mistakes_in_a_dataset(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in DATASET
    with pytest.raises(UsageError, match=rf"mine.toml: 1 mistake\n  {message}"):
        load_dataset(write(tmp_path / "mine.toml", DATASET.replace(old, new)))


# -------------------- noise paths


def test_noise_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    text = """
    name = "v"
    [noise]
    A = "factory"
    B = ["b.ZIP", "../c", "/abs/d.zip"]
    C = { folder = "e", members = "x*.wav" }
    D = "~/own"
    W = { dataset = "mimii_due", file = "dev_data_pump.zip" }
    """
    write(tmp_path / "sub" / "v.toml", text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    noise = load_variant("sub/v.toml").noise
    sub = tmp_path / "sub"
    assert [(s.folder, s.archive) for kind in "ABCD" for s in noise[kind]] == [
        (f"{sub}/factory", None),
        (None, f"{sub}/b.ZIP"),
        (f"{sub}/../c", None),
        (None, "/abs/d.zip"),
        (f"{sub}/e", None),
        ("/home/me/own", None),
    ]
    assert noise["C"][0].members == "x*.wav"
    assert (noise["W"][0].dataset, noise["W"][0].file) == ("mimii_due", "dev_data_pump.zip")


def test_absolute_noise_leaves_the_variant_itself_alone() -> None:
    variant = parse_variant({"name": "v", "noise": {"A": "x"}})
    assert with_absolute_noise(variant, Path("/base")).noise["A"][0].folder == "/base/x"
    assert variant.noise["A"][0].folder == "x"


# -------------------- derived variants


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"snr_offset_db": 6.0}, "paper-snr+6dB"),
        ({"snr_offset_db": -3.5}, "paper-snr-3.5dB"),
        ({"seed": 2, "sections": ["fan", "valve/02"]}, "paper-seed2-fan-valve02"),
        ({"dataset": "synthetic-1pct-seed0"}, "paper-synthetic-1pct-seed0"),
        ({"dataset": "my/own.toml"}, "paper-own"),
        ({"full_scale": "saturate"}, "paper-saturate"),
        ({"full_scale": "error", "seed": 1, "snr_offset_db": 1.0, "dataset": "d"}, "paper-d-snr+1dB-seed1-error"),
        ({}, "paper"),
        ({"seed": 0, "snr_offset_db": None}, "paper"),
    ],
)
def test_a_derived_variant_is_named_for_what_differs(changes: dict[str, Any], name: str) -> None:
    derived = derive_variant(load_variant("paper"), **changes)
    assert derived.name == name
    given = {key: value for key, value in changes.items() if value is not None}
    assert derived.model_dump() == load_variant("paper").model_dump() | given | {"name": name}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"seed: Input should be greater than or equal to 0, found -1"),
        ({"snr_offset_db": 99.0}, r"snr_offset_db: Input should be less than or equal to 60"),
        ({"sections": ["pu mp"]}, r"sections: 'pu mp' is not a section"),
    ],
)
def test_values_that_a_variant_refuses_are_refused_on_the_command_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"^command line: 1 mistake\n  {message}"):
        derive_variant(load_variant("paper"), **changes)


def test_sections_on_the_command_line_must_be_of_table_1() -> None:
    with pytest.raises(UsageError, match="^command line: 'fan/09' is not a section of recipe table1"):
        derive_variant(load_variant("paper"), sections=["fan/09"])


@given(
    st.builds(
        Variant,
        name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,20}", fullmatch=True),
        sections=st.lists(st.sampled_from(["fan", "fan/00", "valve/05"]), max_size=3),
        snr_offset_db=st.floats(-60, 60),
        snr_db=st.dictionaries(st.sampled_from(["fan/03", "slider/01"]), st.floats(-60, 60)),
        seed=st.integers(0, 2**63 - 1),
        noise=st.just({"A": ["x", "y.zip"]}),
    )
)
def test_a_variant_survives_being_plain_data(variant: Variant) -> None:
    # as it goes through a flow's parameters and a store's attributes
    assert parse_variant(variant.model_dump(mode="json")) == variant


# -------------------- the synthetic release


@pytest.mark.parametrize("name", ["synthetic", "synthetic-1pct", "synthetic-2.5pct-seed7", "synthetic-1pct-seed3-eval"])
def test_a_synthetic_release_is_a_dataset(name: str) -> None:
    dataset, spec = load_dataset(name), synthetic.parse_name(name)
    assert (dataset.name, dataset.synthetic, dataset.recording, dataset.layout) == (
        spec.name,
        True,
        "clean",
        "dcase2022",
    )
    (record,) = dataset.records
    assert record.id == spec.record_id == f"{spec.name}-gen2", "no archives of another generation are taken for it"
    assert {file.name for file in record.files} == set(synthetic.archive_names(spec))
    assert not any(file.md5 for file in record.files)  # pinned on first fetch
    wanted = {"A", "B", "C", "W", "X", "Y", "Z"} | ({"D"} if spec.evaluation else set())
    assert wanted <= set(dataset.noise)
    for source in dataset.noise.values():
        assert (source.dataset, source.file) == (spec.name, "noise.zip")
        assert source.file in {file.name for file in record.files}


@pytest.mark.parametrize("name", ["synthetic-pct", "synthetic-0pct", "synthetic-seed"])
def test_a_synthetic_name_that_is_wrong_is_wrong_use(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}|percent must be from 1 to 100, found 0"):
        load_dataset(name)


def test_table_1_is_read_once() -> None:
    assert load_recipe("table1") is load_recipe("table1")


def test_a_recipe_that_there_is_not_and_sections_that_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe is named 'paper'"):
        load_variant(write(tmp_path / "v.toml", 'name = "v"\nmixing = "paper"'))
    with pytest.raises(UsageError, match="'fans' is not a section of recipe table1.*Did you mean 'fan'"):
        load_variant(write(tmp_path / "v.toml", 'name = "v"\nsections = ["fans"]'))


@pytest.mark.parametrize(
    "changes", [{"snr_db": -6.0}, {"snr_offset_db": 6.0}, {"noise": {"A": "hum"}}, {"noise_from": "synthetic-1pct"}]
)
def test_noise_for_a_variant_that_adds_none_is_refused(changes: dict[str, Any]) -> None:
    """Three SNRs of recordings that are taken as they are would be three equal stores under three names."""
    with pytest.raises(UsageError, match=rf"^{next(iter(changes))}: .*released takes the recordings as they are"):
        derive_variant(load_variant("released"), **changes)
    assert derive_variant(load_variant("released"), mixing="table1", **changes).adds_noise
    assert not derive_variant(load_variant("paper"), mixing="none").adds_noise
