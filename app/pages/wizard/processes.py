"""Several processes in the training step: offered where there are several GPUs, for experts elsewhere."""

from __future__ import annotations

import math
from typing import Any

from app.pages.wizard.state import WizardState
from app.widgets.plan_column import Advice
from engine.recipe.codec import override
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe

TITLE = "Several processes"
PROCESSES, STRATEGY = "launcher.processes", "launcher.strategy"
FIELDS = ("launcher.kind", PROCESSES, STRATEGY, "launcher.threads")
OFFERED = (PROCESSES, STRATEGY)  # at every level where there are several GPUs


def gpus_of(state: WizardState) -> int:
    """Return how many GPUs this machine has, 0 until it is known."""
    machine = state.services.hardware.machine
    return 0 if machine is None else len(machine.devices)


def is_offered(state: WizardState) -> bool:
    """Return whether several processes are a choice for everybody here."""
    return gpus_of(state) > 1 or state.recipe.launcher.processes > 1


def used_by(state: WizardState, path: str) -> bool:
    """Return whether a field says something: how work is shared matters to several only."""
    return path != STRATEGY or state.recipe.launcher.processes > 1 or state.recipe.launcher.strategy != "ddp"


def with_all(recipe: Recipe, gpus: int) -> dict[str, Any]:
    """Return the values that take the same steps on all GPUs: each gets its share of a step's examples."""
    training = recipe.training
    before = recipe.launcher.processes
    times, batch = training.gradient_accumulation_steps * before, training.per_device_train_batch_size
    values: dict[str, Any] = {"launcher.kind": "torchrun", PROCESSES: gpus}
    if times % gpus == 0:
        values["training.gradient_accumulation_steps"] = times // gpus
    elif (times * batch) % gpus == 0:
        values["training.gradient_accumulation_steps"] = 1
        values["training.per_device_train_batch_size"] = times * batch // gpus
    return values


def shared_out(recipe: Recipe, gpus: int) -> dict[str, Any]:
    """Return the values that spread the weights over all GPUs, or nothing where that cannot be had."""
    values = with_all(recipe, gpus) | strategy_values("fsdp")
    return {} if clashes(override(recipe, values)) else values


def strategy_values(strategy: str) -> dict[str, Any]:
    """Return a strategy with what goes with it: no process of FSDP can cut its batch alone."""
    return {STRATEGY: strategy, "training.on_out_of_memory": "fail" if strategy == "fsdp" else "split"}


def words_of(state: WizardState) -> str:
    """Return what the processes are for on this machine."""
    gpus, recipe = gpus_of(state), state.recipe
    count = recipe.launcher.processes
    if count == 1:
        if gpus > 1:
            return f"This machine has {gpus} GPUs; one of them is used."
        return "A second process pays where there is a second GPU; processes on one processor share it."
    words = f"Each of {count} processes takes its own {product_of(recipe, each=True)[1]} examples of a step"
    if gpus > 1:
        return f"{words}, on {min(count, gpus)} of {gpus} GPUs."
    return f"{words}; they share this {'GPU' if gpus else 'processor'}."


def product_of(recipe: Recipe, *, each: bool = False) -> tuple[str, int]:
    """Return the examples of a step as a product, and how many they are; with `each` those of one process."""
    training, count = recipe.training, 1 if each else recipe.launcher.processes
    factors = [training.per_device_train_batch_size, training.gradient_accumulation_steps]
    factors += [count] if count > 1 else []
    return " × ".join(map(str, factors)), math.prod(factors)


def advice_of(state: WizardState) -> list[Advice]:
    """Return the offer to use all GPUs, and to spread a model over them that does not fit one."""
    gpus, recipe, plans = gpus_of(state), state.recipe, state.plans
    if gpus < 2:
        return []
    if plans is not None and plans.now.fits is False and recipe.launcher.strategy == "ddp":
        values = shared_out(recipe, gpus)
        if values:
            text = "FSDP shares the weights out too: each GPU holds a part of them, and all compute together."
            press = (f"Share out over {gpus} GPUs", lambda: state.set_values(values))
            return [Advice("info", "Too large for one GPU", text, press)]
    if recipe.launcher.processes == 1:
        text = "The same steps in less time: each GPU takes its share of the examples of a step."
        press = (f"Use all {gpus} GPUs", lambda: state.set_values(with_all(recipe, gpus)))
        return [Advice("info", f"{gpus} GPUs, and one is used", text, press)]
    if recipe.launcher.processes > gpus:
        text = "Each process needs a GPU of its own."
        press = (f"Use {gpus}", lambda: state.set_values(with_all(recipe, gpus)))
        return [Advice("bad", f"{recipe.launcher.processes} processes, but {gpus} GPUs", text, press)]
    return []
