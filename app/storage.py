"""How much room the application's folders take, and how much is free."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine import paths
from engine.links import is_link

# name shown, how to find the folder, colour
PLACES = (
    ("models", paths.models_dir, "accent"),
    ("runs", paths.runs_dir, "series4"),
    ("data", paths.datasets_dir, "series2"),
    ("exports", paths.exports_dir, "series3"),
    ("cache", paths.cache_dir, "series5"),
)


@dataclass(frozen=True)
class Place:
    """One folder of the application."""

    name: str
    folder: Path
    bytes: int
    token: str


@dataclass(frozen=True)
class Storage:
    """All folders of the application and the disk they lie on."""

    places: tuple[Place, ...]
    free_bytes: int

    @property
    def used_bytes(self) -> int:
        """Return what all places take together."""
        return sum(place.bytes for place in self.places)


def measure() -> Storage:
    """Walk the folders; call it in the background."""
    places = tuple(Place(name, find(), folder_bytes(find()), token) for name, find, token in PLACES)
    return Storage(places, shutil.disk_usage(paths.home()).free)


def folder_bytes(folder: Path) -> int:
    """Return the room a folder takes; links are not followed, and each file counts once."""
    total, seen = 0, set()
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))
            except OSError:
                continue  # it went away while we looked
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def empty_cache() -> int:
    """Delete derived files and return how many bytes that freed."""
    before = folder_bytes(paths.cache_dir())
    for entry in paths.cache_dir().iterdir():
        if entry.is_dir() and not is_link(entry):
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return before - folder_bytes(paths.cache_dir())
