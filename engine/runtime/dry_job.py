"""The job of a dry run: its arguments read, its way told, its answer given as an event."""

from __future__ import annotations

import time
from pathlib import Path

from engine.events import DryRunDone, Finished, Progress, Stopped
from engine.models.facts import look_at
from engine.plan.data_facts import DataFacts
from engine.runs.store import load_recipe
from engine.runtime import imports
from engine.runtime.dry_run import dry_run
from engine.runtime.job import Job

STAGES = 3  # building, first step, second step


class _AskedToStop(Exception):
    """A stop came in; it ends the work from within a pass."""


def dry_run_job(job: Job) -> Finished | Stopped:
    """Count what the recipe of a folder would hold, on the model and the device of its arguments."""
    began = time.monotonic()
    arguments = job.spec.arguments
    recipe, folder = load_recipe(job.folder), Path(arguments["model"])
    imports.leave_out_bitsandbytes(job.alone, recipe, look_at(folder))

    def progress(stage: str, done: int) -> None:
        look()
        job.phase(stage)
        job.write(Progress(stage=stage, done=done, total=STAGES))

    def look() -> None:
        job.requests.poll()
        if job.requests.stop:
            raise _AskedToStop

    try:
        found = dry_run(
            recipe,
            folder,
            DataFacts(**arguments["data"]) if arguments.get("data") else None,
            device=arguments["device"],
            precision=arguments.get("precision"),
            progress=progress,
            look=look,
            alone=job.alone,
        )
    except _AskedToStop:
        return Stopped(step=0)
    job.write(
        DryRunDone(
            peak_bytes=found.peak_bytes,
            terms=found.terms,
            trainable_parameters=found.trainable_parameters,
            seconds=found.seconds,
            device=arguments["device"],
            precision=found.precision,
            layout=found.layout,
            remarks=list(found.remarks),
        )
    )
    return Finished(seconds=time.monotonic() - began)
