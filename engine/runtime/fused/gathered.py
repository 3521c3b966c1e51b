"""A plain LoRA layer whose weights are spread over ranks and whole only while it computes.

The same product `[W | sB] [x ; Ax]` as `product` makes, summed before it is rounded, so that a young adapter
is not lost in the rounding of Wx in low precision. Nothing of W is kept between the passes: the wide weight
is put together where it is used, from what has just been gathered.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.runtime.fused.product import is_plain_lora


class _Gathered(torch.autograd.Function):  # type: ignore[misc]
    """y = [W | sB] [x ; A d] + bias, where d is x or x after dropout; W is frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        inner = flat if dropped is None else dropped.reshape(flat.shape)
        low = inner @ a.to(x.dtype).T
        ctx.save_for_backward(inner, low, weight, a, b)
        ctx.scale, ctx.shape, ctx.apart = scale, x.shape, dropped is not None
        return F.linear(torch.cat([flat, low], 1), _wide(weight, b, scale), bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        inner, low, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        both = grad @ _wide(weight, b, ctx.scale)
        width = weight.shape[1]
        grad_low, narrow = both[:, width:], a.to(grad.dtype)
        grad_b = (grad.T @ low).mul_(ctx.scale).to(b.dtype)
        grad_a = (grad_low.T @ inner).to(a.dtype)
        if ctx.apart:
            grad_x, grad_d = both[:, :width].reshape(ctx.shape), (grad_low @ narrow).view(ctx.shape)
            return grad_x, grad_d, None, None, grad_a, grad_b, None
        grad_x = both[:, :width].addmm(grad_low, narrow).view(ctx.shape)
        return grad_x, None, None, None, grad_a, grad_b, None


def _wide(weight: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.cat([weight, b.to(weight.dtype) * scale], 1)


def _forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Stand in for `peft.tuners.lora.Linear.forward` with one active, unmerged adapter."""
    if self.disable_adapters or self.merged:
        plain: Tensor = self.base_layer(x, *args, **kwargs)
        return plain
    name = self.active_adapters[0]
    chance = self.lora_dropout[name]
    dropped = chance(x) if self.training and isinstance(chance, nn.Dropout) and chance.p > 0 else None
    base = self.base_layer
    out: Tensor = _Gathered.apply(
        x,
        dropped,
        base.weight,
        base.bias,
        self.lora_A[name].weight,
        self.lora_B[name].weight,
        float(self.scaling[name]),
    )
    return out


def fuse(model: nn.Module) -> int:
    """Let every plain LoRA layer of a model that is to be spread over ranks compute so; return how many."""
    layers = [module for module in model.modules() if is_plain_lora(module)]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    return len(layers)
