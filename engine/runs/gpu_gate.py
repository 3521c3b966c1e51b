"""The gate before something other than a training takes a GPU: an evaluation, a trial, a chat.

A training keeps its GPU to itself. What comes to it meanwhile is told so before anything is loaded, and goes
to a free GPU, to the processor, or beside the training where a person chose to.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.jobs import gpu_lock
from engine.paths import show_name
from engine.runs import advance, queue, store
from engine.runs.gate_checks import Finding
from engine.runs.start_gate import Start

ON_CPU = {advance.VISIBLE: "", gpu_lock.GIVEN: ""}
WAIT_OR_CPU = "Wait until it ends or pause it, or use the CPU."


def examine(*, shares: bool = True) -> Start:
    """Look where such work would run now; `shares` says whether it may be done beside a training.

    The environment is that of a free GPU, else that of one it would share. The driver is asked, which may
    take a while: a window asks from its thread.
    """
    names = advance.device_names()
    if names == (advance.CPU,):
        return Start()
    busy = advance.occupied(queue.read(), names)
    free = [name for name in names if name not in busy]
    if free:
        return Start((), advance.environment_of((free[0],)))
    idle = [name for name in names if _is_paused(busy[name])]
    if idle:  # a paused training keeps its place and left the memory
        return Start((), advance.environment_of((idle[0],), beside=True))
    who = ", ".join(dict.fromkeys(show_name(folder.name) for folder in busy.values()))
    way_on = "Start beside it" if shares else ""
    finding = Finding("GPU-04", "error", f"{who} uses the GPU.", WAIT_OR_CPU, way_on)
    return Start((finding,), advance.environment_of((names[0],), beside=True))


def working_on(uuids: Iterable[str]) -> list[Path]:
    """Return the jobs that work on some GPUs; paused ones left the memory. Asks no driver."""
    found = (gpu_lock.holder(uuid) for uuid in uuids if uuid)
    return [folder for folder in dict.fromkeys(found) if folder is not None and not _is_paused(folder)]


def _is_paused(folder: Path) -> bool:
    return folder.is_dir() and store.state_of(folder) == "paused"
