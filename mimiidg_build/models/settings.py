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
Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS = ("fp32", "bf16", "fp16")


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
    >>> changed(Settings(epochs=3), {"batch_size": 256, "learning_rate": 1})
    Settings(epochs=3, learning_rate=1.0, batch_size=256, train_hop=1, score_hop=1, held_out=0.0, held_out_from='end', \
batch_norm_momentum=0.01, tuning_epochs=0, threads=1, precision='fp32')
    """
    values = {name: _valid(type(settings), name, value) for name, value in changes.items()}
    found = replace(settings, **values)
    try:
        found.check()
    except ValueError as error:
        raise UsageError(str(error)) from None
    return found


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
