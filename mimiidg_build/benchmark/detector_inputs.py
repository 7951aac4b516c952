"""What scoring a recording takes beside a network's weights, taken from the store that it was trained on.

With it a run is whole: `mimiidg detect` needs no store, which may be far larger, or gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimiidg_build.benchmark.runs import Run
from mimiidg_build.schemas.runs import DetectorInputs

if TYPE_CHECKING:
    from mimiidg_build.training.clip_dataset import ClipDataset


def detector_inputs(run: Run, training: ClipDataset, scores: Any) -> DetectorInputs:
    """What ``detector_<network>.json`` holds.

    Parameters
    ----------
    run : Run
    training : ClipDataset
        The network's training clips.
    scores : np.ndarray [shape=(n_clips,)]
        Their scores, the model's own.

    Returns
    -------
    DetectorInputs
    """
    attributes, sections = run.store.attributes, list(map(str, training.section_ids))
    summaries = {name: attributes.sections[name] for name in sections}
    return DetectorInputs(
        fingerprint=run.store.fingerprint,
        data=attributes.data_kind,
        networks=[network.name for network in run.networks()],
        audio={name: summary.audio for name, summary in summaries.items()},
        channel=attributes.variant.channels,
        features=attributes.variant.features,
        length=training.n_frames,
        training_scores=training.by_section(scores),
        logmel={name: summary.logmel for name, summary in summaries.items() if summary.logmel is not None},
    )
