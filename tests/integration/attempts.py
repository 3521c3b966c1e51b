"""Attempts of a run made in this process: the work of a child, with its end wherever a test wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from safetensors.torch import load_file
from torch import Tensor

from engine.events import Finished, Started, Stopped
from engine.jobs.spec import read_job
from engine.runs.check import last_checkpoint, step_of
from engine.runs.event_log import EventWriter
from engine.runtime import evaluate, start, train
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals

STATE = ("adapter_model.safetensors", "optimizer.safetensors")


class Killed(BaseException):
    """The end of a process, as far as one process can have it: nothing catches it."""


def attempt(folder: Path) -> Finished | Stopped:
    """Do what a child does in a run's folder, from its start or its last whole checkpoint."""
    writer = EventWriter(folder)
    try:
        job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
        (folder / "control").mkdir(exist_ok=True)
        if writer.attempt > 1:
            job.resume_from = last_checkpoint(folder)[0]
        step = None if writer.attempt == 1 else 0 if job.resume_from is None else step_of(job.resume_from)
        job.write(Started(job="train", pid=1, host="here", versions={}, resumed_from_step=step))
        with patch.object(evaluate, "SAMPLE_TOKENS", 8):  # answers are most of a short run's time
            closing = start.train_job(job)
        job.write(closing)
        return closing
    finally:
        writer.close()


def killed_attempt(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: int, piece: int = 0, *, after: bool = False
) -> None:
    """Make an attempt that dies in optimizer step `step`, before (or after) its micro-batch `piece`."""
    gradients, loss_sum = train.gradients, train.loss_sum
    at = {"step": 0, "piece": 0}

    def watched_gradients(run: Any, number: int, *rest: Any) -> Any:
        at.update(step=number, piece=0)
        return gradients(run, number, *rest)

    def watched_loss(*inputs: Any) -> Tensor:
        here = at["step"] == step and at["piece"] == piece
        at["piece"] += 1
        if here and not after:
            raise Killed
        loss = loss_sum(*inputs)
        if here:
            raise Killed
        return loss

    with monkeypatch.context() as patched:
        patched.setattr(train, "gradients", watched_gradients)
        patched.setattr(train, "loss_sum", watched_loss)
        with pytest.raises(Killed):
            attempt(folder)


def saved(folder: Path, step: int) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint: the adapter's and the optimizer's."""
    place = folder / "checkpoints" / f"step-{step:08d}"
    return {f"{name}/{key}": value for name in STATE for key, value in load_file(place / name).items()}


def same_bytes(one: Path, other: Path, step: int) -> bool:
    """Return whether two runs saved the same step bit by bit, and ended with the same adapter."""
    files = [Path("checkpoints") / f"step-{step:08d}" / name for name in STATE]
    files.append(Path("adapter") / STATE[0])
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files)
