"""How long a run takes, roughly: the arithmetic it needs over the speed its device is known to reach."""

from __future__ import annotations

import math

from engine.hardware.devices import Gpu, Machine
from engine.models.facts import ModelFacts
from engine.recipe.recipe import Recipe

# Reached, not promised: matrix products of a training step in floating-point operations a second.
# Of a processor: 334 tokens a second in fp32 and 559 in bf16, the starter with all linear layers on 2 cores
# of a shared server (tests/bench/RESULTS.md).
CPU_CORE_FP32 = 8e10
CPU_BF16_GAIN = 1.7
GPU_SHARE = 0.35
GPU_PEAK_BF16 = {
    "H200": 9.9e14, "H100": 9.9e14, "A100": 3.1e14, "L40": 1.8e14, "A40": 1.5e14, "A10": 1.25e14,
    "L4": 1.2e14, "T4": 6.5e13, "5090": 2.1e14, "4090": 1.65e14, "4080": 9.7e13, "4070": 5.8e13,
    "4060": 3.0e13, "3090": 7.1e13, "3080": 6.0e13, "3070": 4.1e13, "3060": 2.5e13,
}  # fmt: skip
GPU_UNKNOWN = 4e13


def device_speed(gpu: Gpu | None, machine: Machine, precision: str) -> float:
    """Return the floating-point operations a second that a training step reaches on this device."""
    if gpu is None:
        return CPU_CORE_FP32 * machine.cores * (CPU_BF16_GAIN if precision == "bf16" else 1.0)
    peak = next((speed for name, speed in GPU_PEAK_BF16.items() if name in gpu.name), GPU_UNKNOWN)
    return GPU_SHARE * peak * (1.0 if precision == "bf16" else 0.25)


def operations_per_token(
    facts: ModelFacts, trained: int, mean_tokens: float, supervised_share: float
) -> float:
    """Return the operations of one trained token: forward, gradients to the inputs and to what is trained."""
    head = facts.vocab_size * facts.hidden_size * supervised_share
    attention = facts.layers * facts.heads * facts.head_dim * mean_tokens
    return 4 * (facts.linear_parameters + head) + 6 * trained + 6 * attention


def steps_per_epoch(recipe: Recipe, train_examples: int) -> int:
    """Return the optimizer steps of one pass: the last, smaller batch counts as one."""
    batch = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    return max(1, math.ceil(train_examples / (batch * recipe.launcher.processes)))


def optimizer_steps(recipe: Recipe, train_examples: int) -> int:
    """Return the optimizer steps of a run."""
    if recipe.training.max_steps is not None:
        return recipe.training.max_steps
    return max(1, math.ceil(recipe.training.num_train_epochs * steps_per_epoch(recipe, train_examples)))
