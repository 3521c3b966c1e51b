"""What is said of a disk that runs full, and what gives room back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtWidgets import QWidget

from app.i18n import size
from app.services import Services
from app.storage import empty_cache
from app.widgets.question import ask
from app.workers.room_watch import Low
from engine.paths import show_name
from engine.runs import trash

Action = tuple[str, Callable[[], object]]
WORTH_BYTES = 10_000_000  # less is not offered


def words_of(low: Low) -> tuple[str, str]:
    """Return a title and what is free, what is needed and what follows."""
    where = show_name(str(low.place.parent if low.saves else low.place), 120)
    needs = f"two more saves of {low.run.name} need {size(low.needed_bytes)}"
    if not low.saves:
        needs = f"at least {size(low.needed_bytes)} should be"
    text = (
        f"{size(low.free_bytes)} free in {where}; {needs}. When it is full, training waits; nothing is lost."
    )
    return "Little room is left on the disk", text


def actions_of(low: Low, services: Services, parent: QWidget) -> list[Action]:
    """Return what gives room back, the most first."""
    found: list[Action] = []
    if low.trash_bytes > WORTH_BYTES:
        word = f"Empty the trash ({size(low.trash_bytes)})…"
        found.append((word, partial(_empty_trash, services, parent)))
        found.append(("Open the trash", lambda: services.navigate("runs", {"trash": True})))
    if low.cache_bytes > WORTH_BYTES:
        found.append((f"Empty the cache ({size(low.cache_bytes)})", partial(_empty_cache, services)))
    found.append(("See what takes room", lambda: services.navigate("settings", {"section": "folders"})))
    return found[:3]


def _empty_trash(services: Services, parent: QWidget) -> None:
    text = "Everything in it goes with all files. This cannot be undone."
    if ask(parent, "Delete all that is in the trash for good?", text, "Delete for good"):
        services.background.run(_remove_all, partial(_freed, services, "The trash is empty."), _say(services))


def _empty_cache(services: Services) -> None:
    services.background.run(empty_cache, partial(_freed, services, "The cache is empty."), _say(services))


def _remove_all() -> None:
    for each in trash.everything():
        trash.remove(each)


def _freed(services: Services, words: str, _: Any) -> None:
    services.notify(words, "ok")
    if services.room is not None:
        services.room.look()


def _say(services: Services) -> Callable[[Any], None]:
    return lambda error: services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
