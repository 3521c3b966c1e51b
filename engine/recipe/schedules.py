"""The learning rate as a closed form of the step: used by the loop, drawn by the form, and tested."""

from __future__ import annotations

import math


def warmup_count(warmup_steps: float, total_steps: int) -> int:
    """Return the number of warm-up steps; below 1 it is a share of the run, as in transformers 5."""
    if warmup_steps < 1:
        return math.ceil(warmup_steps * total_steps)
    return min(int(warmup_steps), total_steps)


def learning_rate_at(
    step: int, total_steps: int, learning_rate: float, schedule: str, warmup_steps: float
) -> float:
    """Return the rate used by optimizer step `step` (1-based) of `total_steps`.

    The forms are those of transformers' `get_scheduler`, whose counter is `step - 1` when a step is taken.
    """
    done = step - 1
    warm = 0 if schedule == "constant" else warmup_count(warmup_steps, total_steps)
    if done < warm:
        return learning_rate * done / max(1, warm)
    if schedule in ("constant", "constant_with_warmup"):
        return learning_rate
    share = (done - warm) / max(1, total_steps - warm)
    if schedule == "linear":
        return learning_rate * max(0.0, 1.0 - share)
    if schedule == "cosine":
        return learning_rate * max(0.0, 0.5 * (1.0 + math.cos(math.pi * share)))
    raise ValueError(f"unknown schedule {schedule}")
