"""What an optimizer keeps beside each trained value, in bytes: in memory, and in every checkpoint."""

from __future__ import annotations

from engine.recipe.recipe import Recipe

WHOLE = 4  # bytes of an average kept in float32
SMALL = 1 + 4 / 256  # of one kept in 8 bits, with a float32 scale for each 256 values
STATES = {
    "adamw": 2 * WHOLE,
    "paged_adamw": 2 * WHOLE,
    "adamw_8bit": 2 * SMALL,
    "paged_adamw_8bit": 2 * SMALL,
    "lion": WHOLE,
    "lion_8bit": SMALL,
    "muon": WHOLE,  # matrices only; what AdamW steps beside it is small, or counted roughly
}
USUAL_WIDTH = 4096  # of a model's layers: Adafactor keeps a row and a column of each matrix


def state_bytes(recipe: Recipe, trained: int) -> float:
    """Return the bytes of the optimizer's state for so many trained values."""
    name = recipe.training.optim
    if name == "sgd":
        return 0.0 if recipe.training.momentum == 0 else float(WHOLE * trained)
    if name == "adafactor":
        shorter = USUAL_WIDTH if recipe.adapter.method == "full" else recipe.adapter.r
        return WHOLE * trained * (1 / shorter + 1 / USUAL_WIDTH)
    return float(STATES[name] * trained)
