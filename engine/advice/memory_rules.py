"""Advice on memory: whether a run fits, what the 4-bit base is worth, what dropout and the optimizer cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.advice.finding import Finding, gigabytes
from engine.advice.situation import Situation
from engine.plan.optimizers import IN_8_BITS, PAGED, runs_here, state_bytes
from engine.plan.planner import TIGHT
from engine.recipe.codec import override

ROOMY = 0.85  # of the memory: below it a change that needs more is safe to advise
ADAPTER_RATE = 2e-4
SMALL_MODEL = 1e9  # parameters
FEW_TRAINED = 30e6
ADAM = ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit")
LARGE_STATES = 0.1  # of the peak
WORTH_BYTES = 256e6
MOST_CHANGES = 12  # one on another, before it is said that none fits
DROPOUT_SHARE = 0.01  # of the peak


def does_not_fit(s: Situation) -> Finding | None:
    """R01: the predicted peak is above what is free."""
    plan = s.plan
    if plan is None or s.free is None or plan.memory_bytes <= s.free:
        return None
    found, saved = lighter(s, TIGHT * s.free)
    if not found:
        found, saved = lighter(s, s.free)
    way_out = "Apply the cheapest change that fits." if found else "No change of the recipe makes it fit."
    if not found and s.recipe.adapter.method == "full":
        found, saved = _an_adapter(s)
        way_out = "Train an adapter instead of every weight." if found else way_out
    return Finding(
        "R01",
        "error",
        f"Predicted peak {gigabytes(plan.memory_bytes)} GB exceeds {gigabytes(s.free)} GB free. {way_out}",
        found,
        ("A3", "A14", "K8"),
        "training.per_device_train_batch_size",
        saved,
    )


def _an_adapter(s: Situation) -> tuple[dict[str, Any], float | None]:
    """Return the change from full finetuning to LoRA where that fits, and the bytes that it saves."""
    fix: dict[str, Any] = {"adapter.method": "lora", "training.learning_rate": ADAPTER_RATE}
    return (fix, _saved(s, fix)) if s.fits_with(fix) else ({}, None)


def has_little_headroom(s: Situation) -> Finding | None:
    """R02: it fits, with less than 8 % to spare."""
    plan = s.plan
    if plan is None or not s.free or not TIGHT * s.free < plan.memory_bytes <= s.free:
        return None
    found, saved = lighter(s, TIGHT * s.free)
    left = (
        f"{100 * (1 - plan.memory_bytes / s.free):.1f} % headroom, {gigabytes(s.free - plan.memory_bytes)} GB"
    )
    return Finding(
        "R02",
        "warn",
        f"Only {left}. Fragmentation may still run out of memory.",
        found,
        ("P12",),
        "training.gradient_checkpointing",
        saved,
    )


def lighter(s: Situation, limit: float) -> tuple[dict[str, Any], float | None]:
    """Return the cheapest changes that bring the peak to `limit` bytes or less, and the bytes they save.

    The plan lists them by the harm they do; where no single one suffices they are taken one on another.
    Empty where nothing does.
    """
    if s.plan is None or s.replan is None:
        return {}, None
    now = s.plan.memory_bytes
    for each in _allowed(s, s.plan.suggestions):
        if each["memory_bytes"] <= limit:
            return dict(each["set"]), now - each["memory_bytes"]
    taken: dict[str, Any] = {}
    plan = s.plan
    for _ in range(MOST_CHANGES):
        following = next(iter(_allowed(s, plan.suggestions)), None)
        if following is None:
            break
        taken |= following["set"]
        plan = s.replan(taken)
        if plan.memory_bytes <= limit:
            return taken, now - plan.memory_bytes
    return {}, None


def _allowed(s: Situation, suggestions: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the suggestions that no other rule would speak against, in their order."""
    return [each for each in suggestions if _is_sound(s, each["set"])]


def _is_sound(s: Situation, changes: Mapping[str, Any]) -> bool:
    four_bit = changes.get("model.load_in_4bit") or changes.get("model.load_in_8bit")
    if four_bit and (not s.has_gpu or (s.facts is not None and s.facts.parameters < SMALL_MODEL)):
        return False
    if changes.get("training.optim") in PAGED and not s.has_gpu:
        return False
    limit = changes.get("data.max_length")
    # A cut that costs many answers their end is no cheap change.
    return limit is None or s.data is None or limit >= s.data.lengths.p95


def unneeded_4bit(s: Situation) -> Finding | None:
    """R03: the 4-bit base saves what is not short."""
    if not _on_gpu_in_4bit(s) or small_in_4bit(s) is not None:
        return None
    fix = {"model.load_in_4bit": False}
    needed = s.memory_with(fix)
    if needed is None or s.free is None or needed > ROOMY * s.free:
        return None
    message = f"The model fits unquantised, in {gigabytes(needed)} GB. 4-bit costs about half again the time."
    return Finding("R03", "hint", message, fix, ("A3",), "model.load_in_4bit")


def four_bit_without_gpu(s: Situation) -> Finding | None:
    """R04: the kernels of the 4-bit base are made for GPUs; a processor unpacks every weight at each use.

    An error only where the whole base fits: else 4 bits are the one way to train at all.
    """
    if not s.recipe.model.load_in_4bit or s.has_gpu is not False:
        return None
    fix: dict[str, Any] = {"model.load_in_4bit": False}
    if s.fits_with(fix, 1.0) is False:
        message = "Without a supported GPU the 4-bit base computes slowly; a smaller model needs no 4-bit."
        return Finding("R04", "warn", message, {}, (), "model.load_in_4bit")
    message = "4-bit kernels need a supported GPU; here they only cost time. Train in 16 or 32 bit."
    return Finding("R04", "error", message, fix, (), "model.load_in_4bit")


def small_in_4bit(s: Situation) -> Finding | None:
    """R05: small models suffer from 4 bits, and have little to save."""
    if not s.recipe.model.load_in_4bit or s.facts is None or s.facts.parameters >= SMALL_MODEL:
        return None
    fix: dict[str, Any] = {"model.load_in_4bit": False}
    if s.fits_with(fix) is False:
        fix = {}
    message = "Small models lose quality in 4-bit: +0.107 loss at 135M (earlier run). Train unquantised."
    return Finding("R05", "warn", message, fix, ("E2",), "model.load_in_4bit")


def no_double_quantisation(s: Situation) -> Finding | None:
    """R06: the scales of the 4-bit blocks are kept whole."""
    model = s.recipe.model
    if not model.load_in_4bit or model.bnb_4bit_use_double_quant:
        return None
    fix: dict[str, Any] = {"model.bnb_4bit_use_double_quant": True}
    if model.bnb_4bit_quant_type != "nf4":
        fix["model.bnb_4bit_quant_type"] = "nf4"
    message = "Double quantisation saves about 0.37 bit per weight for little cost."
    where = "model.bnb_4bit_use_double_quant"
    return Finding("R06", "hint", message, fix, ("S2",), where, _saved(s, fix))


def dropout_costs_memory(s: Situation) -> Finding | None:
    """R23: where memory is short, dropout on the adapter keeps a masked copy of every input."""
    if s.recipe.adapter.lora_dropout == 0 or not s.lora or not s.tight or few_samples_twice(s):
        return None
    fix = {"adapter.lora_dropout": 0.0}
    saved = _saved(s, fix)
    if saved is None or s.plan is None or saved < DROPOUT_SHARE * s.plan.memory_bytes:
        return None
    message = f"Adapter dropout costs {gigabytes(saved)} GB of activations here. Do without it."
    return Finding("R23", "hint", message, fix, ("K10",), "adapter.lora_dropout", saved)


def few_samples_twice(s: Situation) -> bool:
    """Return whether under a thousand samples are seen more than once (R22's condition on the data)."""
    few = s.data is not None and s.data.counts.train_examples < 1000
    return few and s.passes is not None and s.passes > 1


def sgd_saves_nothing(s: Situation) -> Finding | None:
    """R29: with few trained values Adam's averages are small."""
    if s.recipe.training.optim != "sgd" or not s.lora or s.trained is None or s.trained >= FEW_TRAINED:
        return None
    fix: dict[str, Any] = {"training.optim": "adamw"}
    if s.recipe.training.learning_rate > 1e-3:
        fix["training.learning_rate"] = 2e-4
    if s.fits_with(fix) is False:
        return None
    message = f"Adam's states are only {8 * s.trained / 1e6:.0f} MB here; SGD saves nothing."
    return Finding("R29", "hint", message, fix, ("A7",), "training.optim")


def large_optimizer_states(s: Situation) -> Finding | None:
    """R30: Adam's averages are a good part of the peak."""
    if s.plan is None or s.recipe.training.optim not in IN_8_BITS or s.recipe.training.optim not in ADAM:
        return None
    states = s.plan.terms.get("optimizer", 0.0)
    if states < max(WORTH_BYTES, LARGE_STATES * s.plan.memory_bytes):
        return None
    name = "paged_adamw_8bit" if s.has_gpu else "adamw_8bit"
    sharded = s.recipe.launcher.strategy == "fsdp"
    fix = {"training.optim": name} if runs_here(name) and not sharded else {}
    message = f"Optimizer states take {gigabytes(states)} GB; an 8-bit or paged optimizer cuts this."
    saved = states - state_bytes(override(s.recipe, fix), s.plan.trainable_parameters) if fix else None
    return Finding("R30", "hint", message, fix, ("A8", "K6", "K7"), "training.optim", saved)


def _on_gpu_in_4bit(s: Situation) -> bool:
    return s.recipe.model.load_in_4bit and s.has_gpu is True


def _saved(s: Situation, fix: Mapping[str, Any]) -> float | None:
    needed = s.memory_with(fix) if fix else None
    return None if needed is None or s.plan is None else s.plan.memory_bytes - needed
