"""How strongly an adapter's layer counts: 0 is the base, 1 as trained, more than 1 beyond it.

LoRA and AdaLoRA scale their sum, VeRA its output's scale; DoRA's magnitude moves from the base's norms to the
trained ones; IA3's factors move from 1; OFT's angles grow from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Dial = Callable[[float], None]


def dials_of(layer: Any) -> list[Dial]:
    """Return what sets the strength of one of peft's layers."""
    found = [_scaling(layer)] if isinstance(getattr(layer, "scaling", None), dict) else []
    for name, neutral in (("vera_lambda_b", 0.0), ("ia3_l", 1.0)):
        found += [_towards(p, torch.full_like(p, neutral)) for p in getattr(layer, name, {}).values()]
    for rotation in getattr(layer, "oft_R", {}).values():
        found.append(_towards(rotation.weight, torch.zeros_like(rotation.weight)))
    for magnitude in getattr(layer, "lora_magnitude_vector", {}).values():
        found.append(_towards(magnitude.weight, lambda: norms(layer)))
    return found


def _scaling(layer: Any) -> Dial:
    trained = dict(layer.scaling)
    return lambda strength: layer.scaling.update({name: v * strength for name, v in trained.items()})


def _towards(parameter: Tensor, neutral: Tensor | Callable[[], Tensor]) -> Dial:
    """Move a parameter on the line from where it does nothing (strength 0) to where it was trained (1)."""
    trained = parameter.detach().clone()

    def turn(strength: float) -> None:
        nothing = neutral() if callable(neutral) else neutral
        parameter.data.copy_(torch.lerp(nothing.to(trained), trained, strength))

    return turn


def norms(layer: Any) -> Tensor:
    """Return the length of each output's weights in the base, which is DoRA's magnitude before training."""
    from peft.utils.integrations import dequantize_module_weight

    weight = dequantize_module_weight(layer.get_base_layer()).float()
    turned = getattr(layer, "fan_in_fan_out", False) or isinstance(layer.get_base_layer(), torch.nn.Embedding)
    return torch.linalg.norm(weight, dim=0 if turned else 1)
