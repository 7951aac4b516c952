"""Models: the anomaly detectors that are benchmarked. One module or package each, and one line in ``MODELS``.

In: log-mel or audio of clips, with labels. Out: a loss to train with, anomaly scores.
Imports: errors, features, evaluation.

A model that is defined elsewhere is named ``module:Class``, with a module that Python finds from the current directory.
The interface is ``models.base.Detector``. Classes are imported when asked for: listing the models imports no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mimiidg_build.errors import UsageError, did_you_mean, shown

if TYPE_CHECKING:
    from mimiidg_build.models.base import Detector, Settings

MODELS = {
    "autoencoder": "autoencoder:Autoencoder",
    "autoencoder_mahalanobis": "autoencoder:MahalanobisAutoencoder",
    "mobilenetv2": "mobilenetv2:MobileNetV2",
    "nearest_neighbour": "nearest_neighbour:NearestNeighbour",
    "nearest_neighbour_max": "nearest_neighbour:MaxNearestNeighbour",
    "bce": "centroids:BCE",
    "dsad": "centroids:DSAD",
    "ddcsad": "centroids:DDCSAD",
    "bce_dsad": "centroids:BCEDSAD",
    "bce_ddcsad": "centroids:BCEDDCSAD",
    "attention": "attention:Attention",
    "conformer": "conformer:Conformer",
}
ABLATIONS = {  # a system without one of its ideas: for comparison with it, and not among "all" but "ablations"
    "attention_no_attention": "attention:NoAttention",
    "attention_plain": "attention:Plain",
    "attention_plain_no_attention": "attention:PlainNoAttention",
    "attention_mel": "attention:MelOnly",
    "attention_wavegram": "attention:WavegramOnly",
    "attention_64": "attention:Embedding64",
    "attention_256": "attention:Embedding256",
    "attention_dense": "attention:Dense",
}
GROUPS = {"all": tuple(MODELS), "ablations": ("attention", *ABLATIONS)}
"""Names that stand for several models: every model; and a system with all that are it without one of its ideas."""
PROFILES = ("paper", "released", "cpu", "smoke")


def model_class(name: str) -> type[Detector]:
    """The class of a model by its name.

    Raises
    ------
    UsageError
        No model has that name, or what ``module:Class`` names is none.
    """
    every = MODELS | ABLATIONS
    if ":" in name:
        return _own_class(name)
    if name not in every:
        raise UsageError(
            f"there is no model {shown(name)}; choose one of {', '.join(every)}.{did_you_mean(name, every)}"
        )
    module, _, attribute = every[name].partition(":")
    found: type[Detector] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def check_models(names: Iterable[str], profile: str) -> None:
    """Refuse models that there are not, or that lack a profile, before any work.

    Raises
    ------
    UsageError
        As :func:`create`.
    """
    for name in names:
        _settings(name, profile)


def _settings(name: str, profile: str) -> Settings:
    profiles = model_class(name).profiles
    if profile not in profiles:
        near = did_you_mean(profile, profiles)
        raise UsageError(f"{name} has no profile {shown(profile)}; choose one of {', '.join(profiles)}.{near}")
    return profiles[profile]


def _own_class(name: str) -> type[Detector]:
    """A user's own model. Its module is code that the user asked to run; whatever goes wrong in it is reported."""
    module, _, attribute = name.partition(":")
    # A console script has its own folder first on sys.path, not the folder that the user is in.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        raise UsageError(
            f"no model {name!r}: {type(error).__name__}: {error}. Expected module:Class, with a module that Python "
            f"finds from {Path.cwd()}"
        ) from error
    from mimiidg_build.models.base import Detector  # only now: a mistyped module is said without waiting for torch

    if not (isinstance(found, type) and issubclass(found, Detector)):
        raise UsageError(f"{name} is {found!r}; expected a class derived from mimiidg_build.models.base.Detector")
    return found


def create(name: str, profile: str, n_sections: int, seed: int, clip_length: int | None = None) -> Detector:
    """A new, untrained model.

    Parameters
    ----------
    name : str
        A key of ``MODELS`` or ``ABLATIONS``, or ``module:Class``.
    profile : str
        One of ``PROFILES``, as far as the model has it.
    n_sections : int
        Sections of the model's scope.
    seed : int
        Decides the initial weights.
    clip_length : int, optional
        Samples, or frames, of the clips, for a model whose layers depend on it; by default those of 10 s at 16 kHz.

    Returns
    -------
    Detector

    Raises
    ------
    UsageError
        No model has that name, or the model does not have that profile.
    """
    return with_settings(name, _settings(name, profile), n_sections, seed, clip_length)


def with_settings(
    name: str, settings: Settings, n_sections: int, seed: int, clip_length: int | None = None
) -> Detector:
    """A new, untrained model of given settings, as :func:`create` makes one of its profile's.

    Parameters
    ----------
    name : str
    settings : Settings
        Of the model's own class.
    n_sections : int
    seed : int
    clip_length : int, optional

    Returns
    -------
    Detector

    Raises
    ------
    UsageError
        No model has that name.
    """
    cls = model_class(name)
    if clip_length is not None and cls.sized_by_clips:
        sized: Callable[..., Detector] = cls
        return sized(settings, n_sections, seed, clip_length=clip_length)
    return cls(settings, n_sections, seed)
