"""Tells that a run has ended or waits for room: a toast, and a mark in the task bar to who looks away."""

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
        self._waiting: set[str] = set()
        services.run_queue.changed.connect(self._on_changed)
        services.run_queue.run_ended.connect(self._on_run_ended)
        self._held = services.run_queue.held
        services.run_queue.queue_changed.connect(self._on_queue_changed)

    def _on_changed(self) -> None:
        for run in self._services.run_queue.active():
            self._going[Path(run.folder).name] = run.name
            self._look_for_waiting(run)

    def _look_for_waiting(self, run: Any) -> None:
        """Tell once that a run stands still because the disk is full."""
        identity = Path(run.folder).name
        marks = getattr(run, "marks", None)
        waits = marks.waits if marks is not None else None
        if waits is None:
            self._waiting.discard(identity)
        elif identity not in self._waiting:
            self._waiting.add(identity)
            self._last = Path(run.folder)
            text = f"{run.name} waits: the disk is full."
            if not self._is_in_front(identity):
                self._services.notify(
                    text, "warn", ("Open", self._open_last), f"{waits.message} {waits.hint}"
                )
            self._call()

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
        if kind != "bad" or not self._is_in_front(run):  # there the card over it says more
            self._services.notify(text, kind, ("Open", self._open_last), cause)
        self._call()

    def _call(self) -> None:
        """Call a person who looks at another window: the task bar marks this one until somebody looks at it.

        A notice of the desktop would read names as markup.
        """
        if self._services.settings.value.notify and not self._window.isActiveWindow():
            QApplication.alert(self._window)

    def _is_in_front(self, run: str) -> bool:
        """Return whether the page of a run is what the person sees now."""
        page = getattr(self._window, "page", None)
        watch = getattr(page, "watch", None) if getattr(self._window, "page_name", "") == "monitor" else None
        return watch is not None and watch.id == run and self._window.isVisible()

    def _open_last(self) -> None:
        if self._last is not None:
            self._window.raise_()
            self._window.activateWindow()
            self._services.navigate("monitor", {"run": self._last})
