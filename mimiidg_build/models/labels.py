"""What a model is told of clips beside their features. Tensors are (clip,), on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """What is known of clips (or of windows), one entry each. Of a clip to be scored, never whether it is normal.

    section          Tensor of int64, number of the section within the model's scope; -1: a clip from elsewhere, which a
                     model may train on as an outlier
    is_target        Tensor of bool, the domain; False, too, of a clip that has none
    training_row     Tensor of int64, row among the training clips; -1 for a clip that is none. By it a model that
                     stores its training clips does not compare a clip with itself
    known_anomaly    Tensor of bool, True for the few anomalies that a training may use
    origin           Tensor of int64, number of the section that a clip is from, elsewhere too: those of the scope come
                     first, with the numbers that they have as ``section``
    has_domain       Tensor of bool, False for clips of releases without domains
    machine_type     Tensor of int64, number of the machine type among those of the scope's sections; -1: none of them
    training_class   Tensor of int64, number of what is known of a normal training clip of the scope, its machine type,
                     section, attributes and domain taken together; -1 of any other clip
    """

    section: Tensor
    is_target: Tensor
    training_row: Tensor
    known_anomaly: Tensor
    origin: Tensor
    has_domain: Tensor
    machine_type: Tensor
    training_class: Tensor

    @classmethod
    def of(
        cls,
        section: Sequence[int],
        is_target: Sequence[bool],
        training: bool,
        known_anomaly: Sequence[bool] | None = None,
        origin: Sequence[int] | None = None,
        has_domain: Sequence[bool] | None = None,
        machine_type: Sequence[int] | None = None,
        training_class: Sequence[int] | None = None,
    ) -> Labels:
        """Labels of all training clips (in order), or of test clips.

        Parameters
        ----------
        section : sequence of int [length=n]
        is_target : sequence of bool [length=n]
        training : bool
            The clips are the training clips.
        known_anomaly : sequence of bool [length=n], optional
            None by default.
        origin : sequence of int [length=n], optional
            ``section`` by default.
        has_domain : sequence of bool [length=n], optional
            All of them by default.
        machine_type : sequence of int [length=n], optional
            One for all by default.
        training_class : sequence of int [length=n], optional
            ``section`` of training clips by default.
        """
        n = len(section)
        rows = torch.arange(n) if training else torch.full((n,), -1)
        known = torch.zeros(n, dtype=torch.bool) if known_anomaly is None else torch.tensor(known_anomaly)
        sections = torch.tensor(section, dtype=torch.int64)
        origins = sections if origin is None else torch.tensor(origin, dtype=torch.int64)
        domains = torch.ones(n, dtype=torch.bool) if has_domain is None else torch.tensor(has_domain, dtype=torch.bool)
        types = torch.zeros(n, dtype=torch.int64) if machine_type is None else torch.tensor(machine_type)
        classes = sections if training else torch.full((n,), -1)
        if training_class is not None:
            classes = torch.tensor(training_class, dtype=torch.int64)
        targets = torch.tensor(is_target, dtype=torch.bool)
        return cls(sections, targets, rows, known, origins, domains, types, classes)

    def __len__(self) -> int:
        return len(self.section)

    @property
    def is_normal(self) -> Tensor:
        """True for training clips of the model's own scope, all normal; False for outliers and known anomalies."""
        return (self.section >= 0) & ~self.known_anomaly

    def take(self, rows: Tensor | slice) -> Labels:
        """The labels of some rows."""
        return _Taken(self, rows)

    def to(self, device: torch.device | str) -> Labels:
        """The same labels on a device."""
        return Labels(*(getattr(self, field.name).to(device) for field in fields(self)))


class _Taken(Labels):
    """Labels of some rows of others, each gathered when it is first asked for.

    Most models ask for one or two of the eight, an autoencoder for none: gathering all took 0.1 ms of each of its
    batches, which take 5 ms.
    """

    def __init__(self, labels: Labels, rows: Tensor | slice) -> None:
        self.__dict__.update(_labels=labels, _rows=rows)  # past the frozen dataclass, as its own __init__ goes

    def __getattr__(self, name: str) -> Tensor:  # called for what is not there yet
        if name not in _NAMES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value: Tensor = getattr(self._labels, name)[self._rows]
        self.__dict__[name] = value
        return value


_NAMES = frozenset(field.name for field in fields(Labels))
