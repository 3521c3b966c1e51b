"""How long a question takes: as earlier evaluations measured it, else by the plan and its ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError
from engine.events import Progress
from engine.hardware.devices import Machine, probe
from engine.models.facts import look_at
from engine.models.library import resolve_model
from engine.models.model_facts import ModelFacts
from engine.plan.corrected import device_label
from engine.plan.duration import device_speed, operations_per_token
from engine.plan.ledger import Figure, Ledger
from engine.plan.times import BANDWIDTH, IMPORTS_SECONDS, LAYER_SECONDS, READ_BYTES_A_SECOND
from engine.runs.evaluations import Evaluation, read_evaluations
from engine.runs.event_log import replay
from engine.runs.store import load_recipe

NEWEST = 5  # evaluations that are looked at
TOGETHER = 16  # answers that are written side by side, as a rule
MEAN_TOKENS = 100.0  # what attention looks back on, as a rule
SCORED = 0.2  # of the tokens that are read
QUIET = ("hardware", "heartbeat")


@dataclass(frozen=True)
class Pace:
    """Seconds: of a token that is read, of a step in which every answer gets a token, and until it begins.

    `runs` counts the ledger's entries that corrected the formula.
    """

    read: float
    step: float
    start: float
    runs: int = 0

    def question(self, read: float, written: float) -> float:
        """Return the seconds of a question of so many tokens and of an answer of so many."""
        return read * self.read + written * (self.read + self.step / TOGETHER)


def pace_of(run: Path, machine: Machine | None = None, ledger: Ledger | None = None) -> Pace | None:
    """Return the pace of a run's base on this machine; None where the base is not here."""
    try:
        facts = look_at(resolve_model(load_recipe(run).model.path))
    except EngineError:
        return None
    return _pace(facts, machine or probe(), ledger or Ledger.read())


def _pace(facts: ModelFacts, machine: Machine, ledger: Ledger) -> Pace:
    gpu = machine.devices[0] if machine.devices else None
    device, precision = ("cpu", "fp32") if gpu is None else ("cuda", "bf16")
    # Of what the plan counts for frozen weights, one half goes forward and one half backward.
    forward = operations_per_token(facts, 0, MEAN_TOKENS, SCORED) / 2
    held = facts.parameters * (4 if device == "cpu" else 2)
    label, runs = device_label(machine), 0

    def right(seconds: float, figure: Figure) -> float:
        nonlocal runs
        found = ledger.overall(figure, label)
        runs = max(runs, found.runs)
        return seconds * found.factor

    return Pace(
        read=right(forward / device_speed(gpu, machine, precision), "evaluation_seconds"),
        step=right(max(held / BANDWIDTH[device], facts.layers * LAYER_SECONDS[device]), "sample_seconds"),
        start=right(IMPORTS_SECONDS[device] + facts.weights_bytes / READ_BYTES_A_SECOND, "start_seconds"),
        runs=runs,
    )


def measured_paces(run: Path) -> dict[str, float]:
    """Return the seconds a question took base or adapter, by the label of its benchmark, the newest first."""
    found: dict[str, float] = {}
    for each in read_evaluations(run)[:NEWEST]:
        for label, seconds in _measured(each).items():
            found.setdefault(label, seconds)
    return found


def _measured(evaluation: Evaluation) -> dict[str, float]:
    """Return what an evaluation that went through at one go measured, nothing of another."""
    if evaluation.results is None:
        return {}
    speakers = len({score.target for score in evaluation.results.scores}) or 1
    begins, ends = dict[str, float](), dict[str, tuple[float, int]]()
    last, starts = None, 0
    for event in replay(evaluation.folder, QUIET):
        starts += event.type == "started"
        if event.type == "model_loaded":
            last = event.mono
        if isinstance(event, Progress) and last is not None:
            begins.setdefault(event.stage, last)
            ends[event.stage] = (event.mono, event.done)
            last = event.mono
    if starts != 1:
        return {}
    return {
        label: (end - begins[label]) / (done * speakers)
        for label, (end, done) in ends.items()
        if done and end > begins[label]
    }
