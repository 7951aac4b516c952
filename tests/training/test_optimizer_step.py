"""A step of training: the very bits of torch's own optimisers, for any layout of parameters and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimiidg_build.training.flat_parameters import FlatParameters
from mimiidg_build.training.optimizer_step import OptimizerStep

pytestmark = pytest.mark.usefixtures("one_thread")

Groups = list[dict[str, Any]]
SHAPES = ((37, 5), (8,), (1,), (300, 70), (3,))  # of no multiple of a vector register's eight or sixteen numbers
RATES = (0.01, 0.1)  # of all but the last, and of the last two parameters


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def grouped(every: list[nn.Parameter]) -> list[tuple[list[nn.Parameter], float]]:
    return [(every[:3], RATES[0]), (every[3:], RATES[1])]


def loss_of(every: list[nn.Parameter], number: int) -> Tensor:
    """Another one each time; one gradient comes transposed, and one parameter takes no part."""
    first, second, _, fourth, fifth = every
    factor = torch.randn(5, 37, generator=torch.Generator().manual_seed(number))
    return (first.T * factor).square().sum() + second.sin().sum() + (fourth * number).cos().sum() + fifth.exp().sum()


OPTIMIZERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "adam": lambda groups: torch.optim.Adam(groups, eps=1e-7, fused=True),
    "adam with decay": lambda groups: torch.optim.Adam(groups, betas=(0.8, 0.99), weight_decay=0.1, fused=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, fused=True),
    "adam that maximises": lambda groups: torch.optim.Adam(groups, maximize=True, fused=True),
    "adam that is not fused": lambda groups: torch.optim.Adam(groups, fused=False),
    "amsgrad": lambda groups: torch.optim.Adam(groups, amsgrad=True, fused=True),
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


class Trained:
    """Parameters, and how a step changes them."""

    def __init__(self, make: Callable[[Groups], torch.optim.Optimizer], enabled: bool = False) -> None:
        self.parameters = parameters()
        self.flat = FlatParameters(grouped(self.parameters))
        self.optimizer = make([{"params": whole, "lr": rate} for whole, rate in self.flat.groups])
        self.scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        self.begin()

    def begin(self) -> None:
        self.step = OptimizerStep(self.flat, self.optimizer, self.scaler)

    def run(self, numbers: range) -> Trained:
        for number in numbers:
            for group, rate in zip(self.optimizer.param_groups, RATES, strict=True):
                group["lr"] = rate / (1 + number)  # as it changes with the epoch
            self.step(loss_of(self.parameters, number))
        return self


def plain(make: Callable[[Groups], torch.optim.Optimizer], n_steps: int) -> list[nn.Parameter]:
    """The loop of torch's manual, each parameter by itself."""
    every = parameters()
    optimizer = make([{"params": part, "lr": rate} for part, rate in grouped(every)])
    for number in range(n_steps):
        for group, rate in zip(optimizer.param_groups, RATES, strict=True):
            group["lr"] = rate / (1 + number)
        optimizer.zero_grad(set_to_none=False)
        every[2].grad = torch.zeros_like(every[2])  # what takes no part has no slope
        torch.autograd.backward(loss_of(every, number))
        optimizer.step()
    return every


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bits_of_the_optimisers_own_step(name: str) -> None:
    trained, expected = Trained(OPTIMIZERS[name]).run(range(5)), plain(OPTIMIZERS[name], 5)
    for found, part, begun in zip(trained.parameters, expected, parameters(), strict=True):
        assert torch.equal(found, part)
        assert torch.equal(found, begun) is (part.shape == SHAPES[2] and "decay" not in name and name != "adamw")


@pytest.mark.parametrize("name", ["adam with decay", "adamw"])
def test_the_state_is_the_optimisers(name: str) -> None:
    """It is saved and loaded by the optimiser: another one goes on with it, to the bit."""
    first, second = Trained(OPTIMIZERS[name]).run(range(3)), Trained(OPTIMIZERS[name])
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    with torch.no_grad():
        for found, part in zip(second.parameters, first.parameters, strict=True):
            found.copy_(part)
    second.begin()
    second.run(range(3, 5))
    expected = plain(OPTIMIZERS[name], 5)
    assert all(torch.equal(found, part) for found, part in zip(second.parameters, expected, strict=True))
    assert {float(state["step"]) for state in second.optimizer.state.values()} == {5.0}


def test_only_what_adam_does_is_done_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimiser's own step lays out its state once; one that may do more is asked every time."""

    class Own(torch.optim.Adam):
        """Derived: its step may do anything."""

    asked: list[str] = []
    for name, make, enabled in (
        ("fused", OPTIMIZERS["adam"], False),
        ("half precision", OPTIMIZERS["adam"], True),
        ("derived", lambda groups: Own(groups, fused=True), False),
        ("sgd", OPTIMIZERS["sgd"], False),
    ):
        trained = Trained(make, enabled)
        own_step = trained.optimizer.step
        # on the instance: a scaler and a loop alike call it by this name
        monkeypatch.setattr(trained.optimizer, "step", lambda *_, n=name, s=own_step, **__: (asked.append(n), s())[1])
        trained.run(range(4))
    assert {name: asked.count(name) for name in asked} == {"fused": 1, "half precision": 4, "derived": 4, "sgd": 4}
