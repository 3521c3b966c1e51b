"""Short work off the window's thread, with its result or its error brought back to it.

No Qt object is ever held by a worker, not even through a closure or a traceback: the last reference to a
widget that is let go in another thread would destroy it there, and Qt ends the program for that.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from PySide6.QtCore import QObject, QTimer
from shiboken6 import isValid

from engine.errors import EngineError
from engine.report import keep_incident

log = logging.getLogger(__name__)

LOOK_MS = 8
MOST_DETAIL = 8_000


@dataclass(frozen=True)
class _Task:
    """What is to be done, and who hears of it; kept by `Background` until it has been heard."""

    work: Callable[[], Any]
    on_success: Callable[[Any], object] | None
    on_failure: Callable[[EngineError], object] | None


@dataclass(frozen=True)
class _Outcome:
    """A task's number with its value or its error."""

    number: int
    value: Any = None
    error: EngineError | None = None


def _alive(callback: Callable[..., object]) -> bool:
    """Return whether what a callback belongs to is still there: its object, or what a closure holds."""
    owners = [getattr(callback, "__self__", None)]
    owners += [cell.cell_contents for cell in getattr(callback, "__closure__", None) or ()]
    return all(isValid(owner) for owner in owners if isinstance(owner, QObject))


class Background(QObject):
    """Runs callables in a few threads; callbacks arrive on its own thread unless their widget is gone.

    The threads are daemons: a download that hangs must not keep the application from ending. (A QThreadPool
    waits for its threads when it is destroyed, and holds Python's lock while it waits.)
    """

    def __init__(self, parent: QObject | None = None, threads: int = 3) -> None:
        super().__init__(parent)
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._tasks: dict[int, _Task] = {}
        self._count = 0
        self._asked: SimpleQueue[int | None] = SimpleQueue()
        self._done: SimpleQueue[_Outcome] = SimpleQueue()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._deliver)

    def run(
        self,
        work: Callable[[], Any],
        on_success: Callable[[Any], object] | None = None,
        on_failure: Callable[[EngineError], object] | None = None,
    ) -> None:
        """Call `work` in the background, then exactly one of the two callbacks here."""
        self._count += 1
        self._tasks[self._count] = _Task(work, on_success, on_failure)
        if len(self._threads) < min(self._most, len(self._tasks)):
            arguments = (self._tasks, self._asked, self._done)
            thread = threading.Thread(target=_work_through, args=arguments, daemon=True, name="background")
            self._threads.append(thread)
            thread.start()
        self._asked.put(self._count)
        self._timer.start()

    @property
    def busy(self) -> bool:
        """Say whether work is still going on or not yet answered."""
        return bool(self._tasks)

    def _deliver(self) -> None:
        while True:
            try:
                outcome = self._done.get_nowait()
            except Empty:
                break
            self._answer(self._tasks.pop(outcome.number), outcome)
        if not self._tasks:
            self._timer.stop()

    def _answer(self, task: _Task, outcome: _Outcome) -> None:
        if outcome.error is None:
            if task.on_success is not None and _alive(task.on_success):
                task.on_success(outcome.value)
        elif task.on_failure is None:
            log.warning("background work failed and nobody asked: %s", outcome.error)
        elif _alive(task.on_failure):
            task.on_failure(outcome.error)

    def finish(self, seconds: float = 2.0) -> None:
        """End the threads before the application ends, giving what is running a moment."""
        for _ in self._threads:
            self._asked.put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._threads.clear()


def _work_through(
    tasks: dict[int, _Task], asked: SimpleQueue[int | None], done: SimpleQueue[_Outcome]
) -> None:
    while (number := asked.get()) is not None:
        done.put(_perform(tasks[number].work, number))


def _perform(work: Callable[[], Any], number: int) -> _Outcome:
    """Do one task; when this returns, nothing here refers to `work` any more."""
    try:
        return _Outcome(number, value=work())
    except EngineError as error:
        return _Outcome(number, error=_bare(error))
    except Exception as error:  # one of the places that catch everything: the window shows it
        log.exception("background work failed")
        return _Outcome(number, error=keep_incident(error))


def _bare(error: EngineError) -> EngineError:
    """Return an error without the frames it came through: they hold what the work held.

    The text of its trace stays, for the details of a notice.
    """
    if not error.detail:
        error.detail = "".join(traceback.format_exception(error))[-MOST_DETAIL:]
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
