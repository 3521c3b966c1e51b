"""The verb `advise`: the findings on a recipe, as JSON or as text with fixes and sources."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.verbs.spoken import say

if TYPE_CHECKING:
    from engine.advice.finding import Finding
    from engine.advice.situation import Statistics
    from engine.hardware.devices import Machine
    from engine.models.facts import ModelFacts
    from engine.recipe.recipe import Recipe

Answer = dict[str, Any] | int


def advise(args: Namespace) -> Answer:
    """Say what speaks against a recipe, how to mend it, and what that rests on."""
    from engine.advice.advise import advise as look
    from engine.advice.situation import situation_of
    from engine.hardware.devices import probe
    from engine.models import library
    from engine.models.facts import look_at
    from engine.plan.ledger import Ledger
    from engine.runs.falls import falls_on
    from engine.verbs.runs import check_inputs, read_recipe

    recipe = read_recipe(args.recipe, args.set)
    check_inputs(recipe, weights=False)
    folder = library.resolve_model(recipe.model.path, recipe.model.revision)
    facts, machine = look_at(folder), imagined(probe(), args.device_memory)
    readable = (folder / "tokenizer.json").is_file() or not facts.from_config
    data = statistics(recipe, folder) if recipe.data.train and readable else None
    asked = recipe, facts, data, machine, args.device_memory, falls_on(recipe)
    found = look(situation_of(*asked, ledger=Ledger.read()))
    if args.json:
        return {"findings": [finding.as_dict() for finding in found]}
    say(told(found))
    return 0


def imagined(machine: Machine, memory: float | None) -> Machine:
    """Return the machine as if it had a GPU with so much memory (bytes), where it has none."""
    from engine.hardware.devices import Gpu

    if memory is None or machine.devices:
        return machine
    return replace(machine, devices=(Gpu("GPU", "", int(memory), int(memory), ""),))


def notes(recipe: Recipe, facts: ModelFacts) -> list[str]:
    """Return what is to be known beside the figures of a plan: which wanted layers no adapter reaches."""
    from engine.advice.adapter_rules import experts_left_out
    from engine.advice.situation import Situation

    found = experts_left_out(Situation(recipe, facts))
    return [] if found is None else [found.message]


def statistics(recipe: Recipe, folder: Path) -> Statistics:
    """Return the figures of a recipe's data, prepared as training will; raises EngineError DATA-*."""
    from engine.advice.situation import Statistics
    from engine.data.dataset import prepare
    from engine.data.order import packs_of
    from engine.data.practice import practised
    from engine.plan.planner import DataFacts

    prepared = prepare(recipe.data, folder, recipe.training.seed)
    lengths, report = [len(example.ids) for example in prepared.train], prepared.report
    packs = packs_of(lengths, recipe.data)
    counts = DataFacts.of(lengths, len(prepared.validation), report.supervised_tokens, packs)
    chat = any(mapping.format != "text" for mapping in prepared.mappings)
    return Statistics.of(report, counts, recipe.data, chat, practised(recipe.data))


def told(found: list[Finding]) -> str:
    """Return findings as text: what, the change as --set, and the sources with their corrections."""
    from engine.advice import evidence

    if not found:
        return "Nothing speaks against this recipe."
    sources = evidence.load()
    lines: list[str] = []
    for finding in found:
        lines.append(f"{finding.severity:5}  {finding.rule}  {finding.message}")
        for path, value in finding.fix.items():
            lines.append(f"         --set {path}={_written(value)}")
        for name in finding.evidence:
            source = sources[name]
            link = f" {source.link}" if source.link else ""
            lines.append(f"         {name} ({source.tag.lower()}): {source.title}: {source.figure}.{link}")
            if source.correction:
                lines.append(f"           put right: {source.correction}")
    return "\n".join(lines)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value).replace(" ", "")
