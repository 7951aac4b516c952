"""The systems to benchmark. A model is one file here and one line in ``MODELS``.

What a model must offer stands in ``models.base.Detector``. The classes are imported when asked for: naming the models
costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    from mimiidg_build.models.base import Detector

MODELS = {
    "autoencoder": "autoencoder:Autoencoder",
    "autoencoder_mahalanobis": "autoencoder:MahalanobisAutoencoder",
    "mobilenetv2": "mobilenetv2:MobileNetV2",
    "nearest_neighbour": "nearest_neighbour:NearestNeighbour",
    "nearest_neighbour_max": "nearest_neighbour:MaxNearestNeighbour",
}
PROFILES = ("paper", "released", "cpu", "smoke")


def model_class(name: str) -> type[Detector]:
    """The class of a model by its name.

    Raises
    ------
    UsageError
        No model has that name.
    """
    if name not in MODELS:
        raise UsageError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}")
    module, _, attribute = MODELS[name].partition(":")
    found: type[Detector] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def create(name: str, profile: str, n_sections: int, seed: int) -> Detector:
    """A new, untrained model: the profile's settings, weights drawn from the seed."""
    cls = model_class(name)
    if profile not in cls.profiles:
        raise UsageError(f"{name} has no profile {profile!r}; choose one of {', '.join(cls.profiles)}")
    return cls(cls.profiles[profile], n_sections, seed)
