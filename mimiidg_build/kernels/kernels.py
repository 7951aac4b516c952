"""What runs over every sample of a clip, compiled: level, mixing, log-mel. What they mean stands with their callers.

numba compiles these functions for the processor at hand when this module is first imported, which takes some seconds
once; the result is kept beside this file, or in the user's cache. Bits do not depend on the processor: operations are
single IEEE ones, in the order written (no fused multiply-add, no reordered sums of floats), however wide the vectors
that the compiler makes of them, and the logarithm is ours. Arrays are never checked for their length here: callers do.

The transform works on :data:`LANES` frames at once, which lie lane by lane in memory (element ``k`` of lane ``l`` at
``k * LANES + l``), so that every operation is one of vectors. What that takes of the code, found by reading what the
compiler made of it: loops over lanes are of constant length, indices cannot be negative for all that it knows (hence
the masks), and all steps share one array with constant places in it, of which it sees that they do not overlap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

LANES = 16
HALF = LANES // 2
POINTS = 512  # complex ones, which a real frame of 1024 gives: 8 x 8 x 8; also a block of samples, half a frame
PAIRS = POINTS // 2  # of samples in a block
BANDS = 128
TAPS = 8  # bins that the mel product takes at once

Array = npt.NDArray[Any]
Function = Callable[..., Any]
f32, i32, i64 = np.float32, np.int32, np.int64


def _given(dtype: Any) -> Any:
    """An array that is only read."""
    return numba.types.Array(dtype, 1, "C", readonly=True)


INT16S, FLOATS, INTEGERS = _given(numba.int16), _given(numba.float32), _given(numba.int64)


def compiled(*signatures: tuple[Any, ...]) -> Callable[[Function], Function]:
    """Compile a function now, for arguments of some types, and keep that for later processes."""

    def decorated(function: Function) -> Function:
        try:
            return numba.njit(list(signatures), nogil=True, cache=True)(function)
        except RuntimeError as error:
            log.warning("%s; every process compiles anew. Set NUMBA_CACHE_DIR to a folder that can be written.", error)
            return numba.njit(list(signatures), nogil=True)(function)

    return decorated


def part(function: Function) -> Function:
    """A part of a compiled function."""
    return numba.njit(nogil=True)(function)


def inlined(function: Function) -> Function:
    """A part that the compiler must see as if it stood where it is called."""
    return numba.njit(nogil=True, forceinline=True)(function)


# ---- Level and mixing ------------------------------------------------------------------------------------------------


@compiled((INT16S,))
def sum_and_peak(samples: Array) -> Any:
    """Sum of squares and largest absolute value, exact."""
    total, low, high = i64(0), i32(0), i32(0)
    for i in range(len(samples)):
        value = i32(samples[i])
        total += i32(value * value)
        low, high = min(low, value), max(high, value)
    return total, max(high, -low)


@compiled(
    (INT16S, numba.float32, INT16S, numba.float32, INT16S, numba.float32, numba.int16[::1]),
    (INT16S, numba.float32, FLOATS, numba.float32, FLOATS, numba.float32, numba.int16[::1]),
)
def mix(
    clip: Array, attenuation: float, first: Array, first_gain: float, second: Array, second_gain: float, mixed: Array
) -> Any:
    """``mixed`` = attenuation clip + first_gain first + second_gain second, rounded, and kept within 16 bits.

    Returns how many samples were beyond, and the exact sums of clip^2, clip mixed and mixed^2.
    """
    n_saturated, clip_clip, clip_mixed, mixed_mixed = i64(0), i64(0), i64(0), i64(0)
    for i in range(len(clip)):
        value = np.rint(f32(clip[i]) * attenuation + f32(first[i]) * first_gain + f32(second[i]) * second_gain)
        within = min(max(value, f32(-32768)), f32(32767))
        n_saturated += value != within
        x, y = i32(clip[i]), i32(within)
        mixed[i] = y
        clip_clip += i32(x * x)
        clip_mixed += i32(x * y)
        mixed_mixed += i32(y * y)
    return n_saturated, clip_clip, clip_mixed, mixed_mixed


# ---- Log-mel ---------------------------------------------------------------------------------------------------------


# The scratch array. Every 64 points a row is left free: else what a step touches at once would fall into few of the
# cache's sets.
BLOCK = 65 * LANES
RE = 0
IM = RE + 8 * BLOCK
EARLY = IM + 8 * BLOCK  # the frames' first halves: even samples, then odd ones
LATE = EARLY + 8 * BLOCK  # and their second halves
ODD = 4 * BLOCK
HALVES = 260 * HALF  # from one eight of blocks to the other
LOWER = LATE + 8 * BLOCK  # power of bins 0, 1, 2 ..
N_ROWS = 280  # so many of them, to have room for a band across the middle, and zeros for :data:`TAPS`
N_POWERS = N_ROWS - TAPS
UPPER = LOWER + N_ROWS * LANES  # power of bins 512, 511, 510 ..
MEL = UPPER + N_ROWS * LANES
SCRATCH = MEL + BANDS * LANES


def _turns(n: int) -> tuple[Any, Any]:
    """exp(-2 pi i j p / n) for j < n / 8 and p < 8, real and imaginary parts."""
    angles = -2 * np.pi / n * np.outer(np.arange(n // 8), np.arange(8))
    return np.cos(angles).astype(f32), np.sin(angles).astype(f32)


_ROOT_HALF = f32(0.5**0.5)
TURNS_512, TURNS_64 = _turns(512), _turns(64)
_angles = -2 * np.pi / (2 * POINTS) * np.arange(N_POWERS)
UNPACK = np.cos(_angles).astype(f32), np.sin(_angles).astype(f32)


@inlined
def _dft8(x: Any, y: Any) -> Any:
    """Eight-point transform of x + iy, two tuples of scalars."""
    ar, ai, br, bi = x[0] + x[4], y[0] + y[4], x[0] - x[4], y[0] - y[4]
    cr, ci, dr, di = x[1] + x[5], y[1] + y[5], x[1] - x[5], y[1] - y[5]
    er, ei, fr, fi = x[2] + x[6], y[2] + y[6], x[2] - x[6], y[2] - y[6]
    gr, gi, hr, hi = x[3] + x[7], y[3] + y[7], x[3] - x[7], y[3] - y[7]
    # even outputs: a four-point transform of the sums
    pr, pi, qr, qi = ar + er, ai + ei, ar - er, ai - ei
    rr, ri, sr, si = cr + gr, ci + gi, cr - gr, ci - gi
    # odd ones: of the differences, turned by 0, 45, 90 and 135 degrees
    dr, di = (dr + di) * _ROOT_HALF, (di - dr) * _ROOT_HALF
    hr, hi = (hi - hr) * _ROOT_HALF, (hr + hi) * -_ROOT_HALF
    tr, ti, ur, ui = br + fi, bi - fr, br - fi, bi + fr
    vr, vi, wr, wi = dr + hr, di + hi, dr - hr, di - hi
    return (
        (pr + rr, tr + vr, qr + si, ur + wi, pr - rr, tr - vr, qr - si, ur - wi),
        (pi + ri, ti + vi, qi - sr, ui - wr, pi - ri, ti - vi, qi + sr, ui + wr),
    )


@inlined
def _row(table: Array, j: int) -> Any:
    return table[j, 1], table[j, 2], table[j, 3], table[j, 4], table[j, 5], table[j, 6], table[j, 7]


@inlined
def _load(z: Array, i: int, step: int) -> Any:
    return (
        z[i], z[i + step], z[i + 2 * step], z[i + 3 * step],
        z[i + 4 * step], z[i + 5 * step], z[i + 6 * step], z[i + 7 * step],
    )  # fmt: skip


@inlined
def _store(z: Array, i: int, step: int, x: Any) -> None:
    z[i], z[i + step], z[i + 2 * step], z[i + 3 * step] = x[0], x[1], x[2], x[3]
    z[i + 4 * step], z[i + 5 * step], z[i + 6 * step], z[i + 7 * step] = x[4], x[5], x[6], x[7]


@inlined
def _turned(x: Any, y: Any, c: Any, s: Any) -> Any:
    """Outputs 1 to 7 turned, the twiddle factors c + is."""
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
def _beside(pairs: Array, at: int, halves: Array) -> None:
    """The pairs of samples of 16 blocks beside each other: those of the first eight, then of the others."""
    for half in range(2):
        a = (at + half * HALF * PAIRS) & 0xFFFFFFFF
        b = half * HALVES
        for i in range(PAIRS):
            halves[b + 8 * i] = pairs[a + i]
            halves[b + 8 * i + 1] = pairs[a + i + PAIRS]
            halves[b + 8 * i + 2] = pairs[a + i + 2 * PAIRS]
            halves[b + 8 * i + 3] = pairs[a + i + 3 * PAIRS]
            halves[b + 8 * i + 4] = pairs[a + i + 4 * PAIRS]
            halves[b + 8 * i + 5] = pairs[a + i + 5 * PAIRS]
            halves[b + 8 * i + 6] = pairs[a + i + 6 * PAIRS]
            halves[b + 8 * i + 7] = pairs[a + i + 7 * PAIRS]


@part
def _apart(halves: Array, work: Array, to: int) -> None:
    """Even and odd samples, the two eights of blocks by turns."""
    for block in range(4):
        a, b = block * 64 * HALF, (to & 0xFFFFFFFF) + block * BLOCK
        for i in range(64 * HALF):
            work[b + 2 * i] = f32(np.int16(halves[a + i]))
            work[b + 2 * i + 1] = f32(np.int16(halves[a + i + HALVES]))
        for i in range(64 * HALF):
            work[b + ODD + 2 * i] = f32(i32(halves[a + i] >> 16))
            work[b + ODD + 2 * i + 1] = f32(i32(halves[a + i + HALVES] >> 16))


@part
def _gather(pairs: Array, at: int, halves: Array, work: Array) -> None:
    """The samples of 16 frames, lane by lane: a frame's halves are two blocks of 512, one after the other."""
    _beside(pairs, at, halves)
    _apart(halves, work, EARLY)
    _beside(pairs, at + PAIRS, halves)
    _apart(halves, work, LATE)


@part
def _windowed_radix_8(work: Array, window: Array) -> None:
    """The transform's first step, over windowed frames."""
    for j in range(64):
        c, s = _row(TURNS_512[0], j), _row(TURNS_512[1], j)
        n = 2 * j
        w0, w1, w2, w3 = window[n], window[n + 128], window[n + 256], window[n + 384]
        w4, w5, w6, w7 = window[n + 512], window[n + 640], window[n + 768], window[n + 896]
        v0, v1, v2, v3 = window[n + 1], window[n + 129], window[n + 257], window[n + 385]
        v4, v5, v6, v7 = window[n + 513], window[n + 641], window[n + 769], window[n + 897]
        for lane in range(LANES):
            i = j * LANES + lane
            a, b = EARLY + i, LATE + i
            x = (work[a] * w0, work[a + BLOCK] * w1, work[a + 2 * BLOCK] * w2, work[a + 3 * BLOCK] * w3,
                 work[b] * w4, work[b + BLOCK] * w5, work[b + 2 * BLOCK] * w6, work[b + 3 * BLOCK] * w7)  # fmt: skip
            a, b = EARLY + ODD + i, LATE + ODD + i
            y = (work[a] * v0, work[a + BLOCK] * v1, work[a + 2 * BLOCK] * v2, work[a + 3 * BLOCK] * v3,
                 work[b] * v4, work[b + BLOCK] * v5, work[b + 2 * BLOCK] * v6, work[b + 3 * BLOCK] * v7)  # fmt: skip
            x, y = _dft8(x, y)
            x, y = _turned(x, y, c, s)
            _store(work, RE + i, BLOCK, x)
            _store(work, IM + i, BLOCK, y)


@part
def _radix_8_twice(work: Array) -> None:
    """The other two steps, in place, 64 points after the other."""
    for block in range(8):
        for j in range(8):
            c, s = _row(TURNS_64[0], j), _row(TURNS_64[1], j)
            for lane in range(LANES):
                i = block * BLOCK + j * LANES + lane
                x, y = _dft8(_load(work, RE + i, 8 * LANES), _load(work, IM + i, 8 * LANES))
                x, y = _turned(x, y, c, s)
                _store(work, RE + i, 8 * LANES, x)
                _store(work, IM + i, 8 * LANES, y)
        for j in range(8):
            for lane in range(LANES):
                i = block * BLOCK + 8 * j * LANES + lane
                x, y = _dft8(_load(work, RE + i, LANES), _load(work, IM + i, LANES))
                _store(work, RE + i, LANES, x)
                _store(work, IM + i, LANES, y)


@inlined
def _place(k: int) -> int:
    """Where the transform leaves its k-th output: its octal digits the other way round."""
    return (k & 0o7) * BLOCK + ((k & 0o70) | (k & 0o700) >> 6) * LANES


@part
def _power(work: Array) -> None:
    """Power of the real frames' bins, from the transform of their pairs: of bins k and 512 - k together."""
    for k in range(N_POWERS):
        p, q = _place(k), _place(POINTS - k)
        c, s = UNPACK[0][k], UNPACK[1][k]
        for lane in range(LANES):
            i, j, to = p + lane, q + lane, k * LANES + lane
            er, ei = work[RE + i] + work[RE + j], work[IM + i] - work[IM + j]  # of the even samples, twice
            dr, di = work[IM + i] + work[IM + j], work[RE + j] - work[RE + i]  # of the odd ones
            dr, di = dr * c - di * s, dr * s + di * c
            work[LOWER + to] = (er + dr) * (er + dr) + (ei + di) * (ei + di)
            work[UPPER + to] = (er - dr) * (er - dr) + (ei - di) * (ei - di)


@part
def _mel(work: Array, first_row: Array, first_weight: Array, weights: Array) -> None:
    """Every band's weighted sum of bins, :data:`TAPS` at a time."""
    for band in range(BANDS):
        to = MEL + band * LANES
        for lane in range(LANES):
            work[to + lane] = 0
        k = LOWER + (first_row[band] & 0x3FF) * LANES
        for w in range(first_weight[band] & 0xFFFF, first_weight[band + 1] & 0xFFFF, TAPS):
            a, b, c, d = weights[w], weights[w + 1], weights[w + 2], weights[w + 3]
            e, f, g, h = weights[w + 4], weights[w + 5], weights[w + 6], weights[w + 7]
            for lane in range(LANES):
                i = k + lane
                work[to + lane] += (
                    (a * work[i] + b * work[i + LANES]) + (c * work[i + 2 * LANES] + d * work[i + 3 * LANES])
                ) + (
                    (e * work[i + 4 * LANES] + f * work[i + 5 * LANES])
                    + (g * work[i + 6 * LANES] + h * work[i + 7 * LANES])
                )
            k += TAPS * LANES


@part
def _decibels(values: Array, bits: Array, floor: float, exponents: Array, decibels: Array) -> None:
    """10 log10 of positive numbers, right to a unit in the last place of its natural logarithm.

    Cephes' logf: the number is m 2^e with m from 0.7 to 1.4, and ln m a polynomial. ``bits`` are the values' own.
    """
    for i in range(len(values)):
        values[i] = max(values[i], floor)
    for i in range(len(bits)):
        exponents[i] = (bits[i] - i32(0x3F3504F3)) >> i32(23)
        bits[i] -= exponents[i] << i32(23)
    for i in range(len(values)):
        x = values[i] - f32(1)
        y = f32(7.0376836292e-2) * x - f32(1.1514610310e-1)
        y = y * x + f32(1.1676998740e-1)
        y = y * x - f32(1.2420140846e-1)
        y = y * x + f32(1.4249322787e-1)
        y = y * x - f32(1.6668057665e-1)
        y = y * x + f32(2.0000714765e-1)
        y = y * x - f32(2.4999993993e-1)
        y = y * x + f32(3.3333331174e-1)
        square = x * x
        natural = x + (y * x * square - f32(0.5) * square)
        decibels[i] = natural * f32(10 / np.log(10)) + f32(exponents[i]) * f32(10 * np.log10(2))


@compiled((INT16S, FLOATS, numba.float32, INTEGERS, INTEGERS, FLOATS))
def logmel(samples: Array, window: Array, floor: float, first_row: Array, first_weight: Array, weights: Array) -> Array:
    """10 log10(max(mel, floor)) of a clip [shape=(n_frames, BANDS)].

    Parameters
    ----------
    samples : [shape=(n_samples,)], int16
    window : [shape=(1024,)]
        Half of it, over full scale.
    floor : float
    first_row : [shape=(BANDS,)]
        Where a band's bins begin: bin k is row k, or :data:`N_ROWS` + 512 - k, of which the first
        :data:`N_POWERS` of each kind are there.
    first_weight : [shape=(BANDS + 1,)]
        Where a band's weights begin and end.
    weights
        A band's, row by row; a multiple of :data:`TAPS` of them.
    """
    n_frames = 1 + len(samples) // POINTS
    n_blocks = -(-n_frames // LANES) * LANES + 1
    padded = np.zeros(n_blocks * POINTS, np.int16)
    padded[POINTS : POINTS + len(samples)] = samples  # centred: frame k has blocks k and k + 1
    pairs = padded.view(np.int32)  # an even sample in the lower half, as little-endian machines have it
    halves, exponents = np.empty(2 * HALVES, i32), np.empty(BANDS * LANES, i32)
    work, decibels = np.zeros(SCRATCH, f32), np.empty(BANDS * LANES, f32)
    mel = work[MEL:]
    out = np.empty((n_frames, BANDS), f32)
    for first in range(0, n_frames, LANES):
        _gather(pairs, first * PAIRS, halves, work)
        _windowed_radix_8(work, window)
        _radix_8_twice(work)
        _power(work)
        _mel(work, first_row, first_weight, weights)
        _decibels(mel, mel.view(np.int32), floor, exponents, decibels)
        for lane in range(LANES):
            frame = first + lane % 2 * HALF + lane // 2  # as they were gathered
            if frame < n_frames:
                for band in range(BANDS):
                    out[frame, band] = decibels[band * LANES + lane]
    return out
