"""Training and scoring settings of the two-branch network: the paper's, and what a CPU can do.

``cpu`` trains on the 1,500 clips of 15 sections of 100 in 11 minutes on one core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mimiidg_build.models.settings import Positive, Settings, Share


@dataclass(frozen=True)
class TwoBranchSettings(Settings):
    """Settings of this family.

    n_centres            of a class
    mixup                0.5 of its own, as the description has it
    filters              channels of the convolutions along the spectrum
    channels             of the first stage of convolutions on a spectrogram
    last_learning_rate   of the last epoch, as a fraction of the first's; between them half a cosine
    bank                 the training clips that a clip is compared with: those of its machine type, or of its section
                         alone
    most_batches         of an epoch, where all clips would take too long
    """

    n_centres: Positive = 16
    mixup: Share = 0.5
    filters: Positive = 128
    channels: Positive = 16
    last_learning_rate: Share = 1.0
    bank: Literal["machine_type", "section"] = "machine_type"
    most_batches: Positive | None = None


PAPER = TwoBranchSettings(epochs=16, learning_rate=1e-3, batch_size=64, batch_norm_momentum=0.1)
PROFILES = {
    "paper": PAPER,
    "cpu": replace(PAPER, epochs=8, batch_size=8, last_learning_rate=0.01, bank="section"),
    "smoke": replace(
        PAPER, epochs=1, batch_size=8, batch_norm_momentum=0.3, filters=16, channels=4, bank="section", most_batches=6
    ),
}
MULTIRESOLUTION = PROFILES | {"cpu": replace(PROFILES["cpu"], epochs=3, channels=8)}
