"""A whole run written by the real code of a child, with some hundred numbers in place of a model.

What is saved at a step is a function of the step alone, so that whatever is read back can be compared.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from engine import durable, faults
from engine.events import Finished, Started, Step, Warned
from engine.jobs.lock import FolderLock
from engine.jobs.spec import read_job
from engine.models.adapter_facts import CONFIG, WEIGHTS
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import check, store
from engine.runs.event_log import EventWriter
from engine.runtime import checkpoint, child, keep
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals
from tests.reliability.harness.crash_disk import Recorder

STEPS, EVERY, KEEP, BEST = 15, 3, 2, 3
SAVES = tuple(range(EVERY, STEPS + 1, EVERY))


def make(folder: Path) -> Path:
    """Make the folder of a run, as the window and the command line do."""
    return store.create_run(codec.override(Recipe(), {"data.train": ["rows.jsonl"]}), folder)


def attempt(folder: Path, steps: int = STEPS) -> int:
    """Do what a child does from the lock to the closing note; return its exit status."""
    with FolderLock(folder):
        mark("begun")
        child._set_aside_exit(folder)
        control = Control(folder)
        control.clear()
        writer = EventWriter(folder)
        try:
            job = Job(folder, read_job(folder), writer, Requests(control), Vitals(writer))
            begun = writer.attempt > 1 or check.checkpoint_folders(folder)
            resumed = child._find_checkpoint(job) if begun else None
            asked = durable.sha256_file(folder / "job.json")
            about: dict[str, Any] = {"pid": os.getpid(), "host": "", "job_sha256": asked}
            job.write(Started(job="train", resumed_from_step=resumed, **about))
            for code, message, hint in job.put_away:
                job.write(Warned(code=code, message=message, hint=hint))
            return child._close(job, _train(job, steps))
        finally:
            writer.close()


def _train(job: Job, steps: int) -> Finished:
    begun = 0 if job.resume_from is None else int(checkpoint.read_state(job.resume_from)["step"])
    limits = SimpleNamespace(checkpoint=SimpleNamespace(save_total_limit=KEEP))
    run: Any = SimpleNamespace(job=job, recipe=limits)
    for step in range(begun + 1, steps + 1):
        job.write(_step(step, steps))
        if step % EVERY == 0:
            keep._write(run, _taken(step), 0.0, None)
            mark(f"saved {step}")
    target = checkpoint.publish(_folder(job.folder, steps - steps % EVERY), job.folder, "# A card\n")
    mark("published")
    return Finished(steps=steps, seconds=1.0, adapter=target.name, adapter_step=steps)


def mark(label: str) -> None:
    """Tell a recording disk that something has been promised."""
    if isinstance(durable.disk, Recorder):
        durable.disk.mark(label)


def _folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:08d}"


def _step(step: int, total: int) -> Step:
    return Step(
        step=step,
        total_steps=total,
        epoch=step / total,
        loss=1.0 / step,
        learning_rate=1e-4,
        grad_norm=1.0,
        tokens=64,
        supervised_tokens=32,
        seconds=0.1,
    )


def _taken(step: int) -> checkpoint.Snapshot:
    """Return a snapshot whose values all tell of its step."""

    def write_adapter(folder: Path) -> None:
        checkpoint._write({"layer.lora_A.weight": torch.full((16, 8), float(step))}, folder / WEIGHTS)
        checkpoint._write_text(json.dumps({"peft_type": "LORA", "r": 8, "step": step}), folder / CONFIG)

    moments = {"layer.exp_avg": torch.full((300,), float(step)), "layer.step": torch.tensor(float(step))}
    best = BEST if step >= BEST else None
    return checkpoint.Snapshot(step, write_adapter, moments, {"step": step, "best_step": best}, bytes=1716)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its name; empty where there is none."""
    if not folder.is_dir():
        return {}
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def truth(folder: Path) -> dict[str, dict[str, bytes]]:
    """Write a run that nothing disturbs and return the contents of each save and of the result."""
    kept: dict[str, dict[str, bytes]] = {}
    write = checkpoint.write

    def noted(run: Path, taken: checkpoint.Snapshot, before: Any) -> tuple[Path, int]:
        made = write(run, taken, before)
        kept[made[0].name] = contents(made[0])
        return made

    checkpoint.write = noted
    try:
        assert attempt(make(folder)) == 0
    finally:
        checkpoint.write = write
    kept["adapter"] = contents(folder / "adapter")
    return kept


def passings(folder: Path) -> dict[str, int]:
    """Return how often an undisturbed run passes each point of `faults`."""
    made = make(folder)
    with faults.arm("nothing:none"):
        assert attempt(made) == 0
        return faults.passed()
