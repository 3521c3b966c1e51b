"""The child's way to its first step: libraries imported without what a run has no use for."""

from __future__ import annotations

import gc
import sys

from engine.models.facts import ModelFacts
from engine.plan.optimizers import OF_BITSANDBYTES
from engine.recipe.recipe import Recipe


def forbid_kernels() -> None:
    """Let nobody import `kernels` in this process.

    It fetches programs from the hub, where a config.json or, on some processors, bitsandbytes asks for them.
    """
    sys.modules["kernels"] = None  # type: ignore[assignment]


def hold_collector(alone: bool) -> None:
    """Keep the collector of cycles still while thousands of modules, classes and layers are made."""
    if alone:
        gc.disable()


def release_collector() -> None:
    """Let it go on as Python does; what will stay until the end anyway is left out of later collections."""
    gc.freeze()
    gc.set_threshold(700, 10, 10)  # steps leave little behind: `python -m engine` looks seldom, see there
    gc.enable()


def leave_out_bitsandbytes(alone: bool, recipe: Recipe, facts: ModelFacts) -> None:
    """Let peft find no bitsandbytes in a process `alone` with a run that does not compute with it.

    peft imports it wherever it is installed, and torch's compiler behind it: a second before the first step.
    """
    quantised = facts.quantization or recipe.model.load_in_4bit or recipe.model.load_in_8bit
    needed = quantised or recipe.training.optim in OF_BITSANDBYTES
    if alone and not needed and "bitsandbytes" not in sys.modules:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]
