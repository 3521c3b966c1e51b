"""What is kept of a run: checkpoints on the way, the adapter at the end, and the way back in.

A step is copied between two steps and written in a thread while training goes on; one save at a time.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import psutil

from engine import durable
from engine.errors import EngineError
from engine.events import CheckpointSaved, Finished, Log, Warned
from engine.runs import beginnings, card, seals
from engine.runtime import checkpoint, early, full_disk, memory, numbers, optim
from engine.runtime.job import Job
from engine.runtime.loss import plain_head
from engine.runtime.training import Training

COPY_SHARE = 0.25  # of the free memory: a larger copy is not made, training waits for its writing instead


def save(run: Training, *, wait: bool = False) -> Path:
    """Save the present step once, and remove what is older than the recipe keeps.

    Returns when the step is copied, with `wait` when it is on the disk. A save that failed since, and
    everything that its writing raises, is raised here or by the next of these functions.
    """
    folder = run.job.folder / "checkpoints" / f"step-{run.step:08d}"
    if run.saved_step != run.step and not run.ranks.first:
        if run.ranks.sharded:
            checkpoint.snapshot(run.step, run.model, run.optimizer, run.names, {}, copies=False)
        run.saved_step, run.saved_at = run.step, time.monotonic()
    elif run.saved_step != run.step:
        numbers.refuse_unsound(run)
        await_save(run)
        began = time.monotonic()
        run.job.phase("save")
        in_background = not wait and _room_for_copies(run)
        copied = _copy(run) if in_background else None
        in_background = copied is not None
        taken = copied or _snapshot(run, copies=False)
        run.saved_step, run.saved_at = run.step, time.monotonic()
        run.saving = run.saver.submit(_write, run, taken, began, run.saved_at if in_background else None)
        wait = not in_background
    if wait:
        await_save(run)
    run.job.phase("train")
    return folder


def await_save(run: Training) -> None:
    """Wait until the last save is on the disk, over a full disk too; raises what its writing raised."""
    saving, run.saving = run.saving, None
    if saving is not None:
        full_disk.outlast(run, 0, saving.result)


def notice_save(run: Training) -> None:
    """Raise what a save raised that has ended meanwhile: a write that failed ends the attempt.

    A full disk is waited out here, between two steps.
    """
    run.job.find_folder()
    full_disk.notice(run)
    if run.saving is not None and run.saving.done():
        await_save(run)


def _write(run: Training, taken: checkpoint.Snapshot, began: float, released: float | None) -> None:
    """Bring a copied step to the disk and say so; `released` is when training went on."""
    job, limit = run.job, run.recipe.checkpoint.save_total_limit
    try:
        folder, size = _write_where_it_lies(job, taken)
    except OSError as error:
        if not durable.is_full(error):
            raise
        raise full_disk.NoRoom(
            error, taken.bytes, lambda: run.saver.submit(_write, run, taken, began, None).result()
        ) from error
    ended = time.monotonic()
    job.write(
        CheckpointSaved(
            step=taken.step,
            path=folder.relative_to(job.folder).as_posix(),
            bytes=size,
            seconds=ended - began,
            waited_seconds=(ended if released is None else released) - began,
        )
    )
    # The best of the saved state: a later best may not be on the disk yet.
    _prune(job, limit, taken.state["best_step"])
    full_disk.warn_when_low(run, size)


def _prune(job: Job, limit: int, best_step: int | None) -> None:
    """Remove older saves; one that cannot be removed is told and stays, a failing disk is raised."""
    try:
        checkpoint.prune(job.folder, limit, best_step)
    except OSError as error:
        if error.errno == errno.EIO:
            raise
        why = error.strerror or type(error).__name__
        hint = "It takes room and is no save any more; the newer ones are whole."
        job.write(Warned(code="DISK-02", message=f"An older save cannot be removed: {why}.", hint=hint))


def _write_where_it_lies(job: Job, taken: checkpoint.Snapshot) -> tuple[Path, int]:
    """Write a checkpoint, anew where the folder was moved while it was written."""
    place = job.find_folder()
    try:
        return checkpoint.write(place, taken, job.sync)
    except FileNotFoundError:
        if job.find_folder() == place:
            raise
        return checkpoint.write(job.folder, taken, job.sync)


def _snapshot(run: Training, *, copies: bool) -> checkpoint.Snapshot:
    return checkpoint.snapshot(run.step, run.model, run.optimizer, run.names, _state(run), copies=copies)


def _copy(run: Training) -> checkpoint.Snapshot | None:
    """Copy the present step; None where there turned out to be no memory for it."""
    try:
        return _snapshot(run, copies=True)
    except memory.ERRORS as error:
        if not memory.ran_out(error):
            raise
    return None


def _room_for_copies(run: Training) -> bool:
    """Say whether a copy of all that is saved fits well into the free memory: values and two averages."""
    needed = 3 * sum(p.numel() * p.element_size() for p in run.model.parameters() if p.requires_grad)
    return bool(needed < COPY_SHARE * psutil.virtual_memory().available)


def _state(run: Training) -> dict[str, Any]:
    return {
        "epoch": run.table.epoch_at(run.step),
        "total_steps": run.table.total_steps,
        "seed": run.recipe.training.seed,
        "best_step": run.best_step,
        "best_loss": run.best_loss,
        "parts": run.parts,
        "evaluation_parts": run.evaluation_parts,
        "gradient_checkpointing": run.recipe.training.gradient_checkpointing,
        "owes_evaluation": run.owes_evaluation,
        "evaluations_without_gain": run.evaluations_without_gain,
        "bad_in_a_row": run.bad_in_a_row,
        "data": run.job.data_digest,
    }


def publish(run: Training, seconds: float) -> Finished:
    """Make adapter/ from the best checkpoint, or from the last one where no best is asked for or known."""
    await_save(run)
    if not run.ranks.first:
        return Finished(steps=run.step, seconds=seconds)
    best = run.recipe.training.load_best_model_at_end and run.best_step is not None
    step = run.best_step if best else run.step
    source = run.job.folder / "checkpoints" / f"step-{step:08d}"
    judged = seals.judge(run.job.history, step)
    begun = beginnings.digest(run.job.spec.arguments)
    about = (run.job.folder.name, step or 0, run.best_loss, run.job.versions, judged, begun)
    text = card.model_card(run.recipe, *about)
    size = sum(p.stat().st_size for p in source.rglob("*"))
    target = full_disk.outlast(run, size, lambda: checkpoint.publish(source, run.job.folder, text))
    run.job.write(Log(message=f"The adapter is that of step {step}."))
    return Finished(
        steps=run.step,
        seconds=seconds,
        peak_memory_bytes=memory.peak_bytes(run.compute.device),
        adapter=target.relative_to(run.job.folder).as_posix(),
        adapter_step=step,
        reason=early.reason(run),
    )


def ready(run: Training, checkpoint_folder: Path | None) -> None:
    """Put a checkpoint back, so that the next step is the one after it."""
    run.head = plain_head(run.base) if run.layout.head_apart else None
    run.names = optim.names_of(run.optimizer, run.model)
    run.ranks.same_start(run.model)
    if run.ranks.first:
        full_disk.reserve(run.job.folder)
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
    run.evaluation_parts = int(state.get("evaluation_parts", 1))
    if state.get("gradient_checkpointing") == "all" != run.recipe.training.gradient_checkpointing:
        memory.compute_twice(run)
    run.owes_evaluation = bool(state.get("owes_evaluation", False))
    run.evaluations_without_gain = int(state.get("evaluations_without_gain", 0))
    run.bad_in_a_row = int(state.get("bad_in_a_row", 0))
