"""How far the truth may lie from the formula's memory: less where it was held against replays."""

from __future__ import annotations

from collections.abc import Mapping

from engine.models.facts import ModelFacts
from engine.plan.memory import total_bytes
from engine.plan.way import JOINED_ATTENTION, JOINED_MLP
from engine.recipe.recipe import Recipe

CHECKED = 0.05  # to either side, as a share: families and methods that replays agree with
OTHER_METHOD = 0.12
OTHER_FAMILY = 0.12
ROUGH = 0.25  # a family without a table of its own
ON_CPU = 0.15  # a process's memory is more than its tensors
ARTICLE = 0.11  # the worst of the known rows, gaps included


def memory_band(
    recipe: Recipe, facts: ModelFacts, terms: Mapping[str, float], profile: str, *, gpu: bool
) -> tuple[float, float]:
    """Return (low, high) in bytes around the sum of `terms`."""
    if profile == "litgpt":
        share = ARTICLE
    else:
        known = facts.model_type in JOINED_ATTENTION and facts.model_type in JOINED_MLP
        share = CHECKED if known else OTHER_FAMILY
        if facts.rough:
            share = ROUGH
        if recipe.adapter.method != "lora" or recipe.adapter.use_dora or recipe.model.load_in_8bit:
            share = max(share, OTHER_METHOD)
    if not gpu:
        share = max(share, ON_CPU)
    needed = total_bytes(dict(terms))
    moving = needed - terms["runtime"]
    return needed - share * moving, needed + share * moving
