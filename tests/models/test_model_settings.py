"""Settings in place of a profile's: what they may be, which models have them, and what they come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from mimiidg_build.errors import UsageError
from mimiidg_build.models import ABLATIONS, MODELS, changes_of, check_models, create, model_class, settings_of
from mimiidg_build.models.settings import Settings, changed, defaults

if TYPE_CHECKING:
    from mimiidg_build.models.base import Unknown

EVERY = [*MODELS, *ABLATIONS]


@pytest.mark.parametrize("name", EVERY)
def test_every_profile_keeps_to_its_own_types_and_ranges(name: str) -> None:
    for settings in model_class(name).profiles.values():
        assert changed(settings, asdict(settings)) == settings


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("autoencoder", {"batch_size": "256"}, "autoencoder: the setting batch_size cannot be '256': .* valid integer"),
        ("autoencoder", {"batch_size": 256.5}, "batch_size cannot be 256.5: .* valid integer"),
        ("autoencoder", {"batch_size": True}, "batch_size cannot be True: .* valid integer"),
        ("autoencoder", {"batch_size": 1}, "batch_size cannot be 1: .* greater than or equal to 2"),
        ("autoencoder", {"learning_rate": -1e-3}, "learning_rate cannot be -0.001: .* greater than or equal to 0"),
        ("autoencoder", {"learning_rate": float("nan")}, "learning_rate cannot be nan: .* finite"),
        ("autoencoder", {"learning_rate": float("inf")}, "learning_rate cannot be inf: .* finite"),
        ("autoencoder", {"held_out": 1.0}, "held_out cannot be 1.0: .* less than 1"),
        ("autoencoder", {"held_out_from": "start"}, "held_out_from cannot be 'start': .* 'end' or 'anywhere'"),
        ("autoencoder", {"precision": "fp64"}, "precision cannot be 'fp64': .*'fp32', 'bf16' or 'fp16'"),
        ("autoencoder", {"threads": 0}, "threads cannot be 0"),
        ("attention", {"attention": "dense"}, "attention cannot be 'dense': .* 'separable', 'plain' or 'none'"),
        ("attention", {"logmel": 1}, "logmel cannot be 1: .* valid boolean"),
        (
            "attention",
            {"logmel": False, "wavegram": "none"},
            'logmel = false with wavegram = "none" leaves the network',
        ),
        ("conformer", {"kernel": 14}, "kernel = 14: an odd number"),
        (
            "bce",
            {"frames": 100, "frames_averaged": 8},
            "frames = 100 .*averaged = 8: .* frames of 128 or more",
        ),
        (
            "bce_dsad",
            {"oracle_alpha": {"fan": 2.0}},
            "oracle_alpha.fan cannot be .* less than or equal to 1",
        ),
        ("autoencoder_mahalanobis", {"distance": "mean"}, "distance cannot be 'mean'"),
    ],
)
def test_what_a_setting_cannot_be(model: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_models([model], "paper", changes)
    with pytest.raises(UsageError, match=message):
        create(model, "paper", 3, 0, changes=changes)


@pytest.mark.parametrize(
    ("models", "key", "message"),
    [
        (["autoencoder"], "batchsize", "autoencoder: no setting 'batchsize' to change; .*Did you mean 'batch_size'"),
        (["autoencoder", "mobilenetv2"], "alpha", "autoencoder, mobilenetv2: no setting 'alpha' to change; there are"),
        (["autoencoder"], "epochs", "Ask for epochs with --epochs"),
        (["attention"], "train_hop", "no setting 'train_hop'"),  # it takes whole clips
        (["nearest_neighbour"], "learning_rate", "no setting 'learning_rate' to change; there are threads"),
        (["autoencoder"], "tuning_epochs", "no setting 'tuning_epochs'"),  # it can use no anomalies
        (["bce"], "alpha", "no setting 'alpha'"),  # it has no distance
        (["dsad"], "linear_learning_rate", "no setting 'linear_learning_rate'"),  # and it no linear layer
        (["bce_ddcsad"], "x" * 300, "no setting 'x+\\.\\.\\. \\(302 characters\\)"),
    ],
)
def test_settings_that_no_model_has(models: list[str], key: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_models(models, "paper", {key: 1})


def test_a_setting_is_of_every_model_that_has_it() -> None:
    changes = {"alpha": 0.25, "batch_size": 32}
    check_models(["bce_dsad", "autoencoder", "nearest_neighbour"], "paper", changes)
    own = settings_of("bce_dsad", "paper")
    assert settings_of("bce_dsad", "paper", changes) == replace(own, **changes)
    assert settings_of("autoencoder", "paper", changes) == replace(settings_of("autoencoder", "paper"), batch_size=32)
    assert settings_of("nearest_neighbour", "paper", changes) == settings_of("nearest_neighbour", "paper")
    assert create("autoencoder", "paper", 3, 0, changes=changes).settings.batch_size == 32


def test_what_is_the_profiles_own_is_no_change() -> None:
    """Whole numbers where a setting has a fraction, too: the same run by whatever words."""
    assert changes_of("autoencoder", "paper", {"learning_rate": 1e-4, "batch_size": 256}) == {"batch_size": 256}
    assert changes_of("attention", "paper", {"last_learning_rate": 1, "margin": 1}) == {"margin": 1.0}
    assert list(changes_of("autoencoder", "paper", {"score_hop": 2, "batch_size": 4})) == ["batch_size", "score_hop"]


@pytest.mark.parametrize("name", EVERY)
def test_settings_that_came_later_have_what_was_done_before_as_their_default(name: str) -> None:
    """A run's file of an early version lacks them."""
    cls = type(settings_of(name, "paper"))
    assert {key: defaults(cls)[key] for key in ("threads", "precision", "held_out_from")} == {
        **{"threads": 1, "precision": "fp32", "held_out_from": "end"},
    }
    if name == "autoencoder_mahalanobis":
        assert {key: defaults(cls)[key] for key in ("distance", "covariance")} == dict.fromkeys(
            ("distance", "covariance"), "frames"
        )
    if name in ("bce_dsad", "bce_ddcsad"):
        assert defaults(cls)["oracle_alpha"] == settings_of(name, "paper").oracle_alpha


@dataclass(frozen=True)
class Odd(Settings):
    """As in a model of one's own whose annotation no interpreter can follow."""

    shape: Unknown | None = None  # type: ignore[name-defined]


def test_a_setting_without_a_clear_type_cannot_be_changed() -> None:
    with pytest.raises(UsageError, match="the setting shape of Odd has no type to hold a value to: name 'Unknown'"):
        changed(Odd(epochs=1), {"shape": 3})
