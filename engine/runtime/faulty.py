"""What an armed fault does to a step: to its memory, device, loss and gradient (see `engine.faults`).

Points: step (at its beginning, and where it is tried again), device (each micro-batch), load, evaluate (each
batch) and chat (each token) for memory and device; loss (each micro-batch) and grad for numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from engine import faults

SPIKE = 1000.0  # times
_NUMBERS = {"nan": float("nan"), "inf": float("inf"), "spike": SPIKE}


def device(point: str) -> None:
    """Pass a point where a device can run out of memory or be lost."""
    told = faults.point(point)
    if told == "oom":
        raise torch.OutOfMemoryError(f"out of memory (fault armed at {point})")
    if told == "device-lost":
        raise torch.AcceleratorError(f"CUDA error: unspecified launch failure (fault armed at {point})")


def number(point: str, value: Tensor) -> Tensor:
    """Return a loss as it is, or as an armed fault makes it."""
    told = faults.point(point)
    return value * _NUMBERS[told] if told in _NUMBERS else value


def gradients(point: str, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Pass a point where gradients can be wrong."""
    told = faults.point(point)
    if told not in _NUMBERS:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(_NUMBERS[told])
