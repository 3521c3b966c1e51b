"""The training loop, read from top to bottom.

    load the base, try its layout, add the adapter             -> model_loaded
    read, render and tokenise the data                         -> data_prepared
    put the last checkpoint back, if there is one
    answer the sample prompts with the untouched base          -> sample_generated (step 0)
    for each step:
        obey what was asked: stop, pause, save, evaluate, sample -> paused, resumed, checkpoint_saved, ...
        gather the micro-batches of the step; count their supervised tokens; take this rank's share
        for each: loss summed over its supervised tokens / that count, backward
        sum the gradients of all ranks
        clip, set the rate of the step, update                 -> step
        when due: loss over validation, sample answers         -> evaluated, sample_generated
        when due, or at a new best: save                       -> checkpoint_saved
        when validation has not improved for long enough: end early
    make adapter/ from the best or the last checkpoint

The rows of a step follow from (seed, epoch), dropout from (seed, step, micro-batch, rank): going on from a
checkpoint repeats nothing and differs in nothing. Several processes run this same loop (see `ranks`).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from engine.data.dataset import Example
from engine.events import Finished, Step, Stopped, Warned
from engine.runtime import attention, early, faulty, memory, neftune, numbers, optim
from engine.runtime.batches import Batch, collate
from engine.runtime.fused.threads import InOneThread
from engine.runtime.keep import notice_save, publish, save
from engine.runtime.loss import loss_sum
from engine.runtime.measure import measure, sample
from engine.runtime.methods import adalora
from engine.runtime.orders import obey
from engine.runtime.ranks import Told, tell_cuts
from engine.runtime.training import Training

MASK = (1 << 63) - 1


def train(run: Training) -> Finished | Stopped:
    """Run the loop to its end or to a stop, both with everything saved."""
    begun = time.monotonic()
    if run.step == 0:
        sample(run, base=True)
    run.model.train()
    if run.owes_evaluation:
        measure(run)
    while run.step < run.table.total_steps and not early.reason(run):
        notice_save(run)
        if obey(run) == "stop":
            save(run, wait=True)
            return Stopped(step=run.step)
        take_step(run)
        if run.table.evaluates(run.step):
            run.owes_evaluation = True
            measure(run)
        if run.saved_step != run.step and run.table.saves(
            run.step, run.ranks.agree(time.monotonic() - run.saved_at)
        ):
            save(run)
    save(run, wait=True)
    if run.owes_evaluation:
        return Stopped(step=run.step)
    return publish(run, time.monotonic() - begun)


def take_step(run: Training) -> None:
    """Take one optimizer step; when memory runs out, the same step again in smaller pieces."""
    began = time.monotonic()
    step = run.step + 1
    rows = run.ranks.portion([[run.data.train[i] for i in b] for b in run.table.micro_batches(step)])
    while True:
        try:
            faulty.device("step")
            loss, _ = gradients(run, step, rows.micro, rows.supervised)
            break
        except memory.ERRORS as error:
            if not memory.ran_out(error):
                raise
            remedy = memory.make_do(run, max(len(m) for m in rows.micro))
        run.optimizer.zero_grad(set_to_none=True)
        memory.free(run.compute.device)
        run.job.write(Warned(code="GPU-01", message=f"Memory ran out at step {step}.", hint=remedy))
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    faulty.gradients("grad", parameters)
    told = run.ranks.add_up(parameters, Told(loss, memory.used_bytes(run.compute.device), (run.parts,)))
    adalora.before_update(run.model)
    small = InOneThread(parameters[0], max(p.numel() for p in parameters))
    with small:
        norm = run.ranks.clip(parameters, run.recipe.training.max_grad_norm or math.inf)
    rate = optim.set_rate(run.optimizer, run.recipe.training, step, run.table.total_steps)
    good = math.isfinite(told.loss) and math.isfinite(norm)
    if good:
        with small:
            run.optimizer.step()
    adalora.after_update(run.model, step, good)
    run.optimizer.zero_grad(set_to_none=True)
    run.step = step
    run.job.write(
        Step(
            step=step,
            total_steps=run.table.total_steps,
            epoch=round(run.table.epoch_at(step), 4),
            loss=told.loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens=rows.tokens,
            supervised_tokens=rows.supervised,
            seconds=time.monotonic() - began,
            memory_bytes=told.memory_bytes,
        )
    )
    tell_cuts(run, told)
    numbers.watch(run, told.loss, norm, rows.micro)


def gradients(
    run: Training, step: int, micro: list[list[Example]], supervised: int | None = None
) -> tuple[float, list[Batch]]:
    """Add up the gradient of a step over its micro-batches; return its mean loss per supervised token.

    Where other ranks compute other rows of the step, `supervised` counts the tokens of all of them.
    """
    total, count, batches = add_up(run, step, micro, supervised)
    return float(total) / count, batches


def add_up(
    run: Training, step: int, micro: list[list[Example]], supervised: int | None = None
) -> tuple[Tensor, int, list[Batch]]:
    """Add up the gradient of a step; return the sum of its losses, and over how many tokens it is a mean."""
    pieces = [piece for examples in micro for piece in memory.pieces_of(run, examples, run.parts)]
    pieces = run.ranks.even(pieces)
    pad = run.base.config.get_text_config().pad_token_id or 0
    lean = run.recipe.training.neftune_noise_alpha is None  # its noise hangs on each row's whole length
    batches = [
        collate(
            piece,
            run.compute.device,
            flat=run.layout.flat,
            pad_id=pad,
            lean=lean,
            share=run.layout.shares,
        )
        for piece in pieces
    ]
    count = supervised or max(1, sum(batch.supervised for batch in batches))
    total = torch.zeros((), dtype=torch.float64, device=run.compute.device)
    for number, batch in enumerate(batches):
        faulty.device("device")
        torch.manual_seed(
            (run.recipe.training.seed * 1_000_003 + step * 8191 + run.ranks.turn(number)) & MASK
        )
        with attention.flat_row(batch.rows), neftune.noise(run, batch, step):
            loss = faulty.number("loss", loss_sum(run.base, batch, run.head))
            (loss / count).backward()
        total += loss.detach()
        del loss  # through its graph it would hold this batch's embeddings during the next one
    return total, count, batches
