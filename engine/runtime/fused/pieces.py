"""Small parts of a decoder layer with a backward pass of their own: fewer passes over memory, less kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.runtime.fused.threads import InOneThread


class RmsNorm(torch.autograd.Function):  # type: ignore[misc]
    """y = w x / sqrt(mean(x^2) + eps), computed in float32; w is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        with InOneThread(x):
            wide = x.float()
            inverse = (
                torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
                .square_()
                .mul_(1 / x.shape[-1])
                .add_(eps)
                .rsqrt_()
            )
            ctx.save_for_backward(x, weight, inverse)
            return ((wide * inverse).to(x.dtype)).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, weight, inverse = ctx.saved_tensors
        with InOneThread(x):
            scaled = grads[0].float() * weight
            wide = x.float()
            # d/dx: i g - x i^3 <g, x> / n
            along = (scaled * wide).sum(-1, keepdim=True).mul_(inverse.pow(3)).mul_(-1 / x.shape[-1])
            return scaled.mul_(inverse).addcmul_(wide, along).to(x.dtype), None, None


def _silu_gradient(grad: Tensor, gate: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.silu_backward(grad, gate)
    return found


def _gelu_tanh(gate: Tensor) -> Tensor:
    return F.gelu(gate, approximate="tanh")


def _gelu_tanh_gradient(grad: Tensor, gate: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.gelu_backward(grad, gate, approximate="tanh")
    return found


Activation = tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
ACTIVATIONS: dict[str, Activation] = {
    "silu": (F.silu, _silu_gradient),
    "swish": (F.silu, _silu_gradient),
    "gelu_pytorch_tanh": (_gelu_tanh, _gelu_tanh_gradient),
}


class Gated(torch.autograd.Function):  # type: ignore[misc]
    """act(gate) * up of a joined [..., gate | up]; keeps only its input."""

    @staticmethod
    def forward(ctx: Any, both: Tensor, kind: str) -> Tensor:
        ctx.save_for_backward(both)
        ctx.kind = kind
        gate, up = both.chunk(2, -1)
        return ACTIVATIONS[kind][0](gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (both,) = ctx.saved_tensors
        act, gradient = ACTIVATIONS[ctx.kind]
        gate, up = both.chunk(2, -1)
        out = torch.empty_like(both)
        to_gate, to_up = out.chunk(2, -1)
        torch.mul(act(gate), grads[0], out=to_up)
        to_gate.copy_(gradient(grads[0] * up, gate))
        return out, None


class Rotated(torch.autograd.Function):  # type: ignore[misc]
    """Rotary positions on [batch, tokens, heads, head_dim], in halves as transformers' `rotate_half` has it.

    cos and sin are [batch, tokens, head_dim / 2]. The backward pass is the rotation the other way.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x, cos[:, :, None], sin[:, :, None], 1.0, torch.empty_like(x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return (
            rotate(grads[0], cos[:, :, None], sin[:, :, None], -1.0, torch.empty_like(grads[0])),
            None,
            None,
        )


def rotate(x: Tensor, cos: Tensor, sin: Tensor, direction: float, out: Tensor) -> Tensor:
    """Rotate the last axis in halves into `out`, and return it; `direction` is 1, or -1 for the way back."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    with InOneThread(x):
        torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-direction)
        torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin, value=direction)
    return out
