"""Optimizers of a dry run: our own where torch computes them, stand-ins for those of bitsandbytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from engine.plan.optimizers import OF_BITSANDBYTES
from engine.recipe.training_options import TrainingOptions
from engine.runtime import computing, optim

LEAST_IN_8_BITS = 4096  # values: bitsandbytes keeps smaller tensors in float32
BLOCK = 256  # values that share a scale


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Return the optimizer that a run would have, or what holds the same for one that needs real kernels."""
    if options.optim in OF_BITSANDBYTES:
        return Held(optim.groups_of(model, options), options.optim)
    optimizer = optim.make_optimizer(model, options)
    if computing.kind_of(torch.device("cpu")) == "cuda":
        for group in optimizer.param_groups:  # torch's own choice on a GPU
            if group.get("foreach", True) is None and not group.get("fused"):
                group["foreach"] = True
    return optimizer


class Held(torch.optim.Optimizer):  # type: ignore[misc]
    """Holds the averages that bitsandbytes' optimizer of this name holds on a device, and steps in place.

    Paged ones lie in managed memory, which the allocator does not count.
    """

    def __init__(self, groups: list[dict[str, Any]], name: str) -> None:
        self.name = name
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Make the averages at the first step, as bitsandbytes does."""
        if self.name.startswith("paged"):
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not self.state[parameter]:
                    self.state[parameter] = self._averages(parameter)

    def _averages(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        count = 1 if self.name.startswith("lion") else 2
        small = self.name.endswith("8bit") and parameter.numel() >= LEAST_IN_8_BITS
        found: dict[str, torch.Tensor] = {}
        for number in range(1, count + 1):
            kind = torch.uint8 if small else torch.float32
            found[f"state{number}"] = torch.empty(parameter.shape, dtype=kind)
            if small:
                found[f"absmax{number}"] = torch.empty(-(-parameter.numel() // BLOCK))
        return found
