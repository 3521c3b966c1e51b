"""The gate before a run begins: whether the GPU can be used, who else uses it, and where the run goes.

The same answer is shown on the command line and in a window. The driver is asked, which may take a while: a
window asks from its thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.errors import EngineError
from engine.hardware import torch_build
from engine.hardware.devices import Gpu, Machine, probe
from engine.hardware.gpu_users import User, users_of
from engine.paths import show_name
from engine.runs import advance, queue
from engine.runs.gate_checks import Finding, from_error
from engine.runs.versions import refuse_old

LARGE_SHARE = 0.25  # of a GPU's memory in the hands of others: worth a word where the need is not known
Users = Callable[[str], Sequence[User]]


@dataclass(frozen=True)
class Start:
    """Where a run would begin: the environment of its child; what speaks against it, the gravest first."""

    findings: tuple[Finding, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def stop(self, *, anyway: bool = False) -> Finding | None:
        """Return what forbids it; with `anyway` only what leaves no way on."""
        return next((f for f in self.findings if f.severity == "error" and not (anyway and f.way_on)), None)


def examine(
    processes: int = 1,
    *,
    need: float | None = None,
    machine: Machine | None = None,
    cpu_time: Callable[[], str] = str,
) -> Start:
    """Look where a run of so many processes would begin now.

    `need` are the bytes it takes of each GPU, where they are known; `cpu_time` says how long it would take on
    the processor, and is asked only where the GPU cannot be used.
    """
    try:
        refuse_old()
    except EngineError as error:
        return Start((from_error(error),))
    machine = probe() if machine is None else machine
    unfit = torch_build.problem_of(machine, torch_build.installed(), cpu_time=cpu_time)
    if unfit is not None:
        return Start((of_driver(unfit),), {advance.VISIBLE: ""})
    names = advance.device_names()
    if names == (advance.CPU,):
        return Start()
    found, chosen, beside = of_trainings(names, min(processes, len(names)))
    uuids = [advance.device_uuids().get(name, "") for name in chosen]
    gpus = [gpu for gpu in machine.devices if gpu.uuid in uuids]
    return Start((*found, *of_memory(gpus, need)), advance.environment_of(chosen, beside=beside))


def of_driver(error: EngineError) -> Finding:
    """Return what is said of a GPU that torch cannot use; the processor is the way on."""
    return Finding(error.code, "error", error.message, error.hint, "Train on the CPU")


def of_trainings(names: Sequence[str], need: int) -> tuple[list[Finding], tuple[str, ...], bool]:
    """Return what is said of other trainings, the devices to take, and whether others have them too."""
    busy = advance.occupied(queue.read(), tuple(names))
    free = [name for name in names if name not in busy]
    if len(free) >= need:
        return [], tuple(free[:need]), False
    runs = ", ".join(dict.fromkeys(show_name(folder.name) for folder in busy.values()))
    words = f"{runs} uses the GPU."
    if len(names) > 1:
        words = f"{len(free)} of {need} GPUs are free, the others are used by {runs}."
    hint = "Let it wait in the queue, or stop the other one first."
    finding = Finding("GPU-04", "error", words, hint, "Start beside it")
    return [finding], tuple([*free, *busy][:need]), True


def of_memory(gpus: Sequence[Gpu], need: float | None, users: Users = users_of) -> list[Finding]:
    """Tell of other programs that hold the memory a run wants (GPU-04), by name where the driver says it."""
    found = []
    for gpu in gpus:
        used = gpu.total_bytes - gpu.free_bytes
        if (gpu.free_bytes >= need) if need is not None else (used < LARGE_SHARE * gpu.total_bytes):
            continue
        if need is not None and need > gpu.total_bytes:
            continue  # it would not fit without the others either: that is for the plan to say
        found.append(_memory(gpu, used, need, users(gpu.uuid)))
    return found


def _memory(gpu: Gpu, used: int, need: float | None, programs: Sequence[User]) -> Finding:
    known = [f"{user.name} {user.used_bytes / 1e9:.1f} GB" for user in programs if user.used_bytes]
    who = programs[0].name if programs else "Another program"
    much = (programs[0].used_bytes if programs else None) or used
    words = f"{who} uses {much / 1e9:.1f} GB of the GPU memory; {gpu.free_bytes / 1e9:.1f} GB are free"
    words += f", {need / 1e9:.1f} GB needed." if need is not None else "."
    table = tuple((user.name, str(user.pid), f"{(user.used_bytes or 0) / 1e9:.1f} GB") for user in programs)
    more = f" In all: {', '.join(known)}." if len(known) > 1 else ""
    hint = f"Close it, wait in the queue, or start anyway.{more}"
    return Finding("GPU-04", "warning", words, hint, table=table)


def let_through(start: Start, *, anyway: bool = False) -> dict[str, str]:
    """Return the environment of the child, or raise EngineError of what forbids the start."""
    stop = start.stop(anyway=anyway)
    if stop is not None:
        raise stop.as_error()
    return start.environment
