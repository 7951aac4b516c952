"""The networks of a finished run, read from its folder and checked: whole, of this version, of one store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mimiidg_build.benchmark.backend_files import backends_on
from mimiidg_build.benchmark.detection.networks import Network, benchmark_command, retrain
from mimiidg_build.benchmark.encoders.description import check_unchanged
from mimiidg_build.benchmark.run_files import (
    CONFIG,
    finished_networks,
    inputs_path,
    read_config,
    read_inputs,
    read_summary,
    summary_path,
)
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import check_models, is_encoder
from mimiidg_build.models.backends import chosen_backends
from mimiidg_build.schemas.runs import RunConfig

if TYPE_CHECKING:
    import torch


def read_networks(directory: Path, device: torch.device, backend: str | None = None) -> list[Network]:
    """All networks of a finished run; their weights are read when they are first used.

    Parameters
    ----------
    directory : Path
        The run's.
    device : torch.device
    backend : str, optional
        The back end whose scores are wanted; by default the model's own are.

    Returns
    -------
    list of Network

    Raises
    ------
    UsageError
        There is no run in the directory, its model is none of this version, the back end has not scored it, or its
        encoder is missing or another one now.
    DataError
        The run is not finished, is of a version that could not detect, or a file is missing or damaged.
    """
    if not (directory / CONFIG).is_file():
        raise UsageError(
            f"{directory} holds no run ({CONFIG} is missing); expected a folder like "
            "mimiidg-data/runs/<variant>/<fingerprint>/<model>-<profile>-<seed>"
        )
    config = read_config(directory)
    check_models([config.model], config.profile)
    names, again = finished_networks(directory), f"Run the same benchmark again: {benchmark_command(config)}"
    if not names:
        raise DataError(f"{directory}: the run is not finished, no network is. {again} --profile {config.profile}")
    if backend is not None:
        _check_backend(directory, names, backend)
    networks = [_read(directory, name, config, device, backend) for name in names]
    expected = networks[0].inputs.networks
    if missing := [name for name in expected if not summary_path(directory, name).is_file()]:
        raise DataError(f"{directory}: the run is not finished, {', '.join(missing)} is missing. {again}")
    if is_encoder(config.model):  # before any recording is read
        check_unchanged(Path(str(config.settings.get("file"))), str(config.settings.get("sha256")))
    return sorted(networks, key=lambda network: expected.index(network.name) if network.name in expected else -1)


def _check_backend(directory: Path, names: Sequence[str], backend: str) -> None:
    """Refuse a back end that has not scored the embeddings of every network."""
    chosen_backends([backend])  # raises where there is no such back end
    lacking = [name for name in names if backend not in backends_on(directory, name)]
    if lacking:
        there = ", ".join(backends_on(directory, lacking[0])) or "none"
        raise UsageError(
            f"{directory} has no scores of the back end {backend} for {lacking[0]}; there are: {there}. Run the same "
            f"benchmark with --backend {backend}, which trains nothing again"
        )


def _read(directory: Path, name: str, config: RunConfig, device: torch.device, backend: str | None) -> Network:
    from mimiidg_build.training.checkpoint import weights_path

    path, weights = inputs_path(directory, name), weights_path(directory, name)
    again = retrain(directory, config)
    if not path.is_file():
        raise DataError(
            f"{directory}: {path.name} is missing. The run is of a version that could not detect yet. {again}"
        )
    if not weights.is_file():
        raise DataError(f"{weights} is missing, so the network cannot score anything. {again}")
    summary, inputs = read_summary(directory, name), read_inputs(directory, name)
    if inputs.fingerprint != config.fingerprint or list(inputs.audio) != summary.sections:
        raise DataError(
            f"{path} is of another run: of the store {inputs.fingerprint} and the sections {', '.join(inputs.audio)}; "
            f"expected {config.fingerprint} and {', '.join(summary.sections)}. {again}"
        )
    return Network(directory, name, config, summary, inputs, device, backend)
