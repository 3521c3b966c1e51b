"""After the last step: the benchmarks that a recipe asks for, measured by a child of its own."""

from __future__ import annotations

import time

from engine.errors import EngineError
from engine.events import Failed, Log, Progress, Warned
from engine.jobs import gpu_lock, process
from engine.runs import evaluations
from engine.runs.event_log import EventReader
from engine.runtime.orders import let_go
from engine.runtime.training import Training

POLL_SECONDS = 0.2


def measure(run: Training) -> None:
    """Measure base and adapter on the recipe's benchmarks; what goes wrong there is told and ends no run.

    The trained model is let go first: the child has the device to itself, and its memory is not the run's.
    """
    names = run.recipe.evaluation.benchmarks
    if not names or not run.ranks.first:
        return
    job = run.job
    let_go(run)
    job.phase("measure on benchmarks")
    try:
        folder = evaluations.create_evaluation(str(job.folder), names, run=job.folder)
        child = process.start(folder, environment={gpu_lock.GIVEN: ""})  # this run holds its GPU
    except EngineError as error:
        job.write(Warned(code=error.code, message=error.message, hint=error.hint))
        return
    job.write(Log(message=f"{', '.join(names)}: measured in {evaluations.FOLDER}/{folder.name}."))
    reader, asked, ended = EventReader(folder), False, False
    while not ended:
        ended = child.poll() is not None  # asked before reading: its last words are then read whole
        for event in reader.read_new():
            if isinstance(event, Progress):
                job.write(Progress(stage=event.stage, done=event.done, total=event.total, unit=event.unit))
            elif isinstance(event, Warned | Failed):
                job.write(Warned(code=event.code, message=event.message, hint=event.hint))
        job.requests.poll()
        if job.requests.stop and not asked:
            asked = True
            process.send(folder, "stop")
        time.sleep(POLL_SECONDS)
