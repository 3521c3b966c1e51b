"""Advice on how it learns: rate, schedule, optimizer, the size of a step, the width of numbers."""

from __future__ import annotations

from typing import Any

from engine.advice.adapter_rules import right_rank
from engine.advice.finding import Finding
from engine.advice.memory_rules import ADAM, FEW_TRAINED
from engine.advice.situation import Situation
from engine.errors import EngineError
from engine.plan.duration import optimizer_steps
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from engine.recipe.uses import uses

LOW_RATE, HIGH_RATE, USUAL_RATE = 5e-5, 1e-3, 2e-4
HIGH_FULL_RATE, USUAL_FULL_RATE = 5e-5, 1e-5
LOW_SGD_RATE, USUAL_SGD_RATE = 1e-2, 0.1
LOW_RATE_OF_FEW, HIGH_RATE_OF_FEW = 1e-3, 2e-2
USUAL_OF_FEW = {"vera": 4e-3, "ia3": 3e-3}
NAMES = {"vera": "VeRA", "ia3": "IA³"}
HIGH_OF_OTHERS = {  # (limit, usual rate)
    "lion": (4e-4, 4e-5),
    "lion_8bit": (4e-4, 4e-5),
    "muon": (2e-2, 2e-3),
}
LARGE_BATCH = 32
FEW_STEPS, WARMUP_FROM = 50, 100
USUAL_WARMUP = 0.03
RATE = "training.learning_rate"
BATCH, GATHERED = "training.per_device_train_batch_size", "training.gradient_accumulation_steps"


def low_rate(s: Situation) -> Finding | None:
    """R24: a rate for full finetuning, with LoRA; a rate for LoRA, with what trains very few values."""
    training, method = s.recipe.training, s.recipe.adapter.method
    if training.optim not in ADAM:
        return None
    if method in USUAL_OF_FEW and training.learning_rate < LOW_RATE_OF_FEW:
        message = f"{NAMES[method]} trains very few values: at {training.learning_rate:g} it hardly learns."
        usual, sources = USUAL_OF_FEW[method], ("L3",) if method == "ia3" else ()
        return Finding("R24", "warn", message, {RATE: usual}, sources, RATE)
    if not s.lora or training.learning_rate >= LOW_RATE:
        return None
    rate = f"{training.learning_rate:g}"
    message = f"Rate {rate} suits full finetuning; LoRA wants roughly ten times more. Use {USUAL_RATE:g}."
    return Finding("R24", "warn", message, {RATE: USUAL_RATE}, ("S3", "S11"), RATE)


def high_rate(s: Situation) -> Finding | None:
    """R25: a rate that the optimizer seldom stands; methods with very few values want large ones.

    Only Adam's limit has a source; those of other optimizers are ours.
    """
    training, method = s.recipe.training, s.recipe.adapter.method
    few = method in USUAL_OF_FEW
    if training.optim in ADAM:
        most, usual = (HIGH_RATE_OF_FEW, USUAL_OF_FEW[method]) if few else (HIGH_RATE, USUAL_RATE)
        name, sources = "Adam", () if few else ("S11",)
    else:
        most, usual = HIGH_OF_OTHERS.get(training.optim, (float("inf"), 0.0))
        name, sources = training.optim, ()
    if not (s.lora or few) or training.learning_rate <= most:
        return None
    message = f"Learning rate {training.learning_rate:g} is likely unstable with {name}. Use {usual:g}."
    return Finding("R25", "warn", message, {RATE: usual}, sources, RATE)


def high_rate_for_all_weights(s: Situation) -> Finding | None:
    """R26: a rate for adapters, with full finetuning."""
    training = s.recipe.training
    full = s.recipe.adapter.method == "full" and training.optim != "sgd"
    if not full or training.learning_rate <= HIGH_FULL_RATE:
        return None
    message = (
        f"Full finetuning at {training.learning_rate:g} tends to damage the model. Use {USUAL_FULL_RATE:g}."
    )
    return Finding("R26", "warn", message, {RATE: USUAL_FULL_RATE}, ("S3", "S9"), RATE)


def rate_finding(recipe: Recipe) -> Finding | None:
    """Return what is to be said of a recipe's learning rate alone, for a place that judges no more."""
    alone = Situation(recipe)
    found = (rule(alone) for rule in (low_rate, high_rate, high_rate_for_all_weights, low_rate_for_sgd))
    return next((each for each in found if each is not None), None)


def sgd_without_schedule(s: Situation) -> Finding | None:
    """R27: SGD at a constant rate."""
    training = s.recipe.training
    if training.optim != "sgd" or training.lr_scheduler_type != "constant":
        return None
    message = "SGD without a schedule trained clearly worse; use cosine."
    fix = {"training.lr_scheduler_type": "cosine"}
    return Finding("R27", "warn", message, fix, ("A5", "E3"), "training.lr_scheduler_type")


def low_rate_for_sgd(s: Situation) -> Finding | None:
    """R28: SGD at a rate made for Adam; where Adam costs nothing, the way out is Adam (see R29)."""
    training = s.recipe.training
    if training.optim != "sgd" or not s.lora or training.learning_rate >= LOW_SGD_RATE:
        return None
    fix: dict[str, Any] = {RATE: USUAL_SGD_RATE}
    message = f"SGD needs a far higher rate than Adam; begin at {USUAL_SGD_RATE:g} and run a rate sweep."
    left = right_rank(s) / s.recipe.adapter.r  # of the trained values, where a smaller rank is advised too
    if s.trained is not None and s.trained * left < FEW_TRAINED:
        fix = {"training.optim": "adamw"}
        message = "SGD needs a far higher rate than Adam; Adam costs hardly any memory here."
        if s.fits_with(fix) is False:
            fix = {RATE: USUAL_SGD_RATE}
    return Finding("R28", "warn", message, fix, ("E3",), RATE)


def large_batch(s: Situation) -> Finding | None:
    """R31: many samples a step with LoRA."""
    if not s.lora or s.batch <= LARGE_BATCH:
        return None
    message = f"{s.batch} samples a step: LoRA tolerates large batches less well; use 32 or fewer."
    return Finding("R31", "hint", message, batch_fix(s, LARGE_BATCH), ("S3",), GATHERED)


def few_steps(s: Situation) -> Finding | None:
    """R32: fewer than fifty updates."""
    steps = None if s.plan is None else s.plan.steps
    if steps is None or steps >= FEW_STEPS:
        return None
    fix, field = _fix_of_steps(s)
    way_out = "Reduce the effective batch or add data."
    if s.recipe.training.max_steps is not None:
        way_out = "Raise the limit of steps or remove it."
    words = f"Only {steps} {'update' if steps == 1 else 'updates'}: expect little learning. {way_out}"
    return Finding("R32", "warn", words, fix, ("S3",), field)


def _fix_of_steps(s: Situation) -> tuple[dict[str, Any], str]:
    """Return the largest batch below the present one that gives enough steps, or a run without its limit."""
    if s.data is None:
        return {}, GATHERED
    rows = s.data.counts_for(s.recipe.data).rows
    if s.recipe.training.max_steps is not None:
        whole = override(s.recipe, {"training.max_steps": None})
        enough = optimizer_steps(whole, rows) >= FEW_STEPS
        return ({"training.max_steps": None} if enough else {}), "training.max_steps"
    target = min(s.batch - 1, int(rows * s.recipe.training.num_train_epochs / (FEW_STEPS - 1)))
    while target >= s.recipe.launcher.processes:
        fix = batch_fix(s, target)
        try:
            if optimizer_steps(override(s.recipe, fix), rows) >= FEW_STEPS:
                return fix, GATHERED
        except EngineError:
            return {}, GATHERED
        target = target * 3 // 4
    return {}, GATHERED


def batch_fix(s: Situation, most: int) -> dict[str, Any]:
    """Return the overrides for at most so many samples a step: fewer gathered, then fewer at once."""
    training, processes = s.recipe.training, s.recipe.launcher.processes
    at_once = min(training.per_device_train_batch_size, most // processes)
    if at_once < 1:
        return {}
    gathered = max(1, min(training.gradient_accumulation_steps, most // (at_once * processes)))
    fix: dict[str, Any] = {}
    if gathered != training.gradient_accumulation_steps:
        fix[GATHERED] = gathered
    if at_once != training.per_device_train_batch_size:
        fix[BATCH] = at_once
    return fix


def no_warmup(s: Situation) -> Finding | None:
    """R33: a long run that begins at its full rate."""
    training = s.recipe.training
    steps = None if s.plan is None else s.plan.steps
    if training.warmup_steps != 0 or steps is None or steps <= WARMUP_FROM:
        return None
    if not uses(training, "warmup_steps"):
        return None
    fix = {"training.warmup_steps": USUAL_WARMUP}
    message = "The run begins at its full rate: a short warmup, 3 % of the steps, avoids early spikes."
    return Finding("R33", "hint", message, fix, ("S1",), "training.warmup_steps")


def half_precision(s: Situation) -> Finding | None:
    """R42: fp16 where the GPU has bf16."""
    if s.recipe.model.dtype != "float16" or s.machine is None or not s.machine.devices:
        return None
    capability = s.machine.devices[0].capability
    if capability is not None and capability < (8, 0):
        return None
    fix = {"model.dtype": "bfloat16"}
    message = "bf16 avoids loss scaling trouble on this GPU. Use bfloat16."
    return Finding("R42", "hint", message, fix, ("S1",), "model.dtype")
