"""A folder that appears whole under its name, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from engine import durable, paths
from engine.errors import EngineError, from_os_error

SPARE_BYTES = 64 << 20


def into_folder(out: Path, needed: int, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `out` and rename it; nothing half made is ever seen under its name.

    `needed` is in bytes. Raises EngineError DISK-01 (too little space), DISK-02 (the name is taken), DISK-03.
    """
    _refuse_taken(out)
    try:
        durable.make_folder(out.parent)
        _refuse_full(out.parent, needed)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
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
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EngineError(
            f"{paths.show_name(str(out), 200)} exists already.",
            "Choose another name; an existing folder is never overwritten.",
            "DISK-02",
            file=str(out),
        )


def _refuse_full(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise EngineError(
            f"{needed / 1e9:.1f} GB needed in {paths.show_name(str(folder), 200)}, {free / 1e9:.1f} GB free.",
            "Free some space, or choose another folder.",
            "DISK-01",
            file=str(folder),
        )
