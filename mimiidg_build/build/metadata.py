"""The zarr metadata of a store's groups and arrays."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mimiidg_build import features
from mimiidg_build.build.render import SHARD_CLIPS, feature_shape
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.schemas.variants import FeatureSettings
from mimiidg_build.store.metadata import METADATA

if TYPE_CHECKING:
    import zarr

LAST_AXIS = {"logmel": "mel", "stft": "bin"}


def described_array(name: str, settings: FeatureSettings, sample_rate: int) -> dict[str, Any]:
    """What an array holds, for whoever reads it without this program. No ``scale_factor``: xarray would apply it.

    Parameters
    ----------
    name : {"audio", "logmel", "stft"}
    settings : FeatureSettings
    sample_rate : int, Hz

    Returns
    -------
    dict
        The array's attributes.
    """
    if name == "audio":
        return {
            "long_name": "recording with the planned noise added",
            "units": "1",
            "full_scale": 32768,
            "sample_rate_hz": sample_rate,
        }
    transform = {
        "sample_rate_hz": sample_rate,
        "n_fft": settings.n_fft,
        "hop_length": settings.hop_length,
        "window": settings.window,
    }
    if settings.window_length is not None:
        transform["window_length"] = settings.window_length
    of_logmel, *of_stft = features.versions(settings, sample_rate)
    if name == "stft":
        return {"long_name": "magnitude of the STFT, at full scale 1", "units": "1", **transform, "version": of_stft[0]}
    return {**_logmel_name(settings), **transform, **_bands(settings, sample_rate), "version": of_logmel}


def _logmel_name(settings: FeatureSettings) -> dict[str, Any]:
    factor, quantity = (10, "power") if settings.power == 2 else (20, "magnitude")
    zero = f"{quantity} 1 at full scale 1"
    of_channels = ""
    if settings.has_reference:
        primary, reference = f"channel {settings.primary_channel}", f"channel {settings.reference_channel}"
        if settings.reference == "log_ratio":
            of_channels, zero = f" of {primary} less that of {reference}", "both alike"
        else:
            share = f"{settings.over_subtraction:g} times {reference}, at least {settings.spectral_floor:g} times that"
            of_channels = f" of {primary} less {share}"
    name = f"log-mel {quantity} spectrogram{of_channels}, {factor} log10, not normalised; 0 dB: {zero}"
    return {"long_name": name, "units": "dB"}


def _bands(settings: FeatureSettings, sample_rate: int) -> dict[str, Any]:
    def plain(hz: float) -> float | int:
        return int(hz) if hz == int(hz) else hz

    bands = {
        "n_mels": settings.n_mels,
        "mel_scale": settings.mel_scale,
        "f_min_hz": plain(settings.f_min_hz),
        "f_max_hz": plain(settings.f_max_hz or sample_rate / 2),
    }
    return bands if settings.mel_norm == "slaney" else bands | {"mel_norm": settings.mel_norm}


def array_metadata(
    sections: Mapping[str, tuple[int, SectionAudio]], settings: FeatureSettings, *, described: bool = True
) -> dict[str, bytes]:
    """The zarr metadata of a store, as zarr itself writes it.

    Parameters
    ----------
    sections : mapping of section id (``"fan/00"``) to its number of clips and their shape
    settings : FeatureSettings
    described : bool
        Whether arrays have attributes that say what they hold. Stores of version 0.1.0 have none.

    Returns
    -------
    dict of path within the store to JSON text
        The root's is consolidated: it holds all the others. It is for :func:`.store.metadata.sealed`, so not laid out.
    """
    first: dict[tuple[int, SectionAudio], str] = {}
    for section_id, form in sections.items():
        first.setdefault(form, section_id)
    contents = _as_zarr_writes({section_id: form for form, section_id in first.items()}, settings, described)
    root = json.loads(contents.pop(METADATA))
    nodes = root["consolidated_metadata"]["metadata"]
    names = ["", *(f"/{name}" for name in ("audio", *settings.arrays))]
    # Nothing in it depends on its path. zarr takes 3 ms a section, and most sections of a release are alike.
    for section_id, form in sections.items():
        group, model = (SectionId.parse(id).group for id in (section_id, first[form]))
        alike = {group + name: model + name for name in names} | {_parent(group): _parent(model)}
        nodes |= {path: nodes[like] for path, like in alike.items()}
        contents |= {f"{path}/{METADATA}": contents[f"{like}/{METADATA}"] for path, like in alike.items()}
    # zarr lists groups by their depth, then their name
    root["consolidated_metadata"]["metadata"] = dict(sorted(nodes.items(), key=lambda n: (n[0].count("/"), n[0])))
    return dict(sorted((contents | {METADATA: json.dumps(root).encode()}).items()))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _as_zarr_writes(
    sections: Mapping[str, tuple[int, SectionAudio]], settings: FeatureSettings, described: bool
) -> dict[str, bytes]:
    """See :func:`array_metadata`; every section made by zarr."""
    import zarr

    buffers: dict[str, Any] = {}
    memory = zarr.storage.MemoryStore(buffers)
    root = zarr.create_group(memory)
    for section_id, (n_clips, audio) in sections.items():
        group = root.require_group(SectionId.parse(section_id).group)
        _create_arrays(group, n_clips, audio, settings, described)
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet. With it, zarr lists the store without a
        # warning about the tables beside the groups, and a remote reader opens it with one request.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(memory)
    return {path: bytes(buffer.to_bytes()) for path, buffer in buffers.items()}


def _create_arrays(
    group: zarr.Group, n_clips: int, audio: SectionAudio, settings: FeatureSettings, described: bool
) -> None:
    """A section's arrays: one clip a chunk, as training reads them; uncompressed, so that they can be mapped."""
    channel = () if audio.channels is None else ("channel",)
    arrays = {"audio": (audio.shape, "int16", ("clip", *channel, "sample"))}
    for name in settings.arrays:
        axes = ("clip", *(channel if settings.keeps_channels(name) else ()), "frame", LAST_AXIS[name])
        arrays[name] = (feature_shape(settings, name, audio), settings.dtype, axes)
    for name, (shape, dtype, axes) in arrays.items():
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
            attributes=described_array(name, settings, audio.sample_rate) if described else None,
        )
