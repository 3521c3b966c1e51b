"""What several processes change in a plan: what each of them holds, and how fast they are together."""

from __future__ import annotations

from engine.models.facts import ModelFacts
from engine.recipe.recipe import Recipe

EFFICIENCY = 0.9  # of N GPUs, where each step ends with a sum over all of them
EFFICIENCY_SHARDED = 0.7  # where each layer's weights are gathered first, twice a step
SHARED_OUT = ("weights", "adapter", "gradients", "optimizer")
LAYERS_GATHERED = 2  # the one that computes and the one that is fetched meanwhile


def shared_out(terms: dict[str, float], recipe: Recipe, facts: ModelFacts) -> dict[str, float]:
    """Return the terms of one process: under FSDP it holds its part of all weights and what belongs to them.

    Whole are the layers that compute just now, and embedding and head throughout a step.
    """
    if recipe.launcher.strategy != "fsdp" or recipe.launcher.processes == 1:
        return terms
    held = {n: v / recipe.launcher.processes if n in SHARED_OUT else v for n, v in terms.items()}
    in_layers = facts.linear_parameters / max(1, facts.layers)
    outside = max(0, facts.parameters - facts.linear_parameters)
    gathered = (LAYERS_GATHERED * in_layers + outside) / max(1, facts.parameters) * terms["weights"]
    return held | {"workspace": terms["workspace"] + gathered}


def memory_of_one(device_memory: float, recipe: Recipe, *, gpu: bool) -> float:
    """Return the memory that one process may fill: a GPU of its own, or its share of the machine's memory."""
    return device_memory if gpu else device_memory / recipe.launcher.processes


def speed_of_all(speed: float, recipe: Recipe, *, gpu: bool) -> float:
    """Return the operations a second of all processes, from those of one device; a processor is shared."""
    count = recipe.launcher.processes
    if count == 1 or not gpu:
        return speed
    return speed * count * (EFFICIENCY_SHARDED if recipe.launcher.strategy == "fsdp" else EFFICIENCY)
