"""What a reader hands out: a row with its line, or a finding that says where and why a row cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.errors import EngineError

Severity = Literal["error", "warning", "report"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. It begins at `line` (1-based); `continues`: the next row is the same document.

    Of a sheet, `cells` says which column of it a name stands for ("Sheet1!B"); with the line, that is a cell.
    Of a folder, `file` is the path of the file it stands in.
    """

    value: Mapping[str, Any] | str
    line: int
    continues: bool = False
    cells: Mapping[str, str] | None = None
    file: str = ""


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


@dataclass(frozen=True)
class Found:
    """What a look at a file of rows tells before they are read; `detail` is the reader's own.

    `parts` are the sheets, lists or splits it could be read from, `label_names` what the numbers of a column
    stand for, `rows` their number where the format says it.
    """

    parts: tuple[str, ...] = ()
    part: str | None = None
    remarks: tuple[Finding, ...] = ()
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows: int | None = None
    detail: Any = None
