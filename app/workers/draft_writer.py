"""Writes the unfinished run off the window's thread: a slow disk must not hold up the typing."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from app.drafts import Draft, save_draft
from engine.errors import from_os_error

Job = tuple[int, Draft]


class DraftWriter:
    """Writes the newest draft; an older one that comes late is left out. `problem` is why the last failed.

    One thread waits for all drafts: beginning one for each would keep a busy window waiting until it runs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = self._written = 0
        self._jobs: SimpleQueue[Job] | None = None
        self.problem = ""

    @property
    def busy(self) -> bool:
        """Return whether a draft is still on its way to the disk."""
        return self._written < self._given

    def write(self, draft: Draft) -> None:
        """Hand a draft to the thread."""
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=self._work, args=(self._jobs,), name="draft", daemon=True).start()
        self._given += 1
        self._jobs.put((self._given, draft))

    def write_now(self, draft: Draft) -> None:
        """Write a draft before returning: the window is being closed."""
        self._given += 1
        self._write(self._given, draft)

    def _work(self, jobs: SimpleQueue[Job]) -> None:
        while True:
            self._write(*jobs.get())

    def _write(self, number: int, draft: Draft) -> None:
        with self._lock:
            if number <= self._written:
                return
            try:
                save_draft(draft)
                self.problem = ""
            except OSError as error:
                told = from_os_error(error, str(getattr(error, "filename", "") or "draft.yaml"))
                self.problem = told.message
            self._written = number
