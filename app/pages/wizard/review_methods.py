"""What the review says of the method: what gets an adapter, and names that mean nothing in this model."""

from __future__ import annotations

from collections.abc import Iterable

from app import i18n
from app.pages.wizard.fields import counted
from app.pages.wizard.inquiries import Plans
from app.pages.wizard.review_check import BAD, OK, WARN, Check
from engine.advice.learning_rules import rate_finding
from engine.hardware.devices import Machine
from engine.models.facts import Linear, ModelFacts
from engine.plan.adapter_size import adapted_linears, head_of, is_whole, shapes_in
from engine.plan.rank_grid import RankGrid
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.method_names import method_key, method_words
from engine.recipe.recipe import Recipe
from engine.recipe.targets import fits, named

MUCH_WHOLE = 0.1  # share of the model's values


def method_checks(
    recipe: Recipe, facts: ModelFacts, plans: Plans | None, machine: Machine | None
) -> list[Check]:
    """Return the checks of method, base and processes; call it in the background."""
    checks = _names(facts, recipe.adapter) or [_summary(recipe, facts)]
    checks += _whole(recipe, facts, plans)
    gpus = len(machine.devices) if machine is not None else None
    held = "4-bit" if recipe.model.load_in_4bit else "8-bit" if recipe.model.load_in_8bit else ""
    if held and gpus == 0:
        field = "model.load_in_4bit" if recipe.model.load_in_4bit else "model.load_in_8bit"
        checks.append(
            Check(WARN, f"A {held} base is made for GPUs", "here it saves little and is slow", field)
        )
    processes = recipe.launcher.processes
    if gpus is not None and processes > max(1, gpus):
        what = f"this machine shows {counted(gpus, 'GPU', 'GPUs')}" if gpus else "they share this processor"
        kind = BAD if gpus else WARN  # each needs a GPU of its own where there are any
        checks.append(Check(kind, f"{processes} processes", what, "launcher.processes"))
    found = rate_finding(recipe)
    if found is not None:
        checks.append(
            Check(WARN, f"Learning rate {recipe.training.learning_rate:g}", found.message, found.field)
        )
    return checks


def _summary(recipe: Recipe, facts: ModelFacts) -> Check:
    if method_key(recipe) == "full":
        words = "what is saved is a whole model; nothing has to be merged"
        return Check(OK, "Every weight is trained", words, "adapter.method")
    modules = adapted_linears(facts, recipe.adapter)
    ranks = sorted({rank for _, rank in modules})
    layers = len({linear.layer for linear, _ in modules if linear.layer is not None})
    title = f"{method_words(recipe)} on {counted(len(modules), 'module', 'modules')}"
    parts = [f"{len({linear.leaf for linear, _ in modules})} kinds in {layers} of {facts.layers} layers"]
    if recipe.adapter.method in ("lora", "vera") and ranks:
        parts.append(f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}")
    return Check(OK, title, ", ".join(parts), "adapter.target_modules")


def _names(facts: ModelFacts, adapter: AdapterOptions) -> list[Check]:
    """Return a check for each entry that training would refuse once the model is loaded."""
    if adapter.method == "full":
        return []
    found = []
    for entry in RankGrid.of(facts).strays(named(adapter.target_modules)):
        alone = adapter.model_copy(update={"target_modules": [entry], "layers_to_transform": None})
        if not adapted_linears(facts, alone):
            found.append(_stray("adapter.target_modules", entry, "no module of this model", facts.groups))
    for layer in adapter.layers_to_transform or ():
        if layer >= facts.layers:
            words = f"This model has the layers 0 to {facts.layers - 1}."
            found.append(Check(BAD, f"There is no layer {layer}", words, "adapter.layers_to_transform"))
    modules = [linear for linear, _ in adapted_linears(facts, adapter)]
    for name, pattern in (("rank_pattern", adapter.rank_pattern), ("alpha_pattern", adapter.alpha_pattern)):
        for key in _unmet(pattern, modules):
            leaves = dict.fromkeys(linear.leaf for linear in modules)
            found.append(_stray(f"adapter.{name}", key, "no module that gets an adapter", leaves))
    return found + _unknown_whole(facts, adapter)


def _stray(field: str, entry: str, what: str, there: Iterable[str]) -> Check:
    return Check(BAD, f"{entry} names {what}", f"There are: {', '.join(there)}.", field)


def _unmet(pattern: Iterable[str], modules: list[Linear]) -> list[str]:
    return [key for key in pattern if not any(fits(linear.name, key) for linear in modules)]


def _unknown_whole(facts: ModelFacts, adapter: AdapterOptions) -> list[Check]:
    if not adapter.modules_to_save or (facts.from_config and facts.rough):
        return []  # the names of a family without a table are known from its files alone
    modules = {name.rpartition(".")[0] for name in shapes_in(facts)}
    modules.add(head_of(facts))  # a tied head has no tensor of its own
    found = []
    for entry in adapter.modules_to_save:
        if not any(is_whole(module, [entry]) for module in modules):
            leaves = sorted({module.rpartition(".")[2] for module in modules})
            there = [leaf for leaf in leaves if not leaf.isdigit()]
            found.append(_stray("adapter.modules_to_save", entry, "no module of this model", there))
    return found


def _whole(recipe: Recipe, facts: ModelFacts, plans: Plans | None) -> list[Check]:
    """Say what training modules whole costs, where it is much beside the model."""
    if not recipe.adapter.modules_to_save or plans is None:
        return []
    trained = plans.now.trainable_parameters
    if trained < MUCH_WHOLE * facts.parameters:
        return []
    title = f"Modules trained whole: {', '.join(recipe.adapter.modules_to_save)}"
    words = f"{i18n.short_number(trained)} values are trained; the adapter takes {i18n.size(4.0 * trained)}"
    return [Check(WARN, title, words, "adapter.modules_to_save")]
