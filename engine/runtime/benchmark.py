"""The job `evaluate`: base and adapter answer the same questions, in a folder of its own.

load once -> for each benchmark, some questions at a time: base answers, adapter answers, both are judged and
written down -> scores, comparisons, what was forgotten. Begun anew in the same folder it goes on after what
is written down.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from engine import durable
from engine.benchmarks.scoring import Judged
from engine.benchmarks.spec import LM_EVAL, Benchmark, parts_of
from engine.errors import EngineError
from engine.events import Finished, Log, ModelLoaded, Progress, Stopped, Warned
from engine.models.model_facts import ModelFacts
from engine.runs import evaluation_results, evaluations
from engine.runs.evaluations import Comparison, Item, LeftOut, Results, Score, Who
from engine.runs.store import load_recipe
from engine.runtime.adapted import AdaptedModel, load_target
from engine.runtime.benchmark_tasks import Task, Tasks
from engine.runtime.job import Job
from engine.runtime.load import Compute, choose_compute, load_base, quantization_of
from engine.runtime.target import Target, resolve_target

TELL_SECONDS = 0.5
ROOM = 1.2  # of a model's weights, for what is computed with them
SHOWN = 4000  # characters of a prompt that are written down


class _AskedToStop(Exception):
    """A person asked for the end; what is written down stays."""


@dataclass
class _Evaluation:
    """What is going on: who answers, what was answered so far, what could not be asked."""

    job: Job
    folder: Path
    adapted: AdaptedModel
    speakers: tuple[Who, ...]
    items: dict[tuple[str, int], Item]
    told: float = 0.0
    scores: list[Score] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def beat(self) -> None:
        """Hear what was asked."""
        self.job.requests.poll()
        if self.job.requests.stop:
            raise _AskedToStop

    def speaking(self, who: Who) -> AbstractContextManager[str]:
        """Answer as `who`; a model that was trained whole and stands alone is its own adapter."""
        return self.adapted.speaking(who if self.adapted.has_adapter else "base")

    def leave_out(self, name: str, error: EngineError) -> None:
        """Note that a benchmark cannot be measured, and say it."""
        self.left_out.append(LeftOut(benchmark=name, code=error.code, message=error.message, hint=error.hint))
        self.job.write(Warned(code=error.code, message=error.message, hint=error.hint))


def evaluate_job(job: Job) -> Finished | Stopped:
    """Do what `evaluations.create_evaluation` was asked; raises EngineError where nothing can be measured."""
    began = time.monotonic()
    arguments = job.spec.arguments
    target = resolve_target(str(arguments["target"]))
    names = [str(name) for name in arguments["benchmarks"]]
    data = Path(arguments["data"]) if arguments.get("data") else None
    files = {str(name): Path(path) for name, path in (arguments.get("files") or {}).items()}
    limit, seed = arguments.get("limit"), arguments.get("seed")
    base_too = bool(arguments.get("base_too", True))
    try:
        return measure(
            job, job.folder, target, names, data=data, files=files, limit=limit, seed=seed, base_too=base_too
        )
    except _AskedToStop:
        done = len(evaluations.read_items(job.folder))
        job.write(Log(message=f"{done} answers are kept; {time.monotonic() - began:.0f} s."))
        return Stopped(step=done)


def measure(
    job: Job,
    folder: Path,
    target: Target,
    names: Sequence[str],
    *,
    data: Path | None = None,
    files: Mapping[str, Path] | None = None,
    limit: int | None = None,
    seed: int | None = None,
    base_too: bool = True,
) -> Finished:
    """Measure a target on benchmarks and write items.jsonl and results.json into `folder`.

    `files` stand for single benchmarks, `data` for all; `seed` makes other questions where they are made.
    """
    began = time.monotonic()
    own = [part for name in names if not name.startswith(LM_EVAL) for part in parts_of(name)]
    parts = list({part.name: part for part in own}.values())
    compute = choose_compute()
    adapted = _load(job, target, compute)
    speakers = _speakers(target, adapted, base_too)
    known = {(item.benchmark, item.item): item for item in evaluations.read_items(folder)}
    going = _Evaluation(job, folder, adapted, speakers, known)
    going.beat()
    if parts:
        own_files = {part.name: _file_of(part, data, files or {}) for part in parts}
        _measure_own(going, Tasks(target, adapted.model, seed), parts, own_files, limit)
    _measure_theirs(going, target, [n for n in names if n.startswith(LM_EVAL)], limit)
    if not going.scores:
        first = going.left_out[0] if going.left_out else None
        raise EngineError(
            first.message if first else "There is nothing to measure.",
            first.hint if first else "Name a benchmark.",
            first.code if first and first.code else "DATA-07",
        )
    seconds = time.monotonic() - began
    found = _results(going, target, parts, compute).model_copy(update={"limit": limit, "seconds": seconds})
    durable.write_json(folder / evaluations.RESULTS, found.model_dump(mode="json"))
    return Finished(seconds=seconds)


def _results(going: _Evaluation, target: Target, parts: Sequence[Benchmark], compute: Compute) -> Results:
    adapted = going.adapted
    return Results(
        time=time.time(),
        target=target.name,
        base=target.base.name,
        fingerprints={"base": adapted.base_fingerprint, "adapter": adapted.adapter_fingerprint},
        benchmarks=list(dict.fromkeys(score.benchmark for score in going.scores)),
        dtype=compute.dtype_name,
        device=compute.device_name,
        scores=going.scores,
        comparisons=going.comparisons,
        forgetting=evaluation_results.forgetting_of(parts, list(going.items.values())),
        left_out=going.left_out,
    )


def _speakers(target: Target, adapted: AdaptedModel, base_too: bool) -> tuple[Who, ...]:
    if not adapted.has_adapter:
        return ("base",) if target.run is None else ("adapter",)
    return ("base", "adapter") if base_too else ("adapter",)


def _load(job: Job, target: Target, compute: Compute) -> AdaptedModel:
    """Load in full precision; a base that was trained on in few bits and has no room as it was trained on."""
    job.phase("load model")
    began = time.monotonic()
    options = None if target.run is None else load_recipe(target.run).model
    few_bits = options is not None and quantization_of(options) is not None and target.adapter is not None
    if options is not None and few_bits and not _has_room(target.base, compute):
        job.write(
            Log(message=f"Measured in {quantization_of(options)}: there is no room for full precision.")
        )
        base = load_base(target.base.path, options, compute).eval()
        adapted = AdaptedModel(base, target.base, target.adapter, 1.0)
    else:
        adapted = load_target(target, compute)
    job.write(
        ModelLoaded(
            parameters=target.base.parameters,
            trainable_parameters=0,
            dtype=compute.dtype_name,
            seconds=time.monotonic() - began,
            device=compute.device_name,
        )
    )
    return adapted


def _has_room(facts: ModelFacts, compute: Compute) -> bool:
    free = psutil.virtual_memory().available
    if compute.device.type == "cuda":
        free = torch.cuda.mem_get_info(compute.device)[0]
    return bool(facts.parameters * compute.dtype.itemsize * ROOM < free)


def _file_of(benchmark: Benchmark, data: Path | None, files: Mapping[str, Path]) -> Path | None:
    if benchmark.name in files:
        return files[benchmark.name]
    return data if data is not None and (data.is_file() or not benchmark.at_hand) else None


def _measure_own(
    going: _Evaluation,
    tasks: Tasks,
    parts: Sequence[Benchmark],
    files: Mapping[str, Path | None],
    limit: int | None,
) -> None:
    for benchmark in parts:
        going.job.phase(f"measure {benchmark.label}")
        try:
            task = tasks.make(benchmark, files[benchmark.name], limit)
        except EngineError as error:
            going.leave_out(benchmark.name, error)
            continue
        _answer(going, task)
        items = [item for (name, number), item in sorted(going.items.items()) if name == benchmark.name]
        items = items[: len(task.sizes)]
        going.scores += evaluation_results.scores_of(benchmark.name, benchmark.metrics, items)
        if len(going.speakers) == 2:
            going.comparisons += evaluation_results.comparisons_of(benchmark.name, benchmark.metrics, items)


def _answer(going: _Evaluation, task: Task) -> None:
    """Let base and adapter answer what is not yet written down, and write it down in whole chunks."""
    name, total = task.benchmark.name, len(task.sizes)
    with _appending(going.folder / evaluations.ITEMS) as descriptor:
        for chunk in task.chunks():
            if all(_is_answered(going, name, number) for number in chunk):
                continue
            judged: dict[str, list[Judged]] = {}
            for who in going.speakers:
                with going.speaking(who):
                    judged[who] = task.work(chunk, who, going.beat)
            for at, number in enumerate(chunk):
                item = _item(task, number, {who: judged[who][at] for who in going.speakers})
                going.items[name, number] = item
                durable.append_line(descriptor, item.model_dump_json().encode() + b"\n")
            if time.monotonic() - going.told > TELL_SECONDS or chunk.stop == total:
                going.told = time.monotonic()
                going.job.write(
                    Progress(stage=task.benchmark.label, done=chunk.stop, total=total, unit="questions")
                )
        durable.disk.fsync(descriptor)


class _appending:
    """Holds items.jsonl open for whole lines; what a killed child left of a line is closed off first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> int:
        torn = self._path.is_file() and self._path.stat().st_size > 0 and not self._ends_well()
        self._descriptor = durable.open_log(self._path)
        if torn:
            durable.append_line(self._descriptor, b"\n")
        return self._descriptor

    def _ends_well(self) -> bool:
        with open(self._path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def __exit__(self, *_: Any) -> None:
        durable.disk.close(self._descriptor)


def _is_answered(going: _Evaluation, name: str, number: int) -> bool:
    item = going.items.get((name, number))
    return item is not None and all(who in item.answers for who in going.speakers)


def _item(task: Task, number: int, judged: dict[str, Judged]) -> Item:
    return Item(
        benchmark=task.benchmark.name,
        item=number,
        prompt=task.prompts[number][-SHOWN:],
        expected=task.expected[number][:SHOWN],
        answers={who: each.answer for who, each in judged.items()},
        right={who: each.right for who, each in judged.items() if each.right is not None},
        values={who: each.values for who, each in judged.items()},
    )


def _measure_theirs(going: _Evaluation, target: Target, names: Sequence[str], limit: int | None) -> None:
    """Measure tasks of lm-evaluation-harness, where that is installed."""
    from engine.runtime import benchmark_lm_eval

    for name in names:
        going.job.phase(f"measure {name}")
        going.beat()
        try:
            task = name.removeprefix(LM_EVAL)
            model = going.adapted.model
            found = benchmark_lm_eval.measure(model, going.speaking, target, task, going.speakers, limit)
        except EngineError as error:
            going.leave_out(name, error)
            continue
        going.scores += found.scores
        going.comparisons += found.comparisons
