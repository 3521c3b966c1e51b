"""Stand-ins for bitsandbytes' linear layers: what they hold and make, without its kernels."""

from __future__ import annotations

from typing import Any

import bitsandbytes as bnb
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.recipe.recipe import ModelOptions
from engine.runtime.load import Compute

BLOCK, SCALES = 64, 256  # values that share a scale; scales that share one of their own


class Packed4(bnb.nn.Linear4bit):  # type: ignore[misc]
    """4-bit values with their scales; each pass makes the matrix in the numbers it computes in.

    bitsandbytes 0.50 keeps no input for the backward pass, only the packed weight.
    """

    def __init__(self, linear: nn.Module, options: ModelOptions, compute: Compute) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = *_sizes(linear), linear.bias
        values = self.in_features * self.out_features
        self.compute_dtype, self.dtype = compute.dtype, linear.weight.dtype
        self.weight = nn.Parameter(torch.empty((values + 1) // 2, 1, dtype=torch.uint8), requires_grad=False)
        self.weight.compress_statistics = options.bnb_4bit_use_double_quant
        self.weight.quant_type = options.bnb_4bit_quant_type
        scales = -(-values // BLOCK)
        twice = options.bnb_4bit_use_double_quant
        self.scales = torch.empty(scales, dtype=torch.uint8 if twice else torch.float32)
        self.scales_of_scales = torch.empty(-(-scales // SCALES)) if twice else None

    @property
    def W_q(self) -> Tensor:
        """Return what is held; a layer that has this is asked by peft for `dequantize`."""
        return self.weight

    def dequantize(self) -> Tensor:
        """Return the matrix, made anew."""
        return torch.empty(self.out_features, self.in_features, dtype=self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply as bitsandbytes does: in `compute_dtype`, with the answer in the input's numbers."""
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        out: Tensor = _Through.apply(x.to(self.compute_dtype), bias, self)
        return out.to(x.dtype)


class _Through(torch.autograd.Function):  # type: ignore[misc]
    """x W' + bias with the matrix made for the occasion, in forward and again in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, layer: Packed4) -> Tensor:
        ctx.layer, ctx.biased = layer, bias is not None
        return F.linear(x, layer.dequantize().to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        grad = grads[0]
        to_bias = grad.flatten(0, -2).sum(0) if ctx.biased and ctx.needs_input_grad[1] else None
        return grad @ ctx.layer.dequantize().to(grad.dtype), to_bias, None


class Packed8(bnb.nn.Linear8bitLt):  # type: ignore[misc]
    """8-bit rows with a scale each; inputs are rounded to 8 bits too and kept whole for the backward pass."""

    def __init__(self, linear: nn.Module) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = *_sizes(linear), linear.bias
        self.dtype, self.index = linear.weight.dtype, None
        self.weight = nn.Parameter(
            torch.empty(self.out_features, self.in_features, dtype=torch.int8), requires_grad=False
        )
        self.state = bnb.MatmulLtState()
        self.state.has_fp16_weights, self.state.threshold = False, 6.0
        self.scales = torch.empty(self.out_features)

    @property
    def W_q(self) -> Tensor:
        """Return what is held; a layer that has this is asked by peft for `dequantize`."""
        return self.weight

    def dequantize(self) -> Tensor:
        """Return the matrix, made anew: float32, as bitsandbytes gives it."""
        return torch.empty(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply as bitsandbytes does."""
        out: Tensor = _Through8.apply(x, self.bias, self)
        return out


class _Through8(torch.autograd.Function):  # type: ignore[misc]
    """x W' + bias over 8-bit copies of both; the input stays for the backward pass, out of hooks' reach."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, layer: Packed8) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        rounded = flat.to(torch.float16).to(torch.int8)
        sums = torch.empty(len(rounded), layer.out_features, dtype=torch.int32, device=x.device)
        out = sums.to(torch.float16).to(x.dtype)
        ctx.kept = flat if ctx.needs_input_grad[0] else None
        ctx.layer, ctx.dtype, ctx.biased = layer, flat.dtype, bias is not None
        return (out if bias is None else out + bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        grad, dtype = grads[0], ctx.dtype
        weight = ctx.layer.weight.to(dtype) * ctx.layer.scales.unsqueeze(1).to(dtype)
        to_bias = grad.flatten(0, -2).sum(0) if ctx.biased and ctx.needs_input_grad[1] else None
        return grad.to(dtype) @ weight, to_bias, None


def _sizes(linear: nn.Module) -> tuple[int, int]:
    """Return inputs and outputs of a linear layer, or of one that stores its weight the other way round."""
    if isinstance(linear, nn.Linear):
        return linear.in_features, linear.out_features
    return int(linear.weight.shape[0]), int(linear.weight.shape[1])


def pack(model: Any, options: ModelOptions, compute: Compute) -> None:
    """Put stand-ins where transformers has bitsandbytes: all but the head and what shares weights."""
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    whole = get_keys_to_not_convert(model)
    for name, module in list(model.named_modules()):
        if (type(module) is nn.Linear or isinstance(module, Conv1D)) and should_convert_module(name, whole):
            stand_in = Packed4(module, options, compute) if options.load_in_4bit else Packed8(module)
            model.set_submodule(name, stand_in)
    setattr(model, "is_loaded_in_4bit" if options.load_in_4bit else "is_loaded_in_8bit", True)
