"""A run whose disk refuses one call, at every call in turn: what is believed afterwards, and what is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine import durable, faults
from engine.errors import EngineError
from engine.events import CheckpointSaved
from engine.runs import check
from engine.runs.event_log import EventReader
from engine.runtime import full_disk, keep
from tests.reliability.harness import small_run


class Quick(durable.Disk):
    """The disk without the waiting; notes what fsync was asked for again after it had failed."""

    def __init__(self) -> None:
        self.failed: set[tuple[int, int]] = set()
        self.again: list[tuple[int, int]] = []

    def fsync(self, fd: int) -> None:
        facts = os.fstat(fd)
        if (facts.st_ino, facts.st_mtime_ns) in self.failed:
            self.again.append((facts.st_ino, facts.st_mtime_ns))
        try:
            faults.point("fsync")
        except OSError:
            self.failed.add((facts.st_ino, facts.st_mtime_ns))
            raise

    def fsync_folder(self, folder: Path) -> None:
        faults.point("fsync_folder")


@dataclass
class Found:
    """How often a call was refused, what became of the attempts, and everything that was not as promised."""

    refused: int = 0
    ended: int = 0  # by an error told in our words
    whole: int = 0  # in spite of the refusal
    broken: list[str] = field(default_factory=list)


@contextmanager
def patient_person(asked: list[int]) -> Iterator[None]:
    """Let somebody make room and say Continue each time a save finds none; `asked` are the bytes needed."""
    write = keep._write

    def continued(run: Any, taken: Any, began: float, released: Any) -> None:
        try:
            write(run, taken, began, released)
        except full_disk.NoRoom as full:
            asked.append(full.needed)
            continued(run, taken, began, released)

    with patch.object(keep, "_write", continued):
        yield


def refuse_each(place: Path, error: str, stride: int = 1, start: int = 1) -> Found:
    """Make a run for each nth call, refuse that call with an error, and go on as a person would."""
    found = Found()
    with durable.using(Quick()):
        truth = small_run.truth(place / "truth")
    number = start
    while _refuse(small_run.make(place / f"{error}-{number}"), f"*:{error}@{number}", truth, found):
        number += stride
    return found


def _refuse(folder: Path, armed: str, truth: dict[str, Any], found: Found) -> bool:
    """Make one attempt under a refusal and one without; return whether the refusal happened."""
    asked: list[int] = []
    disk, status = Quick(), 1
    with durable.using(disk), patient_person(asked), patch.object(durable, "PAUSES", (0.0,) * 4):
        with faults.arm(armed):
            try:
                status = small_run.attempt(folder)
            except (OSError, EngineError):
                found.ended += 1
            if not faults.fired:
                return False
            where = faults.fired[0]
        found.refused += 1
        found.whole += status == 0
        found.broken += [f"{armed} at {where[0]}: {each}" for each in _look(folder, truth, asked, disk)]
        if status != 0 and small_run.attempt(folder) != 0:
            found.broken.append(f"{armed} at {where[0]}: the next attempt did not end well")
    if small_run.contents(folder / "adapter") != truth["adapter"]:
        found.broken.append(f"{armed} at {where[0]}: another result than that of an undisturbed run")
    return True


def _look(folder: Path, truth: dict[str, Any], asked: list[int], disk: Quick) -> Iterator[str]:
    """Yield what a run's folder must not be after a refusal."""
    told = [e.step for e in EventReader(folder).read_new() if isinstance(e, CheckpointSaved)]
    whole = {check.step_of(p): p for p in check.checkpoint_folders(folder) if not check.problem_of(p)}
    if told and max(told) not in whole:
        yield f"the save of step {max(told)} was announced and is not whole"
    if len(set(told)) > 1 and len(whole) < 2:
        yield f"of the saves {told} only {sorted(whole)} is left"
    for step, place in whole.items():
        if small_run.contents(place) != truth[place.name]:
            yield f"the save of step {step} is believed and is another one"
    if disk.again:
        yield "fsync was asked again for bytes that it had failed to keep"
    if any(size <= 0 for size in asked):
        yield "the bytes needed are not told"
    if (folder / "exit.json").exists() and check.problem_of(folder / "adapter"):
        yield "it is said to have finished, and its result is not whole"
