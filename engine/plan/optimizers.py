"""What each optimizer asks of a machine: memory beside each trained value, a library, a GPU."""

from __future__ import annotations

import importlib.util
from functools import cache

from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.recipe.training_options import TrainingOptions

# Optimizers that bitsandbytes computes. It has all of them for the CPU too, but pages only a GPU's memory.
OF_BITSANDBYTES = ("adamw_8bit", "paged_adamw", "paged_adamw_8bit", "lion", "lion_8bit")
PAGED = {"paged_adamw": "adamw", "paged_adamw_8bit": "adamw_8bit"}  # and what steps in the same way

WHOLE = 4  # bytes of an average kept in float32
SMALL = 1 + 4 / 256  # of one kept in 8 bits, with a float32 scale for each 256 values
IN_8_BITS = {"adamw": "adamw_8bit", "paged_adamw": "paged_adamw_8bit", "lion": "lion_8bit"}
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


@cache
def installed(library: str) -> bool:
    """Say whether a library is there; asked once, because each search of the import paths takes its time."""
    return importlib.util.find_spec(library) is not None


def runs_here(name: str) -> bool:
    """Say whether the library of an optimizer is installed."""
    return name not in OF_BITSANDBYTES or installed("bitsandbytes")


def refuse(options: TrainingOptions, device: str) -> None:
    """Raise EngineError REC-01 for an optimizer that a machine cannot run; `device` is cuda or cpu."""
    if not runs_here(options.optim):
        raise EngineError(
            f"training.optim: {options.optim} needs bitsandbytes, which is not installed.",
            "Use adamw, or adafactor to save memory.",
            "REC-01",
            field="training.optim",
        )
    if options.optim in PAGED and device != "cuda":
        raise EngineError(
            f"training.optim: {options.optim} needs an NVIDIA GPU, whose memory it moves averages out of.",
            f"Use {PAGED[options.optim]}, which steps in the same way.",
            "REC-01",
            field="training.optim",
        )
