"""The zarr metadata of a store's groups and arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mimiidg_build import features
from mimiidg_build.build.render import SHARD_CLIPS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.store.store import ARRAYS

if TYPE_CHECKING:
    import zarr


# What an array holds, for whoever reads it without this program. No ``scale_factor``: xarray would apply it.
DESCRIBED: dict[str, dict[str, Any]] = {
    "audio": {
        "long_name": "recording with the planned noise added",
        "units": "1",
        "full_scale": 32768,
        "sample_rate_hz": features.SAMPLE_RATE,
    },
    "logmel": {
        "long_name": "log-mel power spectrogram, 10 log10, not normalised; 0 dB: power 1 at full scale 1",
        "units": "dB",
        "sample_rate_hz": features.SAMPLE_RATE,
        "n_fft": features.N_FFT,
        "hop_length": features.HOP,
        "window": "hann",
        "n_mels": features.N_MELS,
        "mel_scale": "slaney",
        "f_min_hz": 0,
        "f_max_hz": features.SAMPLE_RATE // 2,
        "version": features.LOGMEL_VERSION,
    },
}


def array_metadata(
    sections: Mapping[str, tuple[int, SectionAudio]], feature_dtype: str, *, described: bool = True
) -> dict[str, bytes]:
    """The zarr metadata of a store, as zarr itself writes it.

    Parameters
    ----------
    sections : mapping of section id (``"fan/00"``) to its number of clips and their shape
    feature_dtype : str
        ``"float32"`` or ``"float16"``.
    described : bool
        Whether arrays have attributes that say what they hold. Stores of version 0.1.0 have none.

    Returns
    -------
    dict of path within the store to JSON text
        The root's is consolidated: it holds all the others.
    """
    import zarr

    buffers: dict[str, Any] = {}
    memory = zarr.storage.MemoryStore(buffers)
    root = zarr.create_group(memory)
    for section_id, (n_clips, audio) in sections.items():
        group = root.require_group(SectionId.parse(section_id).group)
        _create_arrays(group, n_clips, audio, feature_dtype, described)
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet. With it, zarr lists the store without a
        # warning about the tables beside the groups, and a remote reader opens it with one request.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(memory)
    return {path: bytes(buffer.to_bytes()) for path, buffer in sorted(buffers.items())}


def _create_arrays(group: zarr.Group, n_clips: int, audio: SectionAudio, feature_dtype: str, described: bool) -> None:
    """A section's arrays: one clip a chunk, as training reads them; uncompressed, so that they can be mapped."""
    *channels, n_samples = audio.shape
    axes: tuple[str, ...] = ("clip", "channel") if channels else ("clip",)
    image = (*channels, features.n_frames(n_samples), features.N_MELS)
    arrays: dict[str, tuple[tuple[int, ...], str, tuple[str, ...]]] = {
        "audio": (audio.shape, "int16", (*axes, "sample")),
        "logmel": (image, feature_dtype, (*axes, "frame", "mel")),
    }
    for name in ARRAYS:
        shape, dtype, axes = arrays[name]
        group.create_array(
            name,
            shape=(n_clips, *shape),
            dtype=dtype,
            chunks=(1, *shape),
            shards=(SHARD_CLIPS, *shape),
            compressors=None,
            filters=None,
            fill_value=0,
            dimension_names=axes,
            attributes=DESCRIBED[name] | {"sample_rate_hz": audio.sample_rate} if described else None,
        )
