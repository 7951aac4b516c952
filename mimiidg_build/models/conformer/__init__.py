"""Multitask conformer: classify a machine type's sections, the type against others, and augmentations.

Source: Zhang et al., "Outlier-aware Inlier Modeling and Multi-scale Scoring for Anomalous Sound Detection via Multitask
Learning", Interspeech 2023 ("the paper"). One network per machine type, on whole log-mels.

Conventions
-----------
z is a clip's embedding, of size 64. Three heads are linear in z, and the loss is the sum of their means:

============  =========================================================  ===============================
head          loss                                                       clips that take part
============  =========================================================  ===============================
sections      ArcFace, s = 16, m = 1.28                                  of the machine type
binary        binary cross-entropy: of the machine type, or of another   all, in the second stage only
augmentation  cross-entropy over the eight kinds of ``augmentations``    all
============  =========================================================  ===============================

Two thirds of the epochs, rounded down, are the first stage: clips of the machine type alone; the binary head is as
initialised and takes no part in the loss (there is nothing to learn from one class). In the second stage every batch
holds as many clips of other machine types as of this one.

Scores, each standardised with its mean and standard deviation over the section's training clips:

- ``id``: -log softmax of the true section over s cos(theta), without the margin
- ``binary``: -log sigmoid
- ``mahalanobis``: distance of z from the mean of the section's training clips, under their covariance with
  1e-3 trace / 64 added to its diagonal
- their sum, the model's own
- ``selected``: the paper's, which says "we select the best combination of the scores from the training data": of the
  seven sums of one, two or all three, the one that best tells the training clips of each section from those of the
  machine type's other sections (``combinations``)
- ``oracle``: of the seven the one with the greatest mean AUC over the machine type's test sections, by their labels

What the paper leaves open, and what is done here:

- *Standardised log-mels*: with the mean and standard deviation of each mel band over the machine type's normal training
  clips, after augmentation. Clips of other types use the same two, so that differences between types remain.
- *Batches*: batch_size divided by the number of sections gives the clips of each section; in the second stage half of
  batch_size is divided so, and as many clips of other types are added. With 3 sections and 30: 10 each, then 5 each and
  15 others; with 4, as in the paper: 7 each (28 in all), then 3 each and 12 others. An epoch passes once through the
  section with the most clips; sections with fewer start again, and so do the other types if they have fewer.
"""

from mimiidg_build.models.conformer.model import SCORES, Conformer
from mimiidg_build.models.conformer.settings import ConformerSettings

__all__ = ["SCORES", "Conformer", "ConformerSettings"]
