"""AdaLoRA in the loop: singular vectors kept orthogonal, ranks given and taken by their importance.

W + s B diag(E) A. After each step the importance of every triplet is updated from its gradient; from a tenth
of the run on the least important ones are masked, until the mean rank is reached; the last part settles.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_RAW, _AVERAGE, _UNCERTAIN = "raw:", "average:", "uncertain:"


def is_adalora(model: Any) -> bool:
    """Return whether this is peft's AdaLoRA."""
    config = getattr(model, "peft_config", {}).get("default")
    return config is not None and config.peft_type == "ADALORA"


def keep_scaling(model: Any) -> None:
    """Keep what the product is divided by, the rank at the start, out of training.

    peft makes it trainable by mistake when it casts the adapter of a bfloat16 base to float32.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(".ranknum.default"):
            parameter.requires_grad_(False).fill_(float(model.peft_config["default"].init_r))


def before_update(model: Any) -> None:
    """Add what AdaLoRA itself has to say to a step's gradient; nothing for other methods."""
    if is_adalora(model):
        add_orthogonality(model)


def after_update(model: Any, step: int, good: bool) -> None:
    """Let AdaLoRA give and take ranks after optimizer step `step`; nothing for other methods."""
    if is_adalora(model):
        allocate(model, step, good)


def add_orthogonality(model: Any) -> None:
    """Add the gradient of peft's orthogonality loss: mean of |A A' - 1| and |B' B - 1|, times its weight.

    Once for a step, after the gradients of the data, whatever number of pieces those came in.
    """
    total = torch.zeros(())
    pairs = [p for n, p in _vectors(model)]
    for name, p in _vectors(model):
        product = p @ p.T if "lora_A" in name else p.T @ p
        apart = product - torch.eye(len(product), device=p.device, dtype=p.dtype)
        total = total.to(p.device) + torch.linalg.norm(apart)
    (model.peft_config["default"].orth_reg_weight * total / len(pairs)).backward()


def _vectors(model: Any) -> list[tuple[str, Tensor]]:
    return [
        (n, p)
        for n, p in model.named_parameters()
        if p.requires_grad and (".lora_A.default" in n or ".lora_B.default" in n)
    ]


def allocate(model: Any, step: int, good: bool) -> None:
    """Give and take ranks after optimizer step `step`, while its gradients are still there.

    A step that was left out says nothing of importance; its masks are put on all the same.
    """
    config = model.peft_config["default"]
    if good or step >= config.total_step - config.tfinal:
        model.base_model.update_and_allocate(step)


def settled(model: Any) -> bool:
    """Return whether the ranks are final, so that what is masked can be left out of a file."""
    config = model.peft_config["default"]
    return bool(config.rank_pattern) and not model.base_model.rankallocator.ipt


def state_tensors(model: Any) -> dict[str, Tensor]:
    """Return what a resume needs beside the adapter: all triplets unpruned, and their importance."""
    allocator = model.base_model.rankallocator
    found = {f"{_RAW}{n}": p for n, p in model.named_parameters() if p.requires_grad}
    found.update({f"{_AVERAGE}{n}": t for n, t in allocator.exp_avg_ipt.items()})
    found.update({f"{_UNCERTAIN}{n}": t for n, t in allocator.exp_avg_unc.items()})
    return {name: found[name].detach().to("cpu").contiguous() for name in sorted(found)}


@torch.no_grad()
def restore(model: Any, tensors: dict[str, Tensor], rank_pattern: dict[str, list[bool]] | None) -> None:
    """Put saved triplets, importances and masks back, bit by bit."""
    parameters = dict(model.named_parameters())
    allocator = model.base_model.rankallocator
    allocator.reset_ipt()
    for label, tensor in tensors.items():
        if label.startswith(_RAW):
            parameters[label.removeprefix(_RAW)].copy_(tensor)
        else:
            kind, _, name = label.partition(":")
            where = allocator.exp_avg_ipt if f"{kind}:" == _AVERAGE else allocator.exp_avg_unc
            device = parameters[f"base_model.model.{name}"].device
            where[name] = tensor.to(device)
            allocator.ipt[name] = torch.zeros_like(where[name])  # made anew from each step's gradient
    model.peft_config["default"].rank_pattern = rank_pattern
