"""Tells that a run has ended: a toast, and a mark in the task bar when the window is not in front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication, QMainWindow

from app.services import Services
from engine import paths

WORDS = {
    "finished": ("{name} has finished.", "ok"),
    "stopped": ("{name} has stopped after saving.", "info"),
    "failed": ("{name} has failed.", "bad"),
    "gone": ("The folder of {name} is gone.", "bad"),
}


class RunNotices(QObject):
    """Follows the run queue; only runs that were seen going are told, not replays of old ones."""

    def __init__(self, window: QMainWindow, services: Services) -> None:
        super().__init__(window)
        self._window, self._services = window, services
        self._going: dict[str, str] = {}
        self._last: Path | None = None
        services.run_queue.changed.connect(self._on_changed)
        services.run_queue.run_ended.connect(self._on_run_ended)
        self._held = services.run_queue.held
        services.run_queue.queue_changed.connect(self._on_queue_changed)

    def _on_changed(self) -> None:
        for run in self._services.run_queue.active():
            self._going[Path(run.folder).name] = run.name

    def _on_queue_changed(self) -> None:
        """Tell that the queue stands still by itself; who put it on hold knows."""
        held, self._held = self._held, self._services.run_queue.held
        if self._held and self._held != held and not self._held.startswith("You "):
            see = ("See the queue", lambda: self._services.navigate("runs", None))
            self._services.notify("The queue is on hold.", "warn", see, self._held)

    def _on_run_ended(self, run: str, ending: dict[str, Any]) -> None:
        name = self._going.pop(run, None)
        if name is None:
            return
        words, kind = WORDS.get(
            str(ending.get("status")), ("{name} has ended: its process was killed or died.", "bad")
        )
        text = words.format(name=name)
        cause = (
            " ".join(str(ending.get(key) or "") for key in ("message", "hint")).strip()
            if kind == "bad"
            else ""
        )
        self._last = paths.runs_dir() / run
        self._services.notify(text, kind, ("Open", self._open_last), cause)
        if self._services.settings.value.notify and not self._window.isActiveWindow():
            # The task bar marks the window until somebody looks at it.
            QApplication.alert(self._window)

    def _open_last(self) -> None:
        if self._last is not None:
            self._window.raise_()
            self._window.activateWindow()
            self._services.navigate("monitor", {"run": self._last})
