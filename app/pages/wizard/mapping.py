"""Columns of a file and the roles they play, between what was found and what the recipe says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.widgets.mapping_view import UNUSED, ColumnLine
from engine.data.columns import NEEDED, OPTIONAL

# The roles that the model learns to say; those of the others it only reads.
TRAINED = frozenset({"completion", "output", "messages", "conversations", "text", "chosen"})
WHEN_UNKNOWN = "prompt_completion"
# How a role is said; one that is not here is said as the recipe writes it.
ROLE_WORDS = {
    "prompt": "user",
    "completion": "assistant",
    "output": "assistant",
    "instruction": "user: what to do",
    "input": "user: to work on",
    "context": "user: context",
    "history": "turns before",
    "messages": "all messages",
    "conversations": "all turns",
    "chosen": "assistant: better",
    "rejected": "assistant: worse",
}


def roles_of(format: str) -> tuple[str, ...]:
    """Return the roles that a column may play in a format."""
    format = format or WHEN_UNKNOWN
    return (*NEEDED.get(format, ()), *OPTIONAL.get(format, ()))


def role_map(found: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """Return role -> column: what was found, with what the recipe says over it."""
    return {role: column for role, column in {**found, **said}.items() if column}


def column_lines(
    columns: Sequence[str], roles: Mapping[str, str], samples: Mapping[str, str], train_on: str
) -> list[ColumnLine]:
    """Return one line for each column of a file; `roles` are role -> column."""
    by_column = {_outer(column): role for role, column in roles.items()}
    exact = {column: role for role, column in roles.items()}
    lines = []
    for column in columns:
        role = exact.get(column) or by_column.get(column, UNUSED)
        trained = role in TRAINED or (train_on == "all" and role != UNUSED)
        lines.append(ColumnLine(column, role, trained, samples.get(column, "")))
    return lines


def _outer(path: str) -> str:
    """Return the column that a path such as `instances[0].output` goes into."""
    return re.split(r"[.\[]", path, maxsplit=1)[0] or path


def columns_after(roles: Mapping[str, str], column: str, role: str) -> dict[str, str]:
    """Return the recipe's `columns` once `column` plays `role`; a role is played by one column at a time."""
    known = {r: c for r, c in roles.items() if c != column}
    if role != UNUSED:
        known[role] = column
    return known
