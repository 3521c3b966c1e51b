"""The queue of runs: `queue.json` in the home, changed and advanced under a lock of the operating system.

Whoever is there advances it: each window, the command line, and a small process of its own that outlives them
(see `queue_runner`). The lock makes it happen once. What is going on is never read from the file: a run goes
on while its folder's lock is held. A run leaves the queue when its child was started; until that child holds
its folder, its process id stands for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.jobs import lock

NAME = "queue.json"
LOCK = "queue.lock"
LOCK_SECONDS = 10.0  # a holder writes a small file or starts a child: far less than this
OnError = Literal["continue", "hold"]


@dataclass(frozen=True)
class Begun:
    """A run whose child the queue started and whose end it has not seen yet."""

    run: str
    pid: int
    time: float  # Unix seconds
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Queue:
    """The waiting runs, the next one first; `held` says why it stands still, empty while it does not."""

    queued: tuple[Path, ...] = ()
    begun: tuple[Begun, ...] = ()
    on_error: OnError = "continue"
    held: str = ""


def queue_file() -> Path:
    """Return where the queue of this home is kept."""
    return paths.home() / NAME


def read() -> Queue:
    """Return the queue without runs whose folders are gone; a file that cannot be read is an empty one."""
    try:
        value = json.loads(queue_file().read_bytes())
        queued = [Path(entry) for entry in value["queued"] if isinstance(entry, str)]
        return Queue(
            queued=tuple(folder for folder in queued if (folder / "job.json").exists()),
            begun=tuple(_begun(entry) for entry in value.get("begun", [])),
            on_error="hold" if value.get("on_error") == "hold" else "continue",
            held=str(value.get("held", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Queue()  # no queue yet, or a damaged one: the runs themselves are in their folders


def _begun(entry: dict[str, Any]) -> Begun:
    return Begun(str(entry["run"]), int(entry["pid"]), float(entry["time"]), tuple(entry["devices"]))


def write(queue: Queue) -> None:
    """Write the queue; only under `locked`."""
    value = {
        "queued": [str(folder) for folder in queue.queued],
        "begun": [asdict(begun) for begun in queue.begun],
        "on_error": queue.on_error,
        "held": queue.held,
    }
    try:
        durable.write_json(queue_file(), value)
    except OSError as error:
        raise from_os_error(error, str(queue_file())) from error


@contextmanager
def locked() -> Iterator[None]:
    """Hold the queue, so that nobody else changes or advances it meanwhile."""
    home = paths.home()
    taken = EngineError(
        "Another process keeps the queue.", "Wait a moment and try again.", "RUN-02", file=str(home / LOCK)
    )
    try:
        durable.make_folder(home)
        with lock.FileLock(home / LOCK, taken, LOCK_SECONDS):
            yield
    except OSError as error:
        raise from_os_error(error, str(home / LOCK)) from error


def change(edit: Callable[[Queue], Queue]) -> Queue:
    """Read the queue, change it and write it as one act; return what it is now."""
    with locked():
        before = read()
        after = edit(before)
        if after != before:
            write(after)
        return after


# -- what a person asks for --------------------------------------------------------------------------------
def add(run: Path, *, first: bool = False) -> Queue:
    """Let a run wait for its device, behind all others or before them; one that waits keeps its place."""
    folder = run.resolve()

    def edit(queue: Queue) -> Queue:
        if folder in queue.queued and not first:
            return queue
        others = tuple(other for other in queue.queued if other != folder)
        return replace(queue, queued=(folder, *others) if first else (*others, folder))

    return change(edit)


def remove(run: Path) -> Queue:
    """Take a waiting run out; it stays among the runs. Raises EngineError RUN-03 when it does not wait."""
    folder = run.resolve()

    def edit(queue: Queue) -> Queue:
        _place_of(queue, folder)
        return replace(queue, queued=tuple(other for other in queue.queued if other != folder))

    return change(edit)


def move(run: Path, place: int) -> Queue:
    """Give a waiting run another place, 0 is the next; raises EngineError RUN-03 when it does not wait."""
    folder = run.resolve()

    def edit(queue: Queue) -> Queue:
        _place_of(queue, folder)
        others = [other for other in queue.queued if other != folder]
        others.insert(max(0, min(place, len(others))), folder)
        return replace(queue, queued=tuple(others))

    return change(edit)


def hold(why: str = "on hold") -> Queue:
    """Start nothing more until `release`; what is going on goes on."""
    return change(lambda queue: replace(queue, held=queue.held or why))


def release() -> Queue:
    """Let the queue go on."""
    return change(lambda queue: replace(queue, held=""))


def set_on_error(mode: OnError) -> Queue:
    """Say what follows a run that failed or crashed: the next one, or nothing until `release`."""
    return change(lambda queue: replace(queue, on_error=mode))


def _place_of(queue: Queue, folder: Path) -> int:
    if folder not in queue.queued:
        raise EngineError(
            f"{folder.name} does not wait in the queue.", "`tunesmith queue list` names what does.", "RUN-03"
        )
    return queue.queued.index(folder)
