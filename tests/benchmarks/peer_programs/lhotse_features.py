"""lhotse: recordings, cuts, its fbank of the same size, and the storage named by the last argument."""

import sys
from pathlib import Path

import lhotse
import torch

wavs, _, out = map(Path, sys.argv[1:4])
torch.set_num_threads(1)
storage = getattr(lhotse, sys.argv[4])
recordings = lhotse.RecordingSet.from_dir(wavs, "**/*.wav", recording_id=lambda path: str(path.relative_to(wavs)))
settings = lhotse.FbankConfig(sampling_rate=16000, num_filters=128, frame_length=0.064, frame_shift=0.032)
cuts = lhotse.CutSet.from_manifests(recordings=recordings).compute_and_store_features(
    lhotse.Fbank(settings), out / "features", num_jobs=1, storage_type=storage
)
cuts.to_file(out / "cuts.jsonl.gz")
print(sum(cut.has_features for cut in cuts))
