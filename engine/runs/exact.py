"""Check a plan exactly before a run is started: the parent's side of a dry run, with its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.errors import EngineError
from engine.events import DryRunDone, Event, Progress, Started
from engine.jobs import process
from engine.jobs.spec import create_job
from engine.plan.data_facts import DataFacts
from engine.plan.memory import RESERVE, RUNTIME_BYTES
from engine.recipe import codec
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe
from engine.runs.question import Question, make_folder

PREFIX = "exact-"
PATIENCE = 3.0  # seconds until a child that was asked to stop is ended


@dataclass(frozen=True)
class Exact:
    """What a dry run counted, in bytes; `problem` is why it counted nothing.

    `peak_bytes` is what tensors hold at most and `terms` what that is; `memory_bytes` adds what the device
    holds beside it (`runtime_bytes`) and what its allocator cannot use (`reserve_bytes`).
    """

    peak_bytes: int = 0
    memory_bytes: float = 0.0
    runtime_bytes: float = 0.0
    reserve_bytes: float = 0.0
    terms: dict[str, int] = field(default_factory=dict)
    trainable_parameters: int = 0
    seconds: float = 0.0
    device: str = ""
    precision: str = ""
    layout: str = ""
    remarks: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""
    code: str = ""
    field: str | None = None
    cancelled: bool = False


class Check(Question[Exact]):
    """A dry run that is going on."""

    patience = PATIENCE

    def __init__(self, child: process.JobProcess) -> None:
        super().__init__(child)
        self.stage = "starting"
        self.done, self.total = 0, 1
        self._done: DryRunDone | None = None
        self._hears = False

    def _has_begun(self) -> bool:
        return self._hears

    def _take(self, event: Event) -> None:
        if isinstance(event, Started):
            self._hears = True
        elif isinstance(event, Progress):
            self.stage, self.done, self.total = event.stage, event.done, event.total
        elif isinstance(event, DryRunDone):
            self._done = event

    def _conclude(self) -> Exact:
        if self._cancelled is not None:
            return Exact(cancelled=True)
        if self._done is not None:
            return _answer_of(self._done)
        if (failed := self._failed) is not None:
            return Exact(problem=failed.message, hint=failed.hint, code=failed.code, field=failed.field)
        words = process.last_words(self.folder, 400)
        return Exact(problem="The check ended without an answer.", hint=words or "Try again.", code="APP-01")


def _answer_of(done: DryRunDone) -> Exact:
    runtime, reserve = RUNTIME_BYTES[done.device], RESERVE * done.peak_bytes
    return Exact(
        peak_bytes=done.peak_bytes,
        memory_bytes=done.peak_bytes + reserve + runtime,
        runtime_bytes=runtime,
        reserve_bytes=reserve,
        terms=done.terms,
        trainable_parameters=done.trainable_parameters,
        seconds=done.seconds,
        device=done.device,
        precision=done.precision,
        layout=done.layout,
        remarks=tuple(done.remarks),
    )


def start(
    recipe: Recipe,
    model: Path,
    data: DataFacts | None = None,
    *,
    device: str,
    precision: str | None = None,
    checkpointing: bool = False,
) -> Check:
    """Start a check of `recipe` on the model folder `model` (config.json is enough) in a child of its own.

    `device` is cuda or cpu, whatever this machine has. `precision` and `checkpointing` are the plan's, for a
    recipe that leaves them open. Without `data` rows are as long as the recipe lets. Raises EngineError
    REC-01 for options that clash, DISK-* when its folder cannot be made.
    """
    for clash in clashes(recipe):
        raise EngineError(clash.message, clash.hint, "REC-01", field=clash.field)
    if recipe.training.gradient_checkpointing == "auto":
        chosen = "all" if checkpointing else "none"
        recipe = codec.override(recipe, {"training.gradient_checkpointing": chosen})
    folder = make_folder(PREFIX, recipe)
    arguments = {
        "model": str(model),
        "data": None if data is None else asdict(data),
        "device": device,
        "precision": precision,
    }
    create_job("dry_run", arguments, folder, name=recipe.name or "Check")
    return Check(process.start(folder, environment={"CUDA_VISIBLE_DEVICES": ""}))


def ask(check: Check, each: Callable[[Check], object] | None = None) -> Exact:
    """Wait for an answer; raises EngineError with the child's words where there is none."""
    found = check.wait(each)
    if found.problem:
        raise EngineError(found.problem, found.hint, found.code or "APP-01", field=found.field)
    return found
