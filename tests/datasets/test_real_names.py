"""Every real name of every release: each one parses in its family's grammar, and gives back its own text."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from mimiidg_build.datasets.layouts import dcase2020, dcase2021, dcase2022
from mimiidg_build.datasets.layouts.dcase2020.names import ClipName as Name2020
from mimiidg_build.datasets.layouts.dcase2021.names import ClipName as Name2021
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName as Name2022
from mimiidg_build.datasets.layouts.mimii.names import ClipPath
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.truth import Truth, read_truth

Written = Callable[[str], str]


def in_2020(name: str) -> str:
    return Name2020.parse(name).file_name


def in_2021(name: str) -> str:
    return Name2021.parse(name).file_name


def in_2022(name: str) -> str:
    return Name2022.parse(name).file_name


def base(path: str) -> str:
    return path.strip().rpartition("/")[2]


def wavs(path: Path) -> Iterator[str]:
    """Every cell of a list or table that names a clip."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from (base(cell) for row in csv.reader(file) for cell in row if cell.strip().endswith(".wav"))


def check(names: list[str], written: Written) -> None:
    assert names and [written(name) for name in names] == names


def test_member_names_of_2023_and_2026(real: Path) -> None:
    for listed, n_names in (("dcase2023.txt", 4527), ("dcase2026.txt", 4800)):
        names = [base(line) for line in (real / "names" / listed).read_text().splitlines()]
        assert len(names) == n_names
        check(names, in_2022)


def test_truth_lists(real: Path) -> None:
    truth = real / "truth"
    check(list(wavs(truth / "eval_data_list_2020.csv")), in_2020)
    check(list(wavs(truth / "eval_data_list_2021.csv")), in_2021)
    rest = [path for path in sorted(truth.rglob("*.csv")) if path.stem[-4:] not in ("2020", "2021")]
    assert len(rest) > 30
    for path in rest:
        names = list(wavs(path))
        # the organisers' list for the robotic arm leaves out the split, and no file is called so
        check([name for name in names if not re.match(r"section_00_(source|target)_(normal|anomaly)_", name)], in_2022)


def test_attribute_tables(real: Path) -> None:
    for path in sorted((real / "attributes").rglob("*.csv")):
        check(list(wavs(path)), in_2022)


def test_score_files(real: Path) -> None:
    for folder, written in (("dcase2020_fan", in_2020), ("dcase2021", in_2021), ("dcase2023", in_2022)):
        for path in sorted((real / "scores" / folder).glob("anomaly_score_*.csv")):
            check(list(wavs(path)), written)
    for path in sorted((real / "baseline_ae_results").glob("anomaly_score_*.csv")):
        check(list(wavs(path)), in_2022)


def test_audio_files(real: Path) -> None:
    check([path.name for path in (real / "audio").rglob("*.wav")], in_2021)
    check([path.name for path in (real / "audio_dcase2020").rglob("*.wav")], in_2020)
    paths = [path.relative_to(real / "audio_mimii").as_posix() for path in (real / "audio_mimii").rglob("*.wav")]
    check(paths, lambda path: f"{path.partition('/')[0]}/{ClipPath.parse(path).path}")


def test_members_of_2023_and_2026_are_clips(real: Path) -> None:
    """As archives of their datasets, without tables: every member is a clip with the name as it is written."""
    for listed, dataset in (("dcase2023.txt", "dcase2023"), ("dcase2026.txt", "dcase2026")):
        manifest = load_dataset(dataset)
        archives: dict[str, dict[str, int]] = {}
        for line in (real / "names" / listed).read_text().split():
            record, member = line.split("/", 1) if line[0].isdigit() else ("0", line)
            kind = "test" if "/test/" in member else "train"
            archives.setdefault(f"{record}/eval_data_{member.split('/')[0]}_{kind}.zip", {})[member] = 320_044
        reading = dcase2022.read_clips(manifest, archives, {}, Truth())
        clips = reading.read_clips()
        assert len(clips) == sum(map(len, archives.values()))
        assert all(clip.full_name == base(clip.file.member) for clip in clips)
        kinds = Counter(finding.kind for finding in [*reading.findings, *reading.missing_tables])
        assert set(kinds) == {"missing_table", "hidden_name"}


def test_every_list_of_a_year_tells_of_every_clip_of_its_archives(real: Path) -> None:
    """The anonymous names of each list, laid out as its archives, take condition, domain and full name from it."""
    for year, layout in (("2020", dcase2020), ("2021", dcase2021), ("2024", dcase2022)):
        truth = read_truth(real / "truth" / f"eval_data_list_{year}.csv")
        archives: dict[str, dict[str, int]] = {}
        for machine, name in truth:
            folder = "test" if year != "2021" else f"{name.split('_')[2]}_test"
            archives.setdefault(f"1/eval_data_{machine}_test.zip", {})[f"{machine}/{folder}/{name}"] = 1
        reading = layout.read_clips(load_dataset(f"dcase{year}"), archives, {}, truth)
        clips = reading.read_clips()
        assert len(clips) == len(truth)
        assert [*reading.findings, *reading.missing_tables] == []
        for clip in clips:
            told = truth[clip.file.machine_type, base(clip.file.member)]
            assert (clip.full_name, clip.condition, clip.domain) == (told.full_name, told.condition, told.domain)
        assert all(faults == [] for _, faults in reading.clips)


def test_an_evaluator_of_2022_gives_labels_domains_and_attributes(real: Path) -> None:
    truth = read_truth(real / "truth" / "evaluator_2022")
    archives: dict[str, dict[str, int]] = {}
    for machine, name in truth:
        archives.setdefault(f"6586456/eval_data_{machine}_test.zip", {})[f"{machine}/test/{name}"] = 1
    reading = dcase2022.read_clips(load_dataset("dcase2022"), archives, {}, truth)
    clips = reading.read_clips()
    assert len(clips) == 1800 and all(clip.condition and clip.domain for clip in clips)
    assert {len(clip.attributes) for clip in clips if clip.file.machine_type == "ToyCar"} == {4}
    assert {finding.kind for finding in reading.missing_tables} == {"truth_differs"}
    wrong = read_truth(real / "truth" / "eval_data_list_2022.csv")
    reading = dcase2022.read_clips(load_dataset("dcase2022"), archives, {}, wrong)
    refused = [finding for finding in reading.missing_tables if finding.kind == "hidden_name"]
    assert len(refused) == 6 and all("cannot be believed" in finding.message for finding in refused)
