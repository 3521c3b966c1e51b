"""What is kept of a run: checkpoints on the way, the adapter at the end, and the way back in."""

from __future__ import annotations

import time
from pathlib import Path

from engine.errors import EngineError
from engine.events import CheckpointSaved, Finished, Log
from engine.runs import card
from engine.runtime import checkpoint, memory, optim
from engine.runtime.loss import plain_head
from engine.runtime.training import Training


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
    run.names = optim.names_of(run.optimizer, run.model)
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
