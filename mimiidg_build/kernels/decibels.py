"""The logarithm of this room, a part of ``logmel``, and alone for mel bands that were computed before."""

from __future__ import annotations

import numpy as np

from mimiidg_build.kernels.compilation import Array, f32, i32, part

# numbers, not calls in the loop, which would be a library's logarithm
PER_NATURAL, PER_OCTAVE = f32(10 / np.log(10)), f32(10 * np.log10(2))


@part
def decibels_of(values: Array, bits: Array, floor: float, exponents: Array, decibels: Array) -> None:
    """10 log10(max(values, floor)), right to a unit in the last place of its natural logarithm.

    Cephes' logf: the number is m 2^e with m from sqrt(1/2) to sqrt(2), and ln m a polynomial in m - 1. ``bits`` is the
    memory of ``values`` as int32: e is found, and taken away, where the number's exponent lies. Short loops over all
    values rather than one long: each is then one of vectors.
    """
    for i in range(len(values)):
        # the bits rely on it: a zero or a subnormal number does not hold its exponent there
        values[i] = max(values[i], floor)
    for i in range(len(bits)):
        exponents[i] = (bits[i] - i32(0x3F3504F3)) >> i32(23)  # bits of sqrt(1/2)
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
        # x, the largest term, is added last: the small ones keep their digits
        square = x * x
        natural = x + (y * x * square - f32(0.5) * square)
        decibels[i] = natural * PER_NATURAL + f32(exponents[i]) * PER_OCTAVE


@part
def decibels(values: Array, bits: Array, floor: float, factor: float, exponents: Array, out: Array) -> None:
    """Factor 10 log10(max(values, floor)), to ``out``; the values are lost: see :func:`.entries.decibels`."""
    decibels_of(values, bits, floor, exponents, out)
    for i in range(len(out)):
        out[i] *= factor
