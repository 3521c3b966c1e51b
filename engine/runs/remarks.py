"""Live remarks on a run: what an experienced eye would say, each with what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.advice.elsewhere import Validation, validation_rises
from engine.runs.history import RunHistory

STEPS_LOOKED_AT = 100


@dataclass(frozen=True)
class Remark:
    """One sentence; `kind` is info or warn. A rule of `engine.advice` is named with its `evidence`."""

    kind: str
    text: str
    rule: str = ""
    evidence: tuple[str, ...] = ()


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
    going = history.state in ("running", "paused")
    found = validation_rises(Validation(measured.steps, measured.values, going))
    return [] if found is None else [Remark("warn", found.message, found.rule, found.evidence)]


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
