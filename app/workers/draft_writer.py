"""Writes the unfinished run off the window's thread: a slow disk must not hold up the typing."""

from __future__ import annotations

import threading

from app.drafts import Draft, save_draft
from engine.errors import from_os_error


class DraftWriter:
    """Writes the newest draft; an older one that comes late is left out. `problem` is why the last failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = self._written = 0
        self.problem = ""

    @property
    def busy(self) -> bool:
        """Return whether a draft is still on its way to the disk."""
        return self._written < self._given

    def write(self, draft: Draft) -> None:
        """Write a draft in a thread of its own."""
        self._given += 1
        threading.Thread(target=self._write, args=(draft, self._given), name="draft").start()

    def write_now(self, draft: Draft) -> None:
        """Write a draft before returning: the window is being closed."""
        self._given += 1
        self._write(draft, self._given)

    def _write(self, draft: Draft, number: int) -> None:
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
