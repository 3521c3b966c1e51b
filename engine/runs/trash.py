"""What a person deleted: kept for thirty days, seen in one list, brought back with one press.

    $TUNESMITH_HOME/trash/<id>/entry.json      kind, name, when, where it stood
    $TUNESMITH_HOME/trash/<id>/thing           the file or folder itself; nothing for what was only forgotten
    .../runs/.trash/<run>.<time>               deleted runs, beside the others: no byte of them is copied
    .../conversations/.trash/<id>.json         deleted conversations, each with its run

An adapter or a model that lies elsewhere on the disk is only forgotten: its own files are never touched.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import durable, paths, plain_yaml
from engine.errors import EngineError, from_os_error
from engine.links import is_link
from engine.models import library
from engine.runs import conversations, store, tests_kept

KEEP_DAYS = 30
THING, ENTRY = "thing", "entry.json"
LARGEST_ENTRY_BYTES = 2 << 20
Kind = Literal["run", "adapter", "model", "conversation", "test", "draft"]
KINDS: tuple[Kind, ...] = ("run", "adapter", "model", "conversation", "test", "draft")


@dataclass(frozen=True)
class Trashed:
    """One deleted thing: `place` is where it waits, `origin` where it stood."""

    kind: Kind
    name: str
    deleted: float
    place: Path
    origin: Path
    note: str = ""

    @property
    def days_left(self) -> int:
        """Return the days until it goes for good."""
        return max(0, KEEP_DAYS - int((time.time() - self.deleted) / 86_400))


def trash_dir() -> Path:
    """Return the folder of everything but runs and conversations."""
    return paths.home() / "trash"


def everything() -> list[Trashed]:
    """Return all that can be brought back, newest first; what has been here long enough goes for good."""
    found = [*_runs(), *_conversations(), *_entries()]
    old = [each for each in found if not each.days_left]
    for each in old:
        remove(each)
    return sorted((each for each in found if each not in old), key=lambda each: -each.deleted)


# -- putting in ----------------------------------------------------------------------------------------
def delete_adapter(folder: Path) -> Trashed:
    """Move an adapter of this home to the trash, or forget one that lies elsewhere.

    Raises EngineError RUN-02 for the result of a run, which goes with its run; DISK-* where it cannot go.
    """
    if folder.resolve().is_relative_to(paths.runs_dir().resolve()):
        raise EngineError(
            "This adapter belongs to a run.", "Delete the run under Runs.", "RUN-02", file=str(folder)
        )
    return _delete_or_forget("adapter", folder, paths.adapters_dir())


def delete_model(folder: Path) -> Trashed:
    """Move a model of this home (or an export) to the trash, or forget one that lies elsewhere."""
    place = next(
        (p for p in (paths.models_dir(), paths.exports_dir()) if _lies_in(folder, p)), paths.models_dir()
    )
    return _delete_or_forget("model", folder, place)


def delete_test(place: Path, line: bytes) -> Trashed:
    """Take a kept test out of RUN/tests.jsonl or the home's; raises EngineError DISK-*."""
    name = _words_of_test(line)
    entry = _new("test", name, place, {"line": line.decode("utf-8", "replace")})
    tests_kept.take_back(place, line)
    return entry


def delete_draft(file: Path) -> Trashed | None:
    """Set an unfinished run aside; None when there is none."""
    return _new("draft", _name_of_draft(file), file, {}, file) if file.is_file() else None


def _name_of_draft(file: Path) -> str:
    """Return what an unfinished run is called: its own name, or its data."""
    try:
        told, _ = plain_yaml.read(file.read_bytes().decode("utf-8", "replace"), file.name)
        recipe = told.get("recipe") if isinstance(told, dict) else None
        data = recipe.get("data", {}).get("train") or [] if isinstance(recipe, dict) else []
        name = str(recipe.get("name") or "") if isinstance(recipe, dict) else ""
    except (OSError, EngineError, AttributeError):
        return "Unfinished run"
    return name or (Path(str(data[0])).name if isinstance(data, list) and data else "Unfinished run")


def _delete_or_forget(kind: Kind, folder: Path, place: Path) -> Trashed:
    recorded = library.is_recorded(kind, folder)
    thing = folder if _lies_in(folder, place) else None
    if thing is None and not recorded:
        raise EngineError(
            f"{paths.show_name(folder.name)} is not kept here.",
            "Nothing was deleted.",
            "DISK-03",
            file=str(folder),
        )
    entry = _new(kind, folder.name, folder, {"recorded": recorded}, thing)
    if recorded:
        library.forget(kind, folder)
    return entry


def _lies_in(folder: Path, place: Path) -> bool:
    return folder.absolute().parent == place.absolute() and not is_link(folder)


def _new(kind: Kind, name: str, origin: Path, more: dict[str, Any], thing: Path | None = None) -> Trashed:
    folder = trash_dir() / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    told = {
        "kind": kind,
        "name": paths.show_name(name),
        "deleted": time.time(),
        "origin": str(origin),
        **more,
    }
    try:
        durable.make_folder(folder, 0o700)
        durable.write_json(folder / ENTRY, told)
        if thing is not None:
            durable.replace(thing, folder / THING)
    except OSError as error:
        raise from_os_error(error, str(thing or folder)) from error
    return Trashed(kind, told["name"], told["deleted"], folder, origin)


# -- taking out ----------------------------------------------------------------------------------------
def restore(item: Trashed) -> Path:
    """Bring a thing back to where it stood and return its place; raises EngineError RUN-02 / DISK-*."""
    return _RESTORE[item.kind](item)


def remove(item: Trashed) -> None:
    """Let a thing go for good; raises EngineError DISK-* when it cannot be deleted."""
    try:
        if item.place.is_dir() and not is_link(item.place):
            durable.remove_tree(item.place)
        else:
            durable.remove_file(item.place)
    except FileNotFoundError:
        return
    except OSError as error:
        raise from_os_error(error, str(item.place)) from error


def _restore_run(item: Trashed) -> Path:
    return store.restore_run(item.place)


def _restore_conversation(item: Trashed) -> Path:
    folder = item.origin.parent
    conversations.restore(item.origin.stem, None if folder.parent == paths.home() else folder.parent)
    return item.origin


def _restore_entry(item: Trashed) -> Path:
    told = _told(item.place)
    thing = item.place / THING
    try:
        if thing.exists():
            if item.origin.exists():
                raise EngineError(
                    f"{paths.show_name(item.origin.name)} is there already.",
                    "Move or rename that one first.",
                    "RUN-02",
                    file=str(item.origin),
                )
            durable.make_folder(item.origin.parent)
            durable.replace(thing, item.origin)
        if told.get("recorded"):
            library.remember(item.kind, item.origin)
    except OSError as error:
        raise from_os_error(error, str(item.origin)) from error
    remove(item)
    return item.origin


def _restore_draft(item: Trashed) -> Path:
    """The present draft, if there is one, goes to the trash in turn."""
    if item.origin.is_file():
        delete_draft(item.origin)
    return _restore_entry(item)


def _restore_test(item: Trashed) -> Path:
    line = _told(item.place).get("line")
    if isinstance(line, str):
        tests_kept.put_back(item.origin, line.encode())
    remove(item)
    return item.origin


_RESTORE: dict[Kind, Callable[[Trashed], Path]] = {
    "run": _restore_run,
    "conversation": _restore_conversation,
    "test": _restore_test,
    "adapter": _restore_entry,
    "model": _restore_entry,
    "draft": _restore_draft,
}


# -- looking -------------------------------------------------------------------------------------------
def _runs() -> Iterator[Trashed]:
    for folder in _inside(store.trash_dir()):
        stem, _, stamp = folder.name.rpartition(".")
        if stem and stamp.isdigit() and folder.is_dir() and not is_link(folder):
            summary = store.summary(folder)
            note = " · ".join(part for part in (summary.base, summary.method) if part)
            yield Trashed("run", summary.name, float(stamp), folder, paths.runs_dir() / stem, note)


def _conversations() -> Iterator[Trashed]:
    runs = [folder for folder in _inside(paths.runs_dir()) if not folder.name.startswith(".")]
    for owner in (None, *runs):
        place = conversations.folder_for(owner)
        for file in _inside(place / ".trash"):
            if file.suffix == ".json" and file.is_file() and not is_link(file):
                told = conversations.read_trashed(file)
                with_whom = f"with {paths.show_name(owner.name)}" if owner is not None else ""
                title = told.title if told is not None and told.title else "Conversation"
                deleted = file.stat().st_mtime
                name = paths.show_name(title)
                yield Trashed("conversation", name, deleted, file, place / file.name, with_whom)


def _entries() -> Iterator[Trashed]:
    for folder in _inside(trash_dir()):
        told = _told(folder)
        kind, origin, deleted = told.get("kind"), told.get("origin"), told.get("deleted")
        if kind in KINDS and isinstance(origin, str) and isinstance(deleted, int | float):
            note = "" if (folder / THING).exists() or kind == "test" else "its files were not touched"
            name = paths.show_name(str(told.get("name", "")))
            yield Trashed(kind, name, float(deleted), folder, Path(origin), note)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))
    except OSError:
        return []


def _told(folder: Path) -> dict[str, Any]:
    try:
        file = folder / ENTRY
        told = json.loads(file.read_bytes()) if file.stat().st_size <= LARGEST_ENTRY_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _words_of_test(line: bytes) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    prompt = str(told.get("prompt", "")) if isinstance(told, dict) else ""
    return " ".join(prompt.split())[:80] or "Kept test"
