"""Where a run's folder is now: whether it is still the one that was opened, and where it was moved to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError

Identity = tuple[int, int]
TRASH = ".trash"
MOST_LOOKED_AT = 5000
_ID = re.compile(r"[a-z0-9-]{1,64}")


def identity(folder: Path) -> Identity | None:
    """Return what the file system knows a folder by wherever it is moved, None when it is not there."""
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino)


def is_gone(folder: Path, known: Identity | None) -> bool:
    """Return whether a folder is not there any more, or another one has its place."""
    now = identity(folder)
    return now is None or (known is not None and now != known)


def find_moved(folder: Path, known: Identity | None) -> Path | None:
    """Return where a folder lies now: under the runs, in their trash, or beside its former place."""
    if known is None:
        return None
    return next((each for each in _candidates(folder) if identity(each) == known), None)


def ending_of_gone(folder: Path, known: Identity | None) -> dict[str, Any]:
    """Return what is said of a run whose folder is gone; "found" is where it lies now, or None."""
    found = find_moved(folder, known)
    hint = "Bring it back or show where it is now."
    if found is not None:
        place = "in the trash" if is_trashed(found) else f"at {paths.show_name(str(found), 300)}"
        hint = f"It lies {place} now."
    words = f"The folder of this run is gone: {paths.show_name(str(folder), 300)}."
    error = EngineError(words, hint, "RUN-03", file=str(folder))
    return {**error.as_dict(), "status": "gone", "found": found}


def is_trashed(folder: Path) -> bool:
    """Return whether a run lies in the trash."""
    return folder.parent.name == TRASH


def _candidates(folder: Path) -> Iterator[Path]:
    looked = 0
    for place in dict.fromkeys((paths.runs_dir(), paths.runs_dir() / TRASH, folder.parent)):
        try:
            names = sorted(os.listdir(place))
        except OSError:
            continue
        for name in names:
            looked += 1
            if looked > MOST_LOOKED_AT:
                return
            yield place / name


def original_of(folder: Path) -> Path | None:
    """Return the run that a folder was copied from: another one that was made with the same id, and is here.

    A folder that was merely renamed has no other beside it; a copy with a name of its own is no question.
    """
    own = _id_in(folder)
    if own is None or own == folder.name or (folder / "name.txt").exists():
        return None
    original = paths.runs_dir() / own
    same = original.resolve() == folder.resolve()
    return original if not same and _id_in(original) == own else None


def _id_in(folder: Path) -> str | None:
    try:
        told = json.loads(paths.read_head(folder / "job.json"))
    except (OSError, ValueError, RecursionError):
        return None
    found = told.get("id") if isinstance(told, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None
