"""PiSSA and OLoRA: the adapter begins as a part of the weight, and the base holds the rest.

Training computes (W - s B0 A0) x + s B A x. What is saved is an adapter of twice the rank over the untouched
weight, s [B, -B0] [A; A0], which any peft program opens on the plain base. B0 and A0 are in it, so a resume
makes the very same rest again, without another decomposition.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from engine.errors import EngineError

_A, _B = ".lora_A.weight", ".lora_B.weight"


def check(model: Any, targets: Any, options: Any) -> None:
    """Raise EngineError REC-01 for a layer that cannot be taken apart: a shared weight, a rank too high."""
    from transformers.pytorch_utils import Conv1D

    from engine.plan.adapter_size import pattern_value

    name = {"pissa": "PiSSA", "olora": "OLoRA"}[options.init_lora_weights]
    embedding = model.get_input_embeddings()
    for linear in targets.modules:
        module = model.get_submodule(linear.name)
        rank = pattern_value(options.rank_pattern, linear.name, options.r)
        if module is embedding or (targets.tied and linear.name == targets.head):
            raise _refuse(
                f"{name} would change the embedding along with {linear.name}",
                "Leave the head and the embedding out of target_modules.",
                "target_modules",
            )
        if options.init_lora_weights == "olora" and isinstance(module, Conv1D):
            raise _refuse(
                f"OLoRA cannot take {linear.name} apart: this family stores its layers the other way round",
                "Use pissa or true.",
                "init_lora_weights",
            )
        if rank > min(linear.in_features, linear.out_features):
            raise _refuse(
                f"{name} cannot take rank {rank} out of {linear.name}, which has "
                f"{min(linear.in_features, linear.out_features)}",
                "Lower the rank.",
                "r",
            )


def _refuse(what: str, hint: str, field: str) -> EngineError:
    return EngineError(f"adapter.{field}: {what}.", hint, "REC-01", field=f"adapter.{field}")


def draw(model: Any, init: str) -> None:
    """Take every adapted weight apart with peft's own decomposition.

    Done after peft has set the adapter up: while it does, A and B are rounded to the numbers of the base.
    """
    from peft.tuners.lora.layer import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer) and "default" in module.lora_A:
            if init == "pissa":
                module.pissa_init("default", init)
            else:
                module.olora_init("default")


def widen(tensors: dict[str, Tensor], start: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the adapter over the untouched base: [A; A0] and [B, -B0] in place of A and B."""
    found = dict(tensors)
    for name, first in start.items():
        if name.endswith(_A):
            found[name] = torch.cat([tensors[name], first], 0)
        else:
            found[name] = torch.cat([tensors[name], -first], 1)
    return found


def narrow(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Undo `widen`: return the trained adapter and what it began with, bit by bit."""
    found, start = dict(tensors), {}
    for name, tensor in tensors.items():
        if name.endswith(_A):
            found[name], start[name] = (part.contiguous() for part in tensor.chunk(2, 0))
        elif name.endswith(_B):
            now, first = tensor.chunk(2, 1)
            found[name], start[name] = now.contiguous(), (-first).contiguous()
    return found, start


def widen_config(config: Any) -> Any:
    """Return the configuration of twice the rank with the same scaling: alpha / r, or alpha / sqrt(r)."""
    wide = copy.deepcopy(config)
    factor = math.sqrt(2) if config.use_rslora else 2
    wide.r, wide.lora_alpha = config.r * 2, config.lora_alpha * factor
    wide.rank_pattern = {key: rank * 2 for key, rank in config.rank_pattern.items()}
    wide.alpha_pattern = {key: alpha * factor for key, alpha in config.alpha_pattern.items()}
    return wide


def starts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of A and B of every module: what is taken out of the base."""
    return {name: t.clone() for name, t in tensors.items() if name.endswith((_A, _B))}


@torch.no_grad()
def take_out(model: Any, start: dict[str, Tensor]) -> None:
    """Take s B0 A0 out of the base's weights, by the very operations peft used at the start."""
    from peft.tuners.lora.layer import LoraLayer

    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer) or f"{name}{_A}" not in start:
            continue
        weight = module.get_base_layer().weight
        a = start[f"{name}{_A}"].to(weight.device)
        b = start[f"{name}{_B}"].to(weight.device)
        turned = getattr(module, "fan_in_fan_out", False)
        whole = weight.detach().float()
        rest = (whole.T if turned else whole) - module.scaling["default"] * b @ a
        weight.copy_((rest.T if turned else rest).to(weight.dtype))
