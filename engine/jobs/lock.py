"""Locks that the operating system holds exactly while a process lives: of a job folder, of the queue."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType

from engine.errors import EngineError

NAME = "lock"


def _try_exclusive(fd: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_shared(fd: int) -> bool:
    if sys.platform == "win32":
        return _try_exclusive(fd)
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class FileLock:
    """Context manager that holds a file, made where it is missing; waits for at most `seconds`."""

    def __init__(self, path: Path, taken: EngineError, seconds: float = 1.0) -> None:
        self._path = path
        self._taken = taken  # raised when another process keeps it
        self._seconds = seconds
        self._fd = -1

    def __enter__(self) -> FileLock:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + self._seconds
        while not _try_exclusive(self._fd):
            if time.monotonic() > deadline:
                os.close(self._fd)
                raise self._taken
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class FolderLock(FileLock):
    """Holds a job's folder; the text inside the file is information, never proof."""

    def __init__(self, folder: Path) -> None:
        taken = EngineError(
            "This run is already going.", "Open it to watch; stop it first to start again.", "RUN-02"
        )
        # A reader that looks whether we live holds it for microseconds.
        super().__init__(folder / NAME, taken)

    def __enter__(self) -> FolderLock:
        super().__enter__()
        if sys.platform != "win32":
            os.ftruncate(self._fd, 0)
            os.write(self._fd, json.dumps({"pid": os.getpid(), "time": time.time()}).encode())
        return self


def is_held(folder: Path, name: str = NAME) -> bool:
    """Return whether a living process holds the folder."""
    try:
        fd = os.open(folder / name, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_shared(fd)
    finally:
        os.close(fd)


def holder(folder: Path) -> int | None:
    """Return the pid written in a held lock, None when nobody holds it or the text says nothing."""
    if not is_held(folder):
        return None
    try:
        return int(json.loads((folder / NAME).read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
