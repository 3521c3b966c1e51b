"""Results of finished runs that nobody has read yet, read one after another on a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.workers.background import Background
from engine.errors import EngineError
from engine.runs import result
from engine.runs.result import Verdict
from engine.runs.store import RunSummary


class ResultChecker(QObject):
    """Reads what is small enough to be read unasked, once; a verdict is kept for as long as the files are.

    Signals:
        found: the folder of a run whose result is damaged.
    """

    found = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = Background(self, threads=1)
        self._asked: set[Path] = set()

    @property
    def busy(self) -> bool:
        """Say whether a result is being read."""
        return self._background.busy

    def look(self, runs: Sequence[RunSummary]) -> None:
        """Read the results of these runs that are not known, each once while this window is open."""
        for run in runs:
            if run.state == "finished" and not run.damage and run.folder not in self._asked:
                self._asked.add(run.folder)
                self._background.run(_reading(run.folder), self._on_read, self._on_failed)

    def _on_read(self, answer: tuple[Path, Verdict | None]) -> None:
        folder, verdict = answer
        if verdict is not None and verdict.problem:
            self.found.emit(folder)

    def _on_failed(self, error: EngineError) -> None:
        """Say nothing: whoever opens the run reads it again and hears why it cannot be read."""


def _reading(folder: Path) -> Callable[[], tuple[Path, Verdict | None]]:
    """Return the work without any Qt object in it."""
    return lambda: (folder, result.verify(folder) if result.to_be_read(folder) else None)
