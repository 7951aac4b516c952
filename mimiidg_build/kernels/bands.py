"""Sums over the frames of a spectrogram, band by band."""

from __future__ import annotations

from mimiidg_build.kernels.compilation import Array, f64, part


@part
def add_band_sums(
    n_frames: int, n_bands: int, totals: Array, squares: Array, all_totals: Array, all_squares: Array, values: Array
) -> None:
    """Sums of every band's values and of their squares, frame after frame, to ``totals`` and ``squares``; and those
    added to the sums of all clips so far.

    In double precision, where the square of a float32 is exact.
    """
    for band in range(n_bands):
        totals[band] = squares[band] = 0
    for frame in range(n_frames):
        first = frame * n_bands & 0x7FFFFFFF  # for the compiler, as in frames: an index that cannot be negative
        for band in range(n_bands):
            value = f64(values[first + band])
            totals[band] += value
            squares[band] += value * value
    for band in range(n_bands):
        all_totals[band] += totals[band]
        all_squares[band] += squares[band]
