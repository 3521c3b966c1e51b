"""The check of the adapter that a run begins from: it is there, it fits, and its base is the one it knows."""

from __future__ import annotations

from app.pages.wizard.review_check import BAD, OK, WARN, Check
from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runs import beginnings


def begin_checks(recipe: Recipe) -> list[Check]:
    """Return what is to be said of the adapter, nothing for a run that begins from none.

    Files are read for their digests: call it in the background.
    """
    if recipe.adapter.path is None:
        return []
    try:
        settled = beginnings.settled(recipe)
        beginnings.record(settled)
        found, adapter = beginnings.of_base(settled), beginnings.look(settled)
    except EngineError as error:
        return [Check(BAD, error.message, error.hint, error.field or beginnings.FIELD)]
    assert adapter is not None
    if found:
        return [Check(WARN, each.message, each.hint, beginnings.FIELD) for each in found]
    words = f"{adapter.adapter.label}; it fits {adapter.base.name} by its shapes"
    return [Check(OK, f"Begins from the adapter {adapter.adapter.name}", words, beginnings.FIELD)]
