"""Classify everything that is known of a normal clip from its spectrum and its spectrogram; score by the distance of
embeddings.

One network for all machine types; a class per (machine type, section, attributes, domain) of the training clips. One
branch takes the magnitude spectrum of the whole clip, which resolves what is stationary to a tenth of a Hz; the other,
or three others of different resolutions, the magnitudes of a short-time Fourier transform. Each embeds a clip in 128
values, and the network in all of them. Trained with sub-cluster AdaCos (``adacos``) and mixup.

Score: cosine distance to the nearest training clip of the same machine type, or section (the setting ``bank``), each
distance divided by how far that training clip lies from its neighbours (``backends.neighbours.LocalDensity``).

Conventions
-----------
Waves are (clip, sample) in [-1, 1), spectra (clip, channel, bin), spectrograms (clip, channel, bin, frame); all
features are computed from the stored audio, on the device, after mixup. A branch's layers depend on the number of bins,
that of the spectrum on the clip's length: a network takes clips of the length that it was made for, and no other.
Convolutions and linear layers have no biases and batch norms no affine parameters.

Sources: Wilkinghoff, "Design Choices for Learning Embeddings from Auxiliary Tasks for Domain Generalization in
Anomalous Sound Detection" (ICASSP 2023), the two branches; "Sub-Cluster AdaCos: Learning Representations for Anomalous
Sound Detection" (IJCNN 2021), the loss.
"""

from mimiidg_build.models.two_branch.model import TwoBranch, TwoBranchMultiresolution
from mimiidg_build.models.two_branch.settings import TwoBranchSettings

__all__ = ["TwoBranch", "TwoBranchMultiresolution", "TwoBranchSettings"]
