"""Short work off the window's thread, with its result or its error brought back to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, Signal
from shiboken6 import isValid

from engine.errors import EngineError

log = logging.getLogger(__name__)


class _Answer(QObject):
    """Carries one result back to the thread it was made in.

    Signals:
        succeeded: the value returned.
        failed: the exception, always an EngineError.
        answered: one of the callbacks has been called.
    """

    succeeded = Signal(object)
    failed = Signal(object)
    answered = Signal()

    def __init__(
        self,
        on_success: Callable[[Any], object] | None,
        on_failure: Callable[[EngineError], object] | None,
    ) -> None:
        super().__init__()
        self._on_success, self._on_failure = on_success, on_failure
        self.succeeded.connect(self._on_succeeded, Qt.ConnectionType.QueuedConnection)
        self.failed.connect(self._on_failed, Qt.ConnectionType.QueuedConnection)

    def _on_succeeded(self, value: Any) -> None:
        self.answered.emit()
        if self._on_success is not None and _alive(self._on_success):
            self._on_success(value)

    def _on_failed(self, error: EngineError) -> None:
        self.answered.emit()
        if self._on_failure is None:
            log.warning("background work failed and nobody asked: %s", error)
        elif _alive(self._on_failure):
            self._on_failure(error)


def _alive(callback: Callable[..., object]) -> bool:
    """Say whether a callback's own widget, if it is a method of one, still exists."""
    owner = getattr(callback, "__self__", None)
    return not isinstance(owner, QObject) or isValid(owner)


class _Work(QRunnable):
    """One call in a thread of the pool."""

    def __init__(self, work: Callable[[], Any], answer: _Answer) -> None:
        super().__init__()
        self._work, self._answer = work, answer

    def run(self) -> None:
        try:
            value = self._work()
        except EngineError as error:
            self._answer.failed.emit(error)
        except Exception as error:  # one of the three places that catch everything: the window shows it
            log.exception("background work failed")
            told = EngineError(
                f"Something unexpected happened: {type(error).__name__}: {error}",
                "Your runs are safe. The log of the application has the details.",
                "APP-01",
            )
            told.__cause__ = error
            self._answer.failed.emit(told)
        else:
            self._answer.succeeded.emit(value)


class Background(QObject):
    """Runs callables in a small pool; callbacks arrive on its own thread unless their widget is gone."""

    def __init__(self, parent: QObject | None = None, threads: int = 3) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(threads)
        self._open: set[_Answer] = set()

    def run(
        self,
        work: Callable[[], Any],
        on_success: Callable[[Any], object] | None = None,
        on_failure: Callable[[EngineError], object] | None = None,
    ) -> None:
        """Call `work` in the background, then exactly one of the two callbacks here."""
        answer = _Answer(on_success, on_failure)
        self._open.add(answer)
        answer.answered.connect(lambda: self._open.discard(answer))
        self._pool.start(_Work(work, answer))

    @property
    def busy(self) -> bool:
        """Say whether work is still going on or not yet answered."""
        return bool(self._open)

    def finish(self, milliseconds: int = 3000) -> None:
        """Wait for what is running, before the application ends."""
        self._pool.clear()
        self._pool.waitForDone(milliseconds)
