"""Memory, time and size of a run before it starts: fast enough to be asked at every key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from engine.hardware.devices import Gpu, Machine
from engine.models.facts import ModelFacts
from engine.plan.band import memory_band
from engine.plan.changes import suggestions
from engine.plan.corrected import TIGHT as TIGHT
from engine.plan.corrected import corrected, put_right, verdict
from engine.plan.data_facts import DataFacts as DataFacts
from engine.plan.duration import optimizer_steps
from engine.plan.layout import layout_of
from engine.plan.ledger import Ledger
from engine.plan.memory import memory_terms, total_bytes
from engine.plan.setting import precision_of as precision_of
from engine.plan.setting import setting_of
from engine.plan.several import memory_of_one
from engine.plan.times import Times, times_of
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """The estimate: trainable parameters, steps and tokens of whole epochs are exact; the rest is rough.

    `verdict` is fits, tight (above 92 % of the device) or too_large; None without a device memory to compare.
    `profile` is whose training is planned (own, peft or litgpt), `basis` what the figures rest on. The bands
    are (low, high), bytes and seconds: where the truth lies in most cases. `suggestions` are {"set": {path:
    value}, "memory_bytes", "saves_bytes", "fits"}, those that fit first. `time_terms` are the seconds of
    start, steps, evaluations, samples and saves. `memory_factor` is what this machine's runs multiplied
    the formula's memory by; `memory_runs` and `time_runs` count them.
    """

    fits: bool | None
    verdict: str | None
    memory_bytes: float
    device_memory_bytes: float | None
    terms: dict[str, float]
    seconds: float | None
    steps: int | None
    tokens: int | None
    trainable_parameters: int
    total_parameters: int
    suggestions: list[dict[str, Any]]
    precision: str
    gradient_checkpointing: bool
    rough: bool = True
    profile: str = "own"
    memory_band: tuple[float, float] = (0.0, 0.0)
    seconds_band: tuple[float, float] | None = None
    basis: str = "formula"
    time_terms: dict[str, float] = field(default_factory=dict)
    memory_factor: float = 1.0
    memory_runs: int = 0
    time_runs: int = 0


def plan(
    recipe: Recipe,
    facts: ModelFacts,
    data: DataFacts | None = None,
    device_memory: float | None = None,
    machine: Machine | None = None,
    *,
    profile: str = "own",
    ledger: Ledger | None = None,
) -> Plan:
    """Plan `recipe` on the first GPU of `machine`, else its processor; `device_memory` overrides its size.

    With several processes the memory is that of each of them, the time that of all together. `profile` is
    whose training it is; `ledger` knows by how much this machine's runs were off.
    """
    gpu = machine.devices[0] if machine and machine.devices else None
    if device_memory is None and machine is not None:
        device_memory = gpu.total_bytes if gpu else machine.ram_total_bytes
        device_memory = memory_of_one(device_memory, recipe, gpu=gpu is not None)
    terms, checkpointing = terms_of(recipe, facts, data, gpu, device_memory, profile=profile)
    needed = total_bytes(terms)
    steps, tokens = _steps_and_tokens(recipe, data)
    times = _times(recipe, facts, data, tokens, machine, checkpointing)
    found = Plan(
        fits=None if device_memory is None else needed <= device_memory,
        verdict=verdict(needed, device_memory),
        memory_bytes=needed,
        device_memory_bytes=device_memory,
        terms=terms,
        seconds=None,
        steps=steps,
        tokens=tokens,
        trainable_parameters=layout_of(facts, recipe.adapter).trained,
        total_parameters=facts.parameters,
        suggestions=[],
        precision=precision_of(recipe, gpu),
        gradient_checkpointing=checkpointing,
        profile=profile,
        memory_band=memory_band(recipe, facts, terms, profile, gpu=gpu is not None),
    )
    found = corrected(found, recipe, machine, ledger, times)
    if found.fits is False and recipe.training.gradient_checkpointing == "auto" and not checkpointing:
        again = override(recipe, {"training.gradient_checkpointing": "all"})
        return plan(again, facts, data, device_memory, machine, profile=profile, ledger=ledger)
    return replace(found, suggestions=_suggestions(recipe, facts, data, gpu, found))


def terms_of(
    recipe: Recipe,
    facts: ModelFacts,
    data: DataFacts | None,
    gpu: Gpu | None,
    device_memory: float | None,
    *,
    profile: str = "own",
) -> tuple[dict[str, float], bool]:
    """Return the terms at the peak, and whether layers are computed twice: as asked, or where it must be."""
    asked = recipe.training.gradient_checkpointing
    for checkpointing in (False, True):
        if (asked, checkpointing) in (("all", False), ("none", True)):
            continue
        setting = setting_of(recipe, data, gpu, checkpointing=checkpointing, profile=profile)
        terms = memory_terms(recipe, facts, setting, profile)
        if asked != "auto" or checkpointing or not device_memory or total_bytes(terms) <= device_memory:
            break
    return terms, checkpointing


def _suggestions(
    recipe: Recipe, facts: ModelFacts, data: DataFacts | None, gpu: Gpu | None, made: Plan
) -> list[dict[str, Any]]:
    """Return the changes that save memory when the plan does not fit or is tight."""
    room = made.device_memory_bytes
    if room is None or made.memory_bytes <= TIGHT * room:
        return []

    def needs(changed: Recipe) -> float:
        terms, _ = terms_of(changed, facts, data, gpu, room, profile=made.profile)
        return put_right(total_bytes(terms), terms, made.memory_factor)

    device = "cpu" if gpu is None else "cuda"
    twice = made.gradient_checkpointing
    return suggestions(recipe, made.memory_bytes, room, needs, checkpointing=twice, device=device)


def _steps_and_tokens(recipe: Recipe, data: DataFacts | None) -> tuple[int | None, int | None]:
    if data is None or data.train_examples == 0:
        return recipe.training.max_steps, None
    steps = optimizer_steps(recipe, data.rows)
    batch = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    if recipe.training.max_steps is None:
        return steps, round(data.total_tokens * recipe.training.num_train_epochs)
    seen = min(steps * batch * recipe.launcher.processes, steps * data.rows)
    return steps, round(seen * data.total_tokens / data.rows)


def _times(
    recipe: Recipe,
    facts: ModelFacts,
    data: DataFacts | None,
    tokens: int | None,
    machine: Machine | None,
    checkpointing: bool,
) -> Times | None:
    if data is None or tokens is None or machine is None or not data.total_tokens:
        return None
    precision = precision_of(recipe, machine.devices[0] if machine.devices else None)
    return times_of(recipe, facts, data, tokens, machine, precision, checkpointing)
