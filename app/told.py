"""What a person was called for already, noted in the home: no other window and no later start repeats it."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from engine.durable import create_exclusive
from engine.paths import home

MOST = 400
GONE_AT_ONCE = 100


def told_dir() -> Path:
    """Return where the notes lie, an empty file for each call."""
    return home() / "told"


def claim(key: str) -> bool:
    """Return whether nobody was called for `key` before, and note that somebody is now.

    A disk that takes no note must not keep the word about it back: it is said then.
    """
    folder = told_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        create_exclusive(folder / hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32], b"")
    except FileExistsError:
        return False
    except OSError:
        return True
    _forget_oldest(folder)
    return True


def _forget_oldest(folder: Path) -> None:
    with contextlib.suppress(OSError):
        notes = [place for place in folder.iterdir() if not place.name.startswith(".")]
        if len(notes) > MOST:
            for place in sorted(notes, key=lambda place: place.stat().st_mtime)[:GONE_AT_ONCE]:
                place.unlink(missing_ok=True)
