"""4-bit layers of bitsandbytes that learn what they should: kept so, and proven on one of them at the start.

On a processor with AVX512-BF16 such a layer repacks its weights at the first answer, for speed; the gradients
that go through it are wrong from then on, without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from engine.errors import EngineError

ROWS = 4
LARGEST_ERROR = 0.02  # of the gradient's length; bf16 rounds to half of a percent


def keep_gradients_right(model: nn.Module) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on a processor; before anything is computed."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_gradient(model: nn.Module) -> None:
    """Compare the gradient through one 4-bit layer, after it has answered, with that of its plain weights.

    Raises EngineError MODEL-05 where it is another one: training would go wrong without a sign of it.
    """
    layer = next((m for m in model.modules() if type(m).__name__ == "Linear4bit"), None)
    if layer is None:
        return
    error = gradient_error(layer)
    if error > LARGEST_ERROR:
        raise EngineError(
            f"Gradients through 4-bit layers are wrong on this machine, by {error:.0%}.",
            "Load the base without load_in_4bit, or use another version of bitsandbytes.",
            "MODEL-05",
            field="model.load_in_4bit",
        )


def gradient_error(layer: Any) -> float:
    """Return how far the gradient through a 4-bit layer is from that in float32, as a share of its length."""
    import bitsandbytes as bnb

    weight, was_training = layer.weight, layer.training
    plain = bnb.functional.dequantize_4bit(weight.data, weight.quant_state).float()
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(ROWS, plain.shape[1], generator=generator).to(plain.device, torch.float32)
    outer = torch.randn(ROWS, plain.shape[0], generator=generator).to(plain.device, torch.float32)
    layer.eval()
    try:
        with torch.no_grad():
            layer(rows)  # an answer, which is when weights would be repacked
        asked = rows.clone().requires_grad_()
        with torch.enable_grad():
            answer = layer(asked)
            whole = (answer * outer.to(answer.dtype)).sum() + 0.0 * asked.sum()  # cut off, it is zero
            (found,) = torch.autograd.grad(whole, asked)
    finally:
        layer.train(was_training)
    expected = outer @ plain
    return float((found.float() - expected).norm() / expected.norm())
