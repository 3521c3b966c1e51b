"""The one error a person ever sees: what happened, what to do next, and a code to search for."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from engine.error_catalogue import CODES, fill
from engine.paths import show_name, show_text


class EngineError(Exception):
    """A failure told to a person: `message` says what happened, `hint` what to do next.

    `code` is one of engine/error_catalogue.py. `file`, `line` (1-based) and `field` (dotted recipe path) say
    where, when that is known. Whatever steers a screen is made visible in both texts; `file` stays a path.
    `detail` is for the one who wants to know more: the trace, where the window's work failed.
    """

    detail: str = ""

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
        self.message = show_text(message)
        self.hint = show_text(hint)
        super().__init__(self.message)
        self.code = code
        self.file = file
        self.line = line
        self.field = field

    @classmethod
    def of(
        cls,
        code: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        **values: object,
    ) -> EngineError:
        """Return the error in the catalogue's own words, `values` in the places of their names.

        The name of `file`, `line` and `field` are values too.
        """
        place = {"file": Path(file).name if file else None, "line": line, "field": field}
        known = {name: value for name, value in place.items() if value is not None}
        message, hint = fill(code, known | values)
        return cls(message, hint, code, file=file, line=line, field=field)

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


# What a disk, or a share that went away, answers when it fails.
FAILING = tuple(
    getattr(errno, name) for name in ("EIO", "ESTALE", "ENODEV", "ENXIO", "EHOSTDOWN") if hasattr(errno, name)
)


def from_os_error(error: OSError, path: str, free_bytes: int | None = None) -> EngineError:
    """Translate an operating-system error on `path` into the catalogue's words."""
    shown = show_name(path, 400)
    why = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = "" if free_bytes is None else f", {free_bytes / 1e6:.0f} MB free"
        return EngineError(
            f"The disk is full: {shown} could not be written{free}.",
            "Free some space, then resume; the last save is sound.",
            "DISK-01",
            file=path,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY):
        return EngineError(
            f"{shown} cannot be opened or written: {why}{_owner_of(path)}.",
            "Choose another folder or correct its permissions; another program may hold it.",
            "DISK-02",
            file=path,
        )
    if error.errno in FAILING:
        return EngineError(
            f"The disk reported an error at {shown}: {why}.",
            "Copy the run to another disk; the last save is sound.",
            "DISK-03",
            file=path,
        )
    return EngineError(
        f"{shown}: {why}.",
        "Check that the file or folder exists and its disk is healthy.",
        "DISK-03",
        file=path,
    )


def _owner_of(path: str) -> str:
    """Return whose a file, or the nearest folder above it, is, as words; empty where nobody knows."""
    try:
        import pwd

        place = next(p for p in (Path(path), *Path(path).parents) if p.exists())
        return f" (owner: {show_name(pwd.getpwuid(place.stat().st_uid).pw_name, 60)})"
    except (ImportError, OSError, KeyError, StopIteration, ValueError):
        return ""
