"""A trial of a few steps: the recipe's own model and data, its longest batch first, and nothing is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import mean

from engine.events import Finished, Probed, Stopped
from engine.runtime import start, train
from engine.runtime.job import Job
from engine.runtime.timetable import Timetable

LAST_STEPS = 5  # whose mean loss is told: one batch alone says little


@dataclass(frozen=True)
class LongestFirst(Timetable):
    """A timetable whose first two steps are the one with the most tokens at once.

    Twice: at the first the optimizer has no state yet, from the second on it is at its peak.
    """

    def micro_batches(self, step: int) -> list[list[int]]:
        """Return the rows of each micro-batch of step `step`, over again when the data is at its end."""
        order = self._order(0)
        windows = [order[i : i + self.accumulation] for i in range(0, len(order), self.accumulation)]
        first = max(windows, key=lambda window: max(map(self._tokens, window)))
        if step <= 2:
            return first
        others = [window for window in windows if window is not first] or windows
        return others[(step - 3) % len(others)]

    def _tokens(self, rows: Sequence[int]) -> int:
        return sum(self.lengths[row] for row in rows)


def probe_job(job: Job) -> Finished | Stopped:
    """Take the steps of a trial and say what they took; a stop ends it after the present step."""
    run = start.make_ready(job)
    run.table = LongestFirst(**{f.name: getattr(run.table, f.name) for f in fields(run.table) if f.init})
    job.phase("train")
    run.model.train()
    began = time.monotonic()
    while run.step < run.table.total_steps:
        job.requests.poll()
        if job.requests.stop:
            run.saver.shutdown()
            return Stopped(step=run.step)
        train.take_step(run)
    run.saver.shutdown()
    seconds = time.monotonic() - began
    _say(job, seconds)
    return Finished(steps=run.step, seconds=seconds)


def _say(job: Job, seconds: float) -> None:
    entry = job.tally.entry(job.folder, job.writer.attempt, seconds, source="probe")
    losses = [loss for loss in job.history.series["loss"].values if math.isfinite(loss)]
    if entry is None:
        return
    job.write(
        Probed(
            steps=entry.steps,
            tokens=entry.tokens,
            seconds=seconds,
            quantization=entry.quantization,
            memory_bytes=entry.measured_memory_bytes,
            process_bytes=entry.process_bytes,
            predicted_memory_bytes=entry.predicted_memory_bytes,
            seconds_per_token=entry.measured_seconds_per_token,
            predicted_seconds_per_token=entry.predicted_seconds_per_token,
            loss=mean(losses[-LAST_STEPS:]) if losses else None,
        )
    )
