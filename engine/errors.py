"""The one error a person ever sees: what happened, what to do next, and a code to search for."""

from __future__ import annotations

from typing import Any

# Section names of the error catalogue; a code is SECTION-NN.
CODES: frozenset[str] = frozenset(
    [f"DATA-{n:02d}" for n in range(1, 13)]
    + [f"MODEL-{n:02d}" for n in range(1, 9)]
    + [f"RUN-{n:02d}" for n in range(1, 13)]
    + [f"DISK-{n:02d}" for n in range(1, 5)]
    + [f"GPU-{n:02d}" for n in range(1, 5)]
    + ["REC-01", "REC-02", "HUB-01", "HUB-02", "HUB-03", "CHAT-01", "APP-01"]
)


class EngineError(Exception):
    """A failure told to a person: `message` says what happened, `hint` what to do next.

    `file`, `line` (1-based) and `field` (dotted recipe path) say where, when that is known.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        code: str = "APP-01",
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        if code not in CODES:
            raise ValueError(f"{code} is not in the error catalogue")
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.file = file
        self.line = line
        self.field = field

    def as_dict(self) -> dict[str, Any]:
        """Return the error as the command line and `exit.json` carry it."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            "line": self.line,
            "field": self.field,
        }

    def __str__(self) -> str:
        return f"{self.message} {self.hint} ({self.code})" if self.hint else f"{self.message} ({self.code})"


def from_os_error(error: OSError, path: str, free_bytes: int | None = None) -> EngineError:
    """Translate an operating-system error on `path` into the catalogue's words."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = "" if free_bytes is None else f", {free_bytes / 1e6:.0f} MB free"
        return EngineError(
            f"The disk is full: {path} could not be written{free}.",
            "Free some space, then resume; the last save is sound.",
            "DISK-01",
            file=path,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EngineError(
            f"{path} cannot be opened: {error.strerror}.",
            "Choose another place or correct its permissions.",
            "DISK-02",
            file=path,
        )
    return EngineError(
        f"{path}: {error.strerror or type(error).__name__}.",
        "Check that the file or folder exists and its disk is healthy.",
        "DISK-03",
        file=path,
    )
