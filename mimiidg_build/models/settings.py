"""Settings of a profile, and changes that a user makes to them: their names, types and ranges.

A setting's annotation says what it may be, and a change is held to it. A new setting has, as its default, what runs of
earlier versions did: their ``config.json`` does not name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from mimiidg_build.errors import UsageError, shown

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Decibels = Annotated[float, Field(ge=-60, le=60)]
Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS = ("fp32", "bf16", "fp16")
# kinds of augmentation, each with its settings: by what switches one on, what that one needs
AUGMENTATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "mixup": {"mixup": ("mixup_alpha",)},
    "masks": {"frequency_masks": ("frequency_mask_width",), "time_masks": ("time_mask_width",)},
    "noise": {"noise": ("noise_snr_low", "noise_snr_high")},
}


def augmentation_of(name: str) -> str | None:
    """The kind of augmentation that a setting is of; None: of none.

    >>> augmentation_of("time_mask_width"), augmentation_of("batch_size")
    ('masks', None)
    """
    every = {kind: {*switches}.union(*switches.values()) for kind, switches in AUGMENTATIONS.items()}
    return next((kind for kind, names in every.items() if name in names), None)


@dataclass(frozen=True)
class Settings:
    """How a profile trains and scores.

    epochs               0: nothing to train, ``fit_after`` does everything
    learning_rate        of Adam
    batch_size           windows a batch
    train_hop            frames from one training window to the next
    score_hop            the same, when scoring
    held_out             share of the training clips that is held out of training, to monitor the loss
    held_out_from        which clips those are: the last in file order, as Keras takes them, or drawn by the seed
    batch_norm_momentum  weight of a new batch in the running statistics (torch's sense)
    tuning_epochs        further epochs of a trained model, once anomalies are known; 0: it cannot use any
    threads              of a CPU that train and score. They decide in which order sums are taken, and with it their
                         last bits, which training amplifies: so they are the profile's, not the machine's
    precision            of the forward and backward passes of a training; "bf16" and "fp16" where torch holds that
                         safe. Weights and scores are always single precision

    Augmentation at training time, all of it off where nothing else is said (``models.augmentation`` says how):

    mixup                 probability that an input is mixed with another of its batch
    mixup_alpha           both parameters of the Beta distribution of its share; 1: uniform
    frequency_masks       masks of mel bands a spectrogram
    frequency_mask_width  bands that one of them has at most
    time_masks            masks of frames a spectrogram
    time_mask_width       frames that one of them has at most
    noise                 probability that noise of the store's own noise banks is added to an input
    noise_snr_low, noise_snr_high   its SNR is uniform in dB between them

    A model with settings of its own derives from this.
    """

    epochs: Count
    learning_rate: Rate = 0.0
    batch_size: Annotated[int, Field(ge=2)] = 128  # batch norm needs two
    train_hop: Positive = 1
    score_hop: Positive = 1
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    held_out_from: Literal["end", "anywhere"] = "end"
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01
    tuning_epochs: Count = 0
    threads: Positive = 1
    precision: Precision = "fp32"
    mixup: Share = 0.0
    mixup_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    frequency_masks: Count = 0
    frequency_mask_width: Positive = 16
    time_masks: Count = 0
    time_mask_width: Positive = 40
    noise: Share = 0.0
    noise_snr_low: Decibels = 0.0
    noise_snr_high: Decibels = 20.0

    def check(self) -> None:
        """Hold settings to each other; each of them is of its own type and in its own range.

        Raises
        ------
        ValueError
            Two of them do not go together; the message names both.
        """
        return


S = TypeVar("S", bound=Settings)


def changed(settings: S, changes: Mapping[str, object]) -> S:
    """Settings with some of them changed, each of its setting's type and in its range.

    Parameters
    ----------
    settings : Settings
    changes : mapping of str to object
        Values by the settings' names, which must be known.

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        A value is of another type, out of range, or does not go with another setting.

    Examples
    --------
    >>> changed(Settings(epochs=3), {"batch_size": 256, "learning_rate": 1}) == Settings(3, 1.0, 256)
    True
    """
    values = {name: _valid(type(settings), name, value) for name, value in changes.items()}
    found = replace(settings, **values)
    try:
        _check_augmentations(found)
        found.check()
    except ValueError as error:
        raise UsageError(str(error)) from None
    return found


def _check_augmentations(settings: Settings) -> None:
    """Hold the settings of augmentations to each other: here, as a model's own ``check`` takes the place of others.

    Raises
    ------
    ValueError
        The SNRs are no range, or a setting is changed that nothing uses.
    """
    low, high = settings.noise_snr_low, settings.noise_snr_high
    if low > high:
        raise ValueError(f"noise_snr_low = {low:g} is above noise_snr_high = {high:g}")
    usual = defaults(Settings)
    for switches in AUGMENTATIONS.values():
        for switch, needed in switches.items():
            idle = [name for name in needed if getattr(settings, name) != usual[name]]
            if idle and not getattr(settings, switch):
                raise ValueError(f"{idle[0]} changes nothing while {switch} is 0: set {switch}, too")


def _valid(cls: type[Settings], name: str, value: object) -> Any:
    """A value as its setting has it: of its type, whole numbers as floats where it is one."""
    try:
        # strict: "256" is no number, and True no 1
        return TypeAdapter(get_type_hints(cls, include_extras=True)[name]).validate_python(value, strict=True)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        where = ".".join([name, *map(str, mistake["loc"])])
        what = mistake["msg"].removeprefix("Value error, ")
        raise UsageError(f"the setting {where} cannot be {shown(value)}: {what}") from None
    except (NameError, PydanticUserError) as error:
        raise UsageError(f"the setting {name} of {cls.__name__} has no type to hold a value to: {error}") from None


def defaults(cls: type[Settings]) -> dict[str, object]:
    """The settings' defaults by name, of those that have one: what runs did before there was the setting."""
    return {field.name: field.default for field in fields(cls) if field.default is not MISSING} | {
        field.name: field.default_factory() for field in fields(cls) if field.default_factory is not MISSING
    }
