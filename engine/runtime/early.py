"""Early stopping: how often in a row validation has not improved, and what is said when that is enough.

As transformers' EarlyStoppingCallback counts it: an evaluation counts as improved when its loss lies by more
than `early_stopping_threshold` below the best before it. The count is part of every checkpoint, so that a
resumed run ends where one that was never stopped would.
"""

from __future__ import annotations

import math

from engine.data.dataset import Prepared
from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runtime.training import Training


def refuse_without_validation(recipe: Recipe, data: Prepared) -> None:
    """Raise EngineError REC-01 when early stopping is asked for and nothing is left to validate with."""
    if recipe.training.early_stopping_patience is not None and not data.validation:
        raise EngineError(
            "Early stopping needs validation, and no row is left for it.",
            "Name a validation file, raise validation_split, or leave early_stopping_patience empty.",
            "REC-01",
            field="training.early_stopping_patience",
        )


def count(run: Training, loss: float, *, scheduled: bool) -> None:
    """Take an evaluation into the count, before it becomes the best one.

    One that a person asked for in between may show an improvement; it never brings the end nearer.
    """
    threshold = run.recipe.training.early_stopping_threshold
    improved = math.isfinite(loss) and (run.best_loss is None or run.best_loss - loss > threshold)
    if improved:
        run.evaluations_without_gain = 0
    elif scheduled:
        run.evaluations_without_gain += 1


def reason(run: Training) -> str:
    """Return why the run ends before its last step, an empty text while it goes on."""
    patience = run.recipe.training.early_stopping_patience
    if patience is None or run.evaluations_without_gain < patience or run.step >= run.table.total_steps:
        return ""
    many = "one evaluation" if patience == 1 else f"{run.evaluations_without_gain} evaluations in a row"
    words = (
        f"Stopped early at step {run.step} of {run.table.total_steps}: validation has not improved at {many}"
    )
    if run.best_loss is None or run.best_step is None:
        return f"{words}."
    return f"{words} (best {run.best_loss:.4f} at step {run.best_step})."
