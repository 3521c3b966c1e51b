"""What a probe may use: memory, processor time, no file, no process, no socket; set by itself at its start.

Where the operating system keeps no such limits (Windows, macOS) the parent watches and ends it: `over`.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any, NoReturn

from engine.errors import EngineError

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 10
WALL_SECONDS = 60.0  # a probe that waits, and uses nothing
KEEPS_LIMITS = sys.platform == "linux"
_CHANGES = frozenset(
    "os.remove os.rename os.rmdir os.mkdir os.link os.symlink os.truncate os.chmod os.chown".split()
)
_STARTS = ("subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.system", "os.startfile")
_TALKS = ("socket.", "ftplib.", "urllib.", "http.", "smtplib.", "ctypes.")


def confine(memory_bytes: int = MEMORY_BYTES, seconds: int = CPU_SECONDS, file_bytes: int = 0) -> None:
    """Bind this process for the rest of its life: so much address space above what it has, so much time.

    `file_bytes` is the size a file of its own may have (0: it may write none).
    """
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        until = math.ceil(used.ru_utime + used.ru_stime) + seconds
        _limit(resource.RLIMIT_CPU, until, until + 2)
        _limit(resource.RLIMIT_CORE, 0, 0)
        _limit(resource.RLIMIT_FSIZE, file_bytes, file_bytes)
        if KEEPS_LIMITS:
            most = _address_space() + memory_bytes
            _limit(resource.RLIMIT_AS, most, most)
    sys.addaudithook(_writer if file_bytes else _reader)


def _limit(kind: int, soft: int, hard: int) -> None:
    """Set a limit, never above one that is already there."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def _address_space() -> int:
    """Return the bytes of address space this process has (first number of /proc/self/statm, in pages)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _refuse(what: str) -> NoReturn:
    raise EngineError(f"It asked for {what}.", "Do not use this file.", "MODEL-06")


def _reader(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what no reader of a file needs; hears of it before Python does it (PEP 578)."""
    if event.startswith(_STARTS):
        _refuse("another program")
    if event.startswith(_TALKS):
        _refuse("the network")
    if event in _CHANGES or event == "open" and _writes(arguments):
        _refuse("a change on the disk")


def _writer(event: str, arguments: tuple[Any, ...]) -> None:
    """As `_reader`, for one that keeps what does not fit into memory in a file without a name."""
    if event != "open" and event not in _CHANGES:
        _reader(event, arguments)


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def over(pid: int) -> str | None:
    """Return why a probe must be ended, None while it keeps within its limits; asked by its parent."""
    import psutil

    try:
        asked = psutil.Process(pid)
        if asked.memory_info().rss > MEMORY_BYTES + (256 << 20):
            return TOO_LARGE
        times = asked.cpu_times()
    except psutil.Error:
        return None
    return TOO_LONG if times.user + times.system > CPU_SECONDS + 2 else None


TOO_LARGE = f"it needs more than {MEMORY_BYTES >> 30} GiB of memory"
TOO_LONG = f"it takes more than {CPU_SECONDS} s of processor time"
