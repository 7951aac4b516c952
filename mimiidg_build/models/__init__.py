"""Models: the anomaly detectors that are benchmarked. One module or package each, and one line in ``MODELS``.

In: log-mel or audio of clips, with labels. Out: a loss to train with, anomaly scores.
Imports: errors, features, evaluation.

A model that is defined elsewhere is named ``module:Class``, with a module that Python finds from the current directory.
One of a frozen encoder that the user brings is made by ``benchmark.encoders`` from the encoder's file.
The interface is ``models.base.Detector``. Classes are imported when asked for: listing the models imports no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

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
    "two_branch": "two_branch:TwoBranch",
    "two_branch_multiresolution": "two_branch:TwoBranchMultiresolution",
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
ENCODER_MARK = "@"
"""Stands in the name of a user's frozen encoder, ``beats@1a2b3c4d``, before a digest of what decides it."""

GROUPS = {"all": tuple(MODELS), "ablations": ("attention", *ABLATIONS)}
"""Names that stand for several models: every model; and a system with all that are it without one of its ideas."""
PROFILES = ("paper", "released", "cpu", "smoke")
Changes = Mapping[str, object]
"""Settings in place of the profile's, by name."""
UNCHANGED: Changes = MappingProxyType({})


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
    if is_encoder(name):
        return cast("type[Detector]", import_module(f"{__name__}.frozen_encoder").FrozenEncoder)
    if name not in every:
        raise UsageError(
            f"there is no model {shown(name)}; choose one of {', '.join(every)}.{did_you_mean(name, every)}"
        )
    module, _, attribute = every[name].partition(":")
    found: type[Detector] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def is_encoder(name: str) -> bool:
    """Whether a model's name is that of a frozen encoder, of which the name alone does not tell where it lies."""
    return ENCODER_MARK in name


def check_models(names: Iterable[str], profile: str, changes: Changes = UNCHANGED) -> None:
    """Refuse models that there are not, or that lack a profile, and changes that none of them takes, before any work.

    Parameters
    ----------
    names : iterable of str
        Of models, not of groups.
    profile : str
    changes : mapping of str to object
        Changed settings by name. A model that lacks one of them runs without it; one that all lack is an error.

    Raises
    ------
    UsageError
        As :func:`create`.
    """
    names, known = list(names), set[str]()
    for name in names:
        settings_of(name, profile, changes)
        known.update(model_class(name).changeable())
    for key in changes:
        if key not in known:
            hint = _why_not(names, key) or did_you_mean(key, known)
            raise UsageError(
                f"{', '.join(names)}: no setting {shown(key)} to change; there are {', '.join(sorted(known))}.{hint}"
            )


def _why_not(names: Iterable[str], key: str) -> str:
    """Why a setting that there is elsewhere is none of these models', a sentence a reason; empty: there is none."""
    from mimiidg_build.models.settings import augmentation_of

    if key == "epochs":
        return " Ask for epochs with --epochs."
    kind = augmentation_of(key)
    reasons = {name: model_class(name).why_not_augmented(kind) for name in names} if kind else {}
    return "".join(f" {name}: {reason}." for name, reason in reasons.items() if reason)


def named_models(names: Iterable[str], profile: str) -> list[str]:
    """The models that names of models and of groups stand for: of a group those that have the profile."""
    found: list[str] = []
    for name in names:
        members = GROUPS.get(name, (name,))
        found += [one for one in members if profile in model_class(one).profiles] or members
    return list(dict.fromkeys(found))


def check_profile(name: str, profile: str) -> None:
    """Refuse a profile that a model does not have.

    Raises
    ------
    UsageError
        It does not, or no model has that name.
    """
    profiles = model_class(name).profiles
    if profile not in profiles:
        near = did_you_mean(profile, profiles)
        raise UsageError(f"{name} has no profile {shown(profile)}; choose one of {', '.join(profiles)}.{near}")


def settings_of(name: str, profile: str, changes: Changes = UNCHANGED) -> Settings:
    """The settings of a model: its profile's, with changes as far as the model has them.

    Parameters
    ----------
    name, profile : str
    changes : mapping of str to object

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        No model has that name, it does not have that profile, or a change is of the wrong type or out of range.
    """
    profiles = model_class(name).profiles
    check_profile(name, profile)
    own = {key: value for key, value in changes.items() if key in model_class(name).changeable()}
    if not own:
        return profiles[profile]
    from mimiidg_build.models.settings import changed

    try:
        return changed(profiles[profile], own)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def changes_of(name: str, profile: str, changes: Changes) -> dict[str, Any]:
    """Those of the changes that change something of a model in a profile, by name in alphabetical order.

    Parameters
    ----------
    name, profile : str
    changes : mapping of str to object

    Raises
    ------
    UsageError
        As :func:`settings_of`.
    """
    own, there = settings_of(name, profile), settings_of(name, profile, changes)
    names = [key for key in sorted(changes) if key in model_class(name).changeable()]
    return {key: value for key in names if (value := getattr(there, key)) != getattr(own, key)}


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


def create(
    name: str,
    profile: str,
    n_sections: int,
    seed: int,
    clip_length: int | None = None,
    changes: Changes = UNCHANGED,
    n_classes: int | None = None,
) -> Detector:
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
    changes : mapping of str to object, optional
        Settings in place of the profile's, by name.
    n_classes : int, optional
        Of the training clips, for a model whose layers depend on it; by default its sections.

    Returns
    -------
    Detector

    Raises
    ------
    UsageError
        No model has that name, or the model does not have that profile.
    """
    return with_settings(name, settings_of(name, profile, changes), n_sections, seed, clip_length, n_classes)


def with_settings(
    name: str,
    settings: Settings,
    n_sections: int,
    seed: int,
    clip_length: int | None = None,
    n_classes: int | None = None,
) -> Detector:
    """A new, untrained model of given settings, as :func:`create` makes one of its profile's.

    Parameters
    ----------
    name : str
    settings : Settings
        Of the model's own class.
    n_sections : int
    seed : int
    clip_length, n_classes : int, optional

    Returns
    -------
    Detector

    Raises
    ------
    UsageError
        No model has that name.
    """
    cls = model_class(name)
    sizes = {"clip_length": clip_length if cls.sized_by_clips else None}
    sizes["n_classes"] = n_classes if cls.sized_by_classes else None
    sized: Callable[..., Detector] = cls
    return sized(settings, n_sections, seed, **{key: size for key, size in sizes.items() if size is not None})
