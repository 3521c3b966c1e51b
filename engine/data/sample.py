"""The first rows of a file, asked what their columns hold; on this every guess of a layout stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from engine.data.columns import MISSING, Mapping, lookup

MOST = 0.9  # share of the values that must be of a kind; a few may be wrong, and are then told row by row
HALF = 0.5
SYSTEMS = ("system", "system_prompt", "system_message")
CONTEXTS = (
    "context",
    "passage",
    "schema",
    "create_table_statement",
    "create_table",
    "sql_context",
    "table_schema",
    "ddl",
    "instructions",
)


class Sample:
    """Some rows and the columns in them, `names` by their name in lower case, in order of appearance."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows
        self.names: dict[str, str] = {}
        for row in rows:
            for column in row:
                self.names.setdefault(str(column).strip().lower(), column)

    def values(self, path: str) -> list[Any]:
        """Return the values at a path, without the rows that have none."""
        found = (lookup(row, path) for row in self.rows)
        return [value for value in found if value is not MISSING and value is not None]

    def mostly(self, path: str, fits: Callable[[Any], bool], share: float = MOST) -> bool:
        """Say whether there are values at a path, and nearly all of them fit."""
        values = self.values(path)
        return bool(values) and sum(1 for value in values if fits(value)) >= share * len(values)

    def is_text(self, path: str) -> bool:
        """Say whether a path holds text."""
        return self.mostly(path, lambda value: isinstance(value, str))

    def has_turns(self, path: str, *keys: str) -> bool:
        """Say whether a path holds lists of objects with these keys, be it written as JSON."""
        return self.mostly(path, lambda value: _has_keys(listed(value), keys), HALF)

    def first(self, names: Iterable[str], fits: Callable[[str], bool] | None = None) -> str | None:
        """Return the first of some columns, named in lower case, that is there and fits."""
        for name in names:
            column = self.names.get(name)
            if column is not None and (fits is None or fits(column)):
                return column
        return None

    def answer_path(self, column: str) -> str | None:
        """Return where in a column the text of an answer stands: in it, or at the first of several."""
        if self.is_text(column):
            return column
        for path, holder in ((f"{column}[0]", column), (f"{column}.text[0]", f"{column}.text")):
            if self.mostly(holder, _is_text_list) and self.is_text(path):
                return path
        nested = f"{column}[0].text"
        return nested if self.is_text(nested) else None

    def extras(self, *roles: str) -> dict[str, str]:
        """Return the columns that stand beside a conversation: system, tools, desirable."""
        found: dict[str, str | None] = {}
        if "system" in roles:
            found["system"] = self.first(SYSTEMS, self.is_text)
        if "tools" in roles:
            found["tools"] = self.first(("tools", "functions"))
        if "tool_calls" in roles:
            found["tool_calls"] = self.first(("tool_calls",))
        if "desirable" in roles:
            found["desirable"] = self.first(("desirable", "kto_tag", "label"), self._is_mark)
        return {role: column for role, column in found.items() if column is not None}

    def _is_mark(self, column: str) -> bool:
        numbers = column.strip().lower() != "label"
        return self.mostly(column, lambda value: _is_yes_or_no(value, numbers), 1.0)

    def shown(self) -> str:
        """Return the columns for a message, at most twelve."""
        return ", ".join(list(self.names.values())[:12])


def listed(value: Any) -> Any:
    """Return a list that is written as JSON in a text, else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _has_keys(value: Any, keys: Sequence[str]) -> bool:
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and set(keys) <= set(value[0])
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_yes_or_no(value: Any, numbers: bool) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        return value.strip().lower() in ("true", "false")
    return numbers and isinstance(value, int) and value in (0, 1)


def marked_words(columns: dict[str, str]) -> str:
    """Return what is said of a column that marks rows not to be learnt."""
    mark = columns.get("desirable")
    return f" Rows that {mark} marks false are left out." if mark else ""


def several(path: str) -> str:
    """Return what is said where only the first of several answers is taken."""
    return " The first of several answers is taken." if path.endswith("[0]") or "[0]." in path else ""


Finder = Callable[[Sample], Mapping | None]
