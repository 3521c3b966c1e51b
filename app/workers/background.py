"""Short work off the window's thread, with its result or its error brought back to it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
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


class Background(QObject):
    """Runs callables in a few threads; callbacks arrive on its own thread unless their widget is gone.

    The threads are daemons: a download that hangs must not keep the application from ending. (A QThreadPool
    waits for its threads when it is destroyed, and holds Python's lock while it waits.)
    """

    def __init__(self, parent: QObject | None = None, threads: int = 3) -> None:
        super().__init__(parent)
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._work: SimpleQueue[tuple[Callable[[], Any], _Answer] | None] = SimpleQueue()
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
        if len(self._threads) < min(self._most, len(self._open)):
            thread = threading.Thread(
                target=_work_through, args=(self._work,), daemon=True, name="background"
            )
            self._threads.append(thread)
            thread.start()
        self._work.put((work, answer))

    @property
    def busy(self) -> bool:
        """Say whether work is still going on or not yet answered."""
        return bool(self._open)

    def finish(self, seconds: float = 2.0) -> None:
        """End the threads before the application ends, giving what is running a moment."""
        for _ in self._threads:
            self._work.put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._threads.clear()


def _work_through(queue: SimpleQueue[tuple[Callable[[], Any], _Answer] | None]) -> None:
    while (item := queue.get()) is not None:
        work, answer = item
        try:
            value = work()
        except EngineError as error:
            _emit(answer.failed, error)
        except Exception as error:  # one of the three places that catch everything: the window shows it
            log.exception("background work failed")
            told = EngineError(
                f"Something unexpected happened: {type(error).__name__}: {error}",
                "Your runs are safe. The log of the application has the details.",
                "APP-01",
            )
            told.__cause__ = error
            _emit(answer.failed, told)
        else:
            _emit(answer.succeeded, value)


def _emit(signal: Any, value: object) -> None:
    """Send an answer, unless the application ended while the work went on."""
    with contextlib.suppress(RuntimeError):
        signal.emit(value)
