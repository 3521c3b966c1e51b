"""Steps whose numbers are none, and numbers that jump: what is left out, what is told, what is never saved.

A step without a finite loss and gradient changes nothing. Three in a row end the run: the weights are then
those of the step before the first of them. Where that one made them no numbers, no save takes them.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from engine.data.dataset import Example
from engine.errors import EngineError
from engine.events import Warned
from engine.runtime import attention, shards
from engine.runtime.batches import collate
from engine.runtime.loss import loss_sum
from engine.runtime.training import Training

BAD_STEPS_IN_A_ROW = 3


def watch(run: Training, loss: float, norm: float, rows: list[list[Example]]) -> None:
    """Take the numbers of a step; raises EngineError RUN-07 where they were none for the third time."""
    good = math.isfinite(loss) and math.isfinite(norm)
    run.bad_in_a_row = 0 if good else run.bad_in_a_row + 1
    if good:
        _tell_jump(run, "Loss", run.losses.see(loss), loss)
        _tell_jump(run, "Gradient", run.norms.see(norm), norm)
        return
    if run.bad_in_a_row >= BAD_STEPS_IN_A_ROW:
        raise EngineError(
            f"Loss was not a number {BAD_STEPS_IN_A_ROW} times in a row at step {run.step}.",
            f"{_way_back(run)}{_where(run, rows)}.",
            "RUN-07",
            field="training.learning_rate",
        )
    run.job.write(
        Warned(
            code="RUN-07",
            message=f"Loss or gradient was not a number at step {run.step}.",
            hint="The step was left out.",
        )
    )


def refuse_unsound(run: Training) -> None:
    """Raise EngineError RUN-07 where trained weights are no numbers: a save of them would be of no use."""
    trained = (p for group in run.optimizer.param_groups for p in group["params"])
    if all(bool(torch.isfinite(shards.part(p.detach())).all()) for p in trained):
        return
    raise EngineError(
        f"The weights are not numbers any more after step {run.step}; they were not saved.",
        f"{_way_back(run)}.",
        "RUN-07",
        field="training.learning_rate",
    )


def _tell_jump(run: Training, what: str, usual: float | None, value: float) -> None:
    if usual is None:
        return
    said = {
        "code": "RUN-08",
        "step": run.step,
        "message": f"{what} jumped from {usual:.3g} to {value:.3g} at step {run.step}.",
        "hint": "Usual once; if it stays high, lower the learning rate.",
    }
    run.job.write(Warned.model_validate(said))


def _way_back(run: Training) -> str:
    half = f"{run.recipe.training.learning_rate / 2:g}"
    if run.saved_step > 0:
        return f"Resume from step {run.saved_step} with learning rate {half}"
    return f"Start again with learning rate {half}"


@torch.no_grad()
def _where(run: Training, micro: list[list[Example]]) -> str:
    """Name the first row of a step whose own loss is no number; empty where it is all of them together."""
    if run.ranks.several:  # a row alone cannot be computed where the others wait
        return ""
    pad = run.base.config.get_text_config().pad_token_id or 0
    for example in (e for examples in micro for e in examples):
        batch = collate([example], run.compute.device, flat=run.layout.flat, pad_id=pad, lean=True)
        with attention.flat_row(batch.rows):
            loss = float(loss_sum(run.base, batch, run.head))
        if not math.isfinite(loss):
            files = run.recipe.data.train
            name = f" of {Path(files[example.source]).name}" if example.source < len(files) else ""
            return f", or look at row {example.row + 1}{name}"
    return ""
