"""The precision of a training's forward and backward passes: single, or mixed with bfloat16 or half precision.

Weights, gradients of weights, the optimiser and all scoring stay in single precision, whatever a training's is.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from mimiidg_build.errors import UsageError

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A block in which torch computes in a precision what it holds safe in it; in single precision nothing changes."""
    # the type is not used where it is not enabled, and float32 is none that autocast takes
    kind = torch.bfloat16 if precision == "fp32" else TYPES[precision]
    return torch.autocast(device.type, kind, enabled=precision != "fp32")


@dataclass(frozen=True)
class TrainingPrecision:
    """Blocks in which a training computes: one around all of it, and one around each batch's forward pass."""

    precision: str
    device: torch.device

    def throughout(self) -> contextlib.AbstractContextManager[object]:
        """Single precision, whatever the caller's. Entered once: a block a batch costs a small network 1 %."""
        return self._autocast() if self.precision == "fp32" else contextlib.nullcontext()

    def of_a_batch(self) -> contextlib.AbstractContextManager[object]:
        """Mixed precision, anew for each batch and in no other block: the outermost keeps casts of the weights."""
        return contextlib.nullcontext() if self.precision == "fp32" else self._autocast()

    def _autocast(self) -> torch.autocast:
        return autocast(self.precision, self.device)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a device cannot train in, before any work.

    Raises
    ------
    UsageError
        Half precision on a CPU, or bfloat16 on a GPU without it.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("a CPU trains in fp32 or bf16; fp16 is for GPUs. Choose --precision bf16, or another --device")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        name = torch.cuda.get_device_name(device)
        raise UsageError(f"{name} has no bfloat16. Choose --precision fp16 or fp32")
