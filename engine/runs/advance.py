"""Start what waits in the queue on the devices that are free: one run a device, each run once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import psutil

from engine import durable, paths
from engine.errors import EngineError
from engine.hardware.devices import probe
from engine.hardware.torch_build import installed, problem_of
from engine.jobs import gpu_lock, lock, process
from engine.jobs.spec import read_job
from engine.runs import queue, store
from engine.runs.queue import Begun, Queue

CPU = "cpu"
VISIBLE = "CUDA_VISIBLE_DEVICES"
LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Started:
    """A run that was started just now; `note_before` is the closing note of its attempt before."""

    folder: Path
    child: process.JobProcess
    note_before: dict[str, object] | None


@cache
def device_names() -> tuple[str, ...]:
    """Return the devices runs are spread over, as CUDA_VISIBLE_DEVICES names them; `cpu` without a GPU."""
    chosen = os.environ.get(VISIBLE)
    count = len(probe().devices)
    if not count or _unfit():
        return (CPU,)
    if chosen is None:
        return tuple(str(index) for index in range(count))
    return tuple(name.strip() for name in chosen.split(",") if name.strip())[:count] or (CPU,)


@cache
def _unfit() -> bool:
    """Return whether there are GPUs here and the installed torch cannot use them (GPU-03)."""
    machine = probe()
    return bool(machine.devices) and problem_of(machine, installed()) is not None


def device_uuids() -> dict[str, str]:
    """Return the UUID of each device that `device_names` names."""
    names = device_names()
    return {} if names == (CPU,) else dict(_uuids(names))


@cache
def _uuids(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(zip(names, (gpu.uuid for gpu in probe().devices), strict=False))


def environment_of(chosen: tuple[str, ...], *, beside: bool = False) -> dict[str, str]:
    """Return the environment of a child that gets these devices, `beside` another training or alone."""
    if chosen == (CPU,):
        return {VISIBLE: ""} if _unfit() else {}  # a child would try the GPU, and fail
    uuids = [device_uuids().get(name, "") for name in chosen]
    found = {VISIBLE: ",".join(chosen), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    found[gpu_lock.GIVEN] = ",".join(uuid for uuid in uuids if uuid)
    return {**found, gpu_lock.BESIDE: "1"} if beside else found


def advance(only: Path | None = None) -> list[Started]:
    """Start every run at the head of the queue whose devices are free; return what was started.

    Runs do not overtake each other: one that needs several devices waits for them and the rest behind it.
    `only` is started at once instead, beside whatever is going on: a person chose to.
    """
    names = device_names()  # before the lock: asking a driver may take a while
    with queue.locked():
        before = queue.read()
        now = _settle(before)
        found = []
        if only is not None:
            started, now = _take(now, only.resolve(), names, force=True)
            found = [started] if started else []
        while only is None and now.queued and not now.held:
            started, after = _take(now, now.queued[0], names)
            if after == now:
                break  # no device is free
            now = after
            if started is not None:
                found.append(started)
                queue.write(now)  # at once: what was started must not be started again
        if now != before:
            queue.write(now)
        return found


def _take(
    now: Queue, folder: Path, names: tuple[str, ...], *, force: bool = False
) -> tuple[Started | None, Queue]:
    """Start one run when its devices are free; without a start and without a change they are not."""
    rest = replace(now, queued=tuple(other for other in now.queued if other != folder))
    if lock.is_held(folder) or store.state_of(folder) == "finished":
        return None, rest
    need = min(processes_of(folder), len(names))
    busy = occupied(now, names)
    free = [name for name in names if name not in busy]
    beside = len(free) < need
    if beside:
        if not force:
            return None, now
        free = list(names)
    chosen = tuple(free[:need])
    note = process.exit_of(folder)
    try:
        child = process.start(folder, environment=environment_of(chosen, beside=beside))
    except EngineError as error:
        _note_failure(folder, error)
        return None, _after_failure(rest, folder, error.message)
    begun = Begun(str(folder), child.pid, time.time(), chosen)
    return Started(folder, child, note), replace(rest, begun=(*rest.begun, begun))


# -- what is going on --------------------------------------------------------------------------------------
def processes_of(folder: Path) -> int:
    """Return how many devices a run asks for."""
    try:
        return max(1, int(store.load_recipe(folder).launcher.processes))
    except EngineError:
        return 1  # its child will say what is wrong with the recipe


def occupied(now: Queue, names: tuple[str, ...]) -> dict[str, Path]:
    """Return the devices on which something goes on, each with its run; a paused run keeps its own."""
    found: dict[str, Path] = {}
    for begun in now.begun:
        if is_going(begun):
            found.update(dict.fromkeys(begun.devices, Path(begun.run)))
    listed = {Path(begun.run) for begun in now.begun}
    for folder in going_folders(now):
        if folder not in listed:
            found.update(dict.fromkeys(_devices_of(folder, names), folder))
    for name, uuid in device_uuids().items():  # a training of another home, or one started by hand
        other = gpu_lock.holder(uuid) if name in names and name not in found else None
        if other is not None:
            found[name] = other
    return found


def going_folders(now: Queue) -> list[Path]:
    """Return the runs whose child holds its folder: of this home, and of the queue wherever they lie."""
    mine = [p for p in paths.runs_dir().iterdir() if p.is_dir() and not p.name.startswith(".")]
    begun = [Path(entry.run) for entry in now.begun]
    every = dict.fromkeys(p.resolve() for p in [*mine, *begun, *now.queued])
    return [folder for folder in every if lock.is_held(folder)]


def _devices_of(folder: Path, names: tuple[str, ...]) -> Iterable[str]:
    """Return the devices of a run that somebody else started: what its environment leaves it to see."""
    need = min(processes_of(folder), len(names))
    pid = lock.holder(folder)
    try:
        seen = psutil.Process(pid).environ().get(VISIBLE) if pid is not None else None
    except psutil.Error:
        seen = None
    chosen = [name.strip() for name in seen.split(",") if name.strip()] if seen is not None else list(names)
    return (chosen if names != (CPU,) else [CPU])[:need]


def is_going(begun: Begun) -> bool:
    """Return whether a started run goes on: its folder is held, or its child is on the way to it."""
    return lock.is_held(Path(begun.run)) or _is_child(begun.pid, begun.run)


def _is_child(pid: int, run: str) -> bool:
    """A recycled process id is not taken for the child: the command line names the run."""
    try:
        child = psutil.Process(pid)
        return child.status() != psutil.STATUS_ZOMBIE and run in child.cmdline()
    except psutil.Error:
        return False


# -- what has ended ----------------------------------------------------------------------------------------
def _settle(now: Queue) -> Queue:
    """Take note of the runs that ended since: after a failure the queue goes on or holds, as was chosen.

    A run that ended because the computer did goes on from its last save, before all others.
    """
    for begun in now.begun:
        if is_going(begun):
            continue
        folder = Path(begun.run)
        now = replace(now, begun=tuple(other for other in now.begun if other != begun))
        state = store.state_of(folder) if folder.is_dir() else "gone"
        if state == "crashed" and psutil.boot_time() > begun.time:
            others = tuple(other for other in now.queued if other != folder)
            now = replace(now, queued=(folder, *others))
        elif state in ("failed", "crashed", "queued"):  # queued: its child died before the first event
            note = process.exit_of(folder) or {}
            now = _after_failure(now, folder, str(note.get("message", "")) or "its process died")
    return now


def _after_failure(now: Queue, folder: Path, why: str) -> Queue:
    if now.on_error == "continue":
        return now
    return replace(now, held=paths.show_name(f"{name_of(folder)}: {why}", 300))


def name_of(folder: Path) -> str:
    """Return the name a run is shown by."""
    try:
        return paths.show_name(read_job(folder).name)
    except EngineError:
        return paths.show_name(folder.name)


def _note_failure(folder: Path, error: EngineError) -> None:
    """Leave the closing note of a run that could not be started, so that it does not look as if it waited."""
    note = {"status": "failed", **error.as_dict(), "time": time.time()}
    try:
        with lock.FolderLock(folder):
            durable.write_json(folder / "exit.json", note)
    except (OSError, EngineError):
        return  # somebody else works there, or nothing can be written: the folder itself is the answer
