"""A run as the window holds it: its thread, its history, its state."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.workers.engine_thread import OVER, EngineThread
from app.workers.run_marks import LEAST_PATIENCE_SECONDS, RunMarks
from engine.errors import EngineError
from engine.jobs.spec import read_job
from engine.paths import read_head, show_name
from engine.runs import whereabouts
from engine.runs.advance import Started
from engine.runs.history import RunHistory


def name_of(folder: Path) -> str:
    """Return the name a run is shown by."""
    try:
        name = read_head(folder / "name.txt", 4096).decode("utf-8", "replace").strip()
    except OSError:
        name = ""
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
        self.unreadable = 0  # lines of the log
        self.marks = RunMarks()
        self.copied_from: Path | None = None  # known once the log is read
        self._identity = whereabouts.identity(folder)
        self._full = self.history
        self._thread: EngineThread | None = None
        self._heard_at = self._moved_at = time.monotonic()

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
        """Return for how long a going child gave no sign that it works, 0 while that is no cause to worry.

        It says something every second; while it trains it also has to take steps.
        """
        if not self.going:
            return 0.0
        now = time.monotonic()
        silent, stands = now - self._heard_at, now - self._moved_at
        if silent > LEAST_PATIENCE_SECONDS:
            return silent
        trains = self.history.phase == "train" and self.state == "running" and self.marks.waits is None
        return stands if trains and stands > self.marks.patience() else 0.0

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
            self._heard_at = self._moved_at = time.monotonic()
            self._on_state_changed("running")
            return
        self.look_away()
        self._begin_anew()
        self.ending = None
        self._heard_at = self._moved_at = time.monotonic()
        if begun is not None:
            self._on_state_changed("running")
        thread = EngineThread(self.folder, begun=begun, parent=self)
        thread.preview_arrived.connect(self._on_preview_arrived)
        thread.events_arrived.connect(self._on_events_arrived)
        thread.restarted.connect(self._begin_anew)
        thread.caught_up.connect(self._on_caught_up)
        thread.state_changed.connect(self._on_state_changed)
        thread.ended.connect(self._on_ended)
        thread.unreadable.connect(self._on_unreadable)
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

    def look_for_folder(self) -> None:
        """Notice that the folder of a run that is over, and so no longer watched, has gone."""
        if self.over and self.state != "gone" and whereabouts.is_gone(self.folder, self._identity):
            ending = whereabouts.ending_of_gone(self.folder, self._identity)
            self._on_state_changed("gone")
            self._on_ended(ending)

    def cancel(self) -> None:
        """End the child at once without a save."""
        if self._thread is not None:
            self._thread.cancel_child()

    def _begin_anew(self) -> None:
        self.history = self._full = RunHistory()
        self.generation += 1
        self.whole = False
        self.unreadable = 0
        self.marks = RunMarks()

    def _on_unreadable(self, lines: int) -> None:
        self.unreadable = lines
        self.changed.emit()

    def _on_preview_arrived(self, events: list[Any]) -> None:
        self.history = RunHistory()
        self.generation += 1
        self.history.fold(events)
        self.changed.emit()

    def _on_events_arrived(self, events: list[Any]) -> None:
        self._heard_at = time.monotonic()
        self._full.fold(events)
        moved = self.marks.moved
        self.marks.fold(events)
        if self.marks.moved != moved:
            self._moved_at = self._heard_at
        if self.history is self._full:
            self.changed.emit()

    def _on_caught_up(self) -> None:
        self.whole = True
        if self._thread is not None:
            self.copied_from = self._thread.copied_from
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
