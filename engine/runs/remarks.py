"""Live remarks on a run: what an experienced eye would say, each with what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.runs.history import RunHistory

RISING_EVALUATIONS = 3
STEPS_LOOKED_AT = 100


@dataclass(frozen=True)
class Remark:
    """One sentence; `kind` is info or warn."""

    kind: str
    text: str


def remarks(history: RunHistory, max_grad_norm: float | None = None) -> list[Remark]:
    """Return what there is to say about a run, the most pressing first."""
    found = [*_not_a_number(history), *_rising_validation(history), *_memory(history)]
    return found + _clipping(history, max_grad_norm)


def _not_a_number(history: RunHistory) -> list[Remark]:
    newest = history.series["loss"].values[-STEPS_LOOKED_AT:]
    bad = sum(1 for value in newest if not math.isfinite(value))
    if not bad:
        return []
    times = "once" if bad == 1 else f"{bad} times"
    return [Remark("warn", f"The loss was not a number {times} lately: a lower learning rate is steadier.")]


def _rising_validation(history: RunHistory) -> list[Remark]:
    measured = history.series["validation"]
    if history.best is None or len(measured) < RISING_EVALUATIONS + 1:
        return []
    newest = measured.values[-RISING_EVALUATIONS:]
    since = measured.steps[-RISING_EVALUATIONS]
    if since <= history.best.step or not all(value > history.best.loss for value in newest):
        return []
    going = history.state in ("running", "paused")
    advice = "stop early? The best one is kept." if going else "the adapter is that of the best step."
    return [Remark("warn", f"Validation rises since step {history.best.step}: {advice}")]


def _memory(history: RunHistory) -> list[Remark]:
    planned, peak = history.planned_memory_bytes, history.peak_memory_bytes
    if not planned or peak <= 1.1 * planned:
        return []
    return [Remark("info", f"Memory is {peak / planned - 1:.0%} above the plan.")]


def _clipping(history: RunHistory, limit: float | None) -> list[Remark]:
    newest = history.series["grad_norm"].finite(STEPS_LOOKED_AT)
    if not limit or len(newest) < 20:
        return []
    share = sum(1 for norm in newest if norm > limit) / len(newest)
    if share < 0.8:
        return []
    advice = "usual at the start; later a lower learning rate is steadier."
    return [Remark("info", f"The gradient is clipped in {share:.0%} of the last steps: {advice}")]
