"""What this machine has to compute with: processor, memory, GPUs. Asked once, without torch."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as its driver describes it."""

    name: str
    uuid: str
    total_bytes: int
    free_bytes: int
    driver: str
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Machine:
    """The computer: what plans and checks are made against."""

    cpu_name: str
    cores: int
    threads: int
    ram_total_bytes: int
    ram_free_bytes: int
    devices: tuple[Gpu, ...]

    @property
    def summary(self) -> str:
        """Return one line for a person."""
        if self.devices:
            first = self.devices[0]
            more = f" and {len(self.devices) - 1} more" if len(self.devices) > 1 else ""
            return f"{first.name}, {first.total_bytes / 1e9:.0f} GB{more}"
        return f"CPU only, {self.cores} cores, {self.ram_total_bytes / 1e9:.0f} GB"


def probe() -> Machine:
    """Ask the operating system and the driver; a machine without a GPU or a driver has no devices."""
    memory = psutil.virtual_memory()
    return Machine(
        cpu_name=_cpu_name(),
        cores=usable_cores(),
        threads=psutil.cpu_count(logical=True) or 1,
        ram_total_bytes=_limited(memory.total),
        ram_free_bytes=min(memory.available, _limited(memory.total)),
        devices=tuple(_gpus()),
    )


def usable_cores() -> int:
    """Return how many cores this process may use: physical ones, no more than its affinity allows."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


def _limited(total: int) -> int:
    """A container may have less memory than the machine."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(total, int(Path(name).read_text()))
    return total


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def driver() -> Iterator[Any]:
    """Give the initialised NVML module, or None where there is no GPU or no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except (ImportError, OSError):
        yield None
        return
    except Exception as error:
        if type(error).__module__.split(".")[0] != "pynvml":
            raise
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def visible_indices(count: int) -> list[int]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves; names by UUID are left to the driver's order."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(range(count))
    indices = []
    for part in chosen.split(","):
        if part.strip().startswith(("GPU-", "MIG-")):
            return list(range(count))
        if not part.strip().isdigit() or int(part) >= count:
            break
        indices.append(int(part))
    return indices


def _gpus() -> Iterator[Gpu]:
    with driver() as nvml:
        if nvml is None:
            return
        version = _text(nvml.nvmlSystemGetDriverVersion())
        for index in visible_indices(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            yield Gpu(
                name=_text(nvml.nvmlDeviceGetName(handle)).removeprefix("NVIDIA "),
                uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
                total_bytes=int(memory.total),
                free_bytes=int(memory.free),
                driver=version,
                capability=_capability(nvml, handle),
            )


def _capability(nvml: Any, handle: Any) -> tuple[int, int] | None:
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    except nvml.NVMLError:
        return None
    return int(major), int(minor)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def nvidia_hardware_present() -> bool:
    """Return whether the machine shows an NVIDIA GPU although the driver may not answer (GPU-03)."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None
