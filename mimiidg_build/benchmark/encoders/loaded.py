"""An encoder's network: 16-bit samples of clips to one embedding each.

Samples go in as float32 (batch_size, n_samples) in [-1, 1], at the encoder's sample rate. Every pass has ``batch_size``
clips, since a file may be exported for that many alone; the last one is filled up with its last clip. Out comes
(batch_size, n_frames, size), which is pooled over frames in double precision, or (batch_size, size); of several outputs
the first is taken.

Security: a file of torch.export or TorchScript is a program. Who runs it trusts who made it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimiidg_build.audio.level import FULL_SCALE
from mimiidg_build.audio.resampling import resample, resampled_length
from mimiidg_build.benchmark.encoders.description import FORMATS, check_unchanged
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models.frozen_encoder import EncoderSettings

Int16 = npt.NDArray[np.int16]
Embeddings = npt.NDArray[np.float32]
LEAST = 1e-6  # what a generalised mean takes smaller values for: it has no roots of negative ones


def pooled(frames: Tensor, pooling: str, p: float) -> Tensor:
    """Clips' frames as one vector each.

    Parameters
    ----------
    frames : Tensor [shape=(n_clips, n_frames, size)]
    pooling : {"mean", "max", "gem"}
    p : float
        Of the generalised mean (Radenovic et al. 2018), ``mean(x^p)^(1/p)`` of values of at least 1e-6.

    Returns
    -------
    Tensor [shape=(n_clips, size)], float64

    >>> frames = torch.tensor([[[1.0], [3.0]]])
    >>> [round(float(pooled(frames, name, 3.0)), 4) for name in ("mean", "max", "gem")]
    [2.0, 3.0, 2.4101]
    """
    values = frames.double()
    if pooling == "gem":
        return values.clamp(min=LEAST).pow(p).mean(dim=1).pow(1 / p)
    return values.mean(dim=1) if pooling == "mean" else values.amax(dim=1)


@dataclass(frozen=True)
class LoadedEncoder:
    """A network ready to run; :func:`load_encoder` makes one."""

    settings: EncoderSettings
    device: torch.device
    network: Callable[[Tensor], Any]

    def __call__(self, clips: Int16, sample_rate: int, names: Sequence[str]) -> Embeddings:
        """Embeddings [shape=(n_clips, size)], float32, of clips of one length.

        Parameters
        ----------
        clips : np.ndarray [shape=(n_clips, n_samples) or (n_clips, n_channels, n_samples)], int16
            Of several channels the first is taken.
        sample_rate : int, Hz
            Of the clips; another one than the encoder's is resampled.
        names : sequence of str
            The clips', for messages.

        Raises
        ------
        UsageError
            The encoder cannot take such samples, or gives anything but embeddings.
        DataError
            An embedding is not finite; the message names the clip.
        """
        size = self.settings.batch_size
        parts = [self._batch(clips[k : k + size], sample_rate) for k in range(0, len(clips), size)]
        found = np.concatenate(parts)
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            raise DataError(
                f"the encoder {self.settings.file} gives {names[int(np.flatnonzero(~finite)[0])]} an embedding with "
                "values that are not finite. Likely cause: it divides by the level of a silent clip, or takes other "
                "samples than float32 in [-1, 1]"
            )
        return found

    def _batch(self, clips: Int16, sample_rate: int) -> Embeddings:
        mono = clips[:, 0] if clips.ndim == 3 else clips
        samples, wanted = mono / FULL_SCALE, self.settings.sample_rate
        if sample_rate != wanted:
            samples = resample(samples, sample_rate, wanted, resampled_length(mono.shape[1], sample_rate, wanted))
        rows = np.minimum(np.arange(self.settings.batch_size), len(clips) - 1)
        output = self._run(torch.from_numpy(samples[rows].astype(np.float32)).to(self.device))
        vectors = output if output.ndim == 2 else pooled(output, self.settings.pooling, self.settings.p)
        found: Embeddings = vectors.float().cpu().numpy()[: len(clips)]
        return found

    def _run(self, samples: Tensor) -> Tensor:
        """The network's first output, if it can be embeddings of the clips."""
        shape = tuple(samples.shape)
        try:
            with torch.no_grad():
                output = self.network(samples)
        except Exception as error:  # whatever a program of somebody else's raises
            raise UsageError(
                f"the encoder {self.settings.file} cannot take float32 samples of the shape {shape}: {_first(error)}. "
                "Likely cause: it was exported for another number of clips (batch_size in its TOML file) or of samples"
            ) from error
        first = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(first, Tensor) or first.ndim not in (2, 3) or len(first) != len(samples) or not first.numel():
            found = f"shape {tuple(first.shape)}" if isinstance(first, Tensor) else type(first).__name__
            raise UsageError(
                f"the encoder {self.settings.file} gives {found} for samples of the shape {shape}; expected "
                f"({len(samples)}, n_frames, size) or ({len(samples)}, size)"
            )
        return first


@lru_cache(maxsize=1)
def load_encoder(settings: EncoderSettings, device: torch.device) -> LoadedEncoder:
    """An encoder's network, on a device; that of the last call is kept.

    Raises
    ------
    UsageError
        The file is missing, is not the one that ``settings`` were read of, or holds no such network.
    """
    file = Path(settings.file)
    check_unchanged(file, settings.sha256)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own formats' age
            network = {".pt2": _exported, ".pt": _scripted, ".onnx": _onnx}[file.suffix](file, device)
    except Exception as error:  # torch and onnxruntime raise what their readers meet
        raise UsageError(f"{file} cannot be loaded as {FORMATS[file.suffix]}: {_first(error)}") from error
    return LoadedEncoder(settings, device, network)


def _exported(file: Path, device: torch.device) -> Callable[[Tensor], Any]:
    program = torch.export.load(file)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    network: Callable[[Tensor], Any] = program.module()
    return network


def _scripted(file: Path, device: torch.device) -> Callable[[Tensor], Any]:
    network: Callable[[Tensor], Any] = torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call]
    return network


def _onnx(file: Path, device: torch.device) -> Callable[[Tensor], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    there = [name for name in wanted if name in onnxruntime.get_available_providers()]
    session = onnxruntime.InferenceSession(str(file), options, providers=[*there, "CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def network(samples: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: samples.cpu().numpy()})[0])

    return network


def _first(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
