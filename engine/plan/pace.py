"""How often a run is measured and saved: what `auto` and `epoch` come to in steps."""

from __future__ import annotations

import math

from engine.recipe.recipe import Recipe

AUTO_EVALUATIONS = 5
AUTO_SAVES = 10
AUTO_SAVE_SECONDS = 300.0


def eval_every(recipe: Recipe, steps_per_epoch: int, total_steps: int) -> int | None:
    """Return the steps between two evaluations, None when only the last step has one."""
    return _steps(recipe.evaluation.eval_steps, steps_per_epoch, total_steps, AUTO_EVALUATIONS)


def save_every(recipe: Recipe, steps_per_epoch: int, total_steps: int) -> int:
    """Return the steps between two checkpoints; `auto` saves by the clock too (`save_seconds`)."""
    return _steps(recipe.checkpoint.save_steps, steps_per_epoch, total_steps, AUTO_SAVES) or total_steps


def save_seconds(recipe: Recipe) -> float | None:
    """Return after how many seconds without a save there is one, None when steps alone decide."""
    return AUTO_SAVE_SECONDS if recipe.checkpoint.save_steps == "auto" else None


def evaluations(recipe: Recipe, steps_per_epoch: int, total_steps: int) -> int:
    """Return how many evaluations a whole run has, the one after the last step included."""
    every = eval_every(recipe, steps_per_epoch, total_steps)
    return 1 if every is None else math.ceil(total_steps / every)


def _steps(asked: int | str | None, steps_per_epoch: int, total_steps: int, auto: int) -> int | None:
    if asked == "epoch":
        return max(1, steps_per_epoch)
    if asked == "auto":
        return max(1, math.ceil(total_steps / auto))
    return None if asked is None else int(asked)
