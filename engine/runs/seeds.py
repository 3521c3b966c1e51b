"""The same recipe with several seeds: one run alone cannot tell an effect from noise."""

from __future__ import annotations

import math

from engine.recipe import codec
from engine.recipe.fields import field_spec
from engine.recipe.recipe import Recipe
from engine.runs.store import readable_name

SEEDS = 3  # as advice R43 asks for
NAME_LENGTH = 80  # characters of a run's name, which takes 100 with the seed behind it


def with_seeds(recipe: Recipe, count: int = SEEDS) -> list[Recipe]:
    """Return the recipe with its own seed and those that follow, each named by its seed.

    They differ in name and seed alone, so that a comparison counts them as one recipe; all are measured on
    the rows that its own seed keeps aside.
    """
    own, most = recipe.training.seed, int(field_spec("training.seed").maximum or 0)
    name = readable_name(recipe)[:NAME_LENGTH]
    split = own if recipe.data.split_seed is None else recipe.data.split_seed
    found = []
    for step in range(count):
        seed = own + step if own + count - 1 <= most else own - step
        values = {"training.seed": seed, "data.split_seed": split, "name": f"{name}-seed-{seed}"}
        found.append(codec.override(recipe, values))
    return found


def seconds_of_all(seconds: float, recipe: Recipe, devices: int, count: int = SEEDS) -> float:
    """Return how long `count` runs of `seconds` take in the queue, which has one run a device."""
    side_by_side = max(1, devices // max(1, recipe.launcher.processes))
    return seconds * math.ceil(count / side_by_side)
