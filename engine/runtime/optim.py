"""Optimizers by the recipe's name, and the rate of each step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from engine.recipe.schedules import learning_rate_at
from engine.recipe.training_options import TrainingOptions


def make_optimizer(parameters: Iterable[nn.Parameter], options: TrainingOptions) -> torch.optim.Optimizer:
    """Return the optimizer; its rate is set anew before each step."""
    if options.optim == "sgd":
        return torch.optim.SGD(list(parameters), lr=options.learning_rate, weight_decay=options.weight_decay)
    return torch.optim.AdamW(
        list(parameters), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )


def set_rate(
    optimizer: torch.optim.Optimizer, options: TrainingOptions, step: int, total_steps: int
) -> float:
    """Set and return the learning rate of optimizer step `step` (1-based)."""
    rate = learning_rate_at(
        step, total_steps, options.learning_rate, options.lr_scheduler_type, options.warmup_steps
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
