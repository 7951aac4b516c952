"""Frames into power: a transform of 512 complex points, 16 frames at a time, over the memory that :mod:`.layout` draws.

Radix 8, decimation in frequency, in three steps of eight-point transforms with twiddle factors between them. Each step
runs over memory once; the window is part of the first, and the last leaves the bins in the order of their reversed
octal digits, which :func:`power_of_bins` reads as it needs them. ::

    step       transforms of the points                        with twiddle factors
    1          j, j + 64 .. j + 448, one of each strip         exp(-2 pi i j p / 512)
    2          j, j + 8 .. j + 56 of a strip                   exp(-2 pi i j p / 64)
    3          8 j, 8 j + 1 .. 8 j + 7 of a strip              none

Why not a library's. rocket-fft 0.4.1 is pocketfft, to be called from numba, with the same bits on every processor as
well. With it a clip's log-mel takes 0.87 ms of one core (0.58 for the transforms alone), with this module 0.29, in the
same run; as the first x86-64 processors would compute it, 0.85 and 0.52. That is 3 times librosa's rate (2.7 to 2.9 ms)
where ten times is wanted. pocketfft transforms four frames at a time at best, its code being that of the oldest
processors whatever it runs on, and frames, window and power go through memory once more before and after it.

What the speed asks of the code, found by reading what the compiler made of it: loops over lanes are of constant length,
indices cannot be negative for all that it knows (hence the masks), and all steps share one array with constant places
in it, of which it sees that they do not overlap. Eight-point transforms pass scalars in tuples, which vanish.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mimiidg_build.kernels.compilation import Array, f32, inlined, part
from mimiidg_build.kernels.layout import (
    EARLY,
    IMAG,
    LANES,
    LATE,
    LOWER,
    N_POINTS,
    N_POWERS,
    ODD,
    REAL,
    STRIP,
    UPPER,
)


def _twiddle_factors(n: int) -> tuple[Array, Array]:
    """exp(-2 pi i j p / n) for j < n / 8 and p < 8 [shape=(n / 8, 8)]: real and imaginary parts."""
    angles = -2 * np.pi / n * np.outer(np.arange(n // 8), np.arange(8))
    # float64 first: numpy's last bits depend on the processor, and rounding to float32 removes them
    return np.cos(angles).astype(f32), np.sin(angles).astype(f32)


_SQRT_HALF = f32(0.5**0.5)  # a Python float would make numba compute in float64
TWIDDLES_512, TWIDDLES_64 = _twiddle_factors(512), _twiddle_factors(64)
_angles = -2 * np.pi / (2 * N_POINTS) * np.arange(N_POWERS)
TWIDDLES_REAL = np.cos(_angles).astype(f32), np.sin(_angles).astype(f32)  # exp(-2 pi i k / 1024) of bin k


@inlined
def _dft8(x: Any, y: Any) -> Any:
    """Eight-point transform of x + iy, two tuples of scalars; outputs are in their natural order."""
    ar, ai, br, bi = x[0] + x[4], y[0] + y[4], x[0] - x[4], y[0] - y[4]
    cr, ci, dr, di = x[1] + x[5], y[1] + y[5], x[1] - x[5], y[1] - y[5]
    er, ei, fr, fi = x[2] + x[6], y[2] + y[6], x[2] - x[6], y[2] - y[6]
    gr, gi, hr, hi = x[3] + x[7], y[3] + y[7], x[3] - x[7], y[3] - y[7]
    # even outputs: a four-point transform of the sums a, c, e, g
    pr, pi, qr, qi = ar + er, ai + ei, ar - er, ai - ei
    rr, ri, sr, si = cr + gr, ci + gi, cr - gr, ci - gi
    # odd outputs: one of the differences b, d, f, h, rotated by 0, -45, -90 and -135 degrees
    dr, di = (dr + di) * _SQRT_HALF, (di - dr) * _SQRT_HALF
    hr, hi = (hi - hr) * _SQRT_HALF, (hr + hi) * -_SQRT_HALF
    tr, ti, ur, ui = br + fi, bi - fr, br - fi, bi + fr
    vr, vi, wr, wi = dr + hr, di + hi, dr - hr, di - hi
    return (
        (pr + rr, tr + vr, qr + si, ur + wi, pr - rr, tr - vr, qr - si, ur - wi),
        (pi + ri, ti + vi, qi - sr, ui - wr, pi - ri, ti - vi, qi + sr, ui + wr),
    )


@inlined
def _factors(table: Array, j: int) -> Any:
    """Factors 1 to 7 of row j; factor 0 is 1."""
    return table[j, 1], table[j, 2], table[j, 3], table[j, 4], table[j, 5], table[j, 6], table[j, 7]


@inlined
def _load8(work: Array, i: int, step: int) -> Any:
    """Eight elements, a step apart."""
    return (
        work[i], work[i + step], work[i + 2 * step], work[i + 3 * step],
        work[i + 4 * step], work[i + 5 * step], work[i + 6 * step], work[i + 7 * step],
    )  # fmt: skip


@inlined
def _store8(work: Array, i: int, step: int, x: Any) -> None:
    """The opposite of :func:`_load8`."""
    work[i], work[i + step], work[i + 2 * step], work[i + 3 * step] = x[0], x[1], x[2], x[3]
    work[i + 4 * step], work[i + 5 * step], work[i + 6 * step], work[i + 7 * step] = x[4], x[5], x[6], x[7]


@inlined
def _twiddled(x: Any, y: Any, c: Any, s: Any) -> Any:
    """x + iy, outputs 1 to 7 times the twiddle factors c + is."""
    return (
        (
            x[0],
            x[1] * c[0] - y[1] * s[0], x[2] * c[1] - y[2] * s[1], x[3] * c[2] - y[3] * s[2],
            x[4] * c[3] - y[4] * s[3], x[5] * c[4] - y[5] * s[4], x[6] * c[5] - y[6] * s[5], x[7] * c[6] - y[7] * s[6],
        ),
        (
            y[0],
            x[1] * s[0] + y[1] * c[0], x[2] * s[1] + y[2] * c[1], x[3] * s[2] + y[3] * c[2],
            x[4] * s[3] + y[4] * c[3], x[5] * s[4] + y[5] * c[4], x[6] * s[5] + y[6] * c[5], x[7] * s[6] + y[7] * c[6],
        ),
    )  # fmt: skip


@part
def _step_1_windowed(work: Array, window: Array) -> None:
    """Step 1, from EARLY and LATE, windowed, to REAL and IMAG."""
    for j in range(64):
        c, s = _factors(TWIDDLES_512[0], j), _factors(TWIDDLES_512[1], j)
        n = 2 * j  # of samples: points j, j + 64 .. are samples n, n + 128 .., and n + 1, n + 129 ..
        w0, w1, w2, w3 = window[n], window[n + 128], window[n + 256], window[n + 384]
        w4, w5, w6, w7 = window[n + 512], window[n + 640], window[n + 768], window[n + 896]
        v0, v1, v2, v3 = window[n + 1], window[n + 129], window[n + 257], window[n + 385]
        v4, v5, v6, v7 = window[n + 513], window[n + 641], window[n + 769], window[n + 897]
        for lane in range(LANES):
            i = j * LANES + lane
            a, b = EARLY + i, LATE + i
            x = (work[a] * w0, work[a + STRIP] * w1, work[a + 2 * STRIP] * w2, work[a + 3 * STRIP] * w3,
                 work[b] * w4, work[b + STRIP] * w5, work[b + 2 * STRIP] * w6, work[b + 3 * STRIP] * w7)  # fmt: skip
            a, b = EARLY + ODD + i, LATE + ODD + i
            y = (work[a] * v0, work[a + STRIP] * v1, work[a + 2 * STRIP] * v2, work[a + 3 * STRIP] * v3,
                 work[b] * v4, work[b + STRIP] * v5, work[b + 2 * STRIP] * v6, work[b + 3 * STRIP] * v7)  # fmt: skip
            x, y = _dft8(x, y)
            x, y = _twiddled(x, y, c, s)
            _store8(work, REAL + i, STRIP, x)
            _store8(work, IMAG + i, STRIP, y)


@part
def _steps_2_and_3(work: Array) -> None:
    """The other two steps, in place, strip by strip: a strip stays in the first-level cache for both."""
    for strip in range(8):
        for j in range(8):
            c, s = _factors(TWIDDLES_64[0], j), _factors(TWIDDLES_64[1], j)
            for lane in range(LANES):
                i = strip * STRIP + j * LANES + lane
                x, y = _dft8(_load8(work, REAL + i, 8 * LANES), _load8(work, IMAG + i, 8 * LANES))
                x, y = _twiddled(x, y, c, s)
                _store8(work, REAL + i, 8 * LANES, x)
                _store8(work, IMAG + i, 8 * LANES, y)
        for j in range(8):
            for lane in range(LANES):
                i = strip * STRIP + 8 * j * LANES + lane
                x, y = _dft8(_load8(work, REAL + i, LANES), _load8(work, IMAG + i, LANES))
                _store8(work, REAL + i, LANES, x)
                _store8(work, IMAG + i, LANES, y)


@part
def transform(work: Array, window: Array) -> None:
    """The transform of the frames in EARLY and LATE, windowed [shape=(1024,)], to REAL and IMAG."""
    _step_1_windowed(work, window)
    _steps_2_and_3(work)


@inlined
def _row_of_bin(k: int) -> int:
    """Where the transform leaves bin k: its octal digits the other way round, as strip and row."""
    return (k & 0o7) * STRIP + ((k & 0o70) | (k & 0o700) >> 6) * LANES


@part
def power_of_bins(work: Array) -> None:
    """Power of the real frames' bins, to LOWER and UPPER, from the transform of their points: k and 512 - k at once.

    With Z the transform of the points, that of the even samples is E = (Z[k] + conj Z[512 - k]) / 2, of the odd ones
    D = (Z[k] - conj Z[512 - k]) / 2i, and of the frame E + t D in bin k and conj(E - t D) in bin 512 - k, t being
    exp(-2 pi i k / 1024). The factor 1/2 is left out here, and part of the window.
    """
    for k in range(N_POWERS):
        # k = 0: bin 512 is bin 0 again, the transform's period being 512, and _row_of_bin gives it the same row
        p, q = _row_of_bin(k), _row_of_bin(N_POINTS - k)
        c, s = TWIDDLES_REAL[0][k], TWIDDLES_REAL[1][k]
        for lane in range(LANES):
            i, j, out = p + lane, q + lane, k * LANES + lane
            er, ei = work[REAL + i] + work[REAL + j], work[IMAG + i] - work[IMAG + j]
            # dividing by i swaps the parts, and the sign of one
            dr, di = work[IMAG + i] + work[IMAG + j], work[REAL + j] - work[REAL + i]
            dr, di = dr * c - di * s, dr * s + di * c
            work[LOWER + out] = (er + dr) * (er + dr) + (ei + di) * (ei + di)
            work[UPPER + out] = (er - dr) * (er - dr) + (ei - di) * (ei - di)
