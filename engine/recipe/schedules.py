"""The learning rate as a closed form of the step: used by the loop, drawn by the form, and tested.

Each form is that of transformers' `get_scheduler`, whose counter `done` is the number of steps already taken;
one_cycle is torch's `OneCycleLR` with its usual start (1/25 of the rate), end and two phases.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.recipe.training_options import TrainingOptions

CYCLE_START = 1 / 25  # OneCycleLR: div_factor 25, final_div_factor 1e4
CYCLE_END = CYCLE_START / 1e4
USUAL_TIMESCALE = 10_000
# Which options bend which schedule; `warmup_steps` bends all but constant.
SHAPE_FIELDS: dict[str, tuple[str, ...]] = {
    "warmup_stable_decay": ("num_decay_steps", "decay_type", "min_lr_ratio"),
    "cosine_with_min_lr": ("min_lr_ratio",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("power", "min_lr_ratio"),
    "inverse_sqrt": ("timescale",),
}


def steps_of(count: float, total_steps: int) -> int:
    """Return a number of steps; below 1 it is a share of the run, rounded up, as in transformers 5."""
    if count < 1:
        return math.ceil(count * total_steps)
    return min(int(count), total_steps)


def warmup_of(options: TrainingOptions, total_steps: int) -> int:
    """Return the number of warm-up steps of a run; the constant rate has none."""
    if options.lr_scheduler_type == "constant":
        return 0
    return steps_of(options.warmup_steps, total_steps)


def decay_of(options: TrainingOptions, total_steps: int) -> int:
    """Return how many steps warm-up, stable, decay falls at its end; the warm-up goes before."""
    return min(steps_of(options.num_decay_steps, total_steps), total_steps - warmup_of(options, total_steps))


def learning_rate_at(step: int, total_steps: int, options: TrainingOptions) -> float:
    """Return the rate used by optimizer step `step` (1-based) of `total_steps`."""
    done, warm = step - 1, warmup_of(options, total_steps)
    form = _FORMS[options.lr_scheduler_type]
    return options.learning_rate * max(0.0, form(done, warm, total_steps, options))


def corners(options: TrainingOptions, total_steps: int) -> list[int]:
    """Return the steps (1-based) at which the line may have a corner or a jump, for drawing it exactly."""
    warm, kind = warmup_of(options, total_steps), options.lr_scheduler_type
    at = {1, warm, warm + 1, total_steps}
    if kind == "warmup_stable_decay":
        at.add(total_steps - decay_of(options, total_steps) + 1)
    if kind == "cosine_with_restarts":
        length = (total_steps - warm) / options.num_cycles
        starts = [warm + math.ceil(length * cycle) for cycle in range(1, options.num_cycles)]
        at.update(step for done in starts for step in (done, done + 1))
    return sorted(step for step in at if 1 <= step <= total_steps)


# -- the forms: (steps done, warm-up steps, steps in all, options) -> share of the rate ----------------------
def _rise(done: int, warm: int) -> float | None:
    """Return the share within the warm-up, None when it is over."""
    return done / max(1, warm) if done < warm else None


def _constant(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    return 1.0 if rise is None else rise


def _linear(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    return (total - done) / max(1, total - warm) if rise is None else rise


def _half_wave(share: float) -> float:
    """Fall from 1 to 0 along half a cosine as `share` goes from 0 to 1."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _cosine(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    return _half_wave((done - warm) / max(1, total - warm)) if rise is None else rise


def _cosine_with_min_lr(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    least = options.min_lr_ratio
    return _cosine(done, warm, total, options) * (1.0 - least) + least if rise is None else rise


def _cosine_with_restarts(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    share = (done - warm) / max(1, total - warm)
    return _half_wave((options.num_cycles * share) % 1.0) if rise is None else rise


def _polynomial(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    if rise is not None:
        return rise
    left = 1.0 - (done - warm) / max(1, total - warm)
    return float((1.0 - options.min_lr_ratio) * left**options.power + options.min_lr_ratio)


def _inverse_sqrt(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    rise = _rise(done, warm)
    scale = options.timescale or warm or USUAL_TIMESCALE
    return 1.0 / math.sqrt((done - warm + scale) / scale) if rise is None else rise


def _warmup_stable_decay(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    least, rise = options.min_lr_ratio, _rise(done, warm)
    decay = decay_of(options, total)
    if rise is not None:
        return rise * (1.0 - least) + least
    if done < total - decay:
        return 1.0
    share = (done - (total - decay)) / max(1, decay)
    way = {"linear": 1.0 - share, "cosine": _half_wave(share), "1-sqrt": 1.0 - math.sqrt(share)}
    return way[options.decay_type] * (1.0 - least) + least


def _one_cycle(done: int, warm: int, total: int, options: TrainingOptions) -> float:
    """Rise along half a cosine until step `warm`, then fall along one to nearly nothing."""
    top = warm - 1  # the number of steps done when the rate is at its highest; -1 without a warm-up
    if 0 <= done <= top:
        share = done / top if top else 1.0
        return 1.0 + (CYCLE_START - 1.0) * _half_wave(share)
    share = (done - top) / max(1, total - 1 - top)
    return CYCLE_END + (1.0 - CYCLE_END) * _half_wave(share)


_FORMS: dict[str, Callable[[int, int, int, TrainingOptions], float]] = {
    "constant": _constant,
    "constant_with_warmup": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_min_lr": _cosine_with_min_lr,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "warmup_stable_decay": _warmup_stable_decay,
    "one_cycle": _one_cycle,
}
