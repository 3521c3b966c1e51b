"""A disk that fills up under a run: training waits between two steps, with all it knows in memory.

    a save cannot be written -> what was written of it goes -> warned DISK-01, paused
    Continue (`resume`)      -> resumed, the same step is written again as new files
    Stop                     -> the attempt ends with DISK-01; the former save stands

A small file in `cache/` holds room for these words: it goes when the disk is full.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from engine import durable, paths
from engine.errors import EngineError
from engine.events import Paused, Resumed, Warned
from engine.jobs.room import RESERVE, RESERVE_BYTES, amount
from engine.runtime.training import Training

T = TypeVar("T")
LOOK_SECONDS = 0.1


class NoRoom(OSError):
    """A save that the disk had no room for; `again` writes the same step as new files."""

    def __init__(self, error: OSError, needed: int, again: Callable[[], Any]) -> None:
        super().__init__(error.errno, error.strerror)
        self.needed = needed
        self.again = again


def reserve(folder: Path) -> None:
    """Hold a little room for words about a full disk; raises OSError where there is not even that."""
    place = folder / RESERVE
    if place.is_file() and place.stat().st_size == RESERVE_BYTES:
        return
    durable.make_folder(place.parent, inside=folder)
    durable.write_file(place, os.urandom(RESERVE_BYTES))  # zeros would take no room on some disks


def outlast(run: Training, needed: int, work: Callable[[], T]) -> T:
    """Do what writes new files, as often as it takes; raises EngineError DISK-01 when told to stop instead.

    `needed` is in bytes; a save that found no room (`NoRoom`) says itself how much and how it goes on.
    """
    waited = False
    while True:
        try:
            done = work()
        except OSError as error:
            if not durable.is_full(error):
                raise
            if isinstance(error, NoRoom):
                needed, work = error.needed, error.again
        else:
            if waited:
                _reserve_again(run.job.folder)
            return done
        waited = True
        wait(run, needed)


def _reserve_again(folder: Path) -> None:
    try:
        reserve(folder)
    except OSError as error:
        if not durable.is_full(error):
            raise


def notice(run: Training) -> None:
    """Wait here while the log cannot be written."""
    while run.ranks.first and run.job.writer.full is not None:
        wait(run, RESERVE_BYTES)


def warn_when_low(run: Training, size: int) -> None:
    """Say once that there is room for fewer than two more saves of `size` bytes."""
    free = durable.disk.free(run.job.folder)
    if free >= 2 * size or run.told_of_low_room:
        return
    run.told_of_low_room = True
    place = paths.show_name(str(run.job.folder), 200)
    run.job.write(
        Warned(
            code="DISK-01",
            message=f"{amount(free)} free in {place}, less than two more saves of {amount(size)}.",
            hint="Free some space. Where none is left, training waits, and nothing is lost.",
        )
    )


def wait(run: Training, needed: int) -> None:
    """Say that the disk is full, and return once told to go on; other ranks wait at the next word of all.

    Raises EngineError DISK-01 when told to stop; a stop that was asked before stands and does not end it.
    """
    job = run.job
    stopping = job.requests.take("stop")
    durable.discard(job.folder / RESERVE)
    free = amount(durable.disk.free(job.folder))
    words = f"{amount(needed)} needed in {paths.show_name(str(job.folder), 200)}, {free} free."
    hint = "Free some space, then Continue; nothing is lost."
    job.write(Warned(code="DISK-01", message=f"{words} Training waits.", hint=hint))
    job.write(Paused(step=run.step))
    job.phase("paused")
    if job.awake is not None:
        job.awake.release()  # nothing works meanwhile
    job.requests.take("resume")  # of an earlier pause
    while True:
        job.find_folder()
        job.requests.poll_alone()
        if job.requests.stop:
            raise EngineError(
                f"{words} Step {run.step} could not be saved.",
                "Free some space, then resume; the last save is sound.",
                "DISK-01",
                file=str(job.folder),
            )
        if job.requests.take("resume"):
            break
        time.sleep(LOOK_SECONDS)
    if job.awake is not None:
        job.awake.hold()
    if stopping:
        job.requests.ask("stop")
    job.write(Resumed(step=run.step))
    job.phase("save")
