"""What the command line asks and says before a run begins or goes on."""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runs import beginnings, start_gate
from engine.runs.gate_checks import Finding
from engine.verbs.spoken import note


def tell(findings: Iterable[Finding]) -> None:
    """Say on the error channel what stops nothing: the other one may be read by a program."""
    for finding in findings:
        note(f"{finding.code}: {finding.message} {finding.hint}")


def place(recipe: Recipe, *, anyway: bool) -> dict[str, str]:
    """Return the environment of a run's child, and tell who else uses the GPU.

    Raises EngineError GPU-03 or GPU-04 for what forbids the start; with `anyway` the way on is taken.
    """
    start = start_gate.examine(recipe.launcher.processes, cpu_time=lambda: time_on_cpu(recipe))
    environment = start_gate.let_through(start, anyway=anyway)
    tell(start.findings)
    return environment


def ask_base(recipe: Recipe, *, anyway: bool) -> None:
    """Tell of another base than that of the adapter a run begins from.

    Raises EngineError MODEL-08 where its files are others; with `anyway` the way on is taken.
    """
    found = start_gate.Start(tuple(beginnings.of_base(recipe)))
    start_gate.let_through(found, anyway=anyway)
    tell(found.findings)


def refuse_without_gpu(recipe: Recipe, *, anyway: bool) -> None:
    """Raise EngineError GPU-03 where the GPU that is here cannot be used; who uses it is for the queue."""
    start = start_gate.examine(recipe.launcher.processes, cpu_time=lambda: time_on_cpu(recipe))
    stop = start.stop(anyway=anyway)
    if stop is not None and stop.code != "GPU-04":
        raise stop.as_error()


def time_on_cpu(recipe: Recipe) -> str:
    """Return how long a recipe would take on the processor, in words; empty where that cannot be told."""
    from dataclasses import replace

    from engine.hardware.devices import probe
    from engine.models import library
    from engine.models.facts import look_at
    from engine.plan.ledger import Ledger
    from engine.plan.planner import plan
    from engine.verbs.library import data_facts

    machine = replace(probe(), devices=())
    try:
        folder = library.resolve_model(recipe.model.path, recipe.model.revision)
        data = data_facts(recipe, folder)
        found = plan(
            recipe, look_at(folder), data, machine.ram_total_bytes, machine, ledger=Ledger.read()
        ).seconds
    except EngineError:
        return ""  # what is wrong there is said where it is in the way
    return "" if found is None else f"about {in_words(found)}"


def in_words(seconds: float) -> str:
    """Return a length of time as a person says it: minutes, hours or days."""
    for unit, size in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        count = seconds / size
        if count >= 1.5:
            return f"{count:.0f} {unit}s"
    return "a minute"
