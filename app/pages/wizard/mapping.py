"""Columns of the data and the roles they play, between what was found and what the recipe says."""

from __future__ import annotations

import re

from app.pages.wizard.data_view import DataView
from app.widgets.mapping_view import UNUSED, ColumnLine
from engine.data.columns import NEEDED, OPTIONAL
from engine.recipe.data_options import DataOptions

# The roles that the model learns to say; those of the others it only reads.
TRAINED = frozenset({"completion", "output", "messages", "conversations", "text", "chosen"})
WHEN_UNKNOWN = "prompt_completion"


def roles_of(format: str) -> tuple[str, ...]:
    """Return the roles that a column may play in a format."""
    format = format or WHEN_UNKNOWN
    return (*NEEDED.get(format, ()), *OPTIONAL.get(format, ()))


def role_map(view: DataView, data: DataOptions) -> dict[str, str]:
    """Return role -> column: what was found, with what the recipe says over it."""
    return {role: column for role, column in {**view.about.mapping, **data.columns}.items() if column}


def column_lines(view: DataView, data: DataOptions) -> list[ColumnLine]:
    """Return one line for each column of the first file."""
    by_column = {_outer(column): role for role, column in role_map(view, data).items()}
    exact = {column: role for role, column in role_map(view, data).items()}
    lines = []
    for column in view.about.columns:
        role = exact.get(column) or by_column.get(column, UNUSED)
        trained = role in TRAINED or (data.train_on == "all" and role != UNUSED)
        lines.append(ColumnLine(column, role, trained, view.about.samples.get(column, "")))
    return lines


def _outer(path: str) -> str:
    """Return the column that a path such as `instances[0].output` goes into."""
    return re.split(r"[.\[]", path, maxsplit=1)[0] or path


def columns_after(view: DataView, data: DataOptions, column: str, role: str) -> dict[str, str]:
    """Return the recipe's `columns` once `column` plays `role`; a role is played by one column at a time."""
    known = {r: c for r, c in role_map(view, data).items() if c != column}
    if role != UNUSED:
        known[role] = column
    return known
