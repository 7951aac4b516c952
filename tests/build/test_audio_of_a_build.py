"""Clips of any length, rate and number of channels: built, mixed at their SNR, verified deep; or refused by name."""

from __future__ import annotations

import base64
import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.audio.archive import Archive
from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import logmel
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.report.gallery import make_gallery
from mimiidg_build.report.tables import sections
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.store.summary import section_rows
from mimiidg_build.upkeep.export import export_store
from mimiidg_build.upkeep.repair import repair_store
from mimiidg_build.upkeep.verify import verify_store
from tests.audio.sounds import wav
from tests.build.any_release import make_release, members, noise, noise_folder
from tests.conftest import content

N = 12_000  # samples a channel of a clip
RECIPE = 'source = "test"\n[default]\nsnr_db = -3.0\nnoise = [{ kinds = ["hall"] }]\n'


def clips(shape: tuple[int, ...], rate: int = 16_000, first: int = 0) -> list[bytes]:
    return [encode_wav(noise(shape, first + seed), rate) for seed in range(6)]


def build(root: Path, dataset: str, **changes: Any) -> Store:
    return build_variant(Variant(**({"name": "v", "dataset": dataset, "mixing": "none"} | changes)), root).store


def mixed(root: Path, dataset: str, **changes: Any) -> Store:
    """Noise of 1.2 s at 48 kHz, mixed in by a recipe for any section."""
    (root / "recipe.toml").write_text(RECIPE)
    hall = root / "hall"
    source = str(hall) if hall.exists() else noise_folder(hall, 57_600, 48_000)
    return build(root, dataset, mixing=str(root / "recipe.toml"), noise={"hall": [source]}, **changes)


def assert_snr(store: Store) -> None:
    error = store.clips["measured_added_noise_snr_db"] - store.mix_plan["added_noise_snr_db"]
    assert error.abs().max() < 0.05 and error.notna().all()


def test_sections_have_their_own_length(tmp_path: Path) -> None:
    """Stated by machine type, or taken from the first clip; noise banks are as long as the clips."""
    files = {"fan": members("fan", "00", clips((N,))), "ToyCar": members("ToyCar", "00", clips((N + 3000,)))}
    files["ToyCar"] |= members("ToyCar", "01", clips((N - 1000,)))
    store = mixed(tmp_path, make_release(tmp_path, files, "audio = { clip_seconds = { fan = 0.75 } }"))
    lengths = {"ToyCar/00": N + 3000, "ToyCar/01": N - 1000, "fan/00": N}
    assert {name: section.audio.n_samples for name, section in store.sections.items()} == lengths
    for name, n_samples in lengths.items():
        machine_type, section = name.split("/")
        audio = np.asarray(store.audio(machine_type, section)[:])
        assert audio.shape == (6, n_samples)
        assert store.logmel(machine_type, section).shape == (6, 1 + n_samples // 512, 128)
        np.testing.assert_array_equal(store.logmel(machine_type, section)[2], logmel(audio[2]))
    assert_snr(store)
    assert len(list((tmp_path / "noise").glob("*.parquet"))) == 3, "a bank for each length"
    assert verify_store(open_store(store.path), deep=True) == []


def test_eight_channels(tmp_path: Path) -> None:
    """One is kept, or all of them; power is the mean of all that are kept, and noise is added to each alike."""
    data = [noise((8, N), seed) * np.arange(1, 9)[:, None].astype(np.int16) // 4 for seed in range(6)]
    files = {"fan": members("fan", "00", [encode_wav(samples) for samples in data])}
    dataset = make_release(tmp_path, files, "audio = { channels = 8 }")
    first, sixth = build(tmp_path, dataset), build(tmp_path, dataset, name="sixth", channels=6)
    assert first.fingerprint != sixth.fingerprint
    order = [int(name.split("_")[5]) for name in first.clips["clip"]]
    for row, number in enumerate(order):
        np.testing.assert_array_equal(first.audio("fan", "00")[row], data[number][0])
        np.testing.assert_array_equal(sixth.audio("fan", "00")[row], data[number][6])
    every = mixed(tmp_path, dataset, name="all", channels="all")
    assert every.sections["fan/00"].audio == SectionAudio(n_samples=N, channels=8)
    audio, image = every.audio("fan", "00"), every.logmel("fan", "00")
    assert audio.shape == (6, 8, N) and image.shape == (6, 8, 1 + N // 512, 128)
    assert audio.metadata.dimension_names == ("clip", "channel", "sample")
    assert image.metadata.dimension_names == ("clip", "channel", "frame", "mel")
    np.testing.assert_array_equal(image[1, 7], logmel(np.asarray(audio[1, 7])))
    powers = [np.mean(np.square(data[number] / 32768)) for number in order]
    np.testing.assert_allclose(every.clips["power"], powers, rtol=1e-12)
    assert every.sections["fan/00"].a == pytest.approx(np.mean(powers), rel=1e-12)
    added = [np.asarray(audio[row]) / every.sections["fan/00"].attenuation - data[n] for row, n in enumerate(order)]
    for of_clip in added:
        assert np.abs(of_clip - of_clip[0]).max() <= 2 / every.sections["fan/00"].attenuation, "but for rounding"
        assert 10 * np.log10(np.mean(powers) / np.mean(np.square(of_clip / 32768))) == pytest.approx(-3, abs=0.05)
    assert_snr(every)
    for store in (first, sixth, every):
        assert verify_store(open_store(store.path), deep=True) == []


def test_levels_of_other_channels_are_cached_apart(tmp_path: Path) -> None:
    files = {"fan": members("fan", "00", clips((2, N)))}
    dataset = make_release(tmp_path, files, "audio = { channels = 2 }")
    powers = [mixed(tmp_path, dataset, channels=c, name=f"of-{c}").sections["fan/00"].a for c in (0, 1, "all")]
    assert len(set(powers)) == 3 and powers[2] == pytest.approx(np.mean(powers[:2]), rel=1e-12)
    names = {path.name for path in (tmp_path / "archives/any").glob("*.levels.parquet")}
    assert names == {f"fan.zip{what}.levels.parquet" for what in ("", ".channel-1", ".channel-all")}


def test_a_damaged_store_of_eight_channels_is_repaired(tmp_path: Path) -> None:
    files = {"fan": members("fan", "00", clips((8, N)))}
    store = mixed(tmp_path, make_release(tmp_path, files, "audio = { channels = 8 }"), channels="all")
    whole = content(store)
    for name in ("fan/section_00/audio/c/0/0/0", "fan/section_00/logmel/c/0/0/0/0", "fan/section_00/audio/zarr.json"):
        (store.path / name).write_bytes(b"rot")
    repair_store(store.path, tmp_path)
    assert content(open_store(store.path)) == whole


def test_other_rates_are_resampled_to_the_variants_or_the_datasets(tmp_path: Path) -> None:
    """44.1 and 48 kHz in one section; the noise banks of both rates stand beside each other."""
    data = [encode_wav(noise((int(0.75 * rate),), rate + k), rate) for k in range(3) for rate in (44_100, 48_000)]
    dataset = make_release(tmp_path, {"fan": members("fan", "00", data)})
    at_16, at_8 = mixed(tmp_path, dataset), mixed(tmp_path, dataset, name="at-8", sample_rate=8000)
    assert at_16.sections["fan/00"].audio == SectionAudio(n_samples=N)
    assert at_8.sections["fan/00"].audio == SectionAudio(n_samples=6000, sample_rate=8000)
    assert at_8.audio("fan", "00").attrs["sample_rate_hz"] == 8000
    assert len(list((tmp_path / "noise").glob("*.parquet"))) == 2
    plain = build(tmp_path, dataset, name="plain")
    number = int(plain.clips["clip"][4].split("_")[5])
    np.testing.assert_array_equal(plain.audio("fan", "00")[4], decode_clip(data[number], "", n_samples=N))
    for store in (at_16, at_8):
        assert_snr(store)
        assert verify_store(open_store(store.path), deep=True) == []


def test_nothing_is_opened_to_learn_what_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one member a section at most where it is not."""
    first = members("fan", "00", clips((N,)))
    alike = {"fan": first | members("fan", "01", clips((N,)))}
    told = make_release(tmp_path, alike, "audio = { clip_seconds = 0.75 }", "told")
    untold = make_release(tmp_path, {"fan": first | members("fan", "01", clips((N - 999,)))}, "", "untold")
    reads: list[str] = []
    read = Archive.read
    monkeypatch.setattr(Archive, "read", lambda self, name: reads.append(name) or read(self, name))
    for dataset, n_reads in ((told, 0), (untold, 2)):
        build(tmp_path, dataset, name=f"v{n_reads}", sections=["fan/00"])
        reads.clear()
        build(tmp_path, dataset, name=f"v{n_reads}", sections=["fan/00"])  # which reads what a fingerprint needs
        assert len([name for name in reads if name.endswith(".wav")]) == n_reads


@pytest.mark.parametrize(
    ("odd", "audio", "message"),
    [
        (encode_wav(noise((N + 1,), 9)), "", "expected 16000 Hz, 1 channel, PCM_16, 12000 samples, found .* 12001 sam"),
        (encode_wav(noise((8, N), 9)), "", "expected .* 1 channel, .* found 16000 Hz, 8 channels.* channel .audio in"),
        (encode_wav(noise((N,), 9), 44_100), "", r"found 44100 Hz, .* 12000 samples, 4353\.7 at 16000 Hz"),
        (
            encode_wav(noise((N,), 9)),
            "audio = { channels = 8 }",
            "expected .* 8 channels, .* found 16000 Hz, 1 chan",
        ),
    ],
)
def test_a_clip_that_is_not_as_the_others(tmp_path: Path, odd: bytes, audio: str, message: str) -> None:
    data = clips((8, N) if audio else (N,))
    files = members("fan", "00", [*data[:3], odd, *data[4:]])
    dataset = make_release(tmp_path, {"fan": files}, audio)
    name = list(files)[3]
    for number, mixes in enumerate((build, mixed)):
        with pytest.raises(DataError, match=f"^fan.zip: {name}: .*{message}"):
            mixes(tmp_path, dataset, name=f"v{number}")
        assert not list(tmp_path.rglob("latest"))


def test_channels_that_the_dataset_does_not_have(tmp_path: Path) -> None:
    mono = make_release(tmp_path, {"fan": members("fan", "00", clips((N,)))}, name="mono")
    with pytest.raises(UsageError, match="channels = 2, but the recordings of mono have one channel, 0"):
        build(tmp_path, mono, channels=2)
    assert not (tmp_path / "variants").exists()
    files = {"fan": members("fan", "00", [*clips((2, N))[:3], *clips((1, N))[3:]])}
    either = make_release(tmp_path, files, 'audio = { channels = "any" }', "either")
    assert build(tmp_path, either).audio("fan", "00").shape == (6, N), "mono and stereo, of which the first is kept"
    with pytest.raises(DataError, match="section_00_.*has 1 channel, counted from 0, so there is no channel 1"):
        build(tmp_path, either, name="second", channels=1)
    with pytest.raises(DataError, match="section_00_.*expected 16000 Hz, . channels?, .* found 16000 Hz, . channel"):
        build(tmp_path, either, name="every", channels="all")


def test_a_first_clip_that_cannot_be_read_or_is_empty(tmp_path: Path) -> None:
    for number, (data, message) in enumerate(((b"none", "not a readable"), (encode_wav(noise((0,), 0)), "no samples"))):
        dataset = make_release(tmp_path, {"fan": members("fan", "00", [data] * 6)}, name=f"empty{number}")
        with pytest.raises(DataError, match=f"^fan.zip: fan/train/section_00_.*{message}"):
            build(tmp_path, dataset)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT"])
def test_more_than_16_bits(tmp_path: Path, subtype: str) -> None:
    samples = noise((6, N), 3)
    data = [wav((of_clip + 0.25) / 32768, subtype=subtype) for of_clip in samples]
    store = build(tmp_path, make_release(tmp_path, {"fan": members("fan", "00", data)}))
    assert np.sort(np.asarray(store.audio("fan", "00")[:]), axis=0).tolist() == np.sort(samples, axis=0).tolist()


# ---- Real clips ------------------------------------------------------------------------------------------------------


def test_real_clips_of_mimii(real: Path, tmp_path: Path) -> None:
    """Eight channels in WAVE_FORMAT_EXTENSIBLE, from an archive: the first and all of them, against soundfile."""
    paths = sorted((real / "audio_mimii").rglob("*.wav"))[::2]
    files = members("fan", "00", [path.read_bytes() for path in paths])
    dataset = make_release(tmp_path, {"fan": files}, "audio = { channels = 8, clip_seconds = 10.0 }")
    expected = {name: sf.read(path, dtype="int16")[0].T for name, path in zip(files, paths, strict=True)}
    first, every = build(tmp_path, dataset), build(tmp_path, dataset, name="all", channels="all")
    for row, member in enumerate(first.clips["member"]):
        np.testing.assert_array_equal(first.audio("fan", "00")[row], expected[member][0])
        np.testing.assert_array_equal(every.audio("fan", "00")[row], expected[member])
    again = mixed(tmp_path, dataset, name="mixed", channels="all")
    assert_snr(again)
    for store in (first, every, again):
        assert verify_store(open_store(store.path), deep=True) == []


def test_real_clips_of_dcase_2020(real: Path, tmp_path: Path) -> None:
    """ToyCar's eleven seconds beside ten: each section has its own, which nobody states."""
    folders = {m: sorted((real / "audio_dcase2020" / m / "clips").glob("*.wav")) for m in ("ToyCar", "fan")}
    files = {m: members(m, "00", [path.read_bytes() for path in paths]) for m, paths in folders.items()}
    store = mixed(tmp_path, make_release(tmp_path, files))
    assert {name: s.audio.seconds for name, s in store.sections.items()} == {"ToyCar/00": 11.0, "fan/00": 10.0}
    assert store.logmel("ToyCar", "00").shape[1:] == (344, 128)
    assert_snr(store)
    assert verify_store(open_store(store.path), deep=True) == []
    plain = build(tmp_path, str(tmp_path / "any.toml"), name="plain")
    for machine_type, paths in folders.items():
        rows = plain.clips[plain.clips["machine_type"] == machine_type]
        by_member = dict(zip(files[machine_type], paths, strict=True))
        for row, member in zip(rows["row"], rows["member"], strict=True):
            np.testing.assert_array_equal(
                plain.audio(machine_type, "00")[row], sf.read(by_member[member], dtype="int16")[0]
            )
    with zipfile.ZipFile(tmp_path / "archives/any/fan.zip") as archive:
        assert all(archive.read(name) == data for name, data in files["fan"].items()), "archives are never changed"


# ---- What is made of a store afterwards ------------------------------------------------------------------------------


def test_the_gallery_shows_the_first_channel_at_its_rate(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="stores are built without it, and the report draws with it")
    data = [noise((2, 12_000), seed) for seed in range(6)]
    files = {"fan": members("fan", "00", [encode_wav(samples, 8000) for samples in data])}
    dataset = make_release(tmp_path, files, "audio = { sample_rate = 8000, channels = 2 }")
    store = mixed(tmp_path, dataset, channels="all")
    made = make_gallery(store, tmp_path, 10**7)
    assert (made.duration_s, made.sample_rate, made.unknown) == (1.5, 8000, "")
    assert [name for name, _ in made.ticks] == ["0.5", "1", "2"], "nothing above half of the rate"
    (section,) = made.sections
    assert [signal.kind for signal in section.examples[0].signals] == ["mixture", "machine", "noise"]
    sound = section.examples[0].signals[1].sound.removeprefix("data:audio/ogg;base64,")
    heard, rate = sf.read(io.BytesIO(base64.b64decode(sound)))
    row = store.clips[store.clips["clip"] == section.examples[0].clip].iloc[0]
    first = data[int(row["clip"].split("_")[5])][0]
    assert rate == 8000 and np.corrcoef(heard[:12_000], first)[0, 1] > 0.9


def test_tables_say_what_clips_are_where_that_is_not_usual(tmp_path: Path) -> None:
    files = {"fan": members("fan", "00", clips((2, 176_000))), "pump": members("pump", "00", clips((2, 8000)))}
    store = build(tmp_path, make_release(tmp_path, files, "audio = { channels = 2 }"), channels="all")
    assert [row["of"] for row in section_rows(store)] == ["11 s, 16 kHz, 2 channels", "0.5 s, 16 kHz, 2 channels"]
    assert sections(store).rows[1][0].text == "pump/00"


def test_an_export_of_all_channels_is_a_release_again(tmp_path: Path) -> None:
    files = {"fan": members("fan", "00", clips((8, N)))}
    store = build(tmp_path, make_release(tmp_path, files, "audio = { channels = 8 }"), channels="all")
    export_store(store, tmp_path / "out", as_zip=True)
    (tmp_path / "again/archives").mkdir(parents=True)
    manifest = load_dataset(str(tmp_path / "out/dataset.toml"))
    shutil.copytree(tmp_path / "out", tmp_path / "again/archives" / manifest.records[0].id)
    fetch_dataset(manifest, tmp_path / "again", offline=True)
    again = build(tmp_path / "again", str(tmp_path / "out/dataset.toml"), channels="all")
    for name in ("audio", "logmel"):
        path = f"fan/section_00/{name}/c/0/0/0" + ("/0" if name == "logmel" else "")
        assert again.attributes.objects[path] == store.attributes.objects[path]
    with zipfile.ZipFile(tmp_path / "out/fan.zip") as archive:
        assert all(archive.read(member) == data for member, data in files["fan"].items()), "header and all"
