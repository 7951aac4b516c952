"""Mel bands in decibels of spectra that were computed elsewhere: the end of log-mel spectrograms of any settings."""

from __future__ import annotations

from mimiidg_build.kernels.compilation import Array, part
from mimiidg_build.kernels.decibels import decibels_of

FRAMES = 4  # whose sums are taken side by side, so that none waits for the addition before


@part
def mel_decibels(
    spectra: Array,
    first_bin: Array,
    first_weight: Array,
    weights: Array,
    floor: float,
    factor: float,
    n_frames: int,
    n_bins: int,
    sums: Array,
    exponents: Array,
    mel: Array,
    mel_bits: Array,
    decibels: Array,
) -> None:
    """Mel bands of spectra in decibels, to ``decibels``: see :func:`.entries.mel_decibels`.

    ``sums`` [shape=(FRAMES,)], ``exponents`` and ``mel`` are memory to work in, ``mel_bits`` that of ``mel`` as int32.
    """
    n_bands = len(first_bin)
    for start in range(0, n_frames, FRAMES):
        n = min(FRAMES, n_frames - start)
        for band in range(n_bands):
            sums[:] = 0
            bin_of_first = first_bin[band] - first_weight[band]
            for w in range(first_weight[band], first_weight[band + 1]):
                for frame in range(n):
                    sums[frame] += weights[w] * spectra[(start + frame) * n_bins + bin_of_first + w]
            for frame in range(n):
                mel[(start + frame) * n_bands + band] = sums[frame]
    decibels_of(mel, mel_bits, floor, exponents, decibels)
    for i in range(len(decibels)):
        decibels[i] *= factor
