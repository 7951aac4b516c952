"""Classify a section's normal clips against all other sections' clips, with distances from class centroids.

Five systems that differ in their loss and in their score: BCE, DSAD, DDCSAD, BCE+DSAD, BCE+DDCSAD (Kuroyanagi et al.,
EUSIPCO 2021, "the paper"). One network per section; the training clips of all other sections are its outliers.

Conventions
-----------
z is a window's embedding, p the probability that it is normal; d^2 = ||z - c||^2, where c_p is the centroid of normal
clips and c_n that of outliers; an inverse is 1 / (d^2 + 1e-6). Loss of a window, mean over a batch:

=============  ===========  ==========  =========================
class          BCE          DSAD        DDCSAD
=============  ===========  ==========  =========================
normal         -log p       eta d^2     eta (d_p^2 + 1 / d_n^2)
outlier        -log(1 - p)  1 / d^2     1 / d_p^2 + d_n^2
known anomaly  -log(1 - p)  eta / d^2   eta (1 / d_p^2 + d_n^2)
=============  ===========  ==========  =========================

Scores are means over windows: 1 - p for BCE, d^2 for DSAD, d_p^2 for DDCSAD, and alpha (1 - p) + (1 - alpha) d' for the
combined systems, d' the distance scaled to [0, 1] by its least and greatest value over the training clips.

What the paper leaves open, and what is done here:

- *Standardised waveforms*, by the mean and standard deviation of each machine's own training clips, outliers by those
  of their own machine. (With the same two for all, the batch norm that comes first would undo it.) See ``levels``.
- *Epochs*: as many batches as let the learning rate be halved between two epochs. Centroids are computed in evaluation
  mode from the middle window of every clip; c_n without known anomalies.
- *DSAD's centroid* is that of the untrained network, and stays when anomalies become known.
"""

from mimiidg_build.models.centroids.model import BCE, BCEDDCSAD, BCEDSAD, DDCSAD, DSAD
from mimiidg_build.models.centroids.settings import CentroidSettings

__all__ = ["BCE", "BCEDDCSAD", "BCEDSAD", "CentroidSettings", "DDCSAD", "DSAD"]
