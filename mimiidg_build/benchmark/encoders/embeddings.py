"""Embeddings of a store's clips, computed once for each encoder and cached beside the runs.

Conventions
-----------
ROOT/embeddings/<variant>/<fingerprint>/<encoder>@<digest>/<machine type>/section_<number>.npy

An array float32 (clip, size) of all clips of a section, in the order of the store's rows; numpy reads it. A BLAKE3
digest follows, of what it is of (encoder, store, section) and of its bytes: a file that is damaged, or of anything
else, counts as missing. Where ROOT is read-only the files lie in the work folder. `mimiidg prune` removes those of
stores that are gone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from blake3 import blake3

from mimiidg_build.benchmark.encoders.loaded import Embeddings, LoadedEncoder, load_encoder
from mimiidg_build.benchmark.runs import Network, Run
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.errors import DataError
from mimiidg_build.models.frozen_encoder import EncoderSettings
from mimiidg_build.progress import OnProgress, Reporter, no_progress
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.places import Place, cache_places, local
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.reproducible import threads

CLIPS_AT_ONCE = 64  # read at a time, at least a batch: 20 MB of samples


def check_encoders(runs: Sequence[Run], device: torch.device) -> None:
    """Refuse encoders that give no embedding of a clip, before any work: tried on one clip of each shape.

    Those whose embeddings are all cached are not even loaded.

    Raises
    ------
    UsageError
        An encoder's file holds no network, or one that gives no embeddings.
    DataError
        The embedding is not finite.
    """
    for run in runs:
        if run.encoder is None:
            continue
        missing = [name for name in sections_with(run.store, "train") if _cached(run, name) is None]
        tried = {run.store.sections[name].audio: name for name in missing}
        with threads(run.encoder.threads):
            for name in tried.values():
                _encoded(load_encoder(run.encoder, device), run, name, no_progress, n_clips=1)


def section_embeddings(
    run: Run, network: Network, device: torch.device | None = None, reporter: Reporter | None = None
) -> dict[str, Embeddings]:
    """The embeddings of all clips of a network's sections, by section (``"fan/00"``); those not cached are computed.

    Parameters
    ----------
    run : Run
        Of an encoder.
    network : Network
    device : torch.device, optional
        Where the encoder runs; the CPU by default.
    reporter : Reporter, optional
        Shows progress, and says which cached embeddings were damaged.

    Returns
    -------
    dict of str to np.ndarray [shape=(n_clips, size)], float32
        Clips in the order of the store's rows.

    Raises
    ------
    UsageError
        The encoder's file has changed, or holds no network that gives embeddings of the clips.
    DataError
        An embedding is not finite, a clip cannot be read, or a file cannot be written.
    """
    settings, reporter = _settings(run), reporter or Reporter()
    names = [name for name in sections_with(run.store, "train") if network.serves(name)]
    found = {name: _cached(run, name) for name in names}
    if missing := [name for name, embeddings in found.items() if embeddings is None]:
        title = f"{run.model} {network.name} embeddings"
        for name in missing:
            if any(place.is_file() for place in cache_places(_path(run, name))):
                reporter.note(title, f"the cached ones of {name} are damaged: computed again")
        encoder = load_encoder(settings, device or torch.device("cpu"))
        on_progress = reporter.step(title, sum(_n_clips(run, name) for name in missing))
        for name in missing:
            found[name] = embeddings = _encoded(encoder, run, name, on_progress)
            _write(run, name, embeddings)
    return {name: embeddings for name, embeddings in found.items() if embeddings is not None}


def _encoded(
    encoder: LoadedEncoder, run: Run, section: str, on_progress: OnProgress, n_clips: int | None = None
) -> Embeddings:
    """Embeddings of a section's clips, computed; of the first ``n_clips``, where not all are wanted."""
    clips = ClipDataset(run.store, sections=section, features="audio", memory_budget_bytes=0)
    sample_rate, names = run.store.sections[section].audio.sample_rate, clips.clips["clip"].tolist()
    size = encoder.settings.batch_size
    at_once = size * max(1, CLIPS_AT_ONCE // size)
    wanted = clips.clips["row"].to_numpy().argsort()[:n_clips]
    parts = []
    for start in range(0, len(wanted), at_once):
        chunk = wanted[start : start + at_once]
        own = [f"{section.split('/')[0]}/{names[number]}" for number in chunk]
        parts.append(encoder(clips.read(chunk).numpy(), sample_rate, own))
        on_progress(len(own))
    return np.concatenate(parts)


# ---- The cache -------------------------------------------------------------------------------------------------------


def _path(run: Run, section: str) -> Place:
    store = run.store
    directory = local(run.root) / "embeddings" / store.attributes.variant.name / store.fingerprint / run.model
    return directory / f"{SectionId.parse(section).group}.npy"


def _cached(run: Run, section: str) -> Embeddings | None:
    """Cached embeddings; None where there are none, or they are damaged or of something else."""
    for place in cache_places(_path(run, section)):
        try:
            content = place.read_bytes()
        except OSError:
            continue
        array, digest = content[: -blake3.digest_size], content[-blake3.digest_size :]
        if digest == _digest(run, section, array):
            found: Embeddings = np.load(io.BytesIO(array), allow_pickle=False)
            if found.ndim == 2 and len(found) == _n_clips(run, section):
                return found
    return None


def _write(run: Run, section: str, embeddings: Embeddings) -> None:
    content = io.BytesIO()
    np.save(content, embeddings, allow_pickle=False)
    array = content.getvalue()
    write_file(cache_places(_path(run, section))[-1], [array, _digest(run, section, array)])


def _digest(run: Run, section: str, array: bytes) -> bytes:
    identity = f"{_settings(run).digest} {run.store.fingerprint} {section}\n"
    return blake3(identity.encode() + array).digest()


def _settings(run: Run) -> EncoderSettings:
    if run.encoder is None:
        raise ValueError(f"{run.model} is no encoder")
    return run.encoder


def _n_clips(run: Run, section: str) -> int:
    machine_type, number = SectionId.parse(section)
    clips = run.store.clips
    found = int(((clips["machine_type"] == machine_type) & (clips["section"] == number)).sum())
    if found == 0:
        raise DataError(f"{run.store.path} has no clips of {section}")
    return found
