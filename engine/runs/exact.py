"""Check a plan exactly before a run is started: the parent's side of a dry run, with its answer.

A check has a folder among the jobs, not among the runs, and nothing of it stays.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.events import DryRunDone, Event, Failed, Progress, Started
from engine.jobs import lock, process
from engine.jobs.spec import create_job
from engine.plan.data_facts import DataFacts
from engine.plan.memory import RESERVE, RUNTIME_BYTES
from engine.recipe import codec
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe
from engine.runs.event_log import EventReader

PREFIX = "exact-"
POLL_SECONDS = 0.1
PATIENCE = 3.0  # seconds until a child that was asked to stop is ended
STALE_SECONDS = 3600.0  # a folder that nobody read to its end, such as after a crash


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


class Check:
    """A dry run that is going on. Call `read` now and then; it returns the answer once there is one."""

    def __init__(self, child: process.JobProcess) -> None:
        self.folder = child.folder
        self.stage = "starting"
        self.done, self.total = 0, 1
        self._child = child
        self._reader = EventReader(child.folder)
        self._done: DryRunDone | None = None
        self._failed: Failed | None = None
        self._hears = False
        self._cancelled: float | None = None
        self._answer: Exact | None = None

    def read(self) -> Exact | None:
        """Take what the child said since; the folder is gone once the answer is there."""
        if self._answer is not None:
            return self._answer
        ended = self._child.poll() is not None  # asked before reading: its last words are then read whole
        for event in self._reader.read_new():
            self._take(event)
        if not ended:
            if self._cancelled is not None and time.monotonic() - self._cancelled > PATIENCE:
                self._child.kill()
            return None
        self._answer = self._conclude()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self._answer

    def cancel(self) -> None:
        """Ask the child to end; go on calling `read` until it has, so that nothing of it stays."""
        if self._answer is None and self._cancelled is None:
            self._cancelled = time.monotonic()
            if self._hears:
                process.send(self.folder, "stop")
            else:
                self._child.kill()  # it is loading its libraries; there is nothing to lose

    def wait(self, each: Callable[[Check], object] | None = None) -> Exact:
        """Return the answer; `each` is called after every look."""
        while (found := self.read()) is None:
            if each is not None:
                each(self)
            time.sleep(POLL_SECONDS)
        return found

    def _take(self, event: Event) -> None:
        if isinstance(event, Started):
            self._hears = True
        elif isinstance(event, Progress):
            self.stage, self.done, self.total = event.stage, event.done, event.total
        elif isinstance(event, DryRunDone):
            self._done = event
        elif isinstance(event, Failed):
            self._failed = event

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
    _sweep()
    folder = paths.jobs_dir() / f"{PREFIX}{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(mode=0o700)
        durable.write_file(folder / "recipe.yaml", codec.dumps(recipe))
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    arguments = {
        "model": str(model),
        "data": None if data is None else asdict(data),
        "device": device,
        "precision": precision,
    }
    create_job("dry_run", arguments, folder, name=recipe.name or "Check")
    return Check(process.start(folder, environment={"CUDA_VISIBLE_DEVICES": ""}))


def _sweep() -> None:
    """Remove the folders of checks that nobody has read to their end."""
    for folder in paths.jobs_dir().glob(f"{PREFIX}*"):
        if not lock.is_held(folder) and time.time() - folder.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def ask(check: Check, each: Callable[[Check], object] | None = None) -> Exact:
    """Wait for an answer; raises EngineError with the child's words where there is none."""
    found = check.wait(each)
    if found.problem:
        raise EngineError(found.problem, found.hint, found.code or "APP-01", field=found.field)
    return found
