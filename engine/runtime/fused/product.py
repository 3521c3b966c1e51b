"""Linear layers that read the same input, with their LoRA, as one matrix product.

`[W | sB] [x ; Ax]`, the layers' rows below one another and each B in columns of its own. One large product
is faster than several small ones; and in low precision a young adapter's small term, added after the
product, is lost in the rounding of Wx: summed inside the product it is rounded once, with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.runtime.fused.threads import InOneThread

WIDE = "tunesmith_wide"
WIDEST_JOINT = 64  # up to this many adapter columns, all B gradients come from one product


@dataclass(frozen=True)
class Cut:
    """Where each layer's rows stand in the product, and where its adapter's columns do."""

    width: int  # of the input
    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int] | None, ...]  # within the adapter's part; None for a layer without one
    rank: int  # of all adapters together


class _Joined(torch.autograd.Function):  # type: ignore[misc]
    """y = [W | sB] [x ; A d] + bias, where d is x or x after dropout; W is frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        wide: Tensor,
        bias: Tensor | None,
        cut: Cut,
        scales: tuple[float, ...],
        *factors: Tensor,
    ) -> Tensor:
        flat = x.reshape(-1, cut.width)
        inner = flat if dropped is None else dropped.reshape(-1, cut.width)
        places = [(r, c) for r, c in zip(cut.rows, cut.columns, strict=True) if c is not None]
        with InOneThread(factors[0]):
            a = torch.cat(factors[0::2]).to(x.dtype) if len(factors) > 2 else factors[0].to(x.dtype)
            for (rows, columns), b, scale in zip(places, factors[1::2], scales, strict=True):
                room = wide.data[rows[0] : rows[1], cut.width + columns[0] : cut.width + columns[1]]
                room.copy_(b).mul_(
                    scale
                )  # through .data: the same values again when a batch is cut in pieces
        with InOneThread(flat, _values(flat, a)):
            low = inner @ a.T
        with InOneThread(flat):
            joined = torch.cat([flat, low], 1)
        if dropped is None:
            ctx.save_for_backward(joined, wide, a)
        else:
            ctx.save_for_backward(low, wide, a, inner)
        ctx.cut, ctx.scales, ctx.shape, ctx.places = cut, scales, x.shape, places
        ctx.kept = factors[0].dtype
        return F.linear(joined, wide, bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        kept, wide, a, *rest = ctx.saved_tensors
        width = ctx.cut.width
        low, inner = (kept, rest[0]) if rest else (kept[:, width:], kept[:, :width])
        grad = grads[0].reshape(-1, wide.shape[0])
        needs_x = ctx.needs_input_grad[0]
        if needs_x:
            both = grad @ wide
            grad_low = both[:, width:]
        else:
            both = None
            grad_low = grad @ wide[:, width:]
        with InOneThread(inner, _values(inner, a)):
            grad_a = (grad_low.T @ inner).to(ctx.kept)
        found: list[Tensor] = []
        with InOneThread(grad, _values(grad, a)):
            joint = low.T @ grad if ctx.cut.rank <= WIDEST_JOINT else None
        with InOneThread(grad, _values(grad, a) if joint is None else wide.shape[0] * ctx.cut.rank):
            for ((top, end), (left, right)), scale in zip(ctx.places, ctx.scales, strict=True):
                part = (
                    low[:, left:right].T @ grad[:, top:end] if joint is None else joint[left:right, top:end]
                )
                found += [grad_a[left:right], (part.T * scale).to(ctx.kept)]
        if rest:
            grad_x = both[:, :width].reshape(ctx.shape) if both is not None else None
            return grad_x, (grad_low @ a).view(ctx.shape), None, None, None, None, *found
        if both is None:
            return None, None, None, None, None, None, *found
        with InOneThread(inner, _values(inner, a)):
            grad_x = both[:, :width].addmm_(grad_low, a).view(ctx.shape)
        return grad_x, None, None, None, None, None, *found


def _values(x: Tensor, a: Tensor) -> int:
    """Return how many values a pass reads in the time that a product of x with a low-rank factor takes."""
    return int(x.numel() * a.shape[0] // 12)


def is_plain_lora(module: nn.Module) -> bool:
    """Return whether a module is peft's LoRA in its plain form over a plain linear layer.

    Quantised bases, Conv1D, and variants such as DoRA are not.
    """
    from peft.tuners.lora.layer import Linear

    if type(module) is not Linear or type(module.base_layer) is not nn.Linear or module.fan_in_fan_out:
        return False
    names = list(module.lora_A)
    return len(names) == 1 and not module.lora_variant and not module.lora_bias.get(names[0], False)


class Product:
    """The layers of one input. Holds them, never owns them: they stay where the model has them.

    `owner` keeps the wide weight as a buffer, so that it moves from device to device with the model.
    """

    def __init__(self, owner: nn.Module, name: str, layers: Sequence[Any]) -> None:
        self.layers = list(layers)
        self._owner, self._name = owner, f"{WIDE}_{name}"
        self._adapted = [is_plain_lora(layer) for layer in self.layers]
        self._bases = [x.base_layer if a else x for x, a in zip(self.layers, self._adapted, strict=True)]
        self._keys = [
            next(iter(x.lora_A)) if a else "" for x, a in zip(self.layers, self._adapted, strict=True)
        ]
        ranks = [
            x.lora_A[key].weight.shape[0] if key else 0
            for x, key in zip(self.layers, self._keys, strict=True)
        ]
        self.cut = _cut([b.weight for b in self._bases], ranks)
        biases = [b.bias for b in self._bases]
        self._has_bias = any(bias is not None for bias in biases)
        weights = [b.weight.detach() for b in self._bases]
        wide = torch.cat(weights) if len(weights) > 1 else weights[0]
        owner.register_buffer(
            self._name,
            torch.cat([wide, wide.new_zeros(wide.shape[0], self.cut.rank)], 1),
            persistent=False,
        )
        if self._has_bias:
            parts = [
                w.new_zeros(w.shape[0]) if b is None else b.detach()
                for w, b in zip(weights, biases, strict=True)
            ]
            owner.register_buffer(f"{self._name}_bias", torch.cat(parts), persistent=False)
        for base, (top, end) in zip(self._bases, self.cut.rows, strict=True):  # the base is held once
            base.weight = nn.Parameter(self.wide[top:end, : self.cut.width], requires_grad=False)

    @property
    def wide(self) -> Tensor:
        """Return [W | room for sB] of all layers, [sum of outputs, input + sum of ranks]."""
        found: Tensor = getattr(self._owner, self._name)
        return found

    @property
    def ready(self) -> bool:
        """Return whether the adapters count: present, switched on and not merged."""
        return all(
            not (layer.disable_adapters or layer.merged)
            for layer, adapted in zip(self.layers, self._adapted, strict=True)
            if adapted
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs of all layers side by side, [..., sum of outputs]."""
        bias = getattr(self._owner, f"{self._name}_bias") if self._has_bias else None
        if not self.cut.rank:
            return F.linear(x, self.wide, bias)
        factors: list[Tensor] = []
        scales: list[float] = []
        dropout = 0.0
        for layer, key in zip(self.layers, self._keys, strict=True):
            if key:
                factors += [layer.lora_A[key].weight, layer.lora_B[key].weight]
                scales.append(float(layer.scaling[key]))
                chance = layer.lora_dropout[key]
                dropout = max(dropout, chance.p if layer.training and isinstance(chance, nn.Dropout) else 0.0)
        # One draw for all layers of the input: each layer by itself sees what peft's dropout gives it.
        dropped = F.dropout(x, dropout) if dropout else None
        out: Tensor = _Joined.apply(x, dropped, self.wide, bias, self.cut, tuple(scales), *factors)
        return out


def _cut(weights: Sequence[Tensor], ranks: Sequence[int]) -> Cut:
    rows, columns, top, left = [], [], 0, 0
    for weight, rank in zip(weights, ranks, strict=True):
        rows.append((top, top + weight.shape[0]))
        columns.append((left, left + rank) if rank else None)
        top, left = top + weight.shape[0], left + rank
    return Cut(weights[0].shape[1], tuple(rows), tuple(columns), left)


def can_join(layers: Sequence[Any]) -> bool:
    """Return whether layers can be one product: plain, frozen at the base, of one type and input width."""
    bases = []
    for layer in layers:
        if is_plain_lora(layer):
            bases.append(layer.base_layer)
        elif type(layer) is nn.Linear:
            bases.append(layer)
        else:
            return False
    weights = [base.weight for base in bases]
    frozen = not any(p.requires_grad for base in bases for p in base.parameters())
    return frozen and len({(w.shape[1], w.dtype, w.device) for w in weights}) == 1
