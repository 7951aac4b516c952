"""Where everything lies in memory while :mod:`.fft` and :mod:`.logmel` work on 16 frames at once.

**A real frame is half as many complex points.** A frame has 1024 samples x. Its even samples are taken as real parts
and its odd ones as imaginary parts of 512 points z[n] = x[2n] + i x[2n + 1], whose transform of 512 = 8 x 8 x 8 points
gives that of the frame.

**A frame is two blocks of 512 samples**, since the hop is 512: an *early* and a *late* half, of 256 points each. ::

    samples    | block 0 | block 1 | block 2 | block 3 | ..
    frame 0    |  early  |  late   |
    frame 1              |  early  |  late   |
    frame 2                        |  early  |  late   |

**Lanes.** 16 frames are transformed together, lane by lane: a *row* is one point of all of them, so that every
operation is one on a vector of 16 float32, a cache line. Lanes alternate between the first and the last eight frames,
because that is how :mod:`.frames` can interleave them fastest. ::

    offset     0    1    2    3  ..  14   15 |  16   17   18   19  ..
    row        0    0    0    0  ..   0    0 |   1    1    1    1  ..
    lane       0    1    2    3  ..  14   15 |   0    1    2    3  ..
    frame      0    8    1    9  ..   7   15 |   0    8    1    9  ..

**Strips.** 512 points are eight strips of 64 rows. One row is left free after each: a radix-8 step touches the same row
of eight strips at once, and without the free row these would be 4096 bytes apart, in one and the same set of the cache.

**The work array** of float32, in strips (S) and rows (R)::

    REAL     8 S   real parts of the 512 points       } the transform works here, in place, and leaves bin k in
    IMAG     8 S   imaginary parts                    } strip k0, row 8 k1 + k2, for k = (k2 k1 k0) in octal digits
    EARLY    8 S   points 0 .. 255:   | even samples 4 S | odd samples 4 S |
    LATE     8 S   points 256 .. 511: | even samples 4 S | odd samples 4 S |
    LOWER  280 R   power of bins   0,   1,   2 .. 271, then 8 rows of zeros
    UPPER  280 R   power of bins 512, 511, 510 .. 241, then 8 rows of zeros
    MEL    128 R   power of the mel bands

Power of the *lower* and *upper* half of the bins lie apart since bins k and 512 - k come out of the transform together.
A mel band is summed in one of the two, so each extends 16 bins beyond the middle, more than a band around 4 kHz needs,
and ends with zeros, since bands are summed 8 bins at a time.

**The scratch array** of int32 is where pairs of samples (two int16 each, one point) are interleaved before they become
even and odd floats::

    | row of 8 pairs: frames 0 .. 7, one point | .. 256 rows .. | 4 free | the same of frames 8 .. 15 | 4 free |

All of it is 200 kB, of which a step touches 30 to 130 kB: the second-level cache holds it, whatever the clip.
"""

from __future__ import annotations

LANES = 16  # frames at once
HALF_LANES = LANES // 2
N_POINTS = 512  # complex points of a frame; also samples of a block
PAIRS = N_POINTS // 2  # pairs of samples of a block
N_BANDS = 128
TAPS = 8  # bins of a mel band that are summed at a time

STRIP_ROWS = 64
STRIP = (STRIP_ROWS + 1) * LANES
REAL = 0
IMAG = REAL + 8 * STRIP
EARLY = IMAG + 8 * STRIP
LATE = EARLY + 8 * STRIP
ODD = 4 * STRIP  # from even samples to odd ones, within EARLY and LATE

# bins 241 to 271 are in both: a mel band that crosses the middle lies whole in one of the two
N_POWERS = 272  # bins 0 .. 271, and 512 .. 241
POWER_ROWS = N_POWERS + TAPS
LOWER = LATE + 8 * STRIP
UPPER = LOWER + POWER_ROWS * LANES
MEL = UPPER + POWER_ROWS * LANES
WORK_SIZE = MEL + N_BANDS * LANES

LAST_FRAMES = (PAIRS + 4) * HALF_LANES  # from frames 0 .. 7 to frames 8 .. 15, within the scratch array
SCRATCH_SIZE = 2 * LAST_FRAMES
