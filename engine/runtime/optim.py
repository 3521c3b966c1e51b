"""Optimizers by the recipe's name, the groups their parameters fall into, and the rate of each step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.plan.optimizers import OF_BITSANDBYTES
from engine.recipe.schedules import learning_rate_at
from engine.recipe.training_options import TrainingOptions
from engine.recipe.uses import usual_values

FUSED_ON = ("cpu", "cuda", "mps", "xpu")
# Parameters that weight decay leaves alone, as transformers' trainer does: biases and norms.
_UNDECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Return the optimizer over the trainable parameters; its rates are set anew before each step."""
    groups = groups_of(model, options)
    made = _muon if options.optim == "muon" else _FAMILIES[options.optim]
    optimizer: torch.optim.Optimizer = made(groups, options)
    if options.optim.endswith("8bit"):
        _keep_embeddings_whole(model)
    return optimizer


def set_rate(
    optimizer: torch.optim.Optimizer, options: TrainingOptions, step: int, total_steps: int
) -> float:
    """Set the learning rate of optimizer step `step` (1-based); return that of a group without a ratio."""
    rate = learning_rate_at(step, total_steps, options)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_ratio"]
    return rate


def names_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    """Return the names of the optimizer's parameters in the order of its groups."""
    names = {id(p): name for name, p in model.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


# -- groups --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Kind:
    """What parameters of one group have in common."""

    matrix: bool  # one that Muon takes
    ratio: float  # its rate as a multiple of the learning rate
    decays: bool


def groups_of(model: nn.Module, options: TrainingOptions) -> list[dict[str, Any]]:
    """Return the trainable parameters in groups of equal rate and weight decay.

    LoRA+ gives B and the vectors beside it a rate that is `loraplus_lr_ratio` times that of A (as peft's
    `create_loraplus_optimizer`). Biases and the weights of norms do not decay. Muon takes matrices inside of
    the model; vectors, embeddings and the output head are left to AdamW.
    """
    ratio = options.loraplus_lr_ratio or 1.0
    outer, norms = _outer(model), _norms(model)
    found: dict[_Kind, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim == 2 and min(parameter.shape) > 1 and id(parameter) not in outer
        quick = "lora_B" in name or parameter.ndim == 1
        decays = id(parameter) not in norms and not _UNDECAYED.search(name.lower())
        kind = _Kind(matrix and options.optim == "muon", ratio if quick else 1.0, decays)
        found.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": options.learning_rate * kind.ratio,
            "rate_ratio": kind.ratio,
            "weight_decay": options.weight_decay if kind.decays else 0.0,
            "matrix": kind.matrix,
        }
        for kind, parameters in found.items()
    ]


def _outer(model: nn.Module) -> set[int]:
    """Return the ids of parameters of embeddings and of the output head."""
    modules = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is not None:
        modules.append(head)
    return {id(p) for module in modules for p in module.parameters()}


def _norms(model: nn.Module) -> set[int]:
    norms = (m for m in model.modules() if isinstance(m, nn.LayerNorm))
    return {id(p) for module in norms for p in module.parameters()}


# -- the optimizers ------------------------------------------------------------------------------------------
def _betas(options: TrainingOptions) -> tuple[float, float]:
    usual, second = usual_values(options)["training.adam_beta2"], options.adam_beta2
    return options.adam_beta1, usual if second is None else second


def _momentum(options: TrainingOptions) -> float:
    usual, momentum = usual_values(options)["training.momentum"], options.momentum
    return usual if momentum is None else momentum


def _adamw(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
    fused = groups[0]["params"][0].device.type in FUSED_ON
    return torch.optim.AdamW(groups, betas=_betas(options), eps=options.adam_epsilon, fused=fused)


def _sgd(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=_momentum(options))


def _adafactor(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
    """Factored second moments with the rate as it is said, as transformers' trainer sets it."""
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=options.learning_rate, scale_parameter=False, relative_step=False)


def _bitsandbytes(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
    """AdamW and Lion with averages of 8 or 32 bits; tensors below 4096 values keep 32."""
    import bitsandbytes as bnb

    bits = 8 if options.optim.endswith("8bit") else 32
    if options.optim.startswith("lion"):
        return bnb.optim.Lion(groups, betas=_betas(options), optim_bits=bits)
    kinds = {
        "adamw_8bit": bnb.optim.AdamW8bit,
        "paged_adamw": bnb.optim.PagedAdamW32bit,
        "paged_adamw_8bit": bnb.optim.PagedAdamW8bit,
    }
    return kinds[options.optim](groups, betas=_betas(options), eps=options.adam_epsilon)


def _keep_embeddings_whole(model: nn.Module) -> None:
    """Keep 32-bit averages of trained embeddings: most of their rows have no gradient in most steps."""
    from bitsandbytes.optim import GlobalOptimManager

    manager = GlobalOptimManager.get_instance()
    manager.initialize()  # it knows parameters by address, and another model's may have stood there before
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad:
            manager.override_config(module.weight, "optim_bits", 32)


def _muon(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
    """Muon over matrices, scaled so that its steps are as large as AdamW's; AdamW over what else there is."""
    matrices = [group for group in groups if group["matrix"]]
    rest = [group for group in groups if not group["matrix"]]
    if not matrices:
        return _adamw(rest, options)
    muon = torch.optim.Muon(matrices, momentum=_momentum(options), adjust_lr_fn="match_rms_adamw")
    return _Both(muon, _adamw(rest, options)) if rest else muon


class _Both(torch.optim.Optimizer):  # type: ignore[misc]
    """Two optimizers as one, over disjoint parameters: one list of groups, one state, one step."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
        self.parts = (first, second)
        super().__init__([*first.param_groups, *second.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let the parts work on the groups and the state of the whole, which a load replaces."""
        count = len(self.parts[0].param_groups)
        self.parts[0].param_groups = self.param_groups[:count]
        self.parts[1].param_groups = self.param_groups[count:]
        for part in self.parts:
            part.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: Any = None) -> None:
        """Take the step of both."""
        for part in self.parts:
            part.step()


_FAMILIES: dict[str, Any] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "adafactor": _adafactor,
    **dict.fromkeys(OF_BITSANDBYTES, _bitsandbytes),
}
