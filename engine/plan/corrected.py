"""The formula's plan put right by what this machine's own runs measured, with bands from the ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.hardware.devices import Machine
from engine.plan.ledger import TIME_PRIOR, Correction, Figure, Ledger
from engine.plan.times import Times
from engine.recipe.recipe import Recipe

if TYPE_CHECKING:
    from engine.plan.planner import Plan

TIGHT = 0.92
FORMULA, OWN_RUNS = "formula", "this machine's runs"
UNITS: tuple[Figure, ...] = ("seconds_per_token", "evaluation_seconds", "sample_seconds", "start_seconds")


def device_label(machine: Machine, processes: int = 1) -> str:
    """Return what a run computes on, as the ledger knows it: only runs of the same label are compared."""
    gpu = machine.devices[0].name if machine.devices else None
    one = gpu or f"cpu ({machine.cpu_name}, {machine.cores} cores)"
    return one if processes == 1 else f"{processes} x {one}"


def quantization(recipe: Recipe) -> str | None:
    """Return how the base is quantised: nf4, fp4, int8 or None."""
    if recipe.model.load_in_8bit:
        return "int8"
    return recipe.model.bnb_4bit_quant_type if recipe.model.load_in_4bit else None


def run_bytes(terms: Mapping[str, float], memory_bytes: float) -> float:
    """Return what a run takes of `memory_bytes` beyond the libraries that are loaded before its model."""
    return memory_bytes - terms.get("runtime", 0.0)


def memory_correction(
    plan: Plan, recipe: Recipe, machine: Machine | None, ledger: Ledger | None
) -> Correction:
    """Return by what the formula's memory, without the libraries, is multiplied."""
    low, high = plan.memory_band
    prior = max(math.log(plan.memory_bytes / low), math.log(high / plan.memory_bytes)) if low > 0 else 0.0
    return (ledger or Ledger()).memory(
        "" if machine is None else device_label(machine, recipe.launcher.processes),
        recipe.adapter.method,
        quantization(recipe),
        precision=plan.precision,
        checkpointing=plan.gradient_checkpointing,
        near=run_bytes(plan.terms, plan.memory_bytes),
        prior=max(prior, 0.01),
    )


def corrected(
    plan: Plan, recipe: Recipe, machine: Machine | None, ledger: Ledger | None, times: Times | None
) -> Plan:
    """Return `plan` with memory, time, their bands, verdict and basis as the ledger has them."""
    own = plan.profile == "own"
    found = _with_memory(plan, recipe, machine, ledger) if own else plan
    if times is None:
        return found
    corrections = _time_corrections(plan, recipe, machine, ledger if own else None, times)
    middle = times.terms({unit: c.factor for unit, c in corrections.items()})
    seconds = sum(middle.values())
    basis = found.basis
    if corrections["seconds_per_token"].runs:
        basis = OWN_RUNS
    return replace(
        found,
        seconds=seconds,
        time_terms=middle,
        seconds_band=_seconds_band(times, corrections, seconds),
        basis=basis,
        time_runs=corrections["seconds_per_token"].runs,
    )


def _with_memory(plan: Plan, recipe: Recipe, machine: Machine | None, ledger: Ledger | None) -> Plan:
    by = memory_correction(plan, recipe, machine, ledger)
    if not by.runs:
        return plan
    room = plan.device_memory_bytes

    def right(factor: float) -> float:
        return put_right(plan.memory_bytes, plan.terms, factor)

    needed = right(by.factor)
    return replace(
        plan,
        memory_bytes=needed,
        memory_band=(right(by.low), right(by.high)),
        memory_factor=by.factor,
        memory_runs=by.runs,
        terms={name: put_right(each, {name: each}, by.factor) for name, each in plan.terms.items()},
        fits=None if room is None else needed <= room,
        verdict=verdict(needed, room),
        basis=OWN_RUNS,
    )


def put_right(memory_bytes: float, terms: Mapping[str, float], factor: float) -> float:
    """Return `memory_bytes` with all but the libraries in it times `factor`."""
    base = terms.get("runtime", 0.0)
    return base + factor * (memory_bytes - base)


def verdict(needed: float, room: float | None) -> str | None:
    """Return fits, tight or too_large; None where nothing is known of the device."""
    if room is None:
        return None
    return "too_large" if needed > room else "tight" if needed > TIGHT * room else "fits"


def _time_corrections(
    plan: Plan, recipe: Recipe, machine: Machine | None, ledger: Ledger | None, times: Times
) -> dict[str, Correction]:
    device = "" if machine is None else device_label(machine, recipe.launcher.processes)
    return {
        unit: (ledger or Ledger()).speed(
            device,
            plan.precision,
            method=recipe.adapter.method,
            quantization=quantization(recipe),
            checkpointing=plan.gradient_checkpointing,
            near=getattr(times, unit),
            prior=TIME_PRIOR,
            figure=unit,
        )
        for unit in UNITS
    }


def _seconds_band(times: Times, corrections: dict[str, Correction], seconds: float) -> tuple[float, float]:
    """Return the low and the high end: parts do not err together, their errors add up as squares do."""
    middle = times.terms({unit: c.factor for unit, c in corrections.items()})
    low = times.terms({unit: c.low for unit, c in corrections.items()} | {"save_seconds": 0.5})
    high = times.terms({unit: c.high for unit, c in corrections.items()} | {"save_seconds": 2.0})
    below = math.sqrt(sum((middle[name] - low[name]) ** 2 for name in middle))
    above = math.sqrt(sum((high[name] - middle[name]) ** 2 for name in middle))
    return max(0.0, seconds - below), seconds + above
