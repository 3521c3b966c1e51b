"""Trained weights in float32 inside a model that computes in fewer bits: small steps are not rounded away."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from engine.runtime.loss import decoder_of

LOW = (torch.bfloat16, torch.float16)


def autocast(model: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Let a model of float32 weights compute in `dtype`, wherever it is called from."""
    if dtype == torch.float32:
        return
    for part in (model, decoder_of(model)):
        part.forward = torch.autocast(device.type, dtype)(part.forward)


def hold_in_float32(model: nn.Module) -> None:
    """Hold what peft trains whole, copies of modules and biases, in float32; layers compute as before."""
    from peft.utils.other import ModulesToSaveWrapper

    inside: set[nn.Module] = set()
    for wrapper in [m for m in model.modules() if isinstance(m, ModulesToSaveWrapper)]:
        copied = wrapper.modules_to_save["default"]
        former = {n: p.dtype for n, p in wrapper.original_module.named_parameters() if p.dtype in LOW}
        _compute_as(copied, former)
        inside |= set(copied.modules())
    for module in [m for m in model.modules() if m not in inside]:
        bias = getattr(module, "_parameters", {}).get("bias")
        if isinstance(bias, Tensor) and bias.requires_grad and bias.dtype in LOW:
            _compute_as(module, {"bias": bias.dtype})


def _compute_as(module: nn.Module, former: dict[str, torch.dtype]) -> None:
    """Make the named parameters float32 and cast them back at each use."""
    if not former:
        return
    for name, parameter in module.named_parameters():
        if name in former:
            parameter.data = parameter.data.float()
    inner = copy.copy(module)  # shares all parameters, and keeps the class's own forward
    dtype = next(iter(former.values()))

    def forward(*args: Any, **kwargs: Any) -> Any:
        if isinstance(module, nn.Embedding):  # looked up first: casting the table would copy it whole
            return inner(*args, **kwargs).to(dtype)
        held = {n: p.to(former[n]) for n, p in module.named_parameters() if n in former}
        return functional_call(inner, held, args, kwargs)

    module.forward = forward
