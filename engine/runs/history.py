"""A run as it is to be shown, folded from its events: the same live, replayed and re-attached.

`RunHistory` knows nothing but events; whether the child lives is told by `store.state_of`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

from engine.events import (
    AnswersExamined,
    Awake,
    CheckpointSaved,
    DataPrepared,
    EffectMeasured,
    Evaluated,
    Event,
    Failed,
    Finished,
    Hardware,
    Log,
    ModelLoaded,
    Planned,
    Progress,
    SampleGenerated,
    Started,
    Step,
    Warned,
)
from engine.runs import interruptions
from engine.runs.eta import Pace, spoken_eta
from engine.runs.parts import Best, LogLine, Phase, Sample, is_number
from engine.runs.series import Series

STEP_SERIES = ("loss", "learning_rate", "grad_norm", "memory_bytes", "tokens_per_second", "epoch", "elapsed")
LOG_LINES = 5000
PHASES = (("data", "Prepare data"), ("model", "Load model"), ("step", "First step"))

__all__ = ["Best", "LogLine", "Phase", "RunHistory", "Sample", "spoken_eta"]


class RunHistory:
    """Everything a monitor shows of a run; `fold` takes events in the order of the file."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {name: Series() for name in (*STEP_SERIES, "validation")}
        self.state = "queued"
        self.step = 0
        self.total_steps = 0
        self.epoch = 0.0
        self.attempt = 0
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.elapsed_seconds = 0.0
        self.peak_memory_bytes = 0
        self.best: Best | None = None
        self.device: str | None = None
        self.host = ""
        self.phase = ""
        self.awake: Awake | None = None
        self.planned: Planned | None = None
        self.model: ModelLoaded | None = None
        self.data: DataPrepared | None = None
        self.progress: Progress | None = None
        self.hardware: Hardware | None = None
        self.finished: Finished | None = None
        self.failure: Failed | None = None
        self.answers: AnswersExamined | None = None
        self.effects: list[EffectMeasured] = []
        self.empty_steps: list[int] = []  # that trained no token
        self.bad_steps: list[int] = []  # whose loss or gradient was not a number
        self.spikes: list[int] = []  # whose loss or gradient jumped
        self.evaluations: list[Evaluated] = []
        self.checkpoints: list[CheckpointSaved] = []
        self.warnings: list[Warned] = []
        self.samples: list[Sample] = []
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self.log_count = 0
        self.resumed_from: list[int] = []
        self._pace = Pace()
        self._mono: float | None = None
        self._phase_ends: dict[str, float] = {}
        self._phase_began = 0.0
        self._steps_of_attempt = 0
        self._last_seconds = 0.0
        self._held: float | None = None  # seconds in which nothing could be done, and no step told of yet

    def fold(self, events: Iterable[Event]) -> None:
        """Take events; each costs the same however long the run is."""
        for event in events:
            self._tick(event)
            act = _ACTS.get(event.type)
            if act is not None:
                act(self, event)

    # -- what is asked of it -------------------------------------------------------------------------------
    @property
    def loss(self) -> float | None:
        """Return the newest training loss."""
        return self.series["loss"].last

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed over the last steps (mean of 10, so that it can be read)."""
        newest = self.series["tokens_per_second"].finite(10)
        return sum(newest) / len(newest) if newest else None

    @property
    def planned_memory_bytes(self) -> float | None:
        """Return the memory the plan foresaw."""
        return self.planned.memory_bytes if self.planned else None

    @property
    def capacity_bytes(self) -> int | None:
        """Return the memory of the first device, None without one."""
        return self.hardware.devices[0].total_bytes if self.hardware and self.hardware.devices else None

    @property
    def phases(self) -> list[Phase]:
        """Return the stages before the first step of this attempt, in order, with their times."""
        found = []
        waiting = False
        for key, label in PHASES:
            if key in self._phase_ends:
                found.append(Phase(key, label, self._phase_ends[key], True))
            elif self._mono is not None and not waiting and not self._steps_of_attempt:
                found.append(Phase(key, label, max(0.0, self._mono - self._phase_began)))
                waiting = True
            else:
                found.append(Phase(key, label))
        return found

    @property
    def has_stepped(self) -> bool:
        """Return whether there is anything to draw."""
        return len(self.series["loss"]) > 0

    @property
    def preparing(self) -> bool:
        """Return whether this attempt has not taken a step yet."""
        return not self._steps_of_attempt

    def eta_seconds(self) -> float | None:
        """Return the seconds left, None while estimating and after the end."""
        if self.state in ("finished", "stopped", "failed", "queued") or not self.total_steps:
            return None
        return self._pace.seconds_left(self.step, self.total_steps, self._between_steps())

    def eta_band(self) -> tuple[float, float] | None:
        """Return between which bounds `eta_seconds` lies, None where that is None."""
        if self.eta_seconds() is None:
            return None
        return self._pace.band(self.step, self.total_steps, self._between_steps())

    def _between_steps(self) -> float:
        terms = self.planned.time_terms if self.planned else {}
        return sum(terms.get(name, 0.0) for name in ("evaluations", "samples", "saves"))

    def sample_steps(self) -> list[int]:
        """Return the steps that have answers, the base (0) first."""
        return sorted({sample.step for sample in self.samples})

    def samples_at(self, step: int) -> list[Sample]:
        """Return the answers at a step, in the order they were asked."""
        return [sample for sample in self.samples if sample.step == step]

    def steps_since_checkpoint(self) -> int:
        """Return how many steps would be lost if the child died now."""
        return self.step - max((saved.step for saved in self.checkpoints), default=0)

    def trend(self) -> str:
        """Return falling, rising or level, from the loss of the newest steps."""
        newest = self.series["loss"].finite(60)
        if len(newest) < 6:
            return "level"
        half = len(newest) // 2
        before, after = sum(newest[:half]) / half, sum(newest[half:]) / (len(newest) - half)
        if abs(after - before) <= 0.005 * max(abs(before), 1e-9):
            return "level"
        return "falling" if after < before else "rising"

    def text_summary(self) -> str:
        """Return the curves in words, for a screen reader and for copying."""
        if not self.has_stepped or self.loss is None:
            return "no step yet"
        words = f"loss {self.loss:.3f} at step {self.step}, {self.trend()}"
        return words + (f"; best validation {self.best.loss:.3f} at {self.best.step}" if self.best else "")

    def view(self) -> dict[str, Any]:
        """Return every field as plain values, to compare one history with another."""
        plain = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "series"}
        plain["log"] = list(self.log)
        plain["series"] = {
            name: (series.steps.tolist(), [None if math.isnan(v) else v for v in series.values])
            for name, series in self.series.items()
        }
        for name in ("loss", "tokens_per_second", "phases", "planned_memory_bytes", "capacity_bytes"):
            plain[name] = getattr(self, name)
        return {**plain, "eta": self.eta_seconds(), "summary": self.text_summary()}

    # -- folding -------------------------------------------------------------------------------------------
    def _tick(self, event: Event) -> None:
        """Let the run's own clock go on: seconds in which a child lived and was not paused."""
        if event.attempt != self.attempt:
            self.attempt = event.attempt
        elif self._mono is not None and self.state != "paused":
            passed = event.mono - self._mono
            if passed > 0:
                self.elapsed_seconds += passed
        self._mono = event.mono

    def _started(self, event: Started) -> None:
        if self.started_at is None:
            self.started_at = event.time
        self.state, self.ended_at, self.failure, self.finished = "running", None, None, None
        self.device, self.host = event.device or self.device, event.host
        self._pace = Pace()
        self._phase_ends, self._phase_began, self._steps_of_attempt = {}, event.mono, 0
        self.progress = None
        if event.resumed_from_step is not None:
            self._supersede(event.resumed_from_step)
            self.resumed_from.append(event.resumed_from_step)
            self._say(event, "info", f"Resumed from step {event.resumed_from_step}")
        else:
            self._say(event, "info", f"Started on {event.host}")

    def _supersede(self, step: int) -> None:
        """Take back everything after `step`: a later attempt does it again."""
        for series in self.series.values():
            series.drop_after(step)
        self.step = min(self.step, step)
        self.evaluations = [e for e in self.evaluations if e.step <= step]
        self.checkpoints = [c for c in self.checkpoints if c.step <= step]
        self.samples = [s for s in self.samples if s.step <= step]
        self.effects = [e for e in self.effects if e.step <= step]
        self.empty_steps = [s for s in self.empty_steps if s <= step]
        self.bad_steps = [s for s in self.bad_steps if s <= step]
        self.spikes = [s for s in self.spikes if s <= step]
        self.best = None
        for evaluation in self.evaluations:
            self._take_best(evaluation)

    def _planned(self, event: Planned) -> None:
        self.planned = event

    def _model_loaded(self, event: ModelLoaded) -> None:
        self.model = event
        self.device = getattr(event, "device", None) or self.device
        self._end_phase("model", event.mono)
        words = f"{event.trainable_parameters:,} of {event.parameters:,} parameters train, {event.dtype}"
        self._say(event, "info", f"Model loaded in {event.seconds:.1f} s: {words}")

    def _data_prepared(self, event: DataPrepared) -> None:
        self.data = event
        self._end_phase("data", event.mono)
        words = f"{event.train_examples:,} examples to train, {event.validation_examples:,} to validate"
        words += f", {event.tokens:,} tokens" + (f", {event.truncated:,} cut" if event.truncated else "")
        self._say(event, "info", f"Data prepared in {event.seconds:.1f} s: {words}")

    def _answers_examined(self, event: AnswersExamined) -> None:
        self.answers = event

    def _effect_measured(self, event: EffectMeasured) -> None:
        self.effects = [e for e in self.effects if e.step != event.step] + [event]

    def _end_phase(self, key: str, mono: float) -> None:
        self._phase_ends.setdefault(key, max(0.0, mono - self._phase_began))
        self._phase_began = mono

    def _step(self, event: Step) -> None:
        step, series = event.step, self.series
        if len(series["loss"]) and step <= self.step:
            self._supersede(step - 1)
        series["loss"].append(step, event.loss)
        series["learning_rate"].append(step, event.learning_rate)
        series["grad_norm"].append(step, event.grad_norm)
        series["memory_bytes"].append(step, event.memory_bytes or None)
        clean, self._held = event.seconds > 0 and event.seconds < (self._held or math.inf), None
        series["tokens_per_second"].append(step, event.tokens / event.seconds if clean else None)
        series["epoch"].append(step, event.epoch)
        series["elapsed"].append(step, self.elapsed_seconds)
        if not event.supervised_tokens:
            self.empty_steps.append(step)
        if not (is_number(event.loss) and is_number(event.grad_norm)):
            self.bad_steps.append(step)
        self.step, self.total_steps, self.epoch = step, event.total_steps, event.epoch
        if event.memory_bytes > self.peak_memory_bytes:
            self.peak_memory_bytes = event.memory_bytes
        if not self._steps_of_attempt:
            self._end_phase("step", event.mono)
        self._steps_of_attempt, self._last_seconds = self._steps_of_attempt + 1, event.seconds
        self._pace.add_step(step, event.seconds, event.mono)

    def _evaluated(self, event: Evaluated) -> None:
        self.evaluations.append(event)
        self._pace.interrupt()
        if event.split != "validation":
            return
        self.series["validation"].append(event.step, event.loss)
        best = ", the best so far" if self._take_best(event) else ""
        form = ".4f" if event.loss is None or abs(event.loss) < 1e9 else ".4g"  # not 300 digits of 1e308
        value = "not a number" if event.loss is None else format(event.loss, form)
        self._say(event, "info", f"Step {event.step}: validation loss {value}{best}")

    def _take_best(self, event: Evaluated) -> bool:
        if event.split != "validation" or event.loss is None or not math.isfinite(event.loss):
            return False
        if self.best is not None and event.loss >= self.best.loss:
            return False
        self.best = Best(event.step, event.loss)
        return True

    def _sample_generated(self, event: SampleGenerated) -> None:
        self._pace.interrupt()
        made = Sample(event.step, event.prompt, event.text, event.ended, event.limit, event.expected_tokens)
        self.samples = [s for s in self.samples if (s.step, s.prompt) != (made.step, made.prompt)] + [made]

    def _checkpoint_saved(self, event: CheckpointSaved) -> None:
        self._pace.interrupt()
        self.checkpoints = [c for c in self.checkpoints if c.step != event.step] + [event]
        size = f"{event.bytes / 1e6:.1f} MB"
        self._say(event, "info", f"Step {event.step}: saved in {event.seconds:.1f} s ({size})")

    def _hardware(self, event: Hardware) -> None:
        self.hardware = event

    def _progress(self, event: Progress) -> None:
        self.progress = event

    def _heartbeat(self, event: Any) -> None:
        self.phase = event.phase

    def _awake(self, event: Awake) -> None:
        self.awake = event
        if event.kept:
            self._say(event, "info", "The computer is kept awake while this run works")
        else:
            self._say(event, "info", f"The computer may fall asleep ({event.detail})")

    def _log(self, event: Log) -> None:
        self._say(event, event.level, event.message)

    def _warned(self, event: Warned) -> None:
        self.warnings.append(event)
        interruptions.note_spike(self, event)
        self._say(event, "warning", f"{event.message} {event.hint} ({event.code})")

    def _paused(self, event: Any) -> None:
        self.state = "paused"
        self._pace.forget_gap()
        self._say(event, "info", f"Paused at step {event.step}: saved, the device's memory is free")

    def _resumed(self, event: Any) -> None:
        self.state = "running"
        self._say(event, "info", f"Going on at step {event.step}")

    def _finished(self, event: Finished) -> None:
        self.state, self.finished, self.ended_at = "finished", event, event.time
        self.peak_memory_bytes = max(self.peak_memory_bytes, event.peak_memory_bytes)
        self._say(event, "info", event.reason or f"Finished after {event.steps} steps")

    def _stopped(self, event: Any) -> None:
        self.state, self.ended_at = "stopped", event.time
        self._say(event, "info", f"Stopped at step {event.step}; everything is saved")

    def _failed(self, event: Failed) -> None:
        self.state, self.failure, self.ended_at = "failed", event, event.time
        self._say(event, "error", f"{event.message} {event.hint} ({event.code})")

    def _say(self, event: Any, level: str, text: str) -> None:
        self.log.append(LogLine(event.time, level, text))
        self.log_count += 1


_ACTS: dict[str, Any] = interruptions.ACTS | {
    "started": RunHistory._started,
    "planned": RunHistory._planned,
    "model_loaded": RunHistory._model_loaded,
    "data_prepared": RunHistory._data_prepared,
    "answers_examined": RunHistory._answers_examined,
    "effect_measured": RunHistory._effect_measured,
    "step": RunHistory._step,
    "evaluated": RunHistory._evaluated,
    "sample_generated": RunHistory._sample_generated,
    "checkpoint_saved": RunHistory._checkpoint_saved,
    "hardware": RunHistory._hardware,
    "progress": RunHistory._progress,
    "log": RunHistory._log,
    "warned": RunHistory._warned,
    "paused": RunHistory._paused,
    "resumed": RunHistory._resumed,
    "finished": RunHistory._finished,
    "stopped": RunHistory._stopped,
    "failed": RunHistory._failed,
    "heartbeat": RunHistory._heartbeat,
    "awake": RunHistory._awake,
}
