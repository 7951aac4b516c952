"""Classify all sections from log-mel and Wavegram under an attention map; score by the true one's cross-entropy.

Neri and Carli, "Low-complexity Attention-based Unsupervised Anomalous Sound Detection exploiting Separable Convolutions
and Angular Loss" (2024), "the paper". One network for all machine types, a class per section. Log-mel and Wavegram are
the two channels of an image of 128 x 313, which is multiplied by an attention map and given to MobileFaceNet; ArcFace
classifies the embeddings. Clips are audio of 10 s, 313 frames. Of clips of another length the images have other frames,
and so has MobileFaceNet's last depthwise convolution: a network takes the length that it was made for, and no other.

Conventions
-----------
theta is the angle between a clip's embedding and a class; cosines are [shape=(n, n_classes)]. Training mixes waveforms
(Noisy-ArcMix, Choi and Choi 2024): with lambda ~ Beta(0.2, 0.2) and a permutation j, one of each per batch, the input
is lambda x_i + (1 - lambda) x_j, and the loss is lambda CE(l, y_i) + (1 - lambda) CE(l, y_j), where the logits l have
the margin on y_i alone. The score is CE(l, y) of the unmixed clip.

Parameters, for clips of 10 s: 873,839 + 128 per class. The released model includes a linear layer that nothing uses,
129 more per class; with the 41 classes of the DCASE 2020 task that is the paper's 884k. Where the paper does not say
how a layer is initialised, it is PyTorch's default, and Glorot-uniform for ArcFace's classes.
"""

from mimiidg_build.models.attention.ablations import (
    Dense,
    Embedding64,
    Embedding256,
    MelOnly,
    NoAttention,
    Plain,
    PlainNoAttention,
    WavegramOnly,
)
from mimiidg_build.models.attention.model import Attention
from mimiidg_build.models.attention.settings import AttentionSettings

__all__ = [
    "Attention",
    "AttentionSettings",
    "Dense",
    "Embedding64",
    "Embedding256",
    "MelOnly",
    "NoAttention",
    "Plain",
    "PlainNoAttention",
    "WavegramOnly",
]
