"""A folder that appears whole under its name, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.jobs import room


def into_folder(out: Path, needed: int, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `out` and rename it; nothing half made is ever seen under its name.

    `needed` is in bytes. Raises EngineError DISK-01 (too little space), DISK-02 (the name is taken), DISK-03.
    """
    _refuse_taken(out)
    room.refuse_full(out.parent, needed)
    try:
        scratch = durable.scratch_folder(out)
        try:
            write(scratch)
            durable.fsync_folder(scratch)
            if out.is_dir():
                durable.disk.rmdir(out)
            scratch.chmod(0o755)
            durable.replace(scratch, out)
            durable.fsync_folder(out.parent)
        finally:
            durable.discard(scratch)
    except OSError as error:
        raise from_os_error(error, str(out)) from error


def _refuse_taken(out: Path) -> None:
    refuse_name(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EngineError(
            f"{paths.show_name(str(out), 200)} exists already.",
            "Choose another name; an existing folder is never overwritten.",
            "DISK-02",
            file=str(out),
        )


def refuse_name(out: Path) -> None:
    """Raise EngineError DISK-02 for a name that not every system can hold."""
    why = paths.why_unsafe(out.name)
    if why:
        raise EngineError(
            f"{paths.show_name(out.name)} is no name for a file or folder: {why}.",
            "Choose another name.",
            "DISK-02",
            file=str(out),
        )
