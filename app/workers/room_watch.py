"""Watches the room on the disks that runs are written to: a person is told before it is gone (F10)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.storage import folder_bytes
from engine import durable, paths
from engine.runs import trash

LOOK_MS = 10_000
LEAST_HOME_BYTES = 1 << 30
SAVES = 2  # as many more must fit


@dataclass(frozen=True)
class Writer:
    """A run that goes on: where it writes, and how large its last save was, 0 before the first."""

    folder: Path
    name: str
    save_bytes: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class Low:
    """A disk with too little room for a run; `trash_bytes` and `cache_bytes` lie on the same disk."""

    run: Writer
    place: Path
    free_bytes: int
    needed_bytes: int
    trash_bytes: int = 0
    cache_bytes: int = 0

    @property
    def saves(self) -> bool:
        """Return whether it is the run's saves that do not fit, not the home that runs full."""
        return self.place == self.run.folder


class RoomWatch(QObject):
    """Looks every ten seconds while something goes on; `low` is what was found last, None where all is well.

    Signals:
        changed: another thing is found than before, or nothing any more.
    """

    changed = Signal()

    def __init__(self, services: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.low: Low | None = None
        self._looking = False
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self.look)
        self._timer.start()

    def look(self) -> None:
        """Ask the disks, off this thread."""
        writers = [_writer(run) for run in self._services.run_queue.active()]
        if not writers:
            self._take(None)
        elif not self._looking:
            self._looking = True
            self._services.background.run(partial(find_low, writers), self._on_found, self._on_failed)

    def of(self, folder: Path) -> Low | None:
        """Return what is to be told on the page of a run."""
        return self.low if self.low is not None and self.low.run.folder == folder else None

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()

    def _on_found(self, low: Low | None) -> None:
        self._looking = False
        self._take(low)

    def _on_failed(self, _error: Any) -> None:
        self._looking = False  # a disk that does not answer is told of by the run itself (DISK-03)

    def _take(self, low: Low | None) -> None:
        if low != self.low:
            self.low = low
            self.changed.emit()


def _writer(run: Any) -> Writer:
    history, marks = getattr(run, "history", None), getattr(run, "marks", None)
    saves = history.checkpoints if history is not None else []
    size = saves[-1].bytes if saves else 0
    return Writer(Path(run.folder), run.name, size, marks.attempt if marks is not None else 0)


def find_low(writers: Sequence[Writer]) -> Low | None:
    """Return the first disk without room: for two more saves of a run that goes on, or of the home itself."""
    needs = [(run, run.folder, SAVES * run.save_bytes) for run in writers]
    needs += [(writers[0], paths.home(), LEAST_HOME_BYTES)]
    for run, place, needed in needs:
        try:
            free = durable.disk.free(place)
            if free < needed:
                return Low(run, place, free, needed, *_to_be_had(place))
        except OSError:
            continue  # it is gone, or its disk is: the run tells so
    return None


def _to_be_had(place: Path) -> tuple[int, int]:
    """Return the bytes that emptying the trash and the cache would give this disk back."""
    device = os.stat(place).st_dev
    deleted = [each.place for each in trash.everything()]
    cache = paths.cache_dir()
    return (
        sum(_bytes(each) for each in deleted if _device(each) == device),
        folder_bytes(cache) if _device(cache) == device else 0,
    )


def _bytes(place: Path) -> int:
    return folder_bytes(place) if place.is_dir() else place.lstat().st_size


def _device(place: Path) -> int:
    try:
        return os.lstat(place).st_dev
    except OSError:
        return -1
