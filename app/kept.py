"""What a person collected and may delete: models, adapters made here or brought, tests kept in a chat."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.i18n import short_number
from app.storage import folder_bytes
from engine import paths
from engine.models import library
from engine.models.refused import Refused
from engine.runs import tests_kept, trash
from engine.runs.trash import Trashed

MOST_TESTS = 200


@dataclass(frozen=True)
class Kept:
    """One thing: its kind and name, what it is in a line, and where it lies (for a test, its own line)."""

    kind: Literal["model", "adapter", "test"]
    name: str
    detail: str
    place: Path
    bytes: int | None = None
    line: bytes = b""

    @property
    def elsewhere(self) -> bool:
        """Return whether its files lie outside the application's folders, and so stay when it is deleted."""
        return self.kind != "test" and not self.place.absolute().is_relative_to(paths.home().absolute())


def kept_things() -> list[Kept]:
    """Return all that can be deleted, models first; reads the disk, so call it in the background."""
    return [*_models(), *_adapters(), *_tests()]


def delete(thing: Kept) -> Trashed:
    """Move a thing to the trash; raises EngineError RUN-02 / DISK-*."""
    if thing.kind == "test":
        return trash.delete_test(thing.place, thing.line)
    return trash.delete_model(thing.place) if thing.kind == "model" else trash.delete_adapter(thing.place)


def _models() -> list[Kept]:
    found = []
    usable, refused = library.look_over_models()
    for facts in usable:
        here = facts.path.parent in (paths.models_dir(), paths.exports_dir())
        if facts.path != library.starter_folder() and (here or library.is_recorded("model", facts.path)):
            detail = f"{facts.architecture}, {short_number(facts.parameters)} parameters"
            found.append(Kept("model", facts.name, detail, facts.path, folder_bytes(facts.path)))
    return found + _refused("model", refused, (paths.models_dir(), paths.exports_dir()))


def _adapters() -> list[Kept]:
    found = []
    usable, refused = library.look_over_adapters()
    for facts in usable:
        here = facts.path.parent == paths.adapters_dir()
        if here or library.is_recorded("adapter", facts.path):
            detail = f"adapter of {Path(facts.base).name or 'an unknown base'}"
            found.append(Kept("adapter", facts.name, detail, facts.path, facts.bytes))
    return found + _refused("adapter", refused, (paths.adapters_dir(),))


def _refused(kind: Literal["model", "adapter"], refused: list[Refused], ours: tuple[Path, ...]) -> list[Kept]:
    """Return what cannot be used and can still be deleted, with its reason."""
    return [
        Kept(kind, each.name, f"cannot be used: {each.error}", each.path, folder_bytes(each.path))
        for each in refused
        if each.path.parent in ours or library.is_recorded(kind, each.path)
    ]


def _tests() -> list[Kept]:
    places = [paths.home(), *(p for p in sorted(paths.runs_dir().iterdir()) if not p.name.startswith("."))]
    found = []
    for place in places:
        whose = "kept in a chat" if place == paths.home() else f"with {paths.show_name(place.name)}"
        for line in tests_kept.lines_of(place):
            found.append(Kept("test", _prompt_of(line), whose, place, None, line))
    return found[:MOST_TESTS]


def _prompt_of(line: bytes) -> str:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    prompt = " ".join(str(told.get("prompt", "")).split()) if isinstance(told, dict) else ""
    return paths.show_name(prompt[:120]) or "unreadable"
