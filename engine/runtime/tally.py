"""What an attempt took, gathered from its own events: memory, seconds a token, start, evaluations, samples.

At the end it becomes an entry of the ledger, beside what the plan's formula says of the very same work: of
the largest piece that was really computed, not of the longest that might have come.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

from engine.hardware import monitor
from engine.hardware.devices import Machine
from engine.models.facts import ModelFacts
from engine.plan.corrected import device_label, quantization, run_bytes
from engine.plan.ledger import Entry
from engine.plan.planner import DataFacts, Plan, plan
from engine.plan.times import times_of
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from engine.runtime.resident import peak_of_process, reset_peak, resident_bytes

if TYPE_CHECKING:
    from engine.runtime.training import Training

STEPS_LEFT_OUT = 2  # the first ones also fill caches and lay out the optimizer's state
LEAST_STEPS = 5  # beyond those, for a speed that means something
LEAST_STEPS_FOR_MEMORY = 2  # the optimizer's state is there from the second one on
BETWEEN_SAMPLES = ("sample_generated", "effect_measured")  # an answer begins where one of these ended
_PROCESS = psutil.Process()


@dataclass(frozen=True)
class Foreseen:
    """What was planned with, and what was said before the start."""

    recipe: Recipe
    facts: ModelFacts
    data: DataFacts
    machine: Machine
    said: Plan


class Tally:
    """One attempt's figures; `see` takes each event of the loop as it is written."""

    def __init__(self) -> None:
        self.foreseen: Foreseen | None = None
        self.run: Training | None = None
        self._floor = 0
        self._peak = 0
        self._largest = 0  # tokens computed at once
        self._step_seconds: list[float] = []
        self._step_tokens: list[int] = []
        self._steps_seen: list[int] = []
        self._evaluations: list[float] = []
        self._samples: list[float] = []
        self._base_seconds = 0.0
        self._start_seconds: float | None = None
        self._last: tuple[str, float] | None = None
        self._begun = time.monotonic() - max(0.0, time.time() - _PROCESS.create_time())

    def foresee(self, foreseen: Foreseen) -> None:
        """Take what was planned, and what the process holds before it loads a model."""
        self.foreseen = foreseen
        self._floor = resident_bytes()

    def see(self, event: Any) -> None:
        """Take an event; saves come from another thread and say their own time."""
        now = time.monotonic()
        kind = str(event.type)
        if kind == "checkpoint_saved":
            return
        if kind == "step":
            self._step(event, now)
        elif not self._steps_seen:
            reset_peak()  # files of weights are in memory while they are loaded, and leave it again
        took = 0.0 if self._last is None else now - self._last[1]
        if kind == "evaluated" and self._last is not None and self._last[0] == "step":
            self._evaluations.append(took)
        if kind == "sample_generated":
            if self._last is not None and self._last[0] in BETWEEN_SAMPLES:
                self._samples.append(took)
            if not self._steps_seen:
                self._base_seconds += took
        self._last = (kind, now)

    def _step(self, event: Any, now: float) -> None:
        if not self._steps_seen:
            self._start_seconds = now - event.seconds - self._begun - self._base_seconds
        self._steps_seen.append(event.step)
        self._step_seconds.append(event.seconds)
        self._step_tokens.append(event.tokens)
        self._peak = max(self._peak, peak_of_process())
        if self.run is not None:
            self._largest = max(self._largest, self._largest_piece(self.run, event.step))

    def entry(
        self, folder: Path, attempt: int, seconds: float | None = None, source: str = "run"
    ) -> Entry | None:
        """Return the ledger's entry of this attempt, None where too little was done to say anything."""
        foreseen, run = self.foreseen, self.run
        if foreseen is None or run is None or len(self._steps_seen) < LEAST_STEPS_FOR_MEMORY:
            return None
        recipe, said = foreseen.recipe, foreseen.said
        formula = self._formula(foreseen, run)
        times = times_of(
            recipe,
            foreseen.facts,
            foreseen.data,
            sum(self._step_tokens),
            foreseen.machine,
            said.precision,
            formula.gradient_checkpointing,
        )
        validation = times.validation_tokens
        evaluation = median(self._evaluations) / validation if self._evaluations and validation else None
        memory, process = self._memory(run)
        return Entry(
            time=time.time(),
            run=folder.name,
            device=device_label(foreseen.machine, recipe.launcher.processes),
            method=recipe.adapter.method,
            precision=said.precision,
            quantization=quantization(recipe),
            checkpointing=formula.gradient_checkpointing,
            predicted_memory_bytes=run_bytes(formula.terms, formula.memory_bytes),
            measured_memory_bytes=memory,
            predicted_seconds_per_token=times.seconds_per_token,
            measured_seconds_per_token=self._seconds_per_token(),
            predicted_evaluation_seconds=times.evaluation_seconds,
            measured_evaluation_seconds=evaluation,
            predicted_sample_seconds=times.sample_seconds,
            measured_sample_seconds=median(self._samples) if self._samples else None,
            predicted_start_seconds=times.start_seconds,
            measured_start_seconds=self._start_seconds,
            said_memory_bytes=said.memory_bytes,
            said_seconds=said.seconds,
            measured_seconds=seconds,
            process_bytes=process,
            tokens=sum(self._step_tokens),
            steps=len(self._steps_seen),
            attempt=attempt,
            source=source,
            name=run.job.spec.name,
            model=foreseen.facts.name,
        )

    def _seconds_per_token(self) -> float | None:
        pairs = list(zip(self._step_seconds, self._step_tokens, strict=True))[STEPS_LEFT_OUT:]
        each = [seconds / tokens for seconds, tokens in pairs if tokens and math.isfinite(seconds)]
        return median(each) if len(each) >= LEAST_STEPS else None

    def _memory(self, run: Training) -> tuple[float, float]:
        """Return what the run took beyond the libraries, and what the whole process took of the device."""
        if run.compute.device.type == "cuda":
            import torch

            ours = [device.ours_bytes for device in monitor.sample().devices[:1]]
            held = ours[0] if ours and ours[0] else torch.cuda.max_memory_reserved(run.compute.device)
            return float(torch.cuda.max_memory_allocated(run.compute.device)), float(held)
        return float(max(0, self._peak - self._floor)), float(self._peak)

    def _formula(self, foreseen: Foreseen, run: Training) -> Plan:
        """Return the formula's plan of what was computed: its largest piece, its layers kept or not."""
        changes = {
            "training.gradient_checkpointing": run.recipe.training.gradient_checkpointing,
            "data.packing": False,
        }
        rows = foreseen.recipe.training.per_device_train_batch_size
        seen = replace(foreseen.data, longest_tokens=max(1, math.ceil(self._largest / rows)), packs=None)
        return plan(override(foreseen.recipe, changes), foreseen.facts, seen, machine=foreseen.machine)

    def _largest_piece(self, run: Training, step: int) -> int:
        """Return the tokens of the largest piece of a step, with the places that padding takes."""
        from engine.runtime import memory

        largest = 0
        for rows in run.table.micro_batches(step):
            for piece in memory.pieces_of(run, run.ranks.share([run.data.train[i] for i in rows]), run.parts):
                lengths = [len(example.ids) for example in piece]
                largest = max(largest, sum(lengths) if run.layout.flat else max(lengths) * len(lengths))
        return largest
