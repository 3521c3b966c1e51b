"""A recipe from a file: what it names outside its own folder is shown and asked for, then opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QWidget

from app.widgets.question import Question
from engine import paths
from engine.recipe import codec, named_paths
from engine.recipe.recipe import Recipe

MOST_SHOWN = 6


def read(file: Path) -> tuple[Recipe, list[str]]:
    """Return a recipe without what it names elsewhere, and those paths; none where the file is our own.

    Relative paths mean beside the file. Raises EngineError REC-01 or DISK-*.
    """
    recipe = codec.load(file)
    named = [] if _is_ours(file) else named_paths.elsewhere(recipe)
    return codec.absolute(named_paths.without(recipe, named), file.parent.resolve()), named


def whole(file: Path) -> Recipe:
    """Return a recipe with all that it names."""
    return codec.absolute(codec.load(file), file.parent.resolve())


def ask_for(parent: QWidget, file: Path, named: list[str], use: Callable[[], object]) -> Question:
    """Show what a recipe names elsewhere; `use` is called when a person agrees to it."""
    shown = [paths.show_name(each, 120) for each in named[:MOST_SHOWN]]
    more = f"\nand {len(named) - MOST_SHOWN} more" if len(named) > MOST_SHOWN else ""
    title = f"{paths.show_name(file.name, 60)} names files outside its folder"
    text = "They were left out so far. Use them only where you know them:\n\n" + "\n".join(shown) + more
    asked = Question(parent, title, text, "Use them", "Leave them out")
    asked.accepted.connect(use)
    asked.open()
    return asked


def _is_ours(file: Path) -> bool:
    """Say whether a file lies in a run of this home, or comes with the program."""
    real = file.resolve()
    return any(real.is_relative_to(place.resolve()) for place in (paths.runs_dir(), paths.resources()))
