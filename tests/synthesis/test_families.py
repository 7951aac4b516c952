"""Synthetic releases in the layout of every family: names, sounds and lists, and that each is what its name says."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import TRUTH_LIST, archive_names, parse_name
from mimiidg_build.datasets.synthetic_families import DEFAULT_FAMILY, FAMILIES
from mimiidg_build.errors import UsageError
from mimiidg_build.synthesis.archive import write_archive
from mimiidg_build.synthesis.contents import ClipEntry, entries

OTHERS = [name for name in FAMILIES if name != DEFAULT_FAMILY]


def smallest(family: str) -> str:
    """The smallest release of a family, with its evaluation part where it has one."""
    has_evaluation = any(archive.part != "dev" for archive in FAMILIES[family].archives(True))
    return f"synthetic-{family}-1pct-seed0" + ("-eval" if has_evaluation else "")


@pytest.mark.parametrize("family", OTHERS)
def test_a_name_says_everything(family: str) -> None:
    spec = parse_name(smallest(family))
    assert (spec.name, spec.family) == (smallest(family), family)
    dataset = load_dataset(spec.name)
    assert (dataset.layout, dataset.protocol) == (FAMILIES[family].layout, FAMILIES[family].protocol)
    assert [file.name for file in dataset.records[0].files] == archive_names(spec)
    assert dataset.truth == ([TRUTH_LIST] if spec.evaluation else [])


def test_a_family_that_there_is_not_and_a_part_that_it_does_not_have() -> None:
    with pytest.raises(UsageError, match="not a synthetic release: expected"):
        parse_name("synthetic-dcase2019-1pct")
    with pytest.raises(UsageError, match="mimii has no evaluation part"):
        parse_name("synthetic-mimii-1pct-eval")


@pytest.mark.parametrize("family", OTHERS)
def test_no_two_clips_share_a_name_and_every_hidden_one_is_listed(family: str) -> None:
    spec = parse_name(smallest(family))
    clips = [e for name in archive_names(spec) for e in entries(spec, name) if isinstance(e, ClipEntry)]
    assert len({clip.member for clip in clips}) == len({clip.name for clip in clips}) == len(clips)
    hidden = {Path(clip.member).name for clip in clips if not clip.name.endswith(clip.member)}
    listed = [line.split(",") for line in entries(spec, TRUTH_LIST)[0].text.splitlines()] if spec.evaluation else []
    assert {row[0] for row in listed if len(row) > 1} == hidden
    if hidden:
        conditions = {word for row in listed for word in ("normal", "anomaly") if word in row[-2:][0] + row[-1]}
        assert conditions == {"normal", "anomaly"}


@pytest.mark.parametrize("family", OTHERS)
def test_files_have_the_length_and_the_channels_of_the_family(family: str, tmp_path: Path) -> None:
    spec = parse_name(smallest(family))
    dataset = load_dataset(spec.name)
    for machine_type in list(FAMILIES[family].machines)[-1:]:
        name = next(archive.name for archive in FAMILIES[family].archives(True) if archive.machine_type == machine_type)
        with zipfile.ZipFile(write_archive(spec, name, tmp_path)) as archive:
            members = [member for member in archive.namelist() if member.endswith(".wav")]
            data = archive.read(members[0])
        samples, rate = sf.read(io.BytesIO(data), dtype="int16", always_2d=True)
        assert samples.shape == (dataset.audio.clip_samples(machine_type), dataset.audio.channels)
        assert rate == dataset.audio.sample_rate
        if dataset.audio.channels > 1:
            assert sf.info(io.BytesIO(data)).format == "WAVEX" and len(data) == samples.size * 2 + 80
            powers = np.mean(np.square(samples, dtype=float), axis=0)
            assert powers[0] > 0 and np.unique(samples, axis=1).shape[1] == samples.shape[1], "every microphone its own"


def test_the_truth_list_is_a_file_of_the_record(tmp_path: Path) -> None:
    spec = parse_name("synthetic-dcase2020-1pct-eval")
    text = write_archive(spec, TRUTH_LIST, tmp_path).read_text()
    assert text.splitlines()[0] == "fan" and text.splitlines()[1].startswith("id_01_00000000.wav,")
    assert text == entries(spec, TRUTH_LIST)[0].text
