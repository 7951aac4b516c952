"""A frozen encoder as a user brings one: two convolutions, exported here in every form that is read."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SIZE, BATCH = 6, 2


class Convolutions(nn.Module):
    """Samples (n, n_samples) to frames (n, n_frames, SIZE), of random weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 4, 64, stride=32), nn.Conv1d(4, SIZE, 3)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, samples: Tensor) -> Tensor:
        """The second convolution's output."""
        return self.second(torch.relu(self.first(samples[:, None]))).transpose(1, 2)


def write_encoder(
    folder: Path, name: str, network: nn.Module | None = None, n_samples: int = 660, **description: Any
) -> Path:
    """Export a network for batches of ``BATCH`` clips, and write the TOML file that describes it; that file's path.

    Parameters
    ----------
    folder : Path
    name : str
        Of the network's file: ``.pt2``, ``.pt`` or ``.onnx``.
    network : nn.Module, optional
        ``Convolutions`` by default.
    n_samples : int
        Of a clip.
    **description
        Keys in place of those of the TOML file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, example = folder / name, (torch.linspace(-0.5, 0.5, BATCH * n_samples).reshape(BATCH, n_samples),)
    network = (network or Convolutions()).eval().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own formats' age
        if file.suffix == ".pt":
            torch.jit.save(torch.jit.trace(network, example), file)
        elif file.suffix == ".pt2":
            torch.export.save(torch.export.export(network, example), file)
        else:
            torch.onnx.export(network, example, file, dynamo=True, verbose=False)
    return describe(file, **description)


def describe(file: Path, /, **description: Any) -> Path:
    """Write the TOML file beside an encoder's file; its path."""
    said = {"file": file.name, "sample_rate": 16_000, "batch_size": BATCH, **description}
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in said.items()]
    path = file.with_suffix(".toml")
    path.write_text("\n".join(lines) + "\n")
    return path
