"""Runs that wait, runs that go on, and the ones that are looked at: one training a device at a time."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.workers.run_watch import RunWatch
from engine import durable, paths
from engine.errors import EngineError
from engine.jobs import process
from engine.recipe.recipe import Recipe
from engine.runs import store

log = logging.getLogger(__name__)

LOOK_MS = 2000
TELL_MS = 500
KEPT_WATCHES = 4  # runs that are over and still held in memory
Run = str | Path


class RunQueue(QObject):
    """All trainings of this home; what it knows of them beyond `queue.json` it reads in their folders.

    Signals:
        changed: something is going on differently now (at most twice a second for mere progress).
        run_changed: the id of a run whose state changed.
        run_ended: the id of a run and its closing note.
    """

    changed = Signal()
    run_changed = Signal(str)
    run_ended = Signal(str, dict)

    def __init__(self, services: Any = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._watches: dict[Path, RunWatch] = {}
        self._waiting: list[Path] = self._read()
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
        return list(self._waiting)

    def attach(self, run: Run) -> RunWatch:
        """Return the watch of a run; its history fills within moments, live or replayed."""
        folder = self._folder(run)
        watch = self._watches.pop(folder, None)
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
        self._waiting.append(folder)
        self._write()
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
        if folder not in self._waiting:
            self._waiting.insert(0, folder)
            self._write()
        self._advance()
        self._announce(folder)

    def send(self, run: Run, command: str, **fields: Any) -> str:
        """Tell a run's child to stop, pause, resume, save, evaluate or sample; return the request's id."""
        return process.send(self._folder(run), command, **fields)

    def cancel(self, run: Run) -> None:
        """End a run at once: a waiting one leaves the queue, a going one loses what is not saved."""
        folder = self._folder(run)
        if folder in self._waiting:
            self._waiting.remove(folder)
            self._write()
            self._announce(folder)
            return
        self.attach(folder).cancel()

    def stop_all(self) -> None:
        """Let every going run save and end."""
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
        for folder in self._folders():
            if folder.resolve() not in self._watches and process.is_alive(folder):
                self.attach(folder)
        for watch in list(self._watches.values()):
            if watch.over and not watch.watching and process.is_alive(watch.folder):
                watch.begin()  # somebody else resumed it
        self._advance()

    def _folders(self) -> list[Path]:
        return [p for p in paths.runs_dir().iterdir() if p.is_dir() and not p.name.startswith(".")]

    def _advance(self) -> None:
        if self.active():
            return
        while self._waiting:
            folder = self._waiting.pop(0)
            self._write()
            if (folder / "job.json").exists():
                self._start(folder)
                return
            log.warning("%s was waiting and is gone", folder)

    def _start(self, folder: Path) -> None:
        watch = self._watches.pop(folder, None) or self._make_watch(folder)
        self._watches[folder] = watch
        watch.begin(start_child=True)
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
        QTimer.singleShot(0, self, self._advance)

    def _announce(self, folder: Path) -> None:
        self.run_changed.emit(folder.name)
        self.changed.emit()

    # -- the file --
    @staticmethod
    def _folder(run: Run) -> Path:
        if isinstance(run, Path):
            return run.resolve()
        inside = paths.runs_dir() / run
        return (inside if (inside / "job.json").exists() else store.find_run(run)).resolve()

    @staticmethod
    def _file() -> Path:
        return paths.home() / "queue.json"

    def _read(self) -> list[Path]:
        try:
            entries = json.loads(self._file().read_bytes())["queued"]
            folders = [Path(entry).resolve() for entry in entries if isinstance(entry, str)]
        except (OSError, ValueError, KeyError, TypeError):
            return []  # no queue yet, or one that cannot be read: the runs themselves are in their folders
        return [folder for folder in folders if (folder / "job.json").exists()]

    def _write(self) -> None:
        self._file().parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(self._file(), {"queued": [str(folder) for folder in self._waiting]})
