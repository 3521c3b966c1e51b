"""Columns of the data and the roles they play, between what was found and what the recipe says."""

from __future__ import annotations

from collections.abc import Mapping

from app.pages.wizard.data_view import DataView
from app.widgets.mapping_view import UNUSED, ColumnLine
from engine.recipe.recipe import DataOptions

# The roles of each format; those in TRAINED are what the model learns to say.
ROLES: dict[str, tuple[str, ...]] = {
    "prompt_completion": ("system", "prompt", "completion"),
    "alpaca": ("system", "instruction", "input", "output"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "text": ("text",),
}
TRAINED = frozenset({"completion", "output", "messages", "conversations", "text"})


def roles_of(format: str) -> tuple[str, ...]:
    """Return the roles that a column may play in a format."""
    return ROLES.get(format, ())


def role_map(view: DataView, data: DataOptions) -> dict[str, str]:
    """Return role -> column: what was found, with what the recipe says over it."""
    found = view.about.get("mapping") or {}
    known = dict(found) if isinstance(found, Mapping) else {}
    return {str(role): str(column) for role, column in {**known, **data.columns}.items() if column}


def column_lines(view: DataView, data: DataOptions) -> list[ColumnLine]:
    """Return one line for each column of the first file."""
    by_column = {column: role for role, column in role_map(view, data).items()}
    samples = view.about.get("samples") or {}
    lines = []
    for column in view.about.get("columns") or ():
        role = by_column.get(column, UNUSED)
        trained = role in TRAINED or (data.train_on == "all" and role != UNUSED)
        lines.append(ColumnLine(str(column), role, trained, str(samples.get(column, ""))))
    return lines


def columns_after(view: DataView, data: DataOptions, column: str, role: str) -> dict[str, str]:
    """Return the recipe's `columns` once `column` plays `role`; a role is played by one column at a time."""
    known = {r: c for r, c in role_map(view, data).items() if c != column}
    if role != UNUSED:
        known[role] = column
    return known
