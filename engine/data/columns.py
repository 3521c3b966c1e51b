"""Which column of a row plays which role: the mapping, and how a column's path is followed."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Literal

Format = Literal["messages", "sharegpt", "alpaca", "prompt_completion", "text", "preference"]

# The roles of each format; those in capitals of a contract are needed, the others may be missing.
NEEDED: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "text": ("text",),
    "preference": ("chosen",),
}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "messages": ("system", "tools"),
    "sharegpt": ("system", "tools"),
    "alpaca": ("input", "system", "history"),
    "prompt_completion": ("context", "system"),
    "text": (),
    "preference": ("prompt", "rejected", "system"),
}
_STEP = re.compile(r"[^.\[\]]+")
MISSING: Any = object()


@dataclass(frozen=True)
class Mapping:
    """A format and the column of each of its roles, why it was chosen, and what else it could be."""

    format: Format
    columns: dict[str, str]
    reason: str = ""
    alternatives: tuple[str, ...] = field(default=())


def lookup(row: MappingOf[str, Any], path: str) -> Any:
    """Return the value at `path` (a column, or `a.b`, `a[0].b` inside one), else MISSING."""
    if path in row:
        return row[path]
    value: Any = row
    for step in _STEP.findall(path):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value
