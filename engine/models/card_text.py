"""The card (README.md) of a model's or an adapter's folder, as text: bounded, and never from elsewhere."""

from __future__ import annotations

from pathlib import Path

from engine.errors import from_os_error
from engine.models.weight_files import stay_inside

CARD = "README.md"
MAX_BYTES = 256 * 1024


def has_card(folder: Path) -> bool:
    """Say whether a folder holds a card."""
    return (folder / CARD).is_file()


def read_card(folder: Path) -> str:
    """Return the beginning of a card, at most 256 KiB of it.

    Raises EngineError MODEL-03 for a link that leads out of the folder, DISK-* where it cannot be read.
    """
    path = folder / CARD
    stay_inside(folder, path)
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise from_os_error(error, str(path)) from error
