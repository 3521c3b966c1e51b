"""What a run needs on the disk at most, in bytes: reckoned before it is made and again before it begins."""

from __future__ import annotations

from engine.plan.adapter_size import saved_bytes
from engine.plan.optimizers import state_bytes
from engine.recipe.recipe import Recipe

SPARE_BYTES = 256 * 1024**2  # the rows, the log, and what else is small


def checkpoint_bytes(recipe: Recipe, trainable: int) -> float:
    """Return the size of one checkpoint: `trainable` values, and what the optimizer keeps beside them."""
    return saved_bytes(recipe.adapter) * trainable + state_bytes(recipe, trainable)


def needed_bytes(recipe: Recipe, trainable: int) -> float:
    """Return what a run may write: the checkpoints kept, the best, one being written, the result."""
    saves = (recipe.checkpoint.save_total_limit + 2) * checkpoint_bytes(recipe, trainable)
    return saves + saved_bytes(recipe.adapter) * trainable + SPARE_BYTES
