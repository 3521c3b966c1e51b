"""The training loop, read from top to bottom.

    load the base, try its layout, add the adapter             -> model_loaded
    read, render and tokenise the data                         -> data_prepared
    put the last checkpoint back, if there is one
    answer the sample prompts with the untouched base          -> sample_generated (step 0)
    for each step:
        obey what was asked: stop, pause, save, evaluate, sample -> paused, resumed, checkpoint_saved, ...
        gather the micro-batches of the step; count their supervised tokens
        for each: loss summed over its supervised tokens / that count, backward
        clip, set the rate of the step, update                 -> step
        when due: loss over validation, sample answers         -> evaluated, sample_generated
        when due, or at a new best: save                       -> checkpoint_saved
    make adapter/ from the best or the last checkpoint

The rows of a step follow from (seed, epoch), dropout from (seed, step, micro-batch): going on from a
checkpoint repeats nothing and differs in nothing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.data.dataset import Example, Prepared
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.events import (
    CheckpointSaved,
    Evaluated,
    Finished,
    Log,
    Paused,
    Resumed,
    SampleGenerated,
    Step,
    Stopped,
    Warned,
)
from engine.recipe.recipe import Recipe
from engine.runs import card
from engine.runtime import adapter, attention, checkpoint, evaluate, memory, optim
from engine.runtime.batches import Batch, collate
from engine.runtime.job import Job
from engine.runtime.load import Compute, Layout
from engine.runtime.loss import loss_sum, plain_head
from engine.runtime.timetable import Timetable

BAD_STEPS_IN_A_ROW = 3
MASK = (1 << 63) - 1


@dataclass
class Training:
    """Everything the loop holds; `step` is the last one taken."""

    job: Job
    recipe: Recipe
    model: Any
    compute: Compute
    layout: Layout
    data: Prepared
    table: Timetable
    optimizer: torch.optim.Optimizer
    head: torch.Tensor | None
    prompts: list[evaluate.Prompt]
    tokenizer: ModelTokenizer
    template: ChatTemplate
    stops: frozenset[int]
    system_prompt: str | None  # the recipe's, or the one that all rows begin with
    step: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    parts: int = 1  # micro-batches are cut in so many after memory ran out
    bad_in_a_row: int = 0
    owes_evaluation: bool = False  # a stop was asked in the middle of one: a resume begins with it
    saved_step: int = -1
    saved_at: float = field(default_factory=time.monotonic)
    names: list[str] = field(default_factory=list)

    @property
    def base(self) -> Any:
        """Return the causal model inside peft's wrapper."""
        return self.model.get_base_model()


def train(run: Training) -> Finished | Stopped:
    """Run the loop to its end or to a stop, both with everything saved."""
    begun = time.monotonic()
    if run.step == 0:
        sample(run, base=True)
    run.model.train()
    if run.owes_evaluation:
        measure(run)
    while run.step < run.table.total_steps:
        if obey(run) == "stop":
            save(run)
            return Stopped(step=run.step)
        take_step(run)
        if run.table.evaluates(run.step):
            run.owes_evaluation = True
            measure(run)
        if run.saved_step != run.step and run.table.saves(run.step, time.monotonic() - run.saved_at):
            save(run)
    save(run)
    if run.owes_evaluation:
        return Stopped(step=run.step)
    return publish(run, time.monotonic() - begun)


def take_step(run: Training) -> None:
    """Take one optimizer step; when memory runs out, the same step again in smaller pieces."""
    began = time.monotonic()
    step = run.step + 1
    micro = [[run.data.train[i] for i in rows] for rows in run.table.micro_batches(step)]
    while True:
        try:
            loss, batches = gradients(run, step, micro)
            break
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not memory.ran_out(error):
                raise
            run.parts = memory.split_further(run.recipe, run.parts, max(len(m) for m in micro))
        run.optimizer.zero_grad(set_to_none=True)
        memory.free(run.compute.device)
        run.job.write(
            Warned(
                code="GPU-01",
                message=f"Memory ran out at step {step}.",
                hint=f"Batches are now cut in {run.parts} parts; the result is the same.",
            )
        )
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    limit = run.recipe.training.max_grad_norm or math.inf
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
    rate = optim.set_rate(run.optimizer, run.recipe.training, step, run.table.total_steps)
    good = math.isfinite(loss) and math.isfinite(norm)
    if good:
        run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.step = step
    run.job.write(
        Step(
            step=step,
            total_steps=run.table.total_steps,
            epoch=round(run.table.epoch_at(step), 4),
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens=sum(b.tokens for b in batches),
            supervised_tokens=sum(b.supervised for b in batches),
            seconds=time.monotonic() - began,
            memory_bytes=memory.used_bytes(run.compute.device),
        )
    )
    watch_numbers(run, good)


def gradients(run: Training, step: int, micro: list[list[Example]]) -> tuple[float, list[Batch]]:
    """Add up the gradient of a step over its micro-batches; return its mean loss per supervised token."""
    pieces = [piece for examples in micro for piece in memory.cut(examples, run.parts)]
    if run.table.pack_tokens is not None and not run.layout.flat:  # a padded pack would be mostly padding
        room = run.table.pack_tokens * run.table.batch_size
        pieces = [part for piece in pieces for part in memory.within(piece, room)]
    pad = run.base.config.get_text_config().pad_token_id or 0
    batches = [collate(piece, run.compute.device, flat=run.layout.flat, pad_id=pad) for piece in pieces]
    count = max(1, sum(batch.supervised for batch in batches))
    total = torch.zeros((), device=run.compute.device)
    for number, batch in enumerate(batches):
        torch.manual_seed((run.recipe.training.seed * 1_000_003 + step * 8191 + number) & MASK)
        with attention.flat_row(batch.lengths if run.layout.flat else None):
            loss = loss_sum(run.base, batch, run.head)
            (loss / count).backward()
        total += loss.detach()
    return float(total) / count, batches


def watch_numbers(run: Training, good: bool) -> None:
    """A step that is not a number was not applied; three in a row end the run before anything is saved."""
    run.bad_in_a_row = 0 if good else run.bad_in_a_row + 1
    if good:
        return
    if run.bad_in_a_row >= BAD_STEPS_IN_A_ROW:
        raise EngineError(
            f"Loss was not a number {BAD_STEPS_IN_A_ROW} times in a row at step {run.step}.",
            f"Start again with learning rate {run.recipe.training.learning_rate / 2:g}.",
            "RUN-07",
        )
    run.job.write(
        Warned(
            code="RUN-07",
            message=f"Loss or gradient was not a number at step {run.step}.",
            hint="The step was left out.",
        )
    )


def obey(run: Training) -> str:
    """Do what was asked between two steps; return "stop" when the run is to end."""
    requests = run.job.requests
    requests.poll()
    if requests.stop:
        return "stop"
    if requests.take("save"):
        save(run)
    if requests.take("evaluate"):
        measure(run)
    for prompt in requests.take_prompts():
        sample(
            run,
            extra=evaluate.prompt_from_text(prompt, run.template, run.tokenizer, run.system_prompt),
        )
    return wait(run) if requests.take("pause") else ""


def wait(run: Training) -> str:
    """Save, free the device's memory, and wait until told to go on or to stop."""
    save(run)
    memory.move(run.model, run.optimizer, torch.device("cpu"))
    memory.free(run.compute.device)
    run.job.write(Paused(step=run.step))
    run.job.phase("paused")
    while not (run.job.requests.stop or run.job.requests.take("resume")):
        time.sleep(0.1)
        run.job.requests.poll()
    if run.job.requests.stop:
        return "stop"
    memory.move(run.model, run.optimizer, run.compute.device)
    run.job.write(Resumed(step=run.step))
    run.job.phase("train")
    return ""


def measure(run: Training) -> float | None:
    """Evaluate on validation and answer the prompts; a new best is saved at once. None without a result."""
    loss = None
    run.job.phase("evaluate")
    run.model.eval()
    if run.data.validation:
        loss = evaluate.validation_loss(run)
        if loss is not None:
            is_best = math.isfinite(loss) and (run.best_loss is None or loss < run.best_loss)
            if is_best:
                run.best_loss, run.best_step = loss, run.step
            run.job.write(
                Evaluated(
                    step=run.step,
                    loss=loss,
                    perplexity=math.exp(min(loss, 50.0)),
                    is_best=is_best,
                    metrics={},
                )
            )
    if loss is not None or not run.data.validation:
        run.owes_evaluation = False
        sample(run)
    run.model.train()
    run.job.phase("train")
    if loss is not None and run.best_step == run.step:
        save(run)
    return loss


def sample(run: Training, *, base: bool = False, extra: evaluate.Prompt | None = None) -> None:
    """Answer the sample prompts as the model stands; with `base`, as it was before training."""
    run.job.phase("sample")
    run.model.eval()
    for prompt in run.prompts if extra is None else [extra]:
        run.job.requests.poll()
        if run.job.requests.stop:
            break
        text = evaluate.answer(run, prompt, base=base)
        run.job.write(SampleGenerated(step=run.step, prompt=prompt.text, text=text))
    run.model.train()
    run.job.phase("train")


def save(run: Training) -> Path:
    """Save the present step once, and remove what is older than the recipe keeps."""
    folder = run.job.folder / "checkpoints" / f"step-{run.step:08d}"
    if run.saved_step == run.step:
        return folder
    began = time.monotonic()
    run.job.phase("save")
    state = {
        "epoch": run.table.epoch_at(run.step),
        "total_steps": run.table.total_steps,
        "seed": run.recipe.training.seed,
        "best_step": run.best_step,
        "best_loss": run.best_loss,
        "parts": run.parts,
        "owes_evaluation": run.owes_evaluation,
        "data": run.job.data_digest,
    }
    folder, size = checkpoint.save(run.job.folder, run.step, run.model, run.optimizer, run.names, state)
    run.job.sync()
    run.saved_step, run.saved_at = run.step, time.monotonic()
    path = folder.relative_to(run.job.folder).as_posix()
    run.job.write(CheckpointSaved(step=run.step, path=path, bytes=size, seconds=time.monotonic() - began))
    checkpoint.prune(run.job.folder, run.recipe.checkpoint.save_total_limit, run.best_step)
    run.job.phase("train")
    return folder


def publish(run: Training, seconds: float) -> Finished:
    """Make adapter/ from the best checkpoint, or from the last one where no best is asked for or known."""
    best = run.recipe.training.load_best_model_at_end and run.best_step is not None
    step = run.best_step if best else run.step
    source = run.job.folder / "checkpoints" / f"step-{step:08d}"
    text = card.model_card(run.recipe, run.job.folder.name, step or 0, run.best_loss, run.job.versions)
    target = checkpoint.publish(source, run.job.folder, text)
    run.job.write(Log(message=f"The adapter is that of step {step}."))
    return Finished(
        steps=run.step,
        seconds=seconds,
        peak_memory_bytes=memory.peak_bytes(run.compute.device),
        adapter=target.relative_to(run.job.folder).as_posix(),
    )


def ready(run: Training, checkpoint_folder: Path | None) -> None:
    """Put a checkpoint back, so that the next step is the one after it."""
    run.head = plain_head(run.base) if run.layout.head_apart else None
    run.names = list(adapter.trainable(run.model))
    if checkpoint_folder is None:
        return
    state = checkpoint.read_state(checkpoint_folder)
    if state.get("total_steps") != run.table.total_steps or state.get("data") != run.job.data_digest:
        raise EngineError(
            "The data of this run changed since its last save.",
            "Bring the former file back, or start a new run.",
            "DATA-11",
        )
    checkpoint.load(checkpoint_folder, run.model, run.optimizer, run.names)
    run.step = run.saved_step = int(state["step"])
    run.best_step, run.best_loss, run.parts = state["best_step"], state["best_loss"], int(state["parts"])
    run.owes_evaluation = bool(state.get("owes_evaluation", False))
