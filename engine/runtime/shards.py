"""A model spread over the ranks (FSDP2): each holds a part of every weight, and a layer while it computes.

The loop stays the same. Weights and optimizer state are torch's DTensors; what reads them whole or puts them
back goes through `whole` and `like`, which all ranks call together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def shard(model: Any, base: Any, device: torch.device, world: int) -> None:
    """Spread a model over the ranks, layer by layer, and move it to their devices.

    Gradients are summed over ranks, not averaged: each is over the tokens of the whole step already.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (world,))
    layers = set(base._no_split_modules or ())
    for module in [m for m in base.modules() if type(m).__name__ in layers]:
        fully_shard(module, mesh=mesh)
    fully_shard(base, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)


def gather_no_more(model: nn.Module) -> None:
    """Let go of weights that are still whole after a forward pass without a backward one."""
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def is_sharded(model: nn.Module) -> bool:
    """Return whether a model is spread over ranks."""
    return any(hasattr(p, "full_tensor") for p in model.parameters())


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its parts; one that is not spread over ranks as it is."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a whole `value`, spread as `parameter` is where it has its shape, on its device."""
    if not hasattr(parameter, "full_tensor") or value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    mesh = parameter.device_mesh
    spread: Tensor = distribute_tensor(
        value.to(parameter.device, copy=True), mesh, parameter.placements, src_data_rank=None
    )
    return spread
