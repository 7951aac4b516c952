"""A trained network as one file that needs none of this package: features included, samples in, score out.

With torch.export (``.pt2``, the default) the file is read by torch alone::

    extra = {"mimiidg.json": ""}
    program = torch.export.load("fan.pt2", extra_files=extra)
    score = program.module()(samples)           # float32 (n_samples,) in [-1, 1); larger = more anomalous
    json.loads(extra["mimiidg.json"])           # sample rate, channels, length, section, threshold

A run whose features take a reference channel has a file that takes (n_channels, n_samples).
With ONNX (``.onnx``, needs the extra ``onnx``) by any runtime; the same text is its metadata's ``mimiidg.json``.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimiidg_build import __version__
from mimiidg_build.benchmark.detection.detector import Detector
from mimiidg_build.benchmark.detection.networks import Network
from mimiidg_build.benchmark.detection.sections import UNKNOWN
from mimiidg_build.benchmark.detection.torch_logmel import FULL_SCALE, TorchLogMel
from mimiidg_build.benchmark.run_files import label_of
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models.base import MAIN, Labels
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.files import write_file

METADATA = "mimiidg.json"
SUFFIXES = (".pt2", ".onnx")


class SamplesToScore(nn.Module):
    """Score, float64 and without axes, of the samples of one clip, float32 in [-1, 1): [shape=(n_samples,)], or with a
    reference channel [shape=(n_channels, n_samples)].

    Parameters
    ----------
    network : Network
    section : SectionId
    """

    def __init__(self, network: Network, section: SectionId) -> None:
        super().__init__()
        self.model, self.length = network.model, network.inputs.length
        self.backend = network.fitted.sections[network.number(section)] if network.backend else None
        sample_rate = network.audio(section).sample_rate
        self.logmel = TorchLogMel(network.inputs.features, sample_rate) if network.takes == "logmel" else None
        labels = Labels.of([network.number(section)], [False], training=False, has_domain=[False])
        # as buffers: part of the file, on whatever device it is loaded to
        self._names = list(vars(labels))
        for name in self._names:
            self.register_buffer(f"label_{name}", getattr(labels, name))

    def forward(self, samples: Tensor) -> Tensor:
        """The model's own score, or the back end's; samples are rounded to 16 bits, of which a store's clips are."""
        rounded = torch.round(samples * FULL_SCALE).clamp(-FULL_SCALE, FULL_SCALE - 1)
        taken = rounded.to(torch.int16) if self.logmel is None else self.logmel(rounded / FULL_SCALE)
        labels = Labels(**{name: getattr(self, f"label_{name}") for name in self._names})
        clip = taken[None, : self.length]
        if self.backend is None:
            score: Tensor = self.model._scores(clip, labels)[MAIN][0].double()
        else:
            score = self.backend(self.model._embed_clips(clip, labels).double())[0]
        return score


def export_model(
    run: str | Path, path: str | Path, section: str | None = None, backend: str | None = None
) -> dict[str, Any]:
    """Write a trained network, with the features before it, as a file that needs none of this package.

    Parameters
    ----------
    run : str or Path
        The folder of a finished run.
    path : str or Path
        ``.pt2``: torch.export. ``.onnx``: ONNX. An existing file is replaced.
    section : str, optional
        ``"fan/00"``, or ``"fan"`` where scores do not depend on the section; by default the run's only one.
    backend : str, optional
        The score is this back end's, which the run has been benchmarked with; by default the model's own.

    Returns
    -------
    dict
        The metadata in the file.

    Raises
    ------
    UsageError
        There is no run, no such section or back end, or several sections and none is named; the path has another
        suffix; or the run is of a frozen encoder.
    DataError
        The run is not finished or damaged, its model cannot be exported, a package is missing, or the file cannot be
        written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    detector = Detector.load(run, backend=backend)
    meant = detector.only_section(section)
    network = detector.network_of(meant)
    if network.takes == "embedding":
        raise UsageError(
            f"{detector.name} cannot be exported: its scores are of an encoder that is a file of its own, "
            f"{network.config.settings.get('file')}. `mimiidg detect` takes such a run as it is"
        )
    whole, metadata = SamplesToScore(network, meant).eval().requires_grad_(False), _metadata(network, meant)
    shape = network.audio(meant).shape
    example = torch.linspace(-0.5, 0.5, math.prod(shape)).reshape(shape)
    write = _onnx if path.suffix == ".onnx" else _torch_export
    try:
        with torch.no_grad(), _quietly():
            content = write(whole, example, json.dumps(metadata))
    except ImportError as error:
        raise DataError(
            f"{path}: ONNX needs the package {error.name}, which is not installed: pip install 'mimiidg_build[onnx]', "
            "or write a .pt2 file, which needs torch alone."
        ) from None
    except Exception as error:  # torch raises what its tracers meet; a model of the user's own may hold anything
        why = str(error).strip().splitlines()
        raise DataError(
            f"{detector.name} cannot be exported: {why[0] if why else type(error).__name__}. Likely cause: its "
            "score takes steps that depend on the sound."
        ) from error
    write_file(path, [content])
    return metadata


def _metadata(network: Network, section: SectionId) -> dict[str, Any]:
    """What a user of the file has to know."""
    audio, config, features = network.audio(section), network.config, network.inputs.features
    taken = {"primary_channel": features.primary_channel, "reference_channel": features.reference_channel}
    axes = "(n_samples,)" if audio.channels is None else "(n_channels, n_samples)"
    return {
        "format": 1,
        "input": f"samples, float32 {axes}, full scale 1",
        "output": "anomaly score, float64, larger = more anomalous; anomalous above the threshold",
        "sample_rate": audio.sample_rate,
        "channels": audio.channels or 1,
        "channel": network.inputs.channel,
        **(taken if features.has_reference else {}),
        "n_samples": audio.n_samples,
        "section": section.machine_type if section.section == UNKNOWN else str(section),
        "threshold": network.threshold[section.machine_type],
        "model": config.model,
        **({"backend": network.backend} if network.backend else {}),
        "profile": label_of(config),
        "seed": config.seed,
        "trained_on": {"variant": config.variant, "fingerprint": config.fingerprint, "data": network.inputs.data},
        "mimiidg_build": __version__,
    }


def _torch_export(whole: nn.Module, example: Tensor, metadata: str) -> bytes:
    program, file = torch.export.export(whole, (example,)), io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: metadata})
    return file.getvalue()


def _onnx(whole: nn.Module, example: Tensor, metadata: str) -> bytes:
    for package in ("onnx", "onnxscript"):  # torch's own messages about them name no package
        import_module(package)
    # a runtime need not know softplus in double precision, and onnxruntime does not
    program = torch.export.export(whole, (example,)).run_decompositions({torch.ops.aten.softplus.default: _softplus})
    exported = torch.onnx.export(
        program, (example,), input_names=["samples"], output_names=["score"], dynamo=True, verbose=False
    )
    if exported is None:
        raise RuntimeError("torch.onnx gave no program")
    model = exported.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, metadata
    content: bytes = model.SerializeToString()
    return content


def _softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    scaled = x * beta
    return (scaled.clamp(min=0) + torch.log1p(torch.exp(-scaled.abs()))) / beta


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's remarks on its own code: how it lays out tensors, and that torchvision is not installed."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
