"""The check of the device before Start: whether torch fits the GPU, and who else uses it."""

from __future__ import annotations

from dataclasses import replace

from app import i18n
from app.pages.wizard.inquiries import DataView, Plans, make_plans
from app.pages.wizard.review_check import INFO, WARN, Check
from engine.hardware import torch_build
from engine.hardware.devices import Machine, probe
from engine.models.facts import ModelFacts
from engine.recipe.recipe import Recipe
from engine.runs import advance, start_gate

FIELD = "launcher.processes"


def device_checks(
    recipe: Recipe, facts: ModelFacts | None, data: DataView | None, plans: Plans | None, machine: Machine
) -> list[Check]:
    """Return what speaks against the GPU now, in the words of the gate; nothing where all is well or none is.

    The driver is asked anew: what is free changes by the minute.
    """

    def cpu_time() -> str:
        if facts is None:
            return ""
        seconds = make_plans(recipe, facts, data, replace(machine, devices=())).now.seconds
        return f"about {i18n.duration(seconds)}" if seconds else ""

    machine = probe() if machine.devices else machine
    unfit = torch_build.problem_of(machine, torch_build.installed(), cpu_time=cpu_time)
    if unfit is not None:
        return [Check(WARN, unfit.message, f"{unfit.hint} Start trains on the CPU.", FIELD)]
    names = advance.device_names()
    if names == (advance.CPU,):
        return []
    processes = min(recipe.launcher.processes, len(names))
    trainings, chosen, _ = start_gate.of_trainings(names, processes)
    if trainings:
        words = "The run waits in the queue until it ends."
        return [Check(INFO, each.message, words, FIELD) for each in trainings]
    uuids = [advance.device_uuids().get(name) for name in chosen]
    gpus = [gpu for gpu in machine.devices if gpu.uuid in uuids]
    need = None if plans is None else plans.now.memory_bytes
    return [Check(WARN, each.message, each.hint, FIELD) for each in start_gate.of_memory(gpus, need)]
