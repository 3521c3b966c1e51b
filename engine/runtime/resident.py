"""The resident memory of this process and the peak of it, as the system counts them."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

_PROCESS = psutil.Process()
GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # version 2, 1


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(_PROCESS.memory_info().rss)


def limit_bytes() -> int:
    """Return how much memory this process can have: the machine's, or what a group or a limit leaves."""
    limits = [int(psutil.virtual_memory().total)]
    for path in GROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # "max" otherwise
            limits.append(int(text))
    return min(limits)


def reset_peak() -> None:
    """Let the peak of this process's resident memory be what it is now, where the system has a way to."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return  # the peak since the start stays then


def peak_of_process() -> int:
    """Return the peak of this process's resident memory, in bytes, since `reset_peak` or the start.

    `ru_maxrss` would not do on Linux: a child begins with its parent's figure there.
    """
    if sys.platform == "linux":
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            status = ""
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return int(getattr(_PROCESS.memory_info(), "peak_wset", resident_bytes()))
