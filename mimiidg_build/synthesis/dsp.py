"""Signals that the machines are made of: keyed random streams, shaped noise, harmonics, impulses, resonances.

All signals are float32 [shape=(n_samples,)], 10 s at 16 kHz; spectra are what ``scipy.fft.rfft`` gives,
complex64 [shape=(n_samples // 2 + 1,)]; phases are uint32, a turn being 2**32; frequencies in Hz.
"""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import fft

SAMPLE_RATE = 16000
N_SAMPLES = 160000
TURN = 1 << 32
TABLE = 1 << 15  # samples of one turn of a periodic sound
HOP = 160  # samples between points of what changes slowly
NYQUIST = 7600.0  # tones end here, a little below half the sample rate

FREQUENCY = np.linspace(0, SAMPLE_RATE / 2, N_SAMPLES // 2 + 1, dtype=np.float32)
MEL_POINTS = 1600  # between which responses are straight lines; on the mel scale, as a body's peaks are wide there
_MEL_TOP = np.log1p(SAMPLE_RATE / 2 / 700)
MEL_HZ = 700 * np.expm1(np.linspace(0, _MEL_TOP, MEL_POINTS))
_PLACE = np.log1p(FREQUENCY / 700) / _MEL_TOP * (MEL_POINTS - 1)
_POINT = np.minimum(_PLACE.astype(np.int64), MEL_POINTS - 2)
_BEYOND = (_PLACE - _POINT).astype(np.float32)
OCTAVE = np.log2(np.maximum(FREQUENCY, 10) / 1000).astype(np.float32)  # relative to 1 kHz


def stream(*key: object) -> np.random.Generator:
    """The random stream of a key: the same for the same key, in whatever order or process it is asked for.

    >>> bool(stream(0, "fan").random() == stream(0, "fan").random() != stream(1, "fan").random())
    True
    """
    # a separator that no part holds: (1, 23) and (12, 3) are two keys
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))


def level(db: float) -> float:
    """Amplitude ratio of a level in dB.

    >>> round(level(-20), 3)
    0.1
    """
    return float(10 ** (db / 20))


def hump(centre_hz: float, octaves: float, gain_db: float = 0.0) -> np.ndarray:
    """Amplitude of a bell on the logarithmic frequency axis.

    Parameters
    ----------
    centre_hz : float
    octaves : float
        Standard deviation, octaves.
    gain_db : float
        Amplitude at the centre, dB.

    Returns
    -------
    amplitude : np.ndarray [shape=(n_frequencies,)]
    """
    bell: np.ndarray = np.exp(-0.5 * ((OCTAVE - np.log2(centre_hz / 1000)) / octaves) ** 2)
    return level(gain_db) * bell


def tilt(db_per_octave: float, floor_hz: float = 60.0) -> np.ndarray:
    """Amplitude [shape=(n_frequencies,)] that falls by a constant slope, 1 at 1 kHz, rolled off below the floor."""
    rolled = 1 / (1 + (floor_hz / np.maximum(FREQUENCY, 1)) ** 2)
    return (10 ** (db_per_octave * OCTAVE / 20) * rolled).astype(np.float32)


def over_frequency(points: np.ndarray) -> np.ndarray:
    """Straight lines through a response at ``MEL_HZ``, as ``np.interp`` draws them at six times the cost.

    Parameters
    ----------
    points : np.ndarray [shape=(MEL_POINTS,)], float32 or complex64

    Returns
    -------
    response : np.ndarray [shape=(n_frequencies,)], of the same type

    Examples
    --------
    >>> bool(np.allclose(over_frequency(MEL_HZ.astype(np.float32)), FREQUENCY, atol=0.01))
    True
    """
    response: np.ndarray = points[_POINT] + np.diff(points)[_POINT] * _BEYOND
    return response


def unit_power(shape: np.ndarray) -> np.ndarray:
    """The shape scaled so that noise shaped by it has mean square 1."""
    rms = float(np.sqrt(np.mean(np.abs(shape) ** 2)))
    return (shape / rms).astype(np.float32)


def resonance(centre_hz: float, q: float, frequency: np.ndarray = FREQUENCY) -> np.ndarray:
    """Response at each frequency, complex64, of one resonator, of magnitude 1 at its centre."""
    ratio = frequency / centre_hz
    return (1j * ratio / q / (1 - ratio**2 + 1j * ratio / q)).astype(np.complex64)


def ringing(modes: list[tuple[float, float, float]]) -> np.ndarray:
    """Response of several resonators in parallel, each (centre_hz, decay time in s, peak of its impulse response)."""
    response = np.zeros(len(FREQUENCY), np.complex64)
    for centre_hz, decay_s, peak in modes:
        q = np.pi * centre_hz * decay_s  # so that the amplitude falls by e in decay_s
        # of magnitude 1 at its centre, it would ring with a peak of 2 / (rate * decay_s)
        response += peak * SAMPLE_RATE * decay_s / 2 * resonance(centre_hz, q)
    return response


def knock(response: np.ndarray) -> np.ndarray:
    """A body of that response struck once: the first quarter of a second of its impulse response."""
    return to_signal(response)[: SAMPLE_RATE // 4].copy()


def white(rng: np.random.Generator) -> np.ndarray:
    """Spectrum of white Gaussian noise of mean square 1."""
    draws = rng.standard_normal(2 * len(FREQUENCY), dtype=np.float32)
    draws *= np.sqrt(N_SAMPLES / 2)  # rfft of such noise has E|X|^2 = n_samples, half of it in each part
    return draws.view(np.complex64)


def to_signal(spectrum: np.ndarray) -> np.ndarray:
    """The signal of a spectrum."""
    return fft.irfft(spectrum, N_SAMPLES)  # scipy's stays in single precision


def to_spectrum(signal: np.ndarray) -> np.ndarray:
    """The spectrum of a signal."""
    return fft.rfft(signal)


def between(points: np.ndarray) -> np.ndarray:
    """Straight lines through equally spaced points, the first at the clip's start, the last just after its end.

    >>> between(np.array([0.0, 1.0, 0.0]))[[0, 40000, 80000]].tolist()
    [0.0, 0.5, 1.0]
    """
    points = np.asarray(points, np.float32)
    hop, rest = divmod(N_SAMPLES, len(points) - 1)
    if rest:
        raise ValueError(f"{len(points) - 1} pieces do not divide a clip of {N_SAMPLES} samples")
    ramp = np.arange(hop, dtype=np.float32) / hop
    return (points[:-1, None] + np.diff(points)[:, None] * ramp).ravel()


def drift(rng: np.random.Generator, depth: float, rate: int = 20) -> np.ndarray:
    """A slowly varying factor around 1.

    Parameters
    ----------
    rng : np.random.Generator
    depth : float
        Standard deviation.
    rate : int
        Number of straight pieces in a clip.

    Returns
    -------
    factor : np.ndarray [shape=(n_samples,)], float32
    """
    steps = rng.standard_normal(rate + 1)
    smooth = np.convolve(steps, [0.5, 0.7, 0.5], "same")
    return 1 + depth * between(smooth)


def rotation(rng: np.random.Generator, speed: np.ndarray | float) -> np.ndarray:
    """Phase of a shaft from its speed in Hz; it starts anywhere.

    Returns
    -------
    phase : np.ndarray [shape=(n_samples,)], uint32, a full turn being 2**32: it wraps by itself, and never rounds
    """
    steps = np.broadcast_to(np.asarray(speed, np.float32) * np.float32(TURN / SAMPLE_RATE), N_SAMPLES)
    phase = np.cumsum(steps.astype(np.uint32), dtype=np.uint32)
    return phase + np.uint32(rng.integers(TURN))


def sine(phase: np.ndarray) -> np.ndarray:
    """Sine of a phase.

    >>> sine(np.array([0, 1 << 30], np.uint32)).round(6).tolist()
    [0.0, 1.0]
    """
    radians: np.ndarray = phase.astype(np.float32) * np.float32(2 * np.pi / TURN)
    return np.asarray(np.sin(radians))


def harmonics(rng: np.random.Generator, phase: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """A periodic sound of random harmonic phases.

    Parameters
    ----------
    rng : np.random.Generator
    phase : np.ndarray [shape=(n_samples,)], uint32, as :func:`rotation` gives it
    amplitudes : np.ndarray [shape=(n_harmonics,)], of harmonics 1, 2, ...

    Returns
    -------
    samples : np.ndarray [shape=(n_samples,)], float32
    """
    spectrum = np.zeros(TABLE // 2 + 1, np.complex64)
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(2j * np.pi * rng.random(len(amplitudes))) * (TABLE / 2)
    table = fft.irfft(spectrum)
    return table[phase // np.uint32(TURN // TABLE)]


def harmonic_count(fundamental_hz: float) -> int:
    """How many harmonics lie below the highest tone."""
    return int(NYQUIST / fundamental_hz)


def colour(response: np.ndarray, fundamental_hz: float, count: int) -> np.ndarray:
    """Magnitude of a response at the harmonics of a fundamental.

    Parameters
    ----------
    response : np.ndarray [shape=(n_frequencies,)], complex
    fundamental_hz : float
    count : int
        Number of harmonics, from the first.

    Returns
    -------
    magnitude : np.ndarray [shape=(count,)]
    """
    at = np.rint(np.arange(1, count + 1) * fundamental_hz * N_SAMPLES / SAMPLE_RATE).astype(np.int64)
    return np.asarray(np.abs(response[np.minimum(at, len(response) - 1)]))


def impulses(times: np.ndarray, strengths: np.ndarray | float = 1.0) -> np.ndarray:
    """Unit samples at the given times.

    Parameters
    ----------
    times : np.ndarray [shape=(n_impulses,)], samples; those outside the clip are dropped
    strengths : np.ndarray [shape=(n_impulses,)] or one for all
    """
    at = np.asarray(times).astype(np.int64)
    inside = (at >= 0) & (at < N_SAMPLES)
    weights = np.broadcast_to(strengths, at.shape)[inside]
    # impulses at one sample add up, where an assignment would keep the last alone
    return np.bincount(at[inside], weights, N_SAMPLES).astype(np.float32)


def strikes(times: np.ndarray, strengths: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """A body struck a few times: far cheaper than :func:`impulses` and two transforms, up to some 200 strikes.

    Parameters
    ----------
    times : np.ndarray [shape=(n_strikes,)], samples; those outside the clip are dropped
    strengths : np.ndarray [shape=(n_strikes,)]
    sound : np.ndarray, of one strike, as :func:`knock` gives it

    Returns
    -------
    samples : np.ndarray [shape=(n_samples,)], float32

    Examples
    --------
    >>> strikes(np.array([2, 5]), np.array([1.0, 2.0]), np.ones(2, np.float32))[:8].tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0, 2.0, 2.0, 0.0]
    """
    # longer than the clip, so that a late strike needs no cut of its own
    heard = np.zeros(N_SAMPLES + len(sound), np.float32)
    for start, strength in zip(np.asarray(times).astype(np.int64).tolist(), strengths.tolist(), strict=True):
        if 0 <= start < N_SAMPLES:
            heard[start : start + len(sound)] += strength * sound
    return heard[:N_SAMPLES]


def crossings(phase: np.ndarray) -> np.ndarray:
    """Samples at which a phase begins another turn.

    >>> crossings(np.array([5, 9, 2, 7, 1], np.uint32)).tolist()
    [2, 4]
    """
    return np.flatnonzero(phase[1:] < phase[:-1]) + 1
