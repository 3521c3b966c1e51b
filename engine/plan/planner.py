"""Memory, time and size of a run before it starts: fast enough to be asked at every key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import EngineError
from engine.hardware.devices import Gpu, Machine
from engine.models.facts import ModelFacts
from engine.plan.adapter_size import trainable_parameters
from engine.plan.corrected import TIGHT as TIGHT
from engine.plan.corrected import corrected, put_right, verdict
from engine.plan.duration import optimizer_steps
from engine.plan.ledger import Ledger
from engine.plan.memory import Setting, memory_terms, tokens_at_once, total_bytes
from engine.plan.optimizers import IN_8_BITS, runs_here
from engine.plan.several import memory_of_one
from engine.plan.times import Times, times_of
from engine.recipe.codec import override
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe

MEMORY_BAND = 0.2  # of the estimate, to either side


@dataclass(frozen=True)
class DataFacts:
    """What the plan needs to know of prepared data."""

    train_examples: int
    validation_examples: int
    median_tokens: int
    longest_tokens: int
    total_tokens: int
    supervised_tokens: int
    packs: int | None = None

    @staticmethod
    def of(
        lengths: Sequence[int],
        validation_examples: int,
        supervised_tokens: int,
        packs: int | None = None,
    ) -> DataFacts:
        """Return the facts of prepared training examples with these lengths (tokens).

        `packs` is into how many packs they go, where the recipe packs.
        """
        ordered = sorted(lengths)
        return DataFacts(
            train_examples=len(ordered),
            validation_examples=validation_examples,
            median_tokens=ordered[len(ordered) // 2],
            longest_tokens=ordered[-1],
            total_tokens=sum(ordered),
            supervised_tokens=supervised_tokens,
            packs=packs,
        )

    @property
    def rows(self) -> int:
        """Return how many rows the batches are made of: packs, or examples."""
        return self.packs or self.train_examples


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
    setting = _setting(recipe, data, gpu, checkpointing=recipe.training.gradient_checkpointing == "all")
    terms = memory_terms(recipe, facts, setting)
    if (
        recipe.training.gradient_checkpointing == "auto"
        and device_memory
        and total_bytes(terms) > device_memory
    ):
        setting = _setting(recipe, data, gpu, checkpointing=True)
        terms = memory_terms(recipe, facts, setting)
    needed = total_bytes(terms)
    steps, tokens = _steps_and_tokens(recipe, data)
    times = _times(recipe, facts, data, tokens, machine, setting.checkpointing)
    found = Plan(
        fits=None if device_memory is None else needed <= device_memory,
        verdict=verdict(needed, device_memory),
        memory_bytes=needed,
        device_memory_bytes=device_memory,
        terms=terms,
        seconds=None,
        steps=steps,
        tokens=tokens,
        trainable_parameters=trainable_parameters(facts, recipe.adapter),
        total_parameters=facts.parameters,
        suggestions=[],
        precision=precision_of(recipe, gpu),
        gradient_checkpointing=setting.checkpointing,
        profile=profile,
        memory_band=(needed * (1 - MEMORY_BAND), needed * (1 + MEMORY_BAND)),
    )
    found = corrected(found, recipe, machine, ledger, times)
    if found.fits is False and recipe.training.gradient_checkpointing == "auto" and not setting.checkpointing:
        again = override(recipe, {"training.gradient_checkpointing": "all"})
        return plan(again, facts, data, device_memory, machine, profile=profile, ledger=ledger)
    return replace(found, suggestions=_suggest(recipe, facts, data, gpu, found))


def precision_of(recipe: Recipe, gpu: Gpu | None) -> str:
    """Return fp32 or bf16: auto takes bf16 on a GPU that computes in it (compute capability 8 and above)."""
    if recipe.training.precision != "auto":
        return recipe.training.precision
    return "bf16" if gpu is not None and (gpu.capability is None or gpu.capability >= (8, 0)) else "fp32"


def _setting(recipe: Recipe, data: DataFacts | None, gpu: Gpu | None, *, checkpointing: bool) -> Setting:
    """The longest batch has as many examples as a batch holds, each as long as the longest one.

    No more of it is computed at once than the recipe or the device lets; one example always is.
    """
    longest = recipe.data.max_length
    if data and not recipe.data.packing:
        longest = min(longest, data.longest_tokens)
    held = recipe.model.dtype
    wide = held == "float32" or (held == "auto" and precision_of(recipe, gpu) == "fp32")
    device = "cpu" if gpu is None else "cuda"
    tokens = recipe.training.per_device_train_batch_size * max(1, longest)
    limit = tokens_at_once(recipe.training.max_batch_tokens, device)
    return Setting(
        device=device,
        number_bytes=4 if wide else 2,
        batch_tokens=tokens if limit is None else min(tokens, max(limit, longest)),
        checkpointing=checkpointing,
    )


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


def _suggest(
    recipe: Recipe,
    facts: ModelFacts,
    data: DataFacts | None,
    gpu: Gpu | None,
    made: Plan,
) -> list[dict[str, Any]]:
    """Return the changes that save memory when the plan does not fit or is tight."""
    device_memory, needed, checkpointing = (
        made.device_memory_bytes,
        made.memory_bytes,
        made.gradient_checkpointing,
    )
    if device_memory is None or needed <= TIGHT * device_memory:
        return []
    found = []
    for change in _changes(recipe, checkpointing):
        try:
            changed = override(recipe, change)
        except EngineError:
            continue
        if len(clashes(changed)) > len(clashes(recipe)):
            continue  # a change that cannot be had with the rest of the recipe is no way out
        with_it = checkpointing or changed.training.gradient_checkpointing == "all"
        terms = memory_terms(changed, facts, _setting(changed, data, gpu, checkpointing=with_it))
        memory = put_right(total_bytes(terms), terms, made.memory_factor)
        if memory < needed:
            fits = memory <= device_memory
            saves = needed - memory
            found.append({"set": change, "memory_bytes": memory, "saves_bytes": saves, "fits": fits})
    return sorted(found, key=lambda s: (not s["fits"], s["memory_bytes"]))


def _changes(recipe: Recipe, checkpointing: bool) -> list[dict[str, Any]]:
    training = recipe.training
    changes: list[dict[str, Any]] = []
    if not checkpointing:
        changes.append({"training.gradient_checkpointing": "all"})
    if training.per_device_train_batch_size > 1:
        half = training.per_device_train_batch_size // 2
        twice = training.gradient_accumulation_steps * 2
        changes.append(
            {"training.per_device_train_batch_size": half, "training.gradient_accumulation_steps": twice}
        )
    if not recipe.model.load_in_4bit and not recipe.model.load_in_8bit and recipe.adapter.method != "full":
        changes.append({"model.load_in_4bit": True})
    if training.optim in IN_8_BITS and runs_here(IN_8_BITS[training.optim]):
        changes.append({"training.optim": IN_8_BITS[training.optim]})
    if recipe.data.max_length > 256:
        changes.append({"data.max_length": recipe.data.max_length // 2})
    if recipe.adapter.r > 8 and recipe.adapter.method == "lora":
        changes.append({"adapter.r": recipe.adapter.r // 2})
    return changes
