"""Noise that is no noise: refused below a level, and what is odd about the rest is counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import resample_poly

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.datasets.findings import findings_frame
from mimiidg_build.errors import DataError
from mimiidg_build.mixing.noise_bank import Cutting, load_noise_bank
from mimiidg_build.mixing.noise_quality import is_band_limited, noise_findings, refuse_quiet, summarise_noise
from mimiidg_build.mixing.noise_recordings import list_noise
from mimiidg_build.schemas.manifests import NoiseSource
from mimiidg_build.schemas.stores import NoiseSummary
from mimiidg_build.schemas.variants import NoiseSettings
from tests.audio.sounds import wav

N = 16_000  # a clip of 1 s
RNG = np.random.default_rng(0)


def noise(n: int, scale: float = 900) -> np.ndarray:
    return RNG.normal(0, scale, n).astype(np.int16)


def summary(tmp_path: Path, files: Mapping[str, bytes]) -> NoiseSummary:
    path = tmp_path / "hall"
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    listed = list_noise("A", [NoiseSource(folder=str(path))], lambda dataset, file: tmp_path)
    bank = load_noise_bank("A", listed.recordings, tmp_path, N)
    return summarise_noise(listed, bank.table, N / 16_000, 16_000)


def found(of_kind: NoiseSummary) -> dict[str, str]:
    frame = findings_frame(noise_findings({"A": of_kind}))
    assert set(frame["severity"]) <= {"warning"} and set(frame["table"]) <= {"noise A"}
    return dict(zip(frame["kind"], frame["message"], strict=True))


def test_good_noise_is_summed_up_without_a_finding(tmp_path: Path) -> None:
    of_kind = summary(tmp_path, {"a.wav": encode_wav(noise(3 * N)), "b.wav": encode_wav(noise(N + 8000))})
    assert (of_kind.files, of_kind.pieces, of_kind.seconds, of_kind.shortest_s) == (2, 4, 4.5, 1.5)
    assert (of_kind.sources, of_kind.sample_rates) == ([str(tmp_path / "hall")], [16_000])
    assert found(of_kind) == {}


def test_what_is_odd_is_counted(tmp_path: Path) -> None:
    files = {
        "a.wav": encode_wav(noise(4 * N)),
        "snippet.wav": encode_wav(noise(160)),
        "telephone.wav": wav(noise(2 * N), 8000),  # 4 s: four pieces
        "pauses.wav": encode_wav(np.r_[noise(N), np.zeros(2 * N, np.int16)]),
        "._a.wav": b"x",
        "a.flac": b"x",
        "notes.txt": b"x",
    }
    assert found(summary(tmp_path, files)) == {
        "noise_tiled": "1 of 10 pieces (10 %) come from recordings shorter than a clip, repeated; shortest 0.01 s.",
        "noise_resampled": "4 of 10 pieces (40 %) were resampled; the recordings' rates are 8000 and 16000 Hz.",
        "noise_band_limited": "4 of 10 pieces (40 %) hold nothing in the upper half of the band, so the mix has no "
        "noise there.",
        "noise_silent": "2 silent pieces of longer recordings were left out.",
        "noise_companions": "1 hidden or system files were passed over.",
        "noise_other_files": "not used: 1 .flac, 1 .txt. Where there are WAV files, other sound files need a source of "
        'their own, such as members = "*.flac".',
    }


def test_what_was_resampled_from_8_khz_before_is_band_limited_too() -> None:
    telephone = resample_poly(RNG.normal(0, 0.05, 40_000), 2, 1).astype(np.float32)
    assert is_band_limited(telephone)
    assert is_band_limited((telephone * 32768).astype(np.int16)), "rounding fills the band, 60 dB further down"
    assert not is_band_limited(noise(80_000))


def test_real_recordings_are_not_band_limited_nor_too_quiet(real: Path) -> None:
    """What the limits were set by: 196 clips of three releases, and eight channels of MIMII's."""
    paths = sorted(real.glob("audio*/**/*.wav"))
    assert len(paths) > 100
    for path in paths:
        samples = sf.read(path, dtype="int16", always_2d=True)[0]
        for channel in samples.T:
            assert not is_band_limited(channel), path
            assert np.mean(np.square(channel / 32768)) > 10 ** (NoiseSettings().min_level_db / 10 + 2), "20 dB to spare"


@pytest.mark.parametrize(
    ("samples", "settings", "level"),
    [
        (RNG.integers(-1, 2, 2 * N).astype(np.int16), NoiseSettings(), "-92.1"),
        (np.full(2 * N, 900, np.int16), NoiseSettings(min_level_db=-30.0), "-31.2"),
    ],
    ids=["one-bit dither", "a limit of one's own"],
)
def test_noise_below_the_limit_is_refused(
    tmp_path: Path, samples: np.ndarray, settings: NoiseSettings, level: str
) -> None:
    (tmp_path / "a.wav").write_bytes(encode_wav(np.r_[noise(N, 3000), samples]))
    listed = list_noise("A", [NoiseSource(folder=str(tmp_path / "a.wav"))], lambda dataset, file: tmp_path)
    table = load_noise_bank("A", listed.recordings, tmp_path, N).table
    with pytest.raises(DataError, match=rf"noise kind A, a.wav#[12]: its level is {level} dB re full scale, below"):
        refuse_quiet("A", table, settings)
    refuse_quiet("A", table, NoiseSettings(min_level_db=-100.0))


def test_a_nearly_silent_channel_is_told_of(tmp_path: Path) -> None:
    both = np.stack([RNG.integers(-1, 2, N).astype(np.int16), noise(N)], 1)
    (tmp_path / "a.wav").write_bytes(wav(both))
    listed = list_noise("A", [NoiseSource(folder=str(tmp_path / "a.wav"))], lambda dataset, file: tmp_path)
    bank = load_noise_bank("A", listed.recordings, tmp_path, N)
    with pytest.raises(DataError, match=r"a.wav#0: its level is .* It has 2 channels.* set channel under"):
        refuse_quiet("A", bank.table, NoiseSettings())
    second = load_noise_bank("A", listed.recordings, tmp_path, N, Cutting(channel=1))
    refuse_quiet("A", second.table, NoiseSettings())
