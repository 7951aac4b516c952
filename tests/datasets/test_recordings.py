"""Own recordings: what names and tables say, the split, the plan of the clips, and what is wrong with any of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimiidg_build.datasets.findings import ERROR_KINDS
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.recordings.cutting import measure, plan_clips
from mimiidg_build.datasets.recordings.fields import OwnRecording
from mimiidg_build.datasets.recordings.listing import Listing, list_recordings
from mimiidg_build.datasets.recordings.split import Measured, held_out, with_split
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.schemas.recordings import Recordings
from mimiidg_build.schemas.sections import SectionId
from tests.own_recordings import own_dataset, write_folder, write_manifest, write_sound


def folder_of(directory: Path, paths: list[str]) -> Path:
    """Empty files: names alone are read here."""
    for path in paths:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).touch()
    return directory


def listing_of(directory: Path, paths: list[str], **keys: object) -> Listing:
    return list_recordings(Recordings(folder=str(folder_of(directory, paths)), **keys))


def kinds(listing: Listing) -> list[tuple[str, str]]:
    return [(finding.severity, finding.kind) for finding in listing.findings]


# -------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{machine_type}/{condition}/{section}_{index}.wav", "fan/ok/a_0.WAV", ("fan/a", "normal", "", {})),
        (
            "{machine_type}/{condition}_{section}_{index}.wav",
            "fan/normal_id_00_01.wav",
            ("fan/id_00", "normal", "", {}),
        ),
        ("{machine_type}/**/{condition}/*.wav", "fan/x/y/NG/any name.wav", ("fan/00", "anomaly", "", {})),
        ("{machine_type}/**/{condition}/*.wav", "fan/bad/b.wav", ("fan/00", "anomaly", "", {})),
        ("{machine_type}_{session}_{condition}.wav", "saw_d1_bad.wav", ("saw/00", "anomaly", "d1", {"session": "d1"})),
        ("{machine_type}_rpm{rpm}_{condition}.*", "saw_rpm1500_ok.flac", ("saw/00", "normal", "", {"rpm": "1500"})),
        (
            "{machine_type}_{condition}_{index}_{attributes}.wav",
            "saw_ok_7_vel_6_loc_A.wav",
            ("saw/00", "normal", "", {"vel": "6", "loc": "A"}),
        ),
        ("{machine_type}/{condition}/{machine_type}_{index}.wav", "fan/ok/fan_1.wav", ("fan/00", "normal", "", {})),
    ],
)
def test_a_path_says_what_a_recording_is(
    tmp_path: Path, pattern: str, path: str, expected: tuple[str, str, str, Mapping[str, str]]
) -> None:
    listing = listing_of(tmp_path, [path], pattern=pattern)
    (recording,) = listing.recordings
    found = (str(recording.section_id), recording.condition, recording.session, dict(recording.attributes))
    assert found == expected and listing.findings == []


def test_a_field_may_be_the_same_for_all_and_words_are_settable(tmp_path: Path) -> None:
    keys = {"machine_type": "press", "domain": "target", "normal": ["fine"], "anomaly": ["leak"], "section": "east"}
    listing = listing_of(tmp_path, ["Fine/1.wav", "leak/1.wav"], pattern="{condition}/{index}.wav", **keys)
    assert [(r.path, str(r.section_id), r.domain, r.condition) for r in listing.recordings] == [
        ("Fine/1.wav", "press/east", "target", "normal"),
        ("leak/1.wav", "press/east", "target", "anomaly"),
    ]


def test_several_patterns_read_each_file_by_the_one_that_fits(tmp_path: Path) -> None:
    patterns = ["{machine_type}/{condition}/{index}.wav", "{machine_type}_{condition}.wav"]
    listing = listing_of(tmp_path, ["fan/ok/1.wav", "saw_bad.wav"], pattern=patterns)
    assert [(str(r.section_id), r.condition) for r in listing.recordings] == [
        ("fan/00", "normal"),
        ("saw/00", "anomaly"),
    ]
    assert listing.machine_types == ["fan", "saw"]


@pytest.mark.parametrize(
    ("paths", "keys", "kind", "message"),
    [
        (["fan/1.wav", "b.wav"], {}, "unfit", r"not one of 2 sound files fits \{machine_type\}.*; the first is b.wav"),
        (["fan/ok/1.wav", "x/1.wav"], {}, "unfit", r"1 of 2 sound files do not fit .* ignore = \['x/\*'\]"),
        (["notes.txt"], {}, "no_clips", "holds no sound files, and none is a recording"),
        (
            ["fan/oK/1.wav", "fan/okay/2.wav"],
            {},
            "unknown_word",
            "fan/okay/2.wav: 'okay' stands for neither normal nor ",
        ),
        (["a b/ok/1.wav"], {}, "bad_field", "'a b' cannot be a machine type; expected letters, digits, _ and -"),
        (
            ["fan/ok/1.wav"],
            {"pattern": ["{machine_type}/{condition}/{index}.wav", "{machine_type}/{condition}/{section}.wav"]},
            "two_patterns",
            "fits .*index.* and .*section.*, which read it differently",
        ),
        (["fan/ok/1\u2028.wav"], {}, "bad_name", "has a control character: rename it"),
    ],
)
def test_what_is_wrong_with_names_is_found(
    tmp_path: Path, paths: list[str], keys: dict[str, object], kind: str, message: str
) -> None:
    keys = {"pattern": "{machine_type}/{condition}/{index}.wav", **keys}
    errors = [finding for finding in listing_of(tmp_path, paths, **keys).findings if finding.severity == "error"]
    assert [error.kind for error in errors] == [kind] and kind in ERROR_KINDS
    assert re.search(message, errors[0].message)


def test_what_is_odd_about_names_is_a_warning(tmp_path: Path) -> None:
    paths = ["fan_big_02_ok.wav", "notes.txt", "._fan_01_ok.wav", "old/fan_01_ok.wav"]
    keys = {"pattern": "{machine_type}_{section}_{condition}.wav", "ignore": ["old/*"]}
    listing = listing_of(tmp_path, paths, **keys)
    assert kinds(listing) == [("warning", "other_files"), ("warning", "companion"), ("warning", "ambiguous_name")]
    assert "machine_type fan, section big_02" in listing.findings[2].message
    assert "machine_type fan_big, section 02" in listing.findings[2].message
    assert [recording.path for recording in listing.recordings] == ["fan_big_02_ok.wav"]


# -------------------- tables


def test_a_table_says_what_recordings_are(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("path,machine_type,condition,session,oil\na\\b.wav,fan,ok,d1,old\nc.wav,fan,bad,,\n")
    listing = listing_of(tmp_path / "sounds", ["a/b.wav", "c.wav", "d.wav"], table=str(table))
    assert [(r.path, r.condition, r.session, r.attributes) for r in listing.recordings] == [
        ("a/b.wav", "normal", "d1", (("session", "d1"), ("oil", "old"))),
        ("c.wav", "anomaly", "", ()),
    ]
    assert kinds(listing) == [("warning", "unlisted")]


@pytest.mark.parametrize(
    ("text", "keys", "kind", "line", "message"),
    [
        ("path,condition\n", {}, "bad_header", 1, "no column machine_type; the header has path, condition"),
        ("", {}, "bad_header", 1, "the header has nothing"),
        ("path,machine_type,condition\n", {"machine_type": "fan"}, "bad_header", 1, "machine_type is given twice"),
        ("path,machine_type,condition\n", {"hold_out": "session"}, "bad_header", 1, "no column session"),
        ("path,machine_type,condition\na.wav,fan\n", {}, "ragged_row", 2, "2 cells where the header has 3"),
        ("path,machine_type,condition\na.wav,fan,ok\na.wav,fan,ok\n", {}, "duplicate_row", 3, "also stands in line 2"),
        ("path,machine_type,condition\n../a.wav,fan,ok\n", {}, "no_audio", 2, r"\.\./a.wav is no sound file below"),
        ("path,machine_type,condition\na.wav,fan,meh\n", {}, "unknown_word", 2, "'meh' stands for neither"),
        ("path,machine_type,condition\na.wav,fan,\n", {}, "unknown_word", 2, "nothing says whether it is normal"),
        ("path,machine_type,condition\na.wav,,ok\n", {}, "bad_field", 2, "a.wav: no machine type is given"),
    ],
)
def test_what_is_wrong_with_a_table_is_found(
    tmp_path: Path, text: str, keys: dict[str, object], kind: str, line: int, message: str
) -> None:
    (tmp_path / "clips.csv").write_text(text)
    listing = listing_of(tmp_path / "sounds", ["a.wav"], table=str(tmp_path / "clips.csv"), **keys)
    error = next(finding for finding in listing.findings if finding.severity == "error")
    assert (error.kind, error.line) == (kind, line) and re.search(message, error.message)


# -------------------- the manifest


def test_ten_lines_are_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths count from the manifest; machine types, archives and the protocol follow from the recordings."""
    manifest = own_dataset(tmp_path)
    monkeypatch.chdir("/")
    dataset = load_dataset(str(manifest))
    assert len(manifest.read_text().splitlines()) <= 10
    assert (dataset.layout, dataset.protocol, dataset.recording) == ("recordings", "2020", "mixed")
    assert dataset.machine_types == ["press"]
    assert [(record.id, [file.name for file in record.files]) for record in dataset.records] == [
        ("hall", ["press.zip"])
    ]
    assert dataset.recordings is not None and Path(dataset.recordings.folder) == tmp_path / "recordings"


def test_the_protocol_is_that_of_2022_where_there_are_domains(tmp_path: Path) -> None:
    folder_of(tmp_path / "recordings", ["source/ok/1.wav"])
    manifest = write_manifest(
        tmp_path / "hall.toml", {"pattern": '"{domain}/{condition}/{index}.wav"', "machine_type": '"fan"'}
    )
    assert load_dataset(str(manifest)).protocol == "2022"
    (tmp_path / "clips.csv").write_text("path,condition,domain\n")
    manifest = write_manifest(tmp_path / "hall.toml", {"pattern": "", "table": '"clips.csv"', "machine_type": '"fan"'})
    assert load_dataset(str(manifest)).protocol == "2022"


@pytest.mark.parametrize(
    ("recordings", "head", "message"),
    [
        ({"pattern": ""}, "", "recordings: give pattern = .* or table"),
        ({"table": '"clips.csv"'}, "", "recordings: give pattern = .* or table"),
        ({"pattern": '"{machine_type}/{index}.wav"'}, "", "does not say which recordings are normal"),
        ({"pattern": '"{machine_type/{condition}.wav"'}, "", r"'\{' belongs to no field"),
        ({"machine_type": '"fan"'}, "", "has a field machine_type, and machine_type = ... is given as well"),
        ({"normal": '["x"]', "anomaly": '["X"]'}, "", "'x' stands for both normal and anomaly"),
        ({"share": "1.0"}, "", "recordings.share: .*less than 1"),
        (
            {"pattern": '"{machine_type}/{condition}/*.wav"', "hold_out": '"session"'},
            "",
            "hold_out = .session., and pattern .* has no field",
        ),
        ({"patern": '"x"'}, "", "recordings.patern: unknown key; did you mean 'pattern'"),
        ({}, 'title = "no length"', "audio.clip_seconds: say how long"),
        ({}, "audio = { clip_seconds = 1.0, channels = 2 }", "recordings.channel chooses it"),
        ({}, 'audio = { clip_seconds = 1.0 }\nlayout = "mimii"', 'of own recordings it is "recordings"'),
        (
            {},
            "audio = { clip_seconds = 1.0 }\nrecords = []",
            r"\[\[records\]\], or \[recordings\] of your own: give one",
        ),
    ],
)
def test_mistakes_in_a_manifest_are_usage_errors(
    tmp_path: Path, recordings: dict[str, str], head: str, message: str
) -> None:
    manifest = own_dataset(tmp_path, recordings, head)
    with pytest.raises(UsageError, match=message):
        load_dataset(str(manifest))


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ({"folder": '"elsewhere"'}, "there is no folder .*elsewhere with recordings"),
        ({"pattern": "", "table": '"clips.csv"'}, "there is no table .*clips.csv"),
        ({"pattern": '"{machine_type}-{condition}.wav"'}, "unfit in .*not one of 7 sound files fits"),
    ],
)
def test_recordings_that_are_not_there_are_data_errors(
    tmp_path: Path, recordings: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(str(own_dataset(tmp_path, recordings)))


# -------------------- the split


def measured(path: str, condition: str = "normal", *, session: str = "", n_clips: int = 2, split: str = "") -> Measured:
    recording = OwnRecording(path, SectionId("fan", "00"), split, "", condition, session, ())
    return Measured(recording, n_clips, 2.0, 0.0)


ANY = Recordings(pattern="{condition}_{machine_type}.wav")


def test_anomalies_test_and_a_share_of_the_normal_is_held_out() -> None:
    own = [*(measured(f"{i}.wav") for i in range(10)), measured("x.wav", "anomaly")]
    splits = with_split(ANY, own)
    assert splits["x.wav"] == "test"
    assert sorted(splits.values()) == ["test"] * 3 + ["train"] * 8


def test_whole_sessions_are_held_out() -> None:
    own = [measured(f"{i}.wav", session=f"s{i % 5}") for i in range(20)]
    splits = with_split(ANY, own)
    by_session = {one.recording.session: set() for one in own}
    for one in own:
        by_session[one.recording.session].add(splits[one.recording.path])
    assert sorted(map(sorted, by_session.values())) == [["test"]] + [["train"]] * 4
    apart = with_split(ANY.model_copy(update={"hold_out": "recording"}), own)
    assert sum(split == "test" for split in apart.values()) == 4 and apart != splits


def test_a_split_that_is_said_holds() -> None:
    own = [measured("a.wav", split="test"), *(measured(f"{i}.wav", split="train") for i in range(3))]
    assert with_split(ANY, own) == {"a.wav": "test", "0.wav": "train", "1.wav": "train", "2.wav": "train"}


def test_the_seed_draws_others() -> None:
    own = [measured(f"{i}.wav") for i in range(20)]
    assert with_split(ANY, own) != with_split(ANY.model_copy(update={"seed": 1}), own)


@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 60), min_size=1, max_size=12),
    st.floats(0.05, 0.95),
    st.randoms(),
)
def test_what_is_held_out_does_not_depend_on_the_order(groups: dict[str, int], share: float, random: object) -> None:
    """Something is left for either side, and no group more would have come closer by more than itself."""
    chosen = held_out(groups, share, "draw")
    names = list(groups)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert held_out({name: groups[name] for name in names}, share, "draw") == chosen
    assert len(chosen) < len(groups) and bool(chosen) == (len(groups) > 1)


# -------------------- the plan


def test_recordings_are_cut_end_to_end_and_what_is_left_is_reported(tmp_path: Path) -> None:
    dataset = load_dataset(str(own_dataset(tmp_path)))
    write_sound(tmp_path / "recordings/press/ok/day7_0007.wav", 0.5)
    write_sound(tmp_path / "recordings/press/ok/day7_0008.wav", 3.0, rate=44_100, channels=2)
    assert dataset.recordings is not None
    listing = list_recordings(dataset.recordings)
    found, findings = measure(dataset, dataset.recordings, listing.recordings)
    assert [(f.severity, f.kind) for f in findings] == [("warning", "too_short")]
    assert re.search("day7_0007.wav has 0.50 s, less than a clip of 1 s", findings[0].message)
    plan = plan_clips(dataset.recordings, "press", found)
    assert len(plan.clips) == 7 * 2 + 3
    names = [clip.member for clip in plan.clips if clip.recording.path == "press/ok/day7_0008.wav"]
    split = names[0].split("/")[1]
    assert names == [f"press/{split}/{split}_normal_press_ok_day7_0008_p{n:04d}.wav" for n in range(3)]
    (left,) = plan.findings
    assert left.kind == "left_over" and "7 of 8 recordings" in left.message and "3.5 of 20.5 s" in left.message


def test_pieces_of_one_recording_are_on_one_side(tmp_path: Path) -> None:
    dataset = load_dataset(str(own_dataset(tmp_path)))
    assert dataset.recordings is not None
    found, _ = measure(dataset, dataset.recordings, list_recordings(dataset.recordings).recordings)
    plans = [plan_clips(dataset.recordings, "press", order) for order in (found, found[::-1])]
    assert plans[0].clips == plans[1].clips
    sides: dict[str, set[str]] = {}
    for clip in plans[0].clips:
        sides.setdefault(clip.recording.path, set()).add(clip.row[2])
    assert all(len(side) == 1 for side in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "test"}


def test_what_cannot_be_cut_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "recordings")
    folder = tmp_path / "recordings/press/ok"
    (folder / "day8_0001.wav").write_bytes(b"RIFF")
    write_sound(folder / "day8_0002.flac")
    write_sound(folder / "day8_0002.wav")
    pattern = '"{machine_type}/{condition}/{session}_{index}.*"'
    dataset = load_dataset(str(write_manifest(tmp_path / "hall.toml", {"pattern": pattern})))
    assert dataset.recordings is not None
    found, findings = measure(dataset, dataset.recordings, list_recordings(dataset.recordings).recordings)
    findings += plan_clips(dataset.recordings, "press", found).findings
    errors = {finding.kind: finding.message for finding in findings if finding.severity == "error"}
    assert errors.keys() == {"unreadable", "duplicate_clip"} <= set(ERROR_KINDS)
    assert "day8_0001.wav" in errors["unreadable"]
    assert (
        "the clips of press/ok/day8_0002.wav would be called as those of press/ok/day8_0002.flac"
        in errors["duplicate_clip"]
    )
    second = dataset.recordings.model_copy(update={"channel": 1})
    _, findings = measure(dataset, second, list_recordings(second).recordings)
    assert "has 1 channels, so there is no channel 1" in findings[0].message
