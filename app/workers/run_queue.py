"""Runs that wait, runs that go on, and the ones that are looked at: one training a device at a time.

The queue itself is the engine's (`engine.runs.queue`): every window and the command line change it under one
lock, and a process of its own advances it when no window is there. Here it is shown and pushed on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.workers.run_watch import RunWatch
from engine import paths
from engine.errors import EngineError
from engine.jobs import process
from engine.recipe.recipe import Recipe
from engine.runs import queue, queue_runner, store
from engine.runs.advance import Started, advance
from engine.runs.queue import OnError, Queue

log = logging.getLogger(__name__)

LOOK_MS = 2000
TELL_MS = 500
KEPT_WATCHES = 4  # runs that are over and still held in memory
Run = str | Path


class RunQueue(QObject):
    """All trainings of this home; what it knows of them beyond the queue it reads in their folders.

    Signals:
        changed: something is going on differently now (at most twice a second for mere progress).
        queue_changed: other runs wait, or in another order, or the queue holds or goes on.
        run_changed: the id of a run whose state changed.
        run_ended: the id of a run and its closing note.
    """

    changed = Signal()
    queue_changed = Signal()
    run_changed = Signal(str)
    run_ended = Signal(str, dict)

    def __init__(self, services: Any = None, parent: QObject | None = None, *, advances: bool = True) -> None:
        """`advances` is False for a window that only draws a picture: it starts nothing."""
        super().__init__(parent)
        self._services, self._advances = services, advances
        self._watches: dict[Path, RunWatch] = {}
        self._now: Queue = queue.read()
        self._advancing = self._asked_again = False
        self._cancelled: set[Path] = set()
        self._tell = QTimer(self, singleShot=True, interval=TELL_MS)
        self._tell.timeout.connect(self.changed)
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self.look)
        self._timer.start()
        QTimer.singleShot(0, self, self.look)

    # -- what is going on --
    def active(self) -> list[RunWatch]:
        """Return the runs whose child works now."""
        return [watch for watch in self._watches.values() if watch.going]

    def queued(self) -> list[Path]:
        """Return the folders of the runs that wait for their device, the next one first."""
        return list(self._now.queued)

    def expects(self, folder: Path) -> bool:
        """Return whether a run waits, or was started so recently that its child does not hold it yet."""
        begun = (entry.run for entry in self._now.begun)
        return folder in self._now.queued or str(folder) in begun

    @property
    def busy(self) -> bool:
        """Return whether a new run would have to wait."""
        machine = getattr(getattr(self._services, "hardware", None), "machine", None)
        devices = max(1, len(machine.devices)) if machine is not None else 1
        return bool(self._now.held or self._now.queued or len(self.active()) >= devices)

    @property
    def held(self) -> str:
        """Return why the queue stands still, an empty text while it goes on."""
        return self._now.held

    @property
    def on_error(self) -> OnError:
        """Return what follows a run that failed: `continue` or `hold`."""
        return self._now.on_error

    def attach(self, run: Run) -> RunWatch:
        """Return the watch of a run; its history fills within moments, live or replayed."""
        folder = self._folder(run)
        watch = self._watches.pop(folder, None)
        if watch is not None and watch.state == "gone" and folder.is_dir():
            watch.setParent(None)  # it is back, or another one has its place: all is read anew
            watch = None
        if watch is None:
            watch = self._make_watch(folder)
            watch.begin()
        self._watches[folder] = watch  # last used, last dropped
        self._drop_unused()
        return watch

    # -- what a person asks for --
    def submit(self, recipe: Recipe) -> str:
        """Make a run of a recipe, start it or let it wait for its device, and return its id.

        Raises EngineError as `create_run` does.
        """
        folder = store.create_run(recipe).resolve()
        self._take(queue.add(folder))
        self._advance()
        return folder.name

    def resume(self, run: Run) -> None:
        """Let a run go on: a paused one at once, an ended one as soon as its device is free.

        Raises EngineError RUN-02 when it is going.
        """
        folder = self._folder(run)
        if process.is_alive(folder):
            if self.attach(folder).state != "paused":
                raise EngineError("This run is going.", "Open it to watch.", "RUN-02")
            process.send(folder, "resume")
            return
        if folder not in self._now.queued:
            self._take(queue.add(folder, first=True))
        self._advance()
        self._announce(folder)

    def send(self, run: Run, command: str, **fields: Any) -> str:
        """Tell a run's child to stop, pause, resume, save, evaluate or sample; return the request's id."""
        return process.send(self._folder(run), command, **fields)

    def cancel(self, run: Run) -> None:
        """End a run at once: a waiting one leaves the queue, a going one loses what is not saved."""
        folder = self._folder(run)
        try:
            if folder in self._now.queued:
                self._take(queue.remove(folder))
                self._announce(folder)
                return
        except EngineError:  # it was started meanwhile
            self._take(queue.read())
        if self._advancing:
            self._cancelled.add(folder)  # its child may be on the way to us
        self.attach(folder).cancel()

    def move(self, run: Run, place: int) -> None:
        """Give a waiting run another place, 0 is the next one; raises EngineError when it waits no more."""
        self._take(queue.move(self._folder(run), place))

    def put_back(self, run: Run, place: int) -> None:
        """Let a run wait at a place; raises EngineError when the queue cannot be written."""
        folder = self._folder(run)
        queue.add(folder)
        self._take(queue.move(folder, place))
        self._advance()

    def hold(self) -> None:
        """Start nothing more for now."""
        self._take(queue.hold("You put it on hold."))

    def release(self) -> None:
        """Let the queue go on."""
        self._take(queue.release())
        self._advance()

    def set_on_error(self, mode: OnError) -> None:
        """Say what follows a run that failed."""
        self._take(queue.set_on_error(mode))

    def start_now(self, run: Run) -> None:
        """Start a waiting run beside what is going on, on a device that is not free."""
        self._advance(self._folder(run))

    def stop_all(self) -> None:
        """Let every going run save and end, and nothing that waits begin."""
        if self._now.queued:
            self._take(queue.hold("You stopped all runs when the window was closed."))
        for watch in self.active():
            process.send(watch.folder, "stop")

    def close(self) -> None:
        """Look away from everything; the children go on."""
        self._timer.stop()
        self._tell.stop()
        for watch in self._watches.values():
            watch.look_away()

    # -- keeping pace --
    def look(self) -> None:
        """Find runs that go on without this window knowing, and start what waits for a free device."""
        self._take(queue.read())
        for folder in self._folders():
            if folder.resolve() not in self._watches and process.is_alive(folder):
                self.attach(folder)
        for watch in list(self._watches.values()):
            if not watch.watching:
                watch.look_for_folder()
            if watch.over and not watch.watching and process.is_alive(watch.folder):
                watch.begin()  # somebody else resumed it
        if self._now.queued or self._now.begun:
            self._advance()

    def _folders(self) -> list[Path]:
        return [p for p in paths.runs_dir().iterdir() if p.is_dir() and not p.name.startswith(".")]

    def _take(self, now: Queue) -> None:
        """Show another queue than before."""
        before, self._now = self._now, now
        if (before.queued, before.held, before.on_error) == (now.queued, now.held, now.on_error):
            return
        self.queue_changed.emit()
        for folder in set(before.queued) ^ set(now.queued):
            self._announce(folder)

    def _advance(self, only: Path | None = None) -> None:
        """Start what can be started, off this thread: the engine may have to wait for its lock."""
        if not self._advances:
            return
        if self._advancing and only is None:
            self._asked_again = True
            return
        background = getattr(self._services, "background", None)
        if background is None:
            self._on_advanced(_advance(only))
            return
        self._advancing = True
        background.run(_advancing(only), self._on_advanced, self._on_failed)

    def _on_advanced(self, answer: tuple[list[Started], Queue]) -> None:
        self._advancing = False
        started, now = answer
        for each in started:
            self._start(each)
        self._cancelled.clear()
        self._take(now)
        if self._asked_again:
            self._asked_again = False
            self._advance()

    def _on_failed(self, error: EngineError) -> None:
        self._advancing = self._asked_again = False
        log.warning("the queue was not advanced: %s", error)

    def _start(self, begun: Started) -> None:
        folder = begun.folder
        watch = self._watches.pop(folder, None) or self._make_watch(folder)
        self._watches[folder] = watch
        watch.begin(begun)
        if folder in self._cancelled:
            watch.cancel()
        self._announce(folder)

    def _make_watch(self, folder: Path) -> RunWatch:
        watch = RunWatch(folder, self)
        watch.changed.connect(self._on_watch_changed)
        watch.state_changed.connect(lambda _state: self._announce(folder))
        watch.ended.connect(lambda ending: self._on_ended(folder, ending))
        return watch

    def _drop_unused(self) -> None:
        idle = [watch for watch in self._watches.values() if watch.over and not watch.watching]
        for watch in idle[: max(0, len(idle) - KEPT_WATCHES)]:
            del self._watches[watch.folder]
            watch.look_away()
            watch.setParent(None)  # a page may still hold it

    def _on_watch_changed(self) -> None:
        if not self._tell.isActive():
            self._tell.start()

    def _on_ended(self, folder: Path, ending: dict[str, Any]) -> None:
        self.run_ended.emit(folder.name, ending)
        if self._now.queued or self._now.begun:
            QTimer.singleShot(0, self, self._advance)

    def _announce(self, folder: Path) -> None:
        self.run_changed.emit(folder.name)
        self.changed.emit()

    @staticmethod
    def _folder(run: Run) -> Path:
        if isinstance(run, Path):
            return run.resolve()
        inside = paths.runs_dir() / run
        return (inside if (inside / "job.json").exists() else store.find_run(run)).resolve()


def _advancing(only: Path | None) -> Callable[[], tuple[list[Started], Queue]]:
    """Return the work without the queue's object in it: no Qt object is held in another thread."""
    return lambda: _advance(only)


def _advance(only: Path | None) -> tuple[list[Started], Queue]:
    started = advance(only)
    queue_runner.ensure_running()  # from here on the queue goes on without this window too
    return started, queue.read()
