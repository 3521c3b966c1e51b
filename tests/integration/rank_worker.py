"""One rank of a group of processes that load runs as a child does, and show what they compute together.

`python rank_worker.py CASES.json`, with the place of the rank in the environment. A case names a run's
folder, its strategy, what to do, and where rank 0 writes what came of it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from engine.jobs.spec import read_job
from engine.models.library import resolve_model
from engine.runs import store
from engine.runtime import crew, evaluate, keep, shards, start, train
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.ranks import Ranks, Told, join
from engine.runtime.training import Training
from engine.runtime.vitals import Vitals

Case = dict[str, Any]


def load(case: Case, ranks: Ranks) -> Training:
    """Load a run as `start.train_job` does."""
    mute: Any = crew.Mute()
    folder = Path(case["folder"])
    job = Job(folder, read_job(folder), mute, Requests(Control(folder)), Vitals(mute), ranks=ranks)
    recipe = store.load_recipe(folder)
    model = resolve_model(recipe.model.path)
    data = start.read_data(job, recipe, model)
    run = start.load_model(job, start.settle(job, recipe, model, data), model, data)
    keep.ready(run, None)
    for name, value in load_file(case["values"]).items():  # B begins as zero, which hides the gradient of A
        parameter = dict(run.model.named_parameters())[name]
        with torch.no_grad():
            parameter.copy_(shards.like(parameter, value))
    if case.get("padded"):
        run.layout = replace(run.layout, flat=False)
    run.model.train()
    return run


def gradient(run: Training, step: int) -> tuple[dict[str, torch.Tensor], float]:
    """Return the gradient of a step by name, as it stands before it is clipped, and the step's loss."""
    rows = run.ranks.portion([[run.data.train[i] for i in b] for b in run.table.micro_batches(step)])
    loss, _ = train.gradients(run, step, rows.micro, rows.supervised)
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    told = run.ranks.add_up(parameters, Told(loss, 0, (run.parts,)))
    return {n: p.grad for n, p in run.model.named_parameters() if p.grad is not None}, told.loss


def run_short_of_memory(run: Training, most: int) -> None:
    """Take two steps in which rank 1 has memory for so many rows only."""
    real = train.loss_sum

    def loss_sum(base: Any, batch: Any, *rest: Any) -> torch.Tensor:
        if run.ranks.rank == 1 and len(batch.lengths) > most:
            raise torch.OutOfMemoryError("out of memory")
        return real(base, batch, *rest)

    train.loss_sum = loss_sum
    train.take_step(run)
    train.take_step(run)
    train.loss_sum = real


def show(case: Case, ranks: Ranks) -> None:
    """Do one case."""
    run = load(case, ranks)
    loss = None
    if case.get("most_rows"):
        run_short_of_memory(run, int(case["most_rows"]))
        found = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad}
    else:
        found, loss = gradient(run, int(case.get("step", 1)))
    found = {n: shards.whole(t).contiguous().clone() for n, t in found.items()}
    run.model.eval()
    answer = {"loss": loss, "validation": evaluate.validation_loss(run), "cuts": run.cuts}
    if ranks.first:
        save_file(found, case["out"])
        Path(case["out"]).with_suffix(".json").write_text(json.dumps(answer))


def main() -> None:
    """Meet the other ranks and go through the cases with them."""
    ranks = join(crew.place_of_this_process(), "ddp")
    for case in json.loads(Path(sys.argv[1]).read_text()):
        show(case, replace(ranks, sharded=case["strategy"] == "fsdp"))
    ranks.leave()


if __name__ == "__main__":
    main()
