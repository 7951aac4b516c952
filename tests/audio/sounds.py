"""Sounds that the tests of this folder share."""

from __future__ import annotations

import io

import numpy as np
import soundfile as sf

CLIP = np.random.default_rng(0).integers(-32768, 32768, 160_000).astype(np.int16)


def wav(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    """A sound file as libsndfile writes it."""
    file = io.BytesIO()
    sf.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()
