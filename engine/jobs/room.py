"""Whether a disk has room for what is to be written, asked before a long write begins."""

from __future__ import annotations

from pathlib import Path

from engine import durable, paths
from engine.errors import EngineError

SPARE_BYTES = 64 << 20
# What a run holds for its words about a full disk: it goes when they are to be written.
RESERVE = "cache/reserve.bin"
RESERVE_BYTES = 128 * 1024
HINT = "Free some space, or choose another folder."


def refuse_full(folder: Path, needed: int, hint: str = HINT, field: str | None = None) -> None:
    """Raise EngineError DISK-01 where `folder` has not room for `needed` bytes and a little more.

    The folder need not be there yet; the disk asked is that of the nearest folder above it.
    """
    free = durable.disk.free(existing(folder))
    needed += SPARE_BYTES
    if needed > free:
        raise EngineError(
            f"{amount(needed)} needed in {paths.show_name(str(folder), 200)}, {amount(free)} free.",
            hint,
            "DISK-01",
            file=str(folder),
            field=field,
        )


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    return next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), folder)


def amount(size: float) -> str:
    """Return a size in bytes as a person reads it, in powers of 1000."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
