"""peft's LoRA layers with their product computed in one piece.

In float32 the update is added in place and the layer's input is kept once. In bfloat16 base and update
are one matrix product `[W | sB] [x ; Ax]`: added afterwards, a young adapter's small term is lost in the
rounding of Wx; summed inside the product it is rounded once, with it.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _AddedLora(torch.autograd.Function):  # type: ignore[misc]
    """y = W x + bias + s B A d, where d is x or x after dropout; W is frozen."""

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
        inner = flat if dropped is None else dropped.reshape(-1, x.shape[-1])
        low = inner @ a.T
        out = F.linear(flat, weight, bias).addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(inner, low, weight, a, b)
        ctx.scale, ctx.shape, ctx.apart = scale, x.shape, dropped is not None
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inner, low, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        grad_low = (grad @ b).mul_(ctx.scale)
        grad_b = (grad.T @ low).mul_(ctx.scale)
        grad_a = grad_low.T @ inner
        if ctx.apart:
            grad_x = (grad @ weight).view(ctx.shape) if ctx.needs_input_grad[0] else None
            return grad_x, (grad_low @ a).view(ctx.shape), None, None, grad_a, grad_b, None
        grad_x = (grad @ weight).addmm_(grad_low, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, None, grad_a, grad_b, None


class _JoinedLora(torch.autograd.Function):  # type: ignore[misc]
    """The same product as one matrix product over [W | sB], for low precision."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        wide: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        width = x.shape[-1]
        flat = x.reshape(-1, width)
        inner = flat if dropped is None else dropped.reshape(-1, width)
        wide[:, width:].copy_(b).mul_(scale)
        a = a.to(x.dtype)
        low = inner @ a.T
        joined = torch.cat([flat, low], 1)
        if dropped is None:
            ctx.save_for_backward(joined, wide, a)
        else:
            ctx.save_for_backward(low, wide, a, inner)
        ctx.scale, ctx.shape = scale, x.shape
        return F.linear(joined, wide, bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, wide, a, *rest = ctx.saved_tensors
        width = a.shape[1]
        low, inner = (kept, rest[0]) if rest else (kept[:, width:], kept[:, :width])
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        both = grad @ wide
        grad_low = both[:, width:]
        grad_b = (grad.T @ low).mul_(ctx.scale).float()
        grad_a = (grad_low.T @ inner).float()
        if rest:
            return (
                both[:, :width].reshape(ctx.shape),
                (grad_low @ a).view(ctx.shape),
                None,
                None,
                grad_a,
                grad_b,
                None,
            )
        return both[:, :width].addmm(grad_low, a).view(ctx.shape), None, None, None, grad_a, grad_b, None


def _forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Stand in for `peft.tuners.lora.Linear.forward` with one active, unmerged adapter."""
    if self.disable_adapters or self.merged:
        out: Tensor = self.base_layer(x, *args, **kwargs)
        return out
    name = self.active_adapters[0]
    base = self.base_layer
    a, b, scale = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
    dropout = self.lora_dropout[name]
    dropped = dropout(x) if self.training and isinstance(dropout, nn.Dropout) and dropout.p > 0 else None
    if self.tunesmith_wide is None:
        product: Tensor = _AddedLora.apply(x, dropped, base.weight, base.bias, a, b, scale)
    else:
        product = _JoinedLora.apply(x, dropped, self.tunesmith_wide, base.bias, a, b, scale)
    return product


def fuse(model: nn.Module) -> int:
    """Replace the forward of every plain LoRA layer over a plain linear layer; return how many.

    Quantised bases, Conv1D and variants such as DoRA keep peft's own forward.
    """
    from peft.tuners.lora.layer import Linear

    count = 0
    for module in model.modules():
        if type(module) is not Linear or type(module.base_layer) is not nn.Linear or module.fan_in_fan_out:
            continue
        names = list(module.lora_A)
        if len(names) != 1 or module.lora_variant or module.lora_bias.get(names[0], False):
            continue
        module.tunesmith_wide = _widen(module.base_layer, module.lora_A[names[0]].weight)
        module.forward = types.MethodType(_forward, module)
        count += 1
    return count


def _widen(base: nn.Linear, a: Tensor) -> Tensor | None:
    """Return [W | room for sB] in low precision, the layer's weight made a view of it; None in float32."""
    weight = base.weight
    if weight.dtype == a.dtype:
        return None
    wide = torch.cat([weight.detach(), weight.new_zeros(weight.shape[0], a.shape[0])], 1)
    base.weight = nn.Parameter(wide[:, : weight.shape[1]], requires_grad=False)
    return wide
