"""`plan --probe N` and `plan --compare-qlora`: a few real steps beside the plan."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from engine.errors import EngineError
from engine.hardware.devices import probe as probe_machine
from engine.recipe.recipe import Recipe
from engine.runs import probe, probe_verdict
from engine.verbs.spoken import note


def plan_by_trial(args: Namespace, recipe: Recipe) -> dict[str, Any]:
    """Return what the trials that were asked for measured; the ledger has it from now on."""
    steps = probe.STEPS if args.probe is None else args.probe
    if not args.compare_qlora:
        outcome = _follow(recipe, steps, "trial", args.json)
        if outcome.problem:
            raise EngineError(outcome.problem, outcome.hint, outcome.code or "APP-01")
        return {"probe": _plain(outcome), "verdict": probe_verdict.measured_words(outcome)}
    first, second = probe.sides(recipe)
    machine = probe_machine()
    room = float(machine.devices[0].total_bytes if machine.devices else machine.ram_total_bytes)
    lora = _follow(first, steps, "LoRA", args.json)
    qlora = _follow(second, steps, "QLoRA", args.json)
    verdict = probe_verdict.compare(lora, qlora, room)
    return {"lora": _plain(lora), "qlora": _plain(qlora), "verdict": verdict}


def _plain(outcome: probe.Outcome) -> dict[str, Any]:
    return {k: v for k, v in asdict(outcome).items() if k != "planned"}


def _follow(recipe: Recipe, steps: int, name: str, as_json: bool) -> probe.Outcome:
    trial = probe.start(recipe, steps)
    said = ""

    def say(now: probe.Trial) -> None:
        nonlocal said
        words = f"{name}: {now.phase}" + (f" {now.steps}/{now.total_steps}" if now.steps else "")
        if words != said and not as_json:
            said = words
            note(words)

    try:
        return trial.wait(say)
    except KeyboardInterrupt:
        trial.cancel()
        trial.wait()
        raise
