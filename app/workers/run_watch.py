"""A run as the window holds it: its thread, its history, its state."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.workers.engine_thread import OVER, EngineThread
from engine.errors import EngineError
from engine.jobs.spec import read_job
from engine.paths import show_name
from engine.runs.advance import Started
from engine.runs.history import RunHistory


def name_of(folder: Path) -> str:
    """Return the name a run is shown by."""
    given = folder / "name.txt"
    if given.is_file():
        name = given.read_text(encoding="utf-8", errors="replace").strip()
        if name:
            return show_name(name)
    try:
        return show_name(read_job(folder).name)
    except EngineError:
        return show_name(folder.name)


class RunWatch(QObject):
    """One watched run; `history` is a glance of it (`whole` is False) until a long file is read.

    `generation` rises whenever `history` is another object, so that charts begin anew.

    Signals:
        changed: the history has grown or is another.
        state_changed: the state is another.
        ended: exit.json, or what is known of a crash.
    """

    changed = Signal()
    state_changed = Signal(str)
    ended = Signal(dict)

    def __init__(self, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder = folder
        self.id = folder.name
        self.name = name_of(folder)
        self.state = ""
        self.ending: dict[str, Any] | None = None
        self.history = RunHistory()
        self.generation = 0
        self.whole = False
        self._full = self.history
        self._thread: EngineThread | None = None
        self._heard_at = time.monotonic()

    # -- what the window asks for --
    @property
    def step(self) -> int:
        """Return the last step."""
        return self.history.step

    @property
    def total_steps(self) -> int:
        """Return the steps of the whole run, 0 while unknown."""
        return self.history.total_steps

    @property
    def seconds_left(self) -> float | None:
        """Return the time left, None while estimating."""
        return self.history.eta_seconds()

    @property
    def memory_bytes(self) -> int:
        """Return the device memory of the child, 0 without a GPU."""
        hardware = self.history.hardware
        if not self.going or hardware is None or not hardware.devices:
            return 0
        last = self.history.series["memory_bytes"].last
        return int(last) if last else 0

    @property
    def going(self) -> bool:
        """Return whether a child works on it now."""
        return self.state in ("running", "paused")

    @property
    def silent_seconds(self) -> float:
        """Return for how long a going child said nothing; it says something every second."""
        return time.monotonic() - self._heard_at if self.going else 0.0

    @property
    def over(self) -> bool:
        """Return whether it came to an end, good or bad."""
        return self.state in OVER

    # -- watching --
    def begin(self, begun: Started | None = None) -> None:
        """Watch the folder from the first event on; `begun` is its child where it was started just now."""
        if begun is not None and self._thread is not None and self.watching and self.state in ("", "queued"):
            # Ending one thread to begin another would keep the window waiting.
            self._thread.adopt(begun)
            self._heard_at = time.monotonic()
            self._on_state_changed("running")
            return
        self.look_away()
        self._begin_anew()
        self.ending = None
        self._heard_at = time.monotonic()
        if begun is not None:
            self._on_state_changed("running")
        thread = EngineThread(self.folder, begun=begun, parent=self)
        thread.preview_arrived.connect(self._on_preview_arrived)
        thread.events_arrived.connect(self._on_events_arrived)
        thread.restarted.connect(self._begin_anew)
        thread.caught_up.connect(self._on_caught_up)
        thread.state_changed.connect(self._on_state_changed)
        thread.ended.connect(self._on_ended)
        self._thread = thread
        thread.start()

    def look_away(self) -> None:
        """Stop watching; the child goes on."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.disconnect(self)
            thread.stop_watching()

    @property
    def watching(self) -> bool:
        """Return whether the thread still reads."""
        return self._thread is not None and self._thread.isRunning()

    def cancel(self) -> None:
        """End the child at once without a save."""
        if self._thread is not None:
            self._thread.cancel_child()

    def _begin_anew(self) -> None:
        self.history = self._full = RunHistory()
        self.generation += 1
        self.whole = False

    def _on_preview_arrived(self, events: list[Any]) -> None:
        self.history = RunHistory()
        self.generation += 1
        self.history.fold(events)
        self.changed.emit()

    def _on_events_arrived(self, events: list[Any]) -> None:
        self._heard_at = time.monotonic()
        self._full.fold(events)
        if self.history is self._full:
            self.changed.emit()

    def _on_caught_up(self) -> None:
        self.whole = True
        if self.history is not self._full:
            self.history = self._full
            self.generation += 1
        self.changed.emit()

    def _on_state_changed(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    def _on_ended(self, ending: dict[str, Any]) -> None:
        self.ending = ending
        self.ended.emit(ending)
