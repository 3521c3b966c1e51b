"""What the child measures for the seals: do answers hold their end, how far did training move the model.

The untouched base is asked once, before its adapter is made, for its scores at a few trained tokens; later
the model as it stands is asked for the same ones. So an adapter that changes nothing is seen whatever the
method, full finetuning included. A run that begins from an adapter is compared with what it began from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from engine.data.dataset import Example, Prepared
from engine.events import AnswersExamined, EffectMeasured
from engine.runs.event_log import replay
from engine.runtime.attention import flat_row
from engine.runtime.job import Job

if TYPE_CHECKING:
    from engine.runtime.training import Training

LOOKED_AT = 256  # so many training examples are candidates for the probe
PROBE_ROWS = 2  # the shortest of them: the base is asked before the first step, which should not wait
PROBE_TOKENS = 48  # of each
PROBE_POSITIONS = 8  # trained tokens asked for in each
END_DISTANCE = 4  # so many tokens a template may put behind an answer's end


@dataclass(frozen=True)
class Row:
    """A piece of a training example; the scores at `positions` foretell its trained tokens."""

    ids: Tensor
    positions: Tensor


@dataclass(frozen=True)
class Probe:
    """A few rows and the base's log-probabilities at their positions, [positions, vocabulary] on the CPU."""

    rows: tuple[Row, ...]
    base: Tensor
    flat: bool  # the rows are asked behind one another, as the run's batches are laid out
    beside: Literal["base", "adapter"] = "base"  # whose scores: the base's, or with what training began from


def recall(job: Job) -> None:
    """Take what earlier attempts said, so that the seals of a resumed run rest on all of it."""
    if job.writer.attempt > 1:
        job.history.fold(replay(job.folder, leave_out=("hardware", "heartbeat", "progress")))


def ask_base(base: Any, data: Prepared, flat: bool, beside: Literal["base", "adapter"] = "base") -> Probe:
    """Ask the untouched base for its scores, or with the adapter that training begins from on it."""
    shortest = sorted(data.train[:LOOKED_AT], key=lambda example: len(example.ids))[:PROBE_ROWS]
    rows = [_row(example, next(base.parameters()).device) for example in shortest]
    scores = _scores(base, rows, flat)
    # A base with a broken weight may have no scores for some rows; those could show nothing.
    sound = [place for place, found in enumerate(scores) if bool(found.isfinite().all())]
    nothing = torch.zeros(0, 1)
    known = torch.cat([scores[i] for i in sound]) if sound else nothing
    return Probe(tuple(rows[i] for i in sound), known, flat, beside)


def _row(example: Example, device: torch.device) -> Row:
    """Return the end of a prompt with the first trained tokens behind it, `PROBE_TOKENS` at most."""
    trained = np.flatnonzero(np.asarray(example.trained))
    wanted = [int(k) for k in trained if k > 0][:PROBE_POSITIONS]
    wanted = [k for k in wanted if k < wanted[0] + PROBE_TOKENS]
    last = wanted[-1]  # every example has a trained token that another stands before
    first = max(0, min(wanted[0] - 1, last - PROBE_TOKENS))
    ids = torch.tensor(np.asarray(example.ids[first:last]).astype(np.int64), device=device)
    return Row(ids, torch.tensor([k - 1 - first for k in wanted], device=device))


@torch.no_grad()
def _scores(model: Any, rows: Sequence[Row], flat: bool) -> list[Tensor]:
    """Return each row's log-probabilities, [positions, vocabulary] on the CPU."""
    device = next(model.parameters()).device  # a model that is shared out over GPUs was on the CPU before
    ids = [row.ids[None].to(device) for row in rows]
    if flat and len(rows) > 1:
        places = torch.cat([torch.arange(x.shape[1], device=device) for x in ids])[None]
        lengths = [x.shape[1] for x in ids]
        with flat_row(lengths):
            together = model(input_ids=torch.cat(ids, 1), position_ids=places, use_cache=False).logits[0]
        logits = list(together.split(lengths))
    else:
        logits = [model(input_ids=x, use_cache=False).logits[0] for x in ids]
    return [
        x[row.positions.to(device)].float().log_softmax(-1).cpu() for x, row in zip(logits, rows, strict=True)
    ]


def measure_effect(run: Training) -> None:
    """Say how far the model as it stands is from the base."""
    if not run.probe.rows:
        return
    base, now = run.probe.base, torch.cat(_scores(run.base, run.probe.rows, run.probe.flat))
    divergence = float((base.exp() * (base - now)).sum(-1).mean())
    largest = float((base - now).abs().max())
    run.job.write(
        EffectMeasured(
            step=run.step,
            positions=len(base),
            changed=int((base.argmax(-1) != now.argmax(-1)).sum()),
            # Rounding may leave the divergence of equal scores a little below zero.
            mean_kl=max(0.0, divergence) if math.isfinite(divergence) else None,
            max_logit_difference=largest if math.isfinite(largest) else None,
            beside=run.probe.beside,
        )
    )


def examine_answers(job: Job, data: Prepared, stops: frozenset[int]) -> None:
    """Count the training examples whose answer ends in a token that ends an answer; raw text has none."""
    text = {place for place, mapping in enumerate(data.mappings) if mapping.format == "text"}
    ends = np.fromiter(stops, dtype=np.int64)
    answers, whole, lengths = 0, 0, []
    for example in data.train:
        if example.source in text:
            continue
        trained = np.flatnonzero(np.asarray(example.trained))
        last = np.asarray(example.ids)[trained[-END_DISTANCE:]]
        answers += 1
        whole += bool(np.isin(last, ends).any())
        lengths.append(len(trained))
    usual = int(np.median(lengths)) if lengths else 0
    job.write(AnswersExamined(answers=answers, whole_answers=whole, answer_tokens=usual))
