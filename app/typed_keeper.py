"""Keeps what is typed in a field and not sent: on disk a second after the last key, back after a restart."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from app.half_typed import Typed, load_typed, save_typed
from app.workers.newest_writer import NewestWriter

SAVE_MS = 1000
LONGEST_SECONDS = 5.0  # of typing without a pause


class TypedKeeper(QObject):
    """One field: `present` says what stands in it now and where that belongs, `show` puts words into it."""

    def __init__(self, parent: QObject, present: Callable[[], Typed], show: Callable[[str], object]) -> None:
        super().__init__(parent)
        self._present, self._show = present, show
        self._writers: dict[str, NewestWriter] = {}  # by place
        self._kept = Typed("", "")  # as it lies on the disk, or is on its way there
        self._since: float | None = None
        self._timer = QTimer(self, singleShot=True, interval=SAVE_MS)
        self._timer.timeout.connect(self.save)

    @property
    def waiting(self) -> bool:
        """Return whether something is typed and not yet on the disk."""
        return self._timer.isActive() or any(writer.busy for writer in self._writers.values())

    def touch(self) -> None:
        """Know that something was typed; an emptied field is forgotten at once."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not self._present().text.strip() or now - self._since > LONGEST_SECONDS:
            self.save()
        else:
            self._timer.start()

    def save(self) -> None:
        """Write what stands in the field, off this thread."""
        self._timer.stop()
        self._since = None
        now = self._present()
        if now == self._kept:
            return
        if self._kept.text and self._kept.place != now.place:  # the words went along to another place
            self._write(Typed(self._kept.place, ""))
        if now.text.strip() or (self._kept.text and self._kept.place == now.place):
            self._write(now)
        self._kept = now

    def leave(self) -> None:
        """Let the words stay where they belong, and empty the field."""
        self.save()
        self._kept = Typed("", "")
        self._show("")

    def arrive(self) -> None:
        """Bring back what belongs here; words that are in the field go along where nothing does."""
        here = self._present()
        if here.place == self._kept.place:
            return
        if here.place in self._writers:  # left a moment ago, perhaps still on its way to the disk
            self._writers[here.place].flush()
        own = load_typed(here.place)
        if own and here.text.strip() and self._kept.target:
            self._write(Typed(self._kept.place, here.text, self._kept.target))
        elif own and here.text.strip():  # typed before it was known for whom
            own = f"{own}\n{here.text}"
        if own:
            self._kept = Typed(here.place, own, here.target)
            self._show(own)
        else:
            self.save()

    def finish(self) -> None:
        """Write what is not written yet before returning."""
        self.save()
        for writer in self._writers.values():
            writer.flush()

    def _write(self, typed: Typed) -> None:
        writer = self._writers.setdefault(typed.place, NewestWriter(save_typed, "words not yet sent"))
        writer.write(typed)
