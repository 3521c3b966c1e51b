"""What this process holds of others: children, threads, descriptors; and one life of a job's child."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.events import Event
from engine.jobs import process
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
