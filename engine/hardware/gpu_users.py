"""Which programs hold memory of a GPU, as far as the driver says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil

from engine.hardware.devices import driver
from engine.paths import show_name


@dataclass(frozen=True)
class User:
    """A program on a GPU; `used_bytes` is None where the driver keeps it to itself."""

    pid: int
    name: str
    used_bytes: int | None


def users_of(uuid: str) -> tuple[User, ...]:
    """Return the programs on a GPU, the largest first; none where the driver does not say."""
    with driver() as nvml:
        if nvml is None:
            return ()
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        except nvml.NVMLError:
            return ()
        found: dict[int, User] = {}
        for question in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for each in _asked(nvml, question, handle):
                used = None if each.usedGpuMemory is None else int(each.usedGpuMemory)
                found[int(each.pid)] = User(int(each.pid), _name(int(each.pid)), used)
    return tuple(sorted(found.values(), key=lambda user: -(user.used_bytes or 0)))


def _asked(nvml: Any, question: str, handle: Any) -> list[Any]:
    try:
        return list(getattr(nvml, question)(handle))
    except nvml.NVMLError:
        return []


def _name(pid: int) -> str:
    try:
        return show_name(psutil.Process(pid).name(), 60)
    except psutil.Error:
        return f"program {pid}"
