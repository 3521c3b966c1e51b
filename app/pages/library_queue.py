"""The queue on the page of runs: the card with its hands on the run queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.services import Services
from app.tables.runs import about
from app.widgets.queue_view import QueueLine, QueueView
from engine.errors import EngineError
from engine.runs.advance import name_of
from engine.runs.store import RunSummary


class LibraryQueue(QueueView):
    """Shown while something waits or the queue is on hold; `go` is asked to navigate."""

    def __init__(self, services: Services, go: Callable[[str, object], None]) -> None:
        super().__init__()
        self._services = services
        self._runs: dict[Path, RunSummary] = {}
        self.moved.connect(lambda key, place: self._do("move", Path(key), place))
        self.removed.connect(self._remove)
        self.started.connect(lambda key: self._do("start_now", Path(key)))
        self.opened.connect(lambda key: go("monitor", {"run": Path(key)}))
        self.hold_requested.connect(lambda: self._do("hold"))
        self.release_requested.connect(lambda: self._do("release"))
        self.on_error_chosen.connect(lambda mode: self._do("set_on_error", mode))
        if services.run_queue is not None:
            services.run_queue.queue_changed.connect(self.refresh)
            services.run_queue.changed.connect(self.refresh)
        self.refresh()

    def show_runs(self, runs: list[RunSummary]) -> None:
        """Take what is known of the runs, for the lines of those that wait."""
        self._runs = {run.folder.resolve(): run for run in runs}
        self.refresh()

    def refresh(self) -> None:
        """Show the queue as it is."""
        queue = self._services.run_queue
        waiting = queue.queued() if queue is not None else []
        self.setHidden(queue is None or not (waiting or queue.held))
        if queue is not None:
            lines = [self._line(folder) for folder in waiting]
            self.show_queue(lines, queue.held, queue.on_error, waits_for(queue))

    def _line(self, folder: Path) -> QueueLine:
        run = self._runs.get(folder)
        if run is None:
            return QueueLine(str(folder), name_of(folder), "")
        again = f"goes on from step {run.step}" if run.step else ""
        facts = " · ".join(part for part in (again, about(run), run.data) if part)
        return QueueLine(str(folder), run.name, facts)

    def _remove(self, key: str) -> None:
        folder = Path(key)
        queue = self._services.run_queue
        waiting = queue.queued()
        place = waiting.index(folder) if folder in waiting else 0
        name = self._line(folder).name
        if self._do("cancel", folder):
            undo = ("Undo", lambda: self._do("put_back", folder, place))
            self._services.notify(f"{name} left the queue. It stays among the runs.", "info", undo)

    def _do(self, act: str, *arguments: Any) -> bool:
        try:
            getattr(self._services.run_queue, act)(*arguments)
        except EngineError as error:
            self._services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
            return False
        return True


def waits_for(queue: Any) -> str:
    """Return what has to happen before the next run starts."""
    going = queue.active()
    if not going:
        return "The next one starts in a moment."
    names = going[0].name if len(going) == 1 else f"one of {len(going)} runs"
    paused = len(going) == 1 and going[0].state == "paused"
    return f"The next one starts when {names} has ended" + (" (it is paused)." if paused else ".")
