"""The files and folders that a recipe names: which of them lead out of the recipe's own folder.

A recipe may come from anybody. What it names elsewhere on this computer, or on another, is shown and asked
for before anything of it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from engine.recipe.recipe import Recipe

# A share, a drive, a home, a root; and what climbs out of a folder.
_ELSEWHERE = re.compile(r"\A(?:[\\/]|[A-Za-z]:|~|file:)|(?:\A|[\\/])\.\.(?:[\\/]|\Z)")


def named(recipe: Recipe) -> list[str]:
    """Return every text of a recipe that may be read as a path."""
    data = recipe.data
    found = [recipe.model.path, *data.train, *data.sources]
    found += [data.validation] if data.validation else []
    found += [data.chat_template]
    found += [recipe.adapter.path] if recipe.adapter.path else []
    return list(dict.fromkeys(found))


def is_elsewhere(text: str) -> bool:
    """Say whether a path leads out of the folder that it is relative to; links are not followed here."""
    return _ELSEWHERE.search(text) is not None or "\0" in text or PurePosixPath(text).is_absolute()


def elsewhere(recipe: Recipe) -> list[str]:
    """Return the paths of a recipe, as they stand in it, that lead out of its folder."""
    return [text for text in named(recipe) if is_elsewhere(text)]


def without(recipe: Recipe, paths: Collection[str]) -> Recipe:
    """Return a recipe that does not name some paths; the model and the template are the usual ones then."""
    data, model, usual = recipe.data, recipe.model, Recipe()
    kept = data.model_copy(
        update={
            "train": [path for path in data.train if path not in paths],
            "validation": None if data.validation in paths else data.validation,
            "sources": {path: entry for path, entry in data.sources.items() if path not in paths},
            "chat_template": usual.data.chat_template if data.chat_template in paths else data.chat_template,
        }
    )
    if model.path in paths:
        model = model.model_copy(update={"path": usual.model.path})
    adapter = recipe.adapter
    if adapter.path in paths:
        adapter = adapter.model_copy(update={"path": None})
    return recipe.model_copy(update={"data": kept, "model": model, "adapter": adapter})
