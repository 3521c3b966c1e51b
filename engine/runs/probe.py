"""Try a recipe for a few steps before it is started: the parent's side, with what was measured and a verdict.

A trial has a folder among the jobs, not among the runs, and nothing of it stays but its entry of the ledger.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.events import END_TYPES, Event, Failed, Heartbeat, Planned, Probed, Step
from engine.jobs import lock, process
from engine.jobs.spec import create_job
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.event_log import EventReader

STEPS = 20
PREFIX = "probe-"
POLL_SECONDS = 0.1
STALE_SECONDS = 3600.0  # a folder that nobody read to its end, such as after a crash
ALONE = {"launcher.kind": "local", "launcher.processes": 1}


@dataclass(frozen=True)
class Outcome:
    """What a trial measured beside what the formula had said; `problem` is why it measured nothing.

    Memory is in bytes and without the libraries, `process_bytes` with them; `planned` is what the plan said
    of the whole run before.
    """

    steps: int = 0
    quantization: str | None = None
    memory_bytes: float | None = None
    process_bytes: float | None = None
    predicted_memory_bytes: float | None = None
    tokens_per_second: float | None = None
    predicted_tokens_per_second: float | None = None
    loss: float | None = None
    seconds: float | None = None
    planned: Planned | None = None
    problem: str = ""
    hint: str = ""
    code: str = ""
    cancelled: bool = False


class Trial:
    """A trial that is going on. Call `read` now and then; it returns the outcome once there is one."""

    def __init__(self, child: process.JobProcess) -> None:
        self.folder = child.folder
        self.steps = 0
        self.total_steps = 0
        self.phase = "starting"
        self._child = child
        self._reader = EventReader(child.folder)
        self._planned: Planned | None = None
        self._probed: Probed | None = None
        self._failed: Failed | None = None
        self._ended = ""
        self._outcome: Outcome | None = None

    def read(self) -> Outcome | None:
        """Take what the child said since; the folder is gone once the outcome is there."""
        if self._outcome is not None:
            return self._outcome
        ended = self._child.poll() is not None  # asked before reading: its last words are then read whole
        for event in self._reader.read_new():
            self._take(event)
        if not ended:
            return None
        self._outcome = self._conclude()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self._outcome

    def cancel(self) -> None:
        """End the trial after its present step; what it measured until then is kept when it is enough."""
        if self._outcome is None and self._child.poll() is None:
            if self.steps:
                process.send(self.folder, "stop")
            else:
                self._child.kill()  # it may be loading for long; there is nothing to lose
            self._ended = "cancelled"

    def wait(self, each: Callable[[Trial], object] | None = None) -> Outcome:
        """Return the outcome; `each` is called after every look."""
        while (found := self.read()) is None:
            if each is not None:
                each(self)
            time.sleep(POLL_SECONDS)
        return found

    def _take(self, event: Event) -> None:
        if isinstance(event, Step):
            self.steps, self.total_steps, self.phase = event.step, event.total_steps, "steps"
        elif isinstance(event, Planned):
            self._planned = event
        elif isinstance(event, Probed):
            self._probed = event
        elif isinstance(event, Failed):
            self._failed = event
        elif isinstance(event, Heartbeat) and not self.steps:
            self.phase = event.phase
        if event.type in END_TYPES and self._ended != "cancelled":
            self._ended = event.type

    def _conclude(self) -> Outcome:
        if self._ended == "cancelled":
            return Outcome(steps=self.steps, planned=self._planned, cancelled=True)
        if self._failed is not None:
            failed = self._failed
            return Outcome(
                steps=self.steps,
                planned=self._planned,
                problem=failed.message,
                hint=failed.hint,
                code=failed.code,
            )
        if self._probed is None:
            words = process.last_words(self.folder, 400)
            return Outcome(
                steps=self.steps,
                planned=self._planned,
                problem="The trial ended without an answer.",
                hint=words or "Try again.",
                code="APP-01",
            )
        return _outcome_of(self._probed, self._planned)


def _outcome_of(probed: Probed, planned: Planned | None) -> Outcome:
    measured, foreseen = probed.seconds_per_token, probed.predicted_seconds_per_token
    return Outcome(
        steps=probed.steps,
        quantization=probed.quantization,
        memory_bytes=probed.memory_bytes,
        process_bytes=probed.process_bytes,
        predicted_memory_bytes=probed.predicted_memory_bytes,
        tokens_per_second=1 / measured if measured else None,
        predicted_tokens_per_second=1 / foreseen if foreseen else None,
        loss=probed.loss,
        seconds=probed.seconds,
        planned=planned,
    )


def start(recipe: Recipe, steps: int = STEPS) -> Trial:
    """Start a trial of `recipe` in a child of its own, with one process.

    Raises EngineError REC-01 for options that cannot be obeyed, DISK-* when its folder cannot be made.
    """
    if steps < 1:
        raise EngineError("A trial needs one step.", "Use 20.", "REC-01")
    codec.refuse_unsupported(recipe)
    tried = codec.override(recipe, {"training.max_steps": steps, **ALONE})
    _sweep()
    folder = paths.jobs_dir() / f"{PREFIX}{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(mode=0o700)
        durable.write_file(folder / "recipe.yaml", codec.dumps(tried))
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    create_job("probe", {}, folder, name=recipe.name or "Trial")
    return Trial(process.start(folder))


def _sweep() -> None:
    """Remove the folders of trials that nobody has read to their end."""
    for folder in paths.jobs_dir().glob(f"{PREFIX}*"):
        if not lock.is_held(folder) and time.time() - folder.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def why_not_4bit(recipe: Recipe) -> EngineError | None:
    """Return why the base of `recipe` cannot be loaded in 4 bits here, None where it can be tried."""
    if recipe.adapter.method == "full":
        return EngineError(
            "Weights in 4 bits cannot be trained themselves.",
            "Compare with an adapter: set adapter.method to lora.",
            "REC-01",
            field="adapter.method",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        return EngineError(
            "4-bit weights cannot be had on this machine: bitsandbytes is not installed.",
            "Train with LoRA.",
            "REC-01",
            field="model.load_in_4bit",
        )
    return None


def sides(recipe: Recipe) -> tuple[Recipe, Recipe]:
    """Return the recipe with its base in full numbers, and the same with its base in 4 bits.

    Raises EngineError REC-01 where the second is not to be had.
    """
    refusal = why_not_4bit(recipe)
    if refusal is not None:
        raise refusal
    plain = {"model.load_in_4bit": False, "model.load_in_8bit": False}
    return codec.override(recipe, plain), codec.override(recipe, {**plain, "model.load_in_4bit": True})
