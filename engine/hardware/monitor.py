"""How busy the machine is now: the fields of the `hardware` event, once a second."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import psutil

from engine.hardware.devices import driver, visible_indices


@dataclass(frozen=True)
class DeviceSample:
    """One GPU at one moment; `ours_bytes` is one process's share, None where the driver is silent."""

    name: str
    used_bytes: int
    total_bytes: int
    utilization: float | None
    temperature_c: float | None
    power_w: float | None
    ours_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the event's device."""
        return {
            "name": self.name,
            "used_bytes": self.used_bytes,
            "total_bytes": self.total_bytes,
            "utilization": self.utilization,
            "temperature_c": self.temperature_c,
            "power_w": self.power_w,
        }


@dataclass(frozen=True)
class HardwareSample:
    """The machine at one moment."""

    devices: tuple[DeviceSample, ...]
    cpu_percent: float
    ram_used_bytes: int
    process_bytes: int
    ram_total_bytes: int = field(default=0)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the `hardware` event."""
        return {
            "devices": [device.as_dict() for device in self.devices],
            "cpu_percent": self.cpu_percent,
            "ram_used_bytes": self.ram_used_bytes,
            "process_bytes": self.process_bytes,
        }


def sample(pid: int | None = None, others: tuple[int, ...] = ()) -> HardwareSample:
    """Measure now; `pid` (default: this process) is the one whose memory is told, with that of `others`.

    `cpu_percent` is the mean since the last call in this process, 0 at the first.
    """
    memory = psutil.virtual_memory()
    pid = os.getpid() if pid is None else pid
    return HardwareSample(
        devices=_devices((pid, *others)),
        cpu_percent=psutil.cpu_percent(interval=None),
        ram_used_bytes=memory.total - memory.available,
        process_bytes=sum(_resident(each) for each in (pid, *others)),
        ram_total_bytes=memory.total,
    )


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _devices(pids: tuple[int, ...]) -> tuple[DeviceSample, ...]:
    with driver() as nvml:
        if nvml is None:
            return ()
        found = []
        for index in visible_indices(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            name = nvml.nvmlDeviceGetName(handle)
            text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            found.append(
                DeviceSample(
                    name=text.removeprefix("NVIDIA "),
                    used_bytes=int(memory.used),
                    total_bytes=int(memory.total),
                    utilization=_asked(
                        nvml, lambda h=handle: float(nvml.nvmlDeviceGetUtilizationRates(h).gpu)
                    ),
                    temperature_c=_asked(nvml, lambda h=handle: float(nvml.nvmlDeviceGetTemperature(h, 0))),
                    power_w=_asked(nvml, lambda h=handle: nvml.nvmlDeviceGetPowerUsage(h) / 1000.0),
                    ours_bytes=_ours(nvml, handle, pids),
                )
            )
        return tuple(found)


def _asked(nvml: Any, question: Any) -> float | None:
    """Some cards do not answer everything: what they keep to themselves is None."""
    try:
        return float(question())
    except nvml.NVMLError:
        return None


def _ours(nvml: Any, handle: Any, pids: tuple[int, ...]) -> int | None:
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return None
    return sum(int(p.usedGpuMemory or 0) for p in processes if p.pid in pids)
