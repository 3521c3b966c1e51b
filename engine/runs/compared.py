"""What is to be said of runs that stand side by side: the command line and the window say the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.advice.elsewhere import Comparison, one_seed
from engine.advice.finding import Finding
from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runs.store import load_recipe

MOST_COMPARED = 6


def finding_on(recipes: Iterable[Recipe]) -> Finding | None:
    """Return R43 where recipes differ in more than the seed and have fewer than three seeds each."""
    seeds: dict[str, list[int]] = {}
    for recipe in recipes:
        rest: dict[str, Any] = recipe.model_dump(mode="json", exclude={"name": True, "training": {"seed"}})
        seeds.setdefault(repr(rest), []).append(recipe.training.seed)
    return one_seed(Comparison(seeds))


def finding_on_runs(folders: Sequence[Path]) -> Finding | None:
    """Return what `finding_on` says of two to six runs; nothing where a recipe cannot be read."""
    if not 1 < len(folders) <= MOST_COMPARED:
        return None
    try:
        return finding_on(load_recipe(folder) for folder in folders)
    except EngineError:
        return None  # the row of a damaged run says so
