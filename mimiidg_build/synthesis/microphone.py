"""What lies between a machine and its recording: the session, the microphone and where it stood. It differs every time.

Two recordings of one machine never have the same colour: the microphone is put up anew, a door stands open, a machine
is warm. So every clip has a smooth random response of its own, on top of that of its session; sessions are shared by
the sections of a machine type, so that none can be told from another by its microphone. Real fan and valve clips of one
attribute value differ by 3.2 to 3.8 dB a band.
"""

from __future__ import annotations

import numpy as np

from mimiidg_build.synthesis.dsp import MEL_POINTS, over_frequency, stream, to_signal, to_spectrum

N_SESSIONS = 40
SESSION_DB = 2.7  # standard deviation over sessions, and over the clips of a session
CLIP_DB = 2.7
NOISE_DB = 3.0
ANEW_DB = 1.0
N_TERMS = 12

_TERM = np.arange(1, N_TERMS + 1)
_WAVES = np.cos(np.pi * _TERM[:, None] * np.linspace(0, 1, MEL_POINTS))  # over the mel scale, as bands lie
_FALL = 1 / np.sqrt(1 + (_TERM / 4) ** 2)  # broad features are deeper than narrow ones
_FALL *= np.sqrt(2 / np.sum(_FALL**2))


def ripple(rng: np.random.Generator) -> np.ndarray:
    """A smooth random curve over the mel scale [shape=(MEL_POINTS,)], of standard deviation 1 over draws."""
    curve: np.ndarray = (_FALL * rng.standard_normal(N_TERMS)) @ _WAVES
    return curve


def machine_response(seed: int, machine_type: str, rng: np.random.Generator) -> np.ndarray:
    """How one session's microphone hears a machine on one occasion.

    Parameters
    ----------
    seed : int
        The release's.
    machine_type : str
        Whose sessions.
    rng : np.random.Generator
        The clip's own stream.

    Returns
    -------
    gain : np.ndarray [shape=(n_frequencies,)], float32
    """
    session = stream(seed, machine_type, "session", rng.integers(N_SESSIONS))  # whatever the section
    return _gain(SESSION_DB * ripple(session) + CLIP_DB * ripple(rng))


def noise_heard(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A factory or a pump [shape=(n_samples,)] as it was recorded once."""
    return to_signal(to_spectrum(sound) * _gain(NOISE_DB * ripple(rng)))


def heard_anew(rng: np.random.Generator) -> np.ndarray:
    """What a microphone that stays where it is hears otherwise on another day [shape=(n_frequencies,)]."""
    return _gain(ANEW_DB * ripple(rng))


def _gain(curve_db: np.ndarray) -> np.ndarray:
    return over_frequency((10 ** (curve_db / 20)).astype(np.float32))
