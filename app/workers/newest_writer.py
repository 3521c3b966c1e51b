"""Writes small files off the window's thread, the newest content of each: a slow disk must not hold it up.

What is given is on its way to the disk at once, within a second on any disk that works; `flush_all` waits for
it and is called before the application ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from engine.errors import from_os_error


class NewestWriter:
    """Calls `save` with the newest value it was given; one that is outdated before its turn is left out.

    `problem` is why the last one could not be written.
    """

    def __init__(self, save: Callable[[Any], None], what: str) -> None:
        """Take what writes a value, raising OSError, and how its file is called."""
        self._save, self._what = save, what
        self._lock = threading.Lock()
        self._newest: tuple[int, Any] = (0, None)
        self._written = 0
        self.problem = ""

    @property
    def busy(self) -> bool:
        """Return whether something is still on its way to the disk."""
        return self._written < self._newest[0]

    def write(self, value: Any) -> None:
        """Hand a value to the thread."""
        self._newest = (self._newest[0] + 1, value)
        _thread.give(self)

    def write_now(self, value: Any) -> None:
        """Write a value before returning."""
        self._newest = (self._newest[0] + 1, value)
        self.flush()

    def flush(self) -> None:
        """Return once what was given is on the disk, or could not be written."""
        with self._lock:
            number, value = self._newest
            if number <= self._written:
                return
            try:
                self._save(value)
                self.problem = ""
            except OSError as error:
                self.problem = from_os_error(error, str(getattr(error, "filename", "") or self._what)).message
            self._written = number


class _Thread:
    """One thread for all writers: beginning one for each value would let a busy window wait until it runs."""

    def __init__(self) -> None:
        self._given: SimpleQueue[NewestWriter] = SimpleQueue()
        self._unwritten: list[NewestWriter] = []
        self._runs = False

    def give(self, writer: NewestWriter) -> None:
        """Let a writer be flushed; called in the window's thread."""
        if not self._runs:
            self._runs = True
            threading.Thread(target=self._work, name="writer", daemon=True).start()
        self._unwritten = [other for other in self._unwritten if other.busy and other is not writer]
        self._unwritten.append(writer)
        self._given.put(writer)

    def flush(self) -> None:
        """Flush every writer that still has something."""
        for writer in self._unwritten:
            writer.flush()
        self._unwritten = []

    def _work(self) -> None:
        while True:
            self._given.get().flush()


_thread = _Thread()


def flush_all() -> None:
    """Return once all that was given to any writer is on the disk: the application is about to end."""
    _thread.flush()
