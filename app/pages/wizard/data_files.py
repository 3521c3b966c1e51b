"""The files of the data: what differs for one of them in the recipe, and whether they are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.recipe.data_options import DataOptions

# What the recipe can say of one file, and the name it has where it holds for all.
OWN = ("format", "columns", "encoding", "part", "delimiter", "header", "label_names", "role_names")
EMPTY: dict[str, Any] = {"format": "auto", "columns": {}, "label_names": {}, "role_names": {}}


@dataclass(frozen=True)
class FileState:
    """Whether a file or folder is there, and its size in bytes (None of a folder)."""

    there: bool
    size: int | None = None
    folder: bool = False


def states_of(files: list[str]) -> dict[str, FileState]:
    """Look at files; called in the background, as a folder of a network may take long."""
    found = {}
    for name in files:
        path = Path(name).expanduser()
        try:
            is_folder = path.is_dir()
            found[name] = FileState(True, None if is_folder else path.stat().st_size, is_folder)
        except OSError:
            found[name] = FileState(False)
    return found


def is_alone(data: DataOptions) -> bool:
    """Say whether the data section speaks of one file only."""
    return len(data.train) == 1 and not data.validation


def with_own(data: DataOptions, file: str, **changes: Any) -> dict[str, Any]:
    """Return the overrides that say something of one file: in the data section where it is the only one."""
    entry = data.sources.get(file)
    if is_alone(data) and entry is None:
        return {
            f"data.{name}": EMPTY.get(name) if value is None else value for name, value in changes.items()
        }
    return {"data.sources": sources_with(data, file, **changes)}


def sources_with(data: DataOptions, file: str, **changes: Any) -> dict[str, Any]:
    """Return the recipe's entries per file with some values changed; None takes a value out."""
    known = {name: entry.model_dump(exclude_none=True) for name, entry in data.sources.items()}
    mine = {**known.pop(file, {}), **changes}
    kept = {name: value for name, value in mine.items() if value is not None}
    return {**known, file: kept} if kept else known


def without_file(data: DataOptions, file: str) -> dict[str, Any]:
    """Return the overrides that leave a file out, with all that was said of it."""
    rest = [name for name in data.train if name != file]
    changes: dict[str, Any] = {"data.train": rest, "data.sources": sources_of_rest(data, rest)}
    if is_alone(data):
        changes |= nothing_said()
    return changes


def sources_of_rest(data: DataOptions, rest: list[str]) -> dict[str, Any]:
    """Return the entries of the files that stay."""
    kept = {*rest, *([data.validation] if data.validation else [])}
    return {name: e.model_dump(exclude_none=True) for name, e in data.sources.items() if name in kept}


def nothing_said() -> dict[str, Any]:
    """Return the overrides that forget how a former file was read."""
    return {f"data.{name}": EMPTY.get(name) for name in OWN}


def in_place_of(data: DataOptions, file: str, found: str) -> dict[str, Any]:
    """Return the overrides that read a file from its new place, as it was read before."""
    known = {name: entry.model_dump(exclude_none=True) for name, entry in data.sources.items()}
    if file in known:
        known[found] = known.pop(file)
    changes: dict[str, Any] = {
        "data.train": list(dict.fromkeys(found if name == file else name for name in data.train)),
        "data.sources": known,
    }
    if data.validation == file:
        changes["data.validation"] = found
    return changes
