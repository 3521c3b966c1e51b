"""Writes half-typed words off the window's thread, in the order they were given."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue

from app.half_typed import Typed, save_typed

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.01


class TypedWriter:
    """One thread for all fields, begun with the first words."""

    def __init__(self) -> None:
        self._given: SimpleQueue[Typed] | None = None
        self._waiting = [0]

    @property
    def busy(self) -> bool:
        """Return whether words are still on their way to the disk."""
        return self._waiting[0] > 0

    def write(self, typed: Typed) -> None:
        """Hand words to the thread."""
        if self._given is None:
            self._given = SimpleQueue()
            arguments = (self._given, self._waiting)
            threading.Thread(target=_work, args=arguments, name="typed", daemon=True).start()
        self._waiting[0] += 1
        self._given.put(typed)

    def finish(self, seconds: float = 2.0) -> None:
        """Wait until all is written: the window is being closed."""
        end = time.monotonic() + seconds
        while self.busy and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)


def _work(given: SimpleQueue[Typed], waiting: list[int]) -> None:
    while True:
        typed = given.get()
        try:
            save_typed(typed)
        except OSError as error:  # nothing is lost but this keeping; the field still holds the words
            log.warning("typed words were not kept: %s", error)
        finally:
            waiting[0] -= 1
