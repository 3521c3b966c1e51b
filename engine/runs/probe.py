"""Try a recipe for a few steps before it is started: the parent's side, with what was measured and a verdict.

Nothing of a trial stays but its entry of the ledger.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace

from engine.errors import EngineError
from engine.events import Event, Heartbeat, Planned, Probed, Step
from engine.jobs import process
from engine.jobs.spec import create_job
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import beginnings, gpu_gate, start_gate
from engine.runs.question import Question, make_folder

STEPS = 20
PREFIX = "probe-"
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


class Trial(Question[Outcome]):
    """A trial that is going on; cancelled, it ends after its present step, and what it measured is kept."""

    def __init__(self, child: process.JobProcess) -> None:
        super().__init__(child)
        self.steps = 0
        self.total_steps = 0
        self.phase = "starting"
        self._planned: Planned | None = None
        self._probed: Probed | None = None

    def _has_begun(self) -> bool:
        return self.steps > 0

    def _take(self, event: Event) -> None:
        if isinstance(event, Step):
            self.steps, self.total_steps, self.phase = event.step, event.total_steps, "steps"
        elif isinstance(event, Planned):
            self._planned = event
        elif isinstance(event, Probed):
            self._probed = event
        elif isinstance(event, Heartbeat) and not self.steps:
            self.phase = event.phase

    def _conclude(self) -> Outcome:
        known = Outcome(steps=self.steps, planned=self._planned)
        if self._cancelled is not None:
            return replace(known, cancelled=True)
        if (failed := self._failed) is not None:
            return replace(known, problem=failed.message, hint=failed.hint, code=failed.code)
        if self._probed is None:
            hint = process.last_words(self.folder, 400) or "Try again."
            return replace(known, problem="The trial ended without an answer.", hint=hint, code="APP-01")
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

    Raises EngineError REC-01 for options that cannot be obeyed, GPU-04 while a training has the GPU (what is
    measured beside it is not what the run would need), DISK-* when its folder cannot be made.
    """
    if steps < 1:
        raise EngineError("A trial needs one step.", "Use 20.", "REC-01")
    codec.refuse_unsupported(recipe)
    environment = start_gate.let_through(gpu_gate.examine(shares=False))
    tried = codec.override(beginnings.settled(recipe), {"training.max_steps": steps, **ALONE})
    folder = make_folder(PREFIX, tried)
    create_job("probe", {}, folder, name=recipe.name or "Trial")
    return Trial(process.start(folder, environment=environment))


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
