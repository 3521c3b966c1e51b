"""What a reader hands out: a row with its line, or a finding that says where and why a row cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import EngineError

Severity = Literal["error", "warning", "report"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. It begins at `line` (1-based); `continues`: the next row is the same document."""

    value: Mapping[str, Any] | str
    line: int
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in a file. `error` refuses the row, `warning` and `report` only tell."""

    code: str
    file: str
    line: int | None
    column: int | None
    message: str
    hint: str = ""
    severity: Severity = "error"

    def as_error(self) -> EngineError:
        """Return it as the error that stops a start."""
        return EngineError(self.message, self.hint, self.code, file=self.file, line=self.line)

    def as_dict(self) -> dict[str, Any]:
        """Return it as `data inspect` tells it."""
        return {
            "code": self.code,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
            "severity": self.severity,
            "file": self.file,
        }
