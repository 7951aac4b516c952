"""Mel bands of spectra that were computed elsewhere, of any settings; their logarithm is in :mod:`.decibels`."""

from __future__ import annotations

from mimiidg_build.kernels.compilation import Array, part

FRAMES = 4  # whose sums are taken side by side, so that none waits for the addition before


@part
def mel_bands(
    spectra: Array,
    first_bin: Array,
    first_weight: Array,
    weights: Array,
    n_frames: int,
    n_bins: int,
    sums: Array,
    mel: Array,
) -> None:
    """Mel bands of spectra, to ``mel``: see :func:`.entries.mel_bands`.

    ``sums`` [shape=(FRAMES,)] is memory to work in.
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
