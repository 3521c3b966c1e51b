"""What every page gets from the window: look, settings, background work, hardware, ways to elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication

from app.settings import SettingsStore
from app.theme.style import Theme, apply_theme
from app.workers.background import Background
from app.workers.monitor_thread import HardwareMonitor


def _nowhere(*_: object, **__: object) -> None:
    """Stand in until a window is there (a page drawn alone)."""


@dataclass
class Services:
    """The one object handed to each page.

    `navigate(page, argument)` goes to a page; `argument` is a dict or None ({"run": folder}, {"data": file},
    {"model": folder}, {"adapter": folder}, {"recipe": file}, {"step": "data"}, {"example": True}).
    `notify(text, kind, action, hint)` shows a toast. `run_queue`, `chat`, `notices` and `room` are set by the
    application.
    """

    theme: Theme
    settings: SettingsStore
    background: Background
    hardware: HardwareMonitor
    navigate: Callable[..., None] = _nowhere
    notify: Callable[..., Any] = _nowhere
    run_queue: Any = None
    chat: Any = None
    notices: Any = None
    room: Any = None


def make_services(app: QApplication, theme: str | None = None, parent: QObject | None = None) -> Services:
    """Return the services of one application; the hardware monitor is not started yet."""
    settings = SettingsStore(parent or app)
    look = apply_theme(app, theme or settings.value.theme, settings.value.text_size)
    return Services(look, settings, Background(parent or app), HardwareMonitor(parent or app))
