"""What is asked of a child before a run is started: its folder among the jobs, its events, its one answer.

Such a folder stands among the jobs, not among the runs, and goes once the answer was read.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Self, TypeVar

from engine import durable, paths
from engine.errors import from_os_error
from engine.events import Event, Failed
from engine.jobs import lock, process
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.event_log import EventReader

POLL_SECONDS = 0.1
STALE_SECONDS = 3600.0  # a folder that nobody read to its end, such as after a crash

Answer = TypeVar("Answer")


def make_folder(prefix: str, recipe: Recipe) -> Path:
    """Return a new folder with the recipe in it, and remove those like it that nobody reads any more.

    Raises EngineError DISK-* when it cannot be made.
    """
    for old in paths.jobs_dir().glob(f"{prefix}*"):
        if not lock.is_held(old) and time.time() - old.stat().st_mtime > STALE_SECONDS:
            durable.discard(old)
    folder = paths.jobs_dir() / f"{prefix}{uuid.uuid4().hex[:8]}"
    try:
        durable.make_folder(folder, 0o700)
        durable.write_file(folder / "recipe.yaml", codec.dumps(recipe))
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return folder


class Question(ABC, Generic[Answer]):
    """A question whose child is at work. Call `read` now and then: it returns the answer once it is there."""

    patience: float | None = None  # seconds until a child that was asked to stop is ended, None: never

    def __init__(self, child: process.JobProcess) -> None:
        self.folder = child.folder
        self._child = child
        self._reader = EventReader(child.folder)
        self._failed: Failed | None = None
        self._cancelled: float | None = None  # when, by the monotonic clock
        self._answer: Answer | None = None

    def read(self) -> Answer | None:
        """Take what the child said since; the folder is gone once the answer is there."""
        if self._answer is not None:
            return self._answer
        ended = self._child.poll() is not None  # asked before reading: its last words are then read whole
        for event in self._reader.read_new():
            if isinstance(event, Failed):
                self._failed = event
            self._take(event)
        if not ended:
            if self._is_overdue():
                self._child.kill()
            return None
        self._answer = self._conclude()
        durable.discard(self.folder)
        return self._answer

    def cancel(self) -> None:
        """Ask the child to end; go on calling `read` until it has, so that nothing of it stays."""
        if self._answer is not None or self._cancelled is not None or self._child.poll() is not None:
            return
        self._cancelled = time.monotonic()
        if self._has_begun():
            process.send(self.folder, "stop")
        else:
            self._child.kill()  # it loads libraries or a model: there is nothing to lose

    def wait(self, each: Callable[[Self], object] | None = None) -> Answer:
        """Return the answer; `each` is called after every look."""
        while (found := self.read()) is None:
            if each is not None:
                each(self)
            time.sleep(POLL_SECONDS)
        return found

    def _is_overdue(self) -> bool:
        if self._cancelled is None or self.patience is None:
            return False
        return time.monotonic() - self._cancelled > self.patience

    @abstractmethod
    def _has_begun(self) -> bool:
        """Return whether the child hears a stop and has something to lose."""

    @abstractmethod
    def _take(self, event: Event) -> None:
        """Take one event of the child."""

    @abstractmethod
    def _conclude(self) -> Answer:
        """Return the answer of a child that has ended."""
