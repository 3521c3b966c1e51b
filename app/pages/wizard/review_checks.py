"""The checks before Start, each really made: what was looked at, how it stands, the field that mends it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from app import i18n
from app.pages.wizard.fields import counted
from app.pages.wizard.inquiries import DataView, Plans
from app.pages.wizard.plan_view import change_words
from app.pages.wizard.review_begin import begin_checks
from app.pages.wizard.review_check import ADD_SEEDS, BAD, CHECK_EXACTLY, INFO, OK, WAIT, WARN, Check
from app.pages.wizard.review_device import device_checks
from app.pages.wizard.review_methods import method_checks
from app.widgets.plan_figures import size_range
from engine import paths
from engine.errors import EngineError
from engine.hardware.devices import Machine, probe
from engine.models.facts import ModelFacts, look_at
from engine.models.library import resolve_model, starter_ready
from engine.models.weight_files import weight_paths
from engine.plan.disk import checkpoint_bytes, needed_bytes
from engine.plan.optimizers import refuse
from engine.plan.planner import Plan
from engine.recipe import codec
from engine.recipe.fields import field_spec
from engine.recipe.recipe import Recipe
from engine.runs.seeds import SEEDS, seconds_of_all

LITTLE_ROOM = 2e9
ORDER = (BAD, WARN, WAIT, OK, INFO)  # what has to be mended stands first


def examine(
    recipe: Recipe,
    data: DataView | None,
    plans: Plans | None,
    unread: dict[str, str],
    machine: Machine | None = None,
    counted_bytes: float | None = None,
) -> list[Check]:
    """Make every check now; call it in the background. `counted_bytes` is what an exact check found."""
    machine = machine or probe()
    model, facts = _model(recipe)
    checks = [_memory(plans, counted_bytes), _data(recipe, data)]
    checks += device_checks(recipe, facts, data, plans, machine)
    if data is not None and facts is not None:
        checks += _lengths(recipe, data, facts)
    if facts is not None:
        checks += method_checks(recipe, facts, plans, machine)
        checks += begin_checks(recipe)
    checks += [_disk(recipe, plans), _validation(recipe, data), model]
    if data is not None and facts is not None:
        checks.append(_template(facts, data))
    checks += [_fields(recipe, unread, machine), _seeds(recipe, plans, machine)]
    return sorted(checks, key=lambda check: ORDER.index(check.state))


def _fields(recipe: Recipe, unread: dict[str, str], machine: Machine) -> Check:
    if unread:
        path, fault = next(iter(unread.items()))
        return Check(BAD, f"{field_spec(path).label}: {fault}", "press to go there", path)
    try:
        codec.refuse_unsupported(recipe)
        refuse(recipe.training, "cuda" if machine.devices else "cpu")
    except EngineError as error:
        return Check(BAD, error.message, error.hint, error.field or "data.train")
    return Check(OK, "Every field can be used", "nothing clashes", "data.train")


def _model(recipe: Recipe) -> tuple[Check, ModelFacts | None]:
    path = recipe.model.path
    if path == "starter" and not starter_ready():
        words = "It comes from PyPI once (138 MB); the model step has the button."
        return Check(BAD, "The starter model is not on disk", words, "model.path"), None
    try:
        facts = look_at(resolve_model(path, recipe.model.revision))
    except EngineError as error:
        return Check(BAD, error.message, error.hint, "model.path"), None
    if facts.from_config:
        return _without_weights(facts), facts
    words = f"{i18n.short_number(facts.parameters)} parameters, {facts.layers} layers, {facts.dtype}"
    return Check(OK, f"The model can be read: {facts.name}", words, "model.path"), facts


def _without_weights(facts: ModelFacts) -> Check:
    """Say that a model can be planned and not trained, in the words in which a run would be refused."""
    try:
        weight_paths(facts.path)
    except EngineError as error:
        words = f"{error.code}. Its plan holds, but training needs the weights. {error.hint}"
        return Check(BAD, error.message, words, "model.path")
    return Check(WAIT, "The weights have come meanwhile", "Look at the model again.", "model.path")


def _data(recipe: Recipe, data: DataView | None) -> Check:
    if not recipe.data.train:
        return Check(BAD, "No data is chosen", "Add a file with examples.", "data.train")
    for name in recipe.data.train + ([recipe.data.validation] if recipe.data.validation else []):
        if not name.startswith("hub:") and not Path(name).expanduser().exists():
            return Check(BAD, f"{Path(name).name} is gone", f"It was at {name}.", "data.train")
    if data is None:
        return Check(WAIT, "The data is being read", "", "data.train")
    if not data.train_examples:
        return Check(BAD, "No row can be trained on", "The data step says what is wrong.", "data.train")
    if data.refused:
        words = f"{counted(data.refused, 'row', 'rows')} cannot be used"
        first = next(p for p in data.problems if p.severity == "error")
        return Check(BAD, words, first.message, "data.train")
    words = f"{i18n.number(data.supervised_tokens)} tokens will be trained"
    held = f"{i18n.number(data.validation_examples)} kept for validation"
    detail = f"{i18n.number(data.train_examples)} examples, {held}"
    # What is cut has a line of its own.
    remarks = [check for check in data.checks if check.severity != "info" and check.id != "cut"]
    if remarks:
        told = counted(len(remarks), "remark", "remarks")
        return Check(WARN, words, f"{detail}; {told}: {remarks[0].title}", "data.train")
    return Check(OK, words, detail, "data.train")


def _template(facts: ModelFacts, data: DataView) -> Check:
    if data.format == "text":
        return Check(OK, "Plain text needs no chat template", "", "data.chat_template")
    if facts.chat_template:
        return Check(OK, "The model's own chat template is used", "as its folder says", "data.chat_template")
    words = "Conversations are written in a plain form that the chat page uses too."
    return Check(WARN, "The model brings no chat template", words, "data.chat_template")


def _lengths(recipe: Recipe, data: DataView, facts: ModelFacts) -> list[Check]:
    cut = data.truncated
    if not cut:
        return [
            Check(OK, "No example is cut", f"longest {i18n.number(data.longest)} tokens", "data.max_length")
        ]
    words = {"truncate": "cut", "drop": "left out", "split": "split", "error": "refused"}
    how = words[recipe.data.too_long]
    title = f"{counted(cut, 'example', 'examples')} {how} at {i18n.number(recipe.data.max_length)} tokens"
    detail = f"the longest has {i18n.number(data.longest)}"
    state = BAD if recipe.data.too_long == "error" else WARN
    raised = min(data.longest, facts.max_positions or data.longest)
    if raised <= recipe.data.max_length:
        return [Check(state, title, detail, "data.max_length")]
    press, fix = f"Raise to {i18n.number(raised)}", {"data.max_length": raised}
    return [Check(state, title, detail, "data.max_length", press, fix)]


def memory_words(plan: Plan) -> str:
    """Return what the memory of a plan rests on, and how far it may be off."""
    words = "by formula" if plan.basis == "formula" else f"from {plan.basis}"
    if plan.memory_runs:
        words += f" ({counted(plan.memory_runs, 'run', 'runs')})"
    low, high = plan.memory_band
    return f"{words}, {size_range(low, high)}" if high > low > 0 else words


def _way_out(plan: Plan) -> tuple[str, dict[str, Any]]:
    """Return the change that makes a plan fit at the least cost, as a button and what it sets."""
    for suggestion in plan.suggestions:
        if suggestion["fits"]:
            return change_words(suggestion["set"]), suggestion["set"]
    return "", {}


def _memory(plans: Plans | None, counted_bytes: float | None) -> Check:
    if plans is None:
        return Check(WAIT, "Memory is known once the model can be read", "", "model.path")
    plan = plans.now
    if plan.trainable_parameters == 0:
        words = "Its modules and layers name none of this model's."
        return Check(BAD, "Nothing would be trained", words, "adapter.target_modules")
    needed = i18n.size(plan.memory_bytes)
    of = (
        f"{needed} of {i18n.size(plan.device_memory_bytes)}, {plans.device}"
        if plan.device_memory_bytes
        else needed
    )
    rough = memory_words(plan)
    if counted_bytes is not None:
        rough += f" · checked exactly {i18n.size(counted_bytes)}"
    field = "training.per_device_train_batch_size"
    if plan.verdict == "too_large":
        return Check(BAD, f"Does not fit: {of}", rough, field, *_way_out(plan))
    if plan.verdict == "tight":
        words = f"{rough} · other programs may not leave that much"
        return Check(WARN, f"Tight: {of}", words, field, *_way_out(plan))
    return Check(OK, f"Fits: {of}", rough, field, "" if counted_bytes is not None else CHECK_EXACTLY)


def _disk(recipe: Recipe, plans: Plans | None) -> Check:
    try:
        free = shutil.disk_usage(paths.runs_dir()).free
    except OSError as error:
        why = error.strerror or ""
        return Check(BAD, "The runs folder cannot be used", why, "checkpoint.save_total_limit")
    if plans is None:
        return Check(WAIT, f"{i18n.size(free)} free for runs", "", "checkpoint.save_total_limit")
    needed = needed_bytes(recipe, plans.now.trainable_parameters)
    one = i18n.size(checkpoint_bytes(recipe, plans.now.trainable_parameters))
    detail = f"up to {recipe.checkpoint.save_total_limit + 2} checkpoints of {one}, and the result"
    title = f"Disk: {i18n.size(needed)} needed, {i18n.size(free)} free"
    state = BAD if free < needed else WARN if free < needed + LITTLE_ROOM else OK
    return Check(state, title, detail, "checkpoint.save_total_limit")


def _validation(recipe: Recipe, data: DataView | None) -> Check:
    if data is not None and not data.validation_examples:
        words = "Without a validation share nobody can tell learning from memorising."
        return Check(WARN, "Nothing is kept to measure on", words, "data.validation_split")
    if recipe.evaluation.eval_steps is None:
        return Check(
            WARN, "Nothing is measured on the way", "Evaluate every is off.", "evaluation.eval_steps"
        )
    return Check(OK, "Measured on the way", "with sample answers at each evaluation", "evaluation.eval_steps")


def _seeds(recipe: Recipe, plans: Plans | None, machine: Machine) -> Check:
    """Offer the run with more seeds, and say what all of them take."""
    title, words = f"One seed, {recipe.training.seed}", "a comparison with another recipe stays undecided"
    if plans is None:
        return Check(INFO, title, words, "training.seed")
    if plans.now.seconds:
        together = seconds_of_all(plans.now.seconds, recipe, len(machine.devices))
        words += f"; three runs take about {i18n.duration(together)}"
    try:
        free = shutil.disk_usage(paths.runs_dir()).free
    except OSError:
        return Check(INFO, title, words, "training.seed")  # the check of the disk says it
    needed = SEEDS * needed_bytes(recipe, plans.now.trainable_parameters)
    if free < needed:
        words += f" and {i18n.size(needed)} on disk, more than is free"
    return Check(INFO, title, words, "training.seed", ADD_SEEDS if free >= needed else "")
