"""What noise is worth: measures of a noise clip, limits below which it is no noise, and what a build says of each kind.

Levels are dB re full scale of a mean square, -3 dB being a sine at full scale.

The limits' defaults (``schemas.variants.NoiseSettings``) were set by measurement; see ``data_manifests/README.md``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from mimiidg_build.audio.level import Float32, Int16
from mimiidg_build.audio.sound_folders import SOUNDS, in_words
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.rows import records
from mimiidg_build.errors import DataError
from mimiidg_build.mixing.noise_recordings import ListedNoise
from mimiidg_build.schemas.stores import NoiseSummary
from mimiidg_build.schemas.variants import NoiseSettings

# Measured: of 196 real clips of machines the emptiest has -36 dB in this band, sound that was resampled from 8 kHz -67.
UPPER_BAND = 0.65  # of the band, from 5.2 of 8 kHz on: beyond the skirt of the resampler of what ends at 4
EMPTY_DB = -50.0  # the upper band's power against the whole below which it holds nothing
FFT_SAMPLES = 2**16  # 4 s, of a clip of 10: enough to tell, in a millisecond


def level_db(power: float) -> float:
    """A mean square in dB re full scale.

    >>> level_db(0.01), level_db(0.0)
    (-20.0, -inf)
    """
    return 10 * math.log10(power) if power > 0 else -math.inf


def upper_band_db(samples: Int16 | Float32) -> float:
    """Power in the upper part of the band, up to half the sample rate, against the whole, in dB.

    >>> upper_band_db(np.sin(np.arange(4096)).astype(np.float32)) < -20  # 2.5 kHz at 16 kHz
    True
    """
    block = samples[:FFT_SAMPLES].astype(np.float64)
    # a window, or the jump from a block's end to its beginning would fill every band
    power = np.square(np.abs(np.fft.rfft(block * np.hanning(len(block)))))
    total = float(power.sum())
    return level_db(float(power[int(UPPER_BAND * len(power)) :].sum()) / total) if total > 0 else -math.inf


def is_band_limited(samples: Int16 | Float32) -> bool:
    """Whether a noise clip holds nothing in the upper part of the band: it was recorded or coded for less."""
    return upper_band_db(samples) < EMPTY_DB


def channel_hint(kind: str, channels: int) -> str:
    """What to try where one of several channels is silent; nothing where there is one."""
    if channels == 1:
        return ""
    return (
        f" It has {channels} channels, of which one was read; if another holds the sound, set channel under "
        f'[noise_settings.{kind}]: a number from 0, or "mean".'
    )


def refuse_quiet(kind: str, table: pd.DataFrame, settings: NoiseSettings) -> None:
    """Refuse noise below the level that was set as a limit.

    Parameters
    ----------
    kind : str
    table : pd.DataFrame
        A NoiseTable.
    settings : NoiseSettings

    Raises
    ------
    DataError
        Names the quietest piece, its level and the limit.
    """
    quietest = records(table)[int(np.argmin(table["power"].to_numpy()))]
    if (found := level_db(quietest["power"])) < settings.min_level_db:
        raise DataError(
            f"noise kind {kind}, {quietest['noise_clip']}: its level is {found:.1f} dB re full scale, below the limit "
            f"of {settings.min_level_db:g} dB (after # stands the piece's number). Noise this quiet is mostly the "
            "recorder's own, which mixing would amplify. Remove the recording, or set min_level_db under "
            f"[noise_settings.{kind}]." + channel_hint(kind, quietest["channels"])
        )


def summarise_noise(listed: ListedNoise, table: pd.DataFrame, clip_s: float, sample_rate: int) -> NoiseSummary:
    """What a store says of a kind's noise.

    Parameters
    ----------
    listed : ListedNoise
    table : pd.DataFrame
        The kind's NoiseTable.
    clip_s : float
        Length of a clip.
    sample_rate : int, Hz
        Of the clips.

    Returns
    -------
    NoiseSummary
    """
    recordings = table.drop_duplicates("recording")
    return NoiseSummary(
        sources=listed.sources,
        files=len(recordings),
        pieces=len(table),
        seconds=round(float(recordings["recording_s"].sum()), 3),
        shortest_s=round(float(recordings["recording_s"].min()), 3),
        sample_rates=sorted(set(recordings["sample_rate"].tolist())),
        resampled=int((table["sample_rate"] != sample_rate).sum()),
        tiled=int((table["recording_s"] < clip_s).sum()),
        band_limited=int(table["band_limited"].sum()),
        silent=int(recordings["silent_pieces"].sum()),
        companions=listed.companions,
        other_files=dict(sorted(listed.others.items())),
    )


def noise_findings(noise: Mapping[str, NoiseSummary]) -> list[Finding]:
    """What is odd about the noise, kind by kind. All are warnings: what cannot be used at all was refused before."""
    return [
        Finding("warning", name, f"noise {kind}", message)
        for kind, of_kind in noise.items()
        for name, message in _oddities(of_kind)
    ]


def _oddities(noise: NoiseSummary) -> list[tuple[str, str]]:
    """(kind of finding, message) of everything odd about the noise of one kind."""
    rates = " and ".join(map(str, noise.sample_rates))
    found = {
        "noise_tiled": (
            noise.tiled,
            f"come from recordings shorter than a clip, repeated; shortest {noise.shortest_s} s",
        ),
        "noise_resampled": (noise.resampled, f"were resampled; the recordings' rates are {rates} Hz"),
        "noise_band_limited": (
            noise.band_limited,
            "hold nothing in the upper half of the band, so the mix has no noise there",
        ),
    }
    odd = [
        (name, f"{count} of {noise.pieces} pieces ({100 * count / noise.pieces:.0f} %) {what}.")
        for name, (count, what) in found.items()
        if count
    ]
    if noise.silent:
        odd.append(("noise_silent", f"{noise.silent} silent pieces of longer recordings were left out."))
    if noise.companions:
        odd.append(("noise_companions", f"{noise.companions} hidden or system files were passed over."))
    if noise.other_files:
        sounds = any(name in SOUNDS for name in noise.other_files)
        hint = ' Where there are WAV files, other sound files need a source of their own, such as members = "*.flac".'
        odd.append(
            ("noise_other_files", f"not used: {in_words(Counter(noise.other_files))}." + (hint if sounds else ""))
        )
    return odd
