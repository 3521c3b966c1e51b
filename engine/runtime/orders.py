"""What a person asks of a run between two steps: stop, pause, save, evaluate, sample."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import torch

from engine.events import Log, Paused, Resumed, Warned
from engine.runtime import evaluate, keep, memory
from engine.runtime.measure import base_is_at_hand, measure, sample
from engine.runtime.training import Training

# What outlives a pause; everything else is made anew, as a resume in another process would make it.
KEPT_OVER_A_PAUSE = frozenset(
    {"job", "saver", "saving", "saved_at", "told_of_low_room", "bad_in_a_row", "losses", "norms"}
)


def obey(run: Training) -> str:
    """Do what was asked between two steps; return "stop" when the run is to end."""
    requests = run.job.requests
    requests.poll()
    if requests.stop:
        return "stop"
    if requests.take("save"):
        save_now(run)
    if requests.take("evaluate"):
        measure(run, scheduled=False)
    for text in requests.take_prompts():
        prompt = evaluate.prompt_from_text(text, run.template, run.tokenizer, run.system_prompt)
        if base_is_at_hand(run) and run.step:
            sample(run, base=True, extra=prompt)  # beside it, what the base would have said
        sample(run, extra=prompt)
    return wait(run) if requests.take("pause") else ""


def save_now(run: Training) -> None:
    """Save the present step; say so where it is saved already, since nothing else would answer."""
    if run.saved_step == run.step:
        run.job.write(Log(message=f"Step {run.step} is saved already."))
        return
    keep.save(run)


def wait(run: Training) -> str:
    """Save, free the device's memory, and wait until told to go on or to stop.

    Model and optimizer are let go whole and made anew from the save: that frees the memory of a CPU too, and
    going on is then what a resume is, for every method and optimizer, bit by bit.
    """
    folder = keep.save(run, wait=True)
    let_go(run)
    run.job.write(Paused(step=run.step))
    run.job.phase("paused")
    if run.job.awake is not None:
        run.job.awake.release()  # nothing works meanwhile
    while not run.job.requests.stop:
        place = run.job.folder / "checkpoints" / folder.name  # it may have been moved meanwhile
        if run.job.requests.take("resume") and _go_on(run, place):
            if run.job.awake is not None:
                run.job.awake.hold()
            run.job.write(Resumed(step=run.step))
            run.job.phase("train")
            return ""
        time.sleep(0.1)
        run.job.requests.poll()
    return "stop"


def let_go(run: Training) -> None:
    """Forget everything that holds weights, and give their memory back to the device."""
    run.model = run.optimizer = run.head = None
    gc.collect()  # a model refers to itself in circles
    memory.free(run.compute.device)


def _go_on(run: Training, checkpoint: Path) -> bool:
    """Load the model again and put the save back; False, with a warning, while there is no room for it."""
    run.job.resume_from = checkpoint  # what is loaded is to be filled from it, not begun anew
    try:
        fresh = run.reload()
        keep.ready(fresh, checkpoint)
        fresh.model.train()
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not memory.ran_out(error) or run.ranks.several:  # the others would wait for this one
            raise
        fresh = None
    if fresh is None:  # outside the handler: the error's frames hold what was loaded
        let_go(run)
        run.job.write(
            Warned(
                code="GPU-01",
                message="There is not enough free memory to go on.",
                hint="The run stays paused and saved. Free some memory, then resume.",
            )
        )
        run.job.phase("paused")
        return False
    vars(run).update({name: value for name, value in vars(fresh).items() if name not in KEPT_OVER_A_PAUSE})
    return True
