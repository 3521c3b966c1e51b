"""What this process holds of others: children, threads, descriptors; and one life of a job's child."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.errors import EngineError
from engine.events import Event
from engine.faults import VARIABLE
from engine.jobs import lock, process
from engine.runs import store
from engine.runs.event_log import EventReader

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Counts:
    """Children (zombies are such, too), threads and open descriptors of this process."""

    children: int
    threads: int
    descriptors: int

    @classmethod
    def now(cls) -> Counts:
        """Return the counts of this moment."""
        own = psutil.Process()
        return cls(len(own.children(recursive=True)), own.num_threads(), own.num_fds())


def cycle(folder: Path, *, stop_after: str = "") -> str:
    """Start the child of a folder, stop it after the first event of a type, and wait; return the state."""
    child = process.start(folder)
    if stop_after:
        first(folder, stop_after)
        process.send(folder, "stop")
    child.wait(PATIENCE_SECONDS)
    return store.state_of(folder)


def first(folder: Path, kind: str) -> Event:
    """Wait for the first event of a type that is written from now on or was before."""
    reader, deadline = EventReader(folder), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for event in reader.read_new():
            if event.type == kind:
                return event
        time.sleep(0.01)
    raise AssertionError(f"no {kind}; child.log: {process.last_words(folder)}")


def end_early(folder: Path) -> Path:
    """Spoil the recipe of a run, so that its child comes to its end before torch is loaded."""
    (folder / "recipe.yaml").chmod(0o644)
    (folder / "recipe.yaml").write_text("data: {trian: 1}\n")
    return folder


def race(folder: Path, starters: int = 2) -> list[process.JobProcess]:
    """Start the child of a folder from several threads at once; return those that live when all are settled.

    The folder's recipe is spoilt (see `end_early`); a child that has the folder hangs before its last word.
    """
    children: list[process.JobProcess] = []
    line = threading.Barrier(starters)

    def start() -> None:
        line.wait()
        with contextlib.suppress(EngineError):  # RUN-02 at once: the other was quicker
            children.append(process.start(folder, environment={VARIABLE: "exit.before:hang"}))

    threads = [threading.Thread(target=start) for _ in range(starters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first(folder, "failed")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(living := [c for c in children if c.poll() is None]) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [lock.holder(folder)] == [child.pid for child in living], "another process holds the folder"
    for child in children:
        child.kill()
        child.wait(PATIENCE_SECONDS)
    return living
