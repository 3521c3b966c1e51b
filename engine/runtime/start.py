"""From a job's folder to its work: reads what was asked, loads, and hands over."""

from __future__ import annotations

import platform
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine import durable
from engine.data import frozen, sandbox
from engine.data.dataset import NothingToLearn, Prepared
from engine.data.order import packs_of
from engine.data.report import Report
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.events import DataPrepared, Finished, Log, ModelLoaded, Planned, Progress, Stopped, Warned
from engine.hardware.devices import probe
from engine.jobs import room
from engine.models.facts import read_facts
from engine.models.library import resolve_model
from engine.plan import disk
from engine.plan.ledger import Ledger
from engine.plan.optimizers import refuse
from engine.plan.planner import DataFacts, Plan, plan
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.recipe.uses import idle
from engine.runs import file_digests, gate_checks, start_gate
from engine.runs.check import last_checkpoint, step_of
from engine.runs.store import load_recipe
from engine.runtime import (
    adapter,
    afterwards,
    begun,
    early,
    evaluate,
    evidence,
    imports,
    keep,
    kernels,
    memory,
    optim,
    shards,
    train,
)
from engine.runtime.generate import stops_of
from engine.runtime.job import Job
from engine.runtime.load import (
    Compute,
    Layout,
    choose_compute,
    choose_layout,
    load_base,
    quantization_of,
)
from engine.runtime.methods import portable
from engine.runtime.prepared import rows_of, rows_of_rank_0
from engine.runtime.ranks import meet, ranks_of
from engine.runtime.tally import Foreseen
from engine.runtime.timetable import make_timetable
from engine.runtime.training import Training


def train_job(job: Job) -> Finished | Stopped:
    """Train the run of a folder, from its start or from its last checkpoint."""
    evidence.recall(job)
    run = make_ready(job)
    if job.resume_from is None and job.writer.attempt > 1:
        job.write(
            Warned(
                code="RUN-05",
                message="No sound save in this run.",
                hint="It starts again with the same recipe.",
            )
        )
    job.phase("train")
    try:
        closing = train.train(run)
        run.ranks.leave()
        if isinstance(closing, Finished):
            afterwards.measure(run)
        return closing
    except RuntimeError:
        if run.ranks.first and not run.ranks.sharded and job.crew is not None and job.crew.loss() is not None:
            keep.save(run, wait=True)  # a rank is gone; the last whole step is still here
        raise
    finally:
        run.saver.shutdown()  # nothing is written any more once the folder's lock is given back


def make_ready(job: Job) -> Training:
    """Read what is asked of a job and load it, so that the next thing is a step."""
    sandbox.stop_clock(job.spec.created)  # a template that writes the date writes the same one after a resume
    recipe = load_recipe(job.folder)
    meet(job, recipe.launcher.strategy)
    if recipe.launcher.threads != "auto":
        torch.set_num_threads(recipe.launcher.threads)
    refuse(recipe.training, choose_compute().device.type)
    kernels.refuse(recipe, choose_compute(recipe.training.precision))
    folder = resolve_model(recipe.model.path, recipe.model.revision)
    compare_environment(job, recipe, folder)
    data = read_data(job, recipe, folder)
    recipe = settle(job, recipe, folder, data)
    imports.leave_out_bitsandbytes(job.alone, recipe, read_facts(folder))
    run = load_model(job, recipe, folder, data, job.resume_from)
    keep.ready(run, job.resume_from)
    job.tally.run = run
    imports.release_collector()
    return run


def read_data(job: Job, recipe: Recipe, model_folder: Path) -> Prepared:
    """Read, render and tokenise; says what came out."""
    job.phase("prepare data")
    began = time.monotonic()
    told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            job.write(Progress(stage="prepare data", done=done, total=total, unit="rows"))

    try:
        with ranks_of(job).rank_0_first():
            data = (
                rows_of(job, recipe, model_folder, progress) if ranks_of(job).first else rows_of_rank_0(job)
            )
    except NothingToLearn as refusal:
        nothing = Report(rows=refusal.rows, errors=Counter({"DATA-06": refusal.rows}))
        _say_prepared(job, Prepared([], [], nothing), began)
        raise
    job.data_digest = frozen.digest_of(data)
    _say_prepared(job, data, began)
    for problem in data.report.problems[:20]:
        job.write(Warned(code=problem.code, message=problem.message, hint=problem.hint))
    return data


def _say_prepared(job: Job, data: Prepared, began: float) -> None:
    report = data.report
    job.write(
        DataPrepared(
            train_examples=len(data.train),
            validation_examples=len(data.validation),
            tokens=report.tokens,
            supervised_tokens=report.supervised_tokens,
            truncated=report.truncated,
            dropped=report.dropped,
            seconds=time.monotonic() - began,
            rows=report.rows,
            unlearnt=report.errors["DATA-06"],
            train_tokens=sum(len(example.ids) for example in data.train),
            train_supervised_tokens=report.train_supervised_tokens,
        )
    )


def settle(job: Job, recipe: Recipe, folder: Path, data: Prepared) -> Recipe:
    """Say the plan of the run, and decide what the recipe leaves to it: gradient checkpointing."""
    early.refuse_without_validation(recipe, data)
    machine = probe()
    lengths = [len(e.ids) for e in data.train]
    facts = DataFacts.of(
        lengths, len(data.validation), data.report.supervised_tokens, packs_of(lengths, recipe.data)
    )
    # What other programs hold of a GPU is not to be had; nothing of ours is on it yet.
    room = float(machine.devices[0].free_bytes) if machine.devices else None
    model, book = read_facts(folder), Ledger.read()
    planned = plan(recipe, model, facts, device_memory=room, machine=machine, ledger=book)
    check_room(job, recipe, planned.trainable_parameters)
    job.tally.foresee(Foreseen(recipe, model, facts, machine, planned))
    _say_planned(job, planned)
    gpus = machine.devices[: recipe.launcher.processes]
    for finding in start_gate.of_memory(gpus, planned.memory_bytes):
        job.write(Warned(code=finding.code, message=finding.message, hint=finding.hint))
    for field, by in idle(recipe.training):
        hint = "Set it back, or choose what uses it."
        job.write(Warned(code="REC-01", message=f"{field} changes nothing with {by}.", hint=hint))
    if recipe.training.gradient_checkpointing != "auto":
        return recipe
    chosen = "all" if planned.gradient_checkpointing else "none"
    job.write(Log(message=f"Gradient checkpointing: {chosen} (auto)."))
    return codec.override(recipe, {"training.gradient_checkpointing": chosen})


def _say_planned(job: Job, planned: Plan) -> None:
    job.write(
        Planned(
            memory_bytes=planned.memory_bytes,
            seconds=planned.seconds,
            terms=planned.terms,
            memory_band=planned.memory_band,
            seconds_band=planned.seconds_band,
            time_terms=planned.time_terms,
            basis=planned.basis,
            memory_runs=planned.memory_runs,
            time_runs=planned.time_runs,
        )
    )


def load_model(
    job: Job, recipe: Recipe, folder: Path, data: Prepared, checkpoint: Path | None = None
) -> Training:
    """Load base and adapter and lay out the run; `checkpoint` is what `keep.ready` will put into it."""
    job.phase("load model")
    began = time.monotonic()
    first = begun.read(job, recipe, resumed=checkpoint is not None)
    compute, ranks = choose_compute(recipe.training.precision), ranks_of(job)
    place, whole = ranks.loading_place(compute), recipe.adapter.method == "full"
    base = load_base(folder, recipe.model, place, whole=whole)
    layout = choose_layout(base, recipe.model.attn_implementation)
    parameters = base.num_parameters()
    table = make_timetable(recipe, [len(e.ids) for e in data.train])
    place_of = (folder, checkpoint is not None, compute.device, compute.dtype)
    begin = adapter.Beginning(table.total_steps, data.train, *place_of, first)
    model, asked = _adapt(base, recipe, begin, data, layout)
    _save_memory(job, recipe, base)
    _say_loaded(job, recipe, compute, layout, parameters, model, began)
    if ranks.sharded:
        layout = replace(layout, head_apart=False)  # the head's weight is there only while the model computes
        if checkpoint is not None:
            portable.restore(model, checkpoint)
        shards.shard(model, model.get_base_model(), compute.device, ranks.world)
    tokenizer, template = ModelTokenizer(folder), load_template(folder, recipe.data.chat_template)
    _describe_environment(job, data, folder, compute.device_name)
    stops = stops_of(folder, template, tokenizer)
    evidence.examine_answers(job, data, stops)
    system, own = data.system_prompt, recipe.evaluation.sample_prompts
    prompts = evaluate.choose_prompts(data, own, template, tokenizer, system)
    return Training(
        job=job,
        recipe=recipe,
        model=model,
        compute=compute,
        layout=layout,
        data=data,
        table=table,
        optimizer=optim.make_optimizer(model, recipe.training),
        head=None,
        prompts=prompts,
        tokenizer=tokenizer,
        template=template,
        system_prompt=system,
        stops=stops,
        probe=asked,
        reload=lambda: load_model(job, recipe, folder, data, last_checkpoint(job.folder)[0]),
        ranks=ranks,
    )


def _adapt(
    base: Any, recipe: Recipe, begin: adapter.Beginning, data: Prepared, layout: Layout
) -> tuple[Any, evidence.Probe]:
    """Put the adapter on its base; ask what training is compared with, the base or the adapter begun from."""
    asked = None if begin.adapter is not None else evidence.ask_base(base, data, layout.flat)
    model = adapter.add_adapter(base, recipe, begin)
    if asked is None:
        asked = evidence.ask_base(model.eval().get_base_model(), data, layout.flat, "adapter")
    return model, asked


def _save_memory(job: Job, recipe: Recipe, base: Any) -> None:
    if recipe.training.gradient_checkpointing == "all":
        memory.checkpoint_layers(base)
    if recipe.training.use_liger_kernel:
        job.write(Log(message=kernels.apply_liger(base)))


def _say_loaded(
    job: Job, recipe: Recipe, compute: Compute, layout: Layout, parameters: int, model: Any, began: float
) -> None:
    job.write(
        ModelLoaded(
            parameters=parameters,
            trainable_parameters=sum(p.numel() for p in adapter.trainable(model).values()),
            dtype=compute.dtype_name,
            quantization=quantization_of(recipe.model),
            seconds=time.monotonic() - began,
            device=compute.device_name,
        )
    )
    threads = f"{torch.get_num_threads()} threads"
    job.write(Log(message=f"{compute.device_name}, {compute.dtype_name}, {threads}, {layout.reason}."))


def compare_environment(job: Job, recipe: Recipe, folder: Path) -> None:
    """On a resume, refuse a base whose files changed (MODEL-08) and tell of other versions (RUN-06).

    The gate said the same before the start; files may have changed since, and a run may have waited long.
    """
    if job.resume_from is None or not ranks_of(job).first:
        return
    then, step = gate_checks.environment_of(job.folder), step_of(job.resume_from)
    for finding in gate_checks.of_base(then, recipe, step, folder):
        raise finding.as_error()
    for finding in gate_checks.of_versions(then, job.versions, probe()):
        job.write(Warned(code=finding.code, message=finding.message, hint=finding.hint))


def check_room(job: Job, recipe: Recipe, trainable: int) -> None:
    """Refuse to start when the checkpoints will not fit on the disk; raises EngineError DISK-01."""
    hint = "Free some space, or keep fewer checkpoints; then resume."
    needed = int(disk.needed_bytes(recipe, trainable))
    room.refuse_full(job.folder, needed, hint, "checkpoint.save_total_limit")


def _describe_environment(job: Job, data: Prepared, folder: Path, device: str) -> None:
    if not ranks_of(job).first:
        return
    base = {
        "path": str(folder),
        "files": file_digests.sha256_of_all(folder, gate_checks.base_files(folder)),
    }
    durable.write_json(
        job.folder / "environment.json",
        {
            "versions": job.versions,
            "platform": platform.platform(),
            "device": device,
            "model": base,
            "data": data.files,
            "data_digest": job.data_digest,
            "system_prompt": data.system_prompt,
        },
    )


def merge_job(job: Job) -> Finished | Stopped:
    """Put adapters into their base, or into one adapter."""
    from engine.runtime.merge_job import merge_job as work

    return work(job)


def answer_job(job: Job) -> Finished:
    """Answer held-out questions with base and adapter."""
    from engine.runtime.answers import answer_job as work

    return work(job)
