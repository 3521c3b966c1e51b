"""Keeps the unfinished run: on disk a second after the last key, in the trash when another replaces it."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal

from app.drafts import Draft, draft_file, load_draft, save_draft
from app.workers.newest_writer import NewestWriter
from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runs import trash
from engine.runs.trash import Trashed

SAVE_MS = 1000
LONGEST_SECONDS = 5.0  # of typing without a pause
LOOK_MS = 50


class DraftKeeper(QObject):
    """`present` returns the draft as it stands.

    Signals:
        not_kept: why the draft could not be written.
    """

    not_kept = Signal(str)

    def __init__(self, parent: QObject, present: Callable[[], Draft]) -> None:
        super().__init__(parent)
        self._present = present
        self._writer = NewestWriter(save_draft, "draft.yaml")
        self._since: float | None = None
        self._timer = QTimer(self, singleShot=True, interval=SAVE_MS)
        self._timer.timeout.connect(self.save)
        self._look = QTimer(self, interval=LOOK_MS)
        self._look.timeout.connect(self._look_for_problem)

    def touch(self) -> None:
        """Know that something was typed: it is kept a second after the last key, or after five of typing."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > LONGEST_SECONDS:
            self.save()
        else:
            self._timer.start()

    @property
    def waiting(self) -> bool:
        """Return whether something is typed and not yet on the disk."""
        return self._since is not None or self._writer.busy

    def save(self) -> None:
        """Write the draft, off this thread."""
        self.forget()
        self._writer.write(self._present())
        self._look.start()

    def save_soon(self) -> None:
        """Write what was typed last, off this thread, without waiting for further keys."""
        if self._since is not None:
            self.save()

    def save_now(self) -> None:
        """Write what is not written yet before returning."""
        if self.waiting:
            self.forget()
            self._writer.write_now(self._present())

    def forget(self) -> None:
        """Wait for no further key: what there is to keep is kept, or has its own run now."""
        self._timer.stop()
        self._since = None

    def _look_for_problem(self) -> None:
        if not self._writer.busy:
            self._look.stop()
            if self._writer.problem:
                self.not_kept.emit(f"Not kept: {self._writer.problem}")

    def set_aside(self, recipe: Recipe) -> Trashed | None:
        """Put the draft into the trash where it asks for anything, because another takes its place.

        Raises EngineError DISK-* when that cannot be done: then nothing was changed.
        """
        if recipe == Recipe():
            return None
        self.save_now()
        return trash.delete_draft(draft_file())


def read_draft() -> tuple[Draft, EngineError | None]:
    """Return the draft; one that cannot be read goes to the trash as it is, with the reason."""
    try:
        return load_draft() or Draft(), None
    except EngineError as error:
        return Draft(), _set_damaged_aside(error)


def _set_damaged_aside(error: EngineError) -> EngineError:
    try:
        trash.delete_draft(draft_file())
    except EngineError:
        return error
    return EngineError(
        error.message, "It lies in the trash as it was; a new one was begun.", error.code, file=error.file
    )
