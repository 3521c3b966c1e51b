"""Locks that the operating system holds exactly while a process lives: of a job folder, of the queue."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from engine import durable, faults
from engine.errors import EngineError
from engine.links import is_link
from engine.paths import show_name

NAME = "lock"
LINKED = "lock-link"
CLOCK_SECONDS = 1.0  # the start of a process is known to ticks of the kernel's clock
NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # a lock that leads elsewhere would have another file written


# What a file system answers that keeps no locks, as some network shares do not.
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def _try_exclusive(fd: int) -> bool:
    """Take a lock if nobody has it (point of `faults`: lock); raises OSError where there are none."""
    faults.point("lock")
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
    faults.point("lock")
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
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
        deadline = time.monotonic() + self._seconds
        try:
            while not _try_exclusive(self._fd):
                if time.monotonic() > deadline:
                    raise self._taken
                time.sleep(0.02)
        except OSError as error:
            os.close(self._fd)
            raise _unlockable(self._path.parent, error) from error
        except EngineError:
            os.close(self._fd)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class FolderLock(FileLock):
    """Holds a job's folder; the text inside the file is information, never proof."""

    def __init__(self, folder: Path, *, links_too: bool = False) -> None:
        self._folder = folder
        self._links_too = links_too  # for a repair, which takes them away
        # A reader that looks whether we live holds it for microseconds.
        super().__init__(folder / NAME, taken(folder))

    def __enter__(self) -> FolderLock:
        if not self._links_too:
            refuse_links(self._folder)
        elif is_link(self._path):
            durable.disk.replace(self._path, self._path.with_name(LINKED))  # moved on with the other links
        try:
            super().__enter__()
        except EngineError as error:
            if error.code != "RUN-02":
                raise
            raise taken(self._folder) from error  # who holds it may have been written meanwhile
        if sys.platform != "win32":
            os.ftruncate(self._fd, 0)
            told = {"pid": os.getpid(), "time": time.time(), "host": socket.gethostname()}
            told |= {"started": started(os.getpid()), "boot": boot()}
            os.write(self._fd, json.dumps(told).encode())
        return self


def _unlockable(folder: Path, error: OSError) -> Exception:
    """Return what is said of a folder whose disk refuses a lock."""
    if error.errno not in NO_LOCKS:
        return error
    words = f"{show_name(str(folder), 200)} does not keep locks (network share?)."
    return EngineError(words, "Keep runs on a local disk.", "DISK-04", file=str(folder))


def refuse_without_locks(folder: Path) -> None:
    """Raise EngineError DISK-04 where a job's folder lies on a disk that keeps no locks.

    Tried on a file in `control/`: there everybody may make one.
    """
    try:
        with tempfile.TemporaryFile(dir=folder / "control") as file:
            _try_shared(file.fileno())
    except OSError as error:
        raise _unlockable(folder, error) from error


def refuse_links(folder: Path) -> None:
    """Raise EngineError MODEL-03 where a name in a job's folder is a link: all of it has to stay inside."""
    try:
        found = next((entry.name for entry in os.scandir(folder) if is_link(entry)), None)
    except OSError:
        return  # whoever opens the folder next says what is wrong with it
    if found is not None:
        raise EngineError(
            f"{show_name(found)} in {show_name(str(folder), 200)} points outside its folder.",
            "Do not go on with a run of a stranger; `runs repair` moves the link into quarantine.",
            "MODEL-03",
            file=str(folder / found),
        )


def started(pid: int) -> float | None:
    """Return when a process began (Unix seconds), None where there is none or it may not be asked."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def boot() -> str:
    """Return what tells this start of this computer from others, empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_held(folder: Path, name: str = NAME) -> bool:
    """Return whether a living process holds the folder."""
    try:
        fd = os.open(folder / name, os.O_RDWR | NO_LINK)
    except OSError:
        return False
    try:
        return not _try_shared(fd)
    except OSError:
        return False  # where there are no locks, nobody can hold one; who starts something is told
    finally:
        os.close(fd)


def taken(folder: Path) -> EngineError:
    """Return what is said to whoever wants a folder that a process works in: where, and since when."""
    told = _told(folder)
    host, since = told.get("host"), told.get("time")
    where = [show_name(host, 60)] if isinstance(host, str) and host else []
    if isinstance(since, int | float) and 0 < since < 1e11:
        where.append(f"since {time.strftime('%Y-%m-%d %H:%M', time.localtime(since))}")
    words = f" ({', '.join(where)})" if where else ""
    hint = "Open it to watch; stop it first to start again."
    return EngineError(f"This run is already going{words}.", hint, "RUN-02", file=str(folder))


def _told(folder: Path) -> dict[str, Any]:
    """Return what the holder wrote into its lock: information, never proof."""
    try:
        with open(folder / NAME, "rb") as file:
            value = json.loads(file.read(4096))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def holder(folder: Path) -> int | None:
    """Return the pid written in a held lock, None when nobody holds it or the text does not name its holder.

    A pid is given to other processes later on: the one that has it now must have begun when the holder did.
    """
    if not is_held(folder):
        return None
    told = _told(folder)
    try:
        pid, began = int(told["pid"]), told.get("started")
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    if not 0 < pid < 1 << 31:  # 0 and below stand for groups of processes
        return None
    now = started(pid)
    here = told.get("host") == socket.gethostname() and told.get("boot") == boot()
    if not here or now is None or not isinstance(began, int | float):
        return None
    return pid if abs(now - began) < CLOCK_SECONDS else None
