"""``new-dataset``: what a folder's names are taken for, and the manifest that is written of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimiidg_build.cli import main
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.recordings.guess import guess_pattern
from mimiidg_build.datasets.recordings.listing import list_recordings
from mimiidg_build.schemas.recordings import Recordings
from tests.own_recordings import write_folder, write_sound

N = range(5)
MIMII = [
    f"{machine}/id_0{i}/{condition}/{n:08d}.wav"
    for machine in ("fan", "pump")
    for i in (0, 2, 4, 6)
    for condition in ("normal", "abnormal")
    for n in N
]
DCASE_2020 = [
    f"{machine}/{split}/{condition}_id_0{i}_{n:08d}.wav"
    for machine in ("ToyCar", "fan")
    for split, condition in (("train", "normal"), ("test", "normal"), ("test", "anomaly"))
    for i in (1, 2)
    for n in N
]
DCASE_2022 = [
    f"{machine}/{split}/section_0{i}_{domain}_{split}_{condition}_{n:04d}_vel_{n}_loc_A.wav"
    for machine in ("ToyCar", "bearing")
    for split, condition in (("train", "normal"), ("test", "normal"), ("test", "anomaly"))
    for domain in ("source", "target")
    for i in (0, 1, 2)
    for n in N
]
ONE_MACHINE = {"machine_type": "Lathe-7", "condition": "normal"}


@pytest.mark.parametrize(
    ("paths", "pattern", "fixed"),
    [
        pytest.param(MIMII, "{machine_type}/{section}/{condition}/{index}.wav", {}, id="MIMII"),
        pytest.param(
            [path.partition("/")[2] for path in MIMII if path.startswith("fan")],
            "{section}/{condition}/{index}.wav",
            {"machine_type": "Lathe-7"},
            id="one machine of MIMII",
        ),
        pytest.param(
            [f"0_dB_{path.partition('/')[0]}/{path}" for path in MIMII],
            "{attribute-1}/{machine_type}/{section}/{condition}/{index}.wav",
            {},
            id="MIMII as its zips unpack",
        ),
        pytest.param(DCASE_2020, "{machine_type}/{split}/{condition}_{section}_{index}.wav", {}, id="DCASE 2020"),
        pytest.param(
            DCASE_2022,
            "{machine_type}/{split}/section_{section}_{domain}_{split}_{condition}_{index}_{attributes}.wav",
            {},
            id="DCASE 2022",
        ),
        pytest.param(
            [f"dev_data/raw/{path}" for path in DCASE_2022],
            "*/*/{machine_type}/{split}/section_{section}_{domain}_{split}_{condition}_{index}_{attributes}.wav",
            {},
            id="DCASE 2022 as the baselines want it",
        ),
        pytest.param(
            ["good/monday morning.wav", "good/2.wav", "bad/squeals_a_bit.WAV"],
            "{condition}/*.wav",
            {"machine_type": "Lathe-7"},
            id="good and bad",
        ),
        pytest.param(
            [f"{word}/rec{n}.wav" for word in ("good", "bad") for n in N],
            "{condition}/rec{index}.wav",
            {"machine_type": "Lathe-7"},
            id="good and bad, numbered",
        ),
        pytest.param(
            [f"pump_0{i}_{word}_{n:04d}.wav" for i in (3, 4) for word in ("ok", "ng") for n in N],
            "{machine_type}_{section}_{condition}_{index}.wav",
            {},
            id="flat",
        ),
        pytest.param(
            [f"pump_03_ok_{n:04d}.wav" for n in N],
            "{machine_type}_{section}_{condition}_{index}.wav",
            {},
            id="flat, one",
        ),
        pytest.param([f"{n:04d}.wav" for n in N], "{index}.wav", ONE_MACHINE, id="one machine, normal"),
        pytest.param(
            [f"2026-01-0{day}/mic1_{n:04d}.flac" for day in (1, 2) for n in N],
            "{session}/mic1_{index}.flac",
            ONE_MACHINE,
            id="one machine, days",
        ),
        pytest.param(
            [
                f"data/{m}/{c}/rpm{r}_{n}.wav"
                for m in ("saw", "mill")
                for c in ("OK", "NOK")
                for r in (15, 30)
                for n in N
            ],
            "data/{machine_type}/{condition}/rpm{rpm}_{index}.wav",
            {},
            id="an attribute",
        ),
    ],
)
def test_what_names_are_taken_for(paths: list[str], pattern: str, fixed: dict[str, str], tmp_path: Path) -> None:
    """Every path fits the guess, and is read without a fault."""
    guess = guess_pattern(paths, "Lathe 7")
    assert (guess.pattern, guess.fixed) == (pattern, fixed)
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    words = {key: value for key in ("normal", "anomaly") if (value := getattr(guess, key))}
    listing = list_recordings(Recordings(folder=str(tmp_path), pattern=guess.pattern, **guess.fixed, **words))
    assert len(listing.recordings) == len(paths) and listing.findings == []


def test_the_sections_of_mimii_and_dcase_are_read_as_they_are_written(tmp_path: Path) -> None:
    for paths, expected in ((MIMII, "fan/id_00"), (DCASE_2020, "ToyCar/id_01"), (DCASE_2022, "ToyCar/00")):
        folder = tmp_path / expected.replace("/", "-")
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
        guess = guess_pattern(paths, "x")
        listing = list_recordings(Recordings(folder=str(folder), pattern=guess.pattern, **guess.fixed))
        assert min(str(recording.section_id) for recording in listing.recordings) == expected


def test_words_beside_a_normal_one_are_taken_for_anomalies() -> None:
    guess = guess_pattern([f"pump_{word}_{n}.wav" for word in ("ok", "leak", "cavitation") for n in N], "x")
    assert (guess.normal, guess.anomaly) == (["ok"], ["cavitation", "leak"])


# -------------------- the file


def test_a_first_manifest_says_what_was_seen_and_what_comes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "my recordings")
    write_sound(tmp_path / "my recordings/press/ok/day5_0009.wav", 0.5, rate=44_100, channels=2)
    write_sound(tmp_path / "my recordings/stray.wav")
    monkeypatch.chdir(tmp_path)
    assert main(["new-dataset", "my recordings"]) == 0
    said = capsys.readouterr().out
    assert "my-recordings.toml: 8 of 9 sound files fit its pattern" in said
    assert "mimiidg build released --dataset my-recordings.toml --name my-recordings" in said
    text = (tmp_path / "my-recordings.toml").read_text()
    for part in (
        "9 sound files (9 .wav)",
        "16,000 Hz (8), 44,100 Hz (1); channels 1 (8), 2 (1)",
        "lengths 0.5 to 2.5 s",
        'folder = "my recordings"',
        "# 8 of 9 files fit",
        "6 recordings",
        'hold_out = "session"',
        "# error: 1 of 9 sound files do not fit",
        "# press/00: ",
        "recordings are shorter",
    ):
        assert part in text, part
    dataset = load_dataset("./my-recordings.toml")
    assert dataset.machine_types == ["press"] and dataset.audio.clip_seconds == 1.0


def test_recordings_of_one_length_are_clips_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in N:
        write_sound(tmp_path / f"in/ok/{n}.wav", 1.28, rate=8_000)
    monkeypatch.chdir(tmp_path)
    assert main(["new-dataset", "in", "--output", "to/press.toml", "--json"]) == 0
    audio = load_dataset("to/press.toml").audio
    assert (audio.sample_rate, audio.clip_seconds) == (8_000, 1.28)
    assert 'folder = "../in"' in (tmp_path / "to/press.toml").read_text()


def test_a_manifest_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.toml").write_text("mine")
    assert main(["new-dataset", "in"]) == 2
    assert "in.toml is there already" in capsys.readouterr().err
    assert (tmp_path / "in.toml").read_text() == "mine"
    assert main(["new-dataset", "in", "--replace"]) == 0
    assert "[recordings]" in (tmp_path / "in.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("elsewhere", "does not exist"),
        ("empty", "empty holds no sound file that can be read (found: 1 .txt)"),
        ("empty --output x.csv", "give a name that ends in .toml"),
    ],
)
def test_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["new-dataset", *arguments.split()]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
