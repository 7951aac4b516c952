"""The attention network without one of its ideas: the paper's Tables 3 and 4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from mimiidg_build.models.attention.model import Attention
from mimiidg_build.models.attention.settings import PROFILES, AttentionSettings


def _with(**changes: Any) -> dict[str, AttentionSettings]:
    """All profiles, with some settings changed."""
    return {name: replace(settings, **changes) for name, settings in PROFILES.items()}


class NoAttention(Attention):
    """Without the attention map (the paper's Table 4)."""

    profiles: ClassVar = _with(attention="none")


class Plain(Attention):
    """Plain convolutions instead of separable ones, in attention map and Wavegram (Table 4)."""

    profiles: ClassVar = _with(attention="plain", wavegram="dense")


class PlainNoAttention(Attention):
    """Plain convolutions, without the attention map (Table 4)."""

    profiles: ClassVar = _with(attention="none", wavegram="dense")


class MelOnly(Attention):
    """Without the Wavegram (Table 3)."""

    profiles: ClassVar = _with(wavegram="none")


class WavegramOnly(Attention):
    """Without the log-mel (Table 3)."""

    profiles: ClassVar = _with(logmel=False)


class Embedding64(Attention):
    """An embedding of 64 numbers (Table 3)."""

    profiles: ClassVar = _with(embedding=64)


class Embedding256(Attention):
    """An embedding of 256 numbers (Table 3)."""

    profiles: ClassVar = _with(embedding=256)


class Dense(Attention):
    """A Wavegram of 128 filters, everything else unchanged (not in the paper)."""

    profiles: ClassVar = _with(wavegram="dense")
