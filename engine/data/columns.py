"""Which column of a row plays which role: the mapping, and how a column's path is followed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from functools import lru_cache
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
# `role`, `content`, `question` and `answer` are keys inside a message; `choices` are one column or several
# with commas between them; `desirable` marks rows that are not to be learnt with false.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "messages": ("system", "tools", "tool_calls", "role", "content", "question", "answer", "desirable"),
    "sharegpt": ("system", "tools", "role", "content", "desirable"),
    "alpaca": ("input", "system", "history", "desirable"),
    "prompt_completion": ("context", "system", "choices", "tools", "desirable"),
    "text": (),
    "preference": ("prompt", "rejected", "system", "input", "tools"),
}
INSIDE = frozenset({"role", "content", "question", "answer"})
_STEP = re.compile(r"[^.\[\]]+")
MISSING: Any = object()


@dataclass(frozen=True)
class Mapping:
    """A format and the column of each of its roles, why it was chosen, and what else it could be.

    `unused` are the columns that play no role, `label_names` what the numbers of the answer's column are
    called by the file itself, `answer_by` how an answer names one of the choices.
    """

    format: Format
    columns: dict[str, str]
    reason: str = ""
    alternatives: tuple[Mapping, ...] = field(default=())
    unused: tuple[str, ...] = ()
    label_names: MappingOf[str, str] = field(default_factory=dict)
    answer_by: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as `data inspect` tells an alternative."""
        return {"format": self.format, "columns": dict(self.columns), "reason": self.reason}


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(_STEP.findall(path))


def lookup(row: MappingOf[str, Any], path: str) -> Any:
    """Return the value at `path` (a column, or `a.b`, `a[0].b` inside one), else MISSING."""
    if path in row:
        return row[path]
    value: Any = row
    steps = _steps(path)
    if len(steps) < 2:
        return MISSING
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and len(step) < 9 and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def root_of(path: str, columns: Iterable[str]) -> str:
    """Return the column of a row that a path begins in: the path itself, or its first step."""
    names = columns if isinstance(columns, (set, frozenset, dict)) else set(columns)
    steps = _steps(path)
    return path if path in names or not steps else steps[0]


def roots_of(mapping: Mapping, columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns of a row that each role of a mapping stands on."""
    names = set(columns)
    found = {}
    for role, path in mapping.columns.items():
        if role in INSIDE:
            continue
        parts = path.split(",") if role == "choices" and path not in names and "," in path else [path]
        found[role] = tuple(root_of(part.strip() if len(parts) > 1 else part, names) for part in parts)
    return found
