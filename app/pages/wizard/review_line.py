"""The coming run as the review draws it: its phases to scale, its epochs and marks, and the words below."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app import i18n
from app.pages.wizard.data_view import DataView
from app.pages.wizard.fields import counted
from app.widgets.timeline import Phase, RunLine
from engine.plan import pace
from engine.plan.duration import steps_per_epoch
from engine.plan.planner import Plan
from engine.recipe.recipe import Recipe

MOST_MARKS = 400


def run_line(recipe: Recipe, plan: Plan, data: DataView | None, begins: float | None = None) -> RunLine:
    """Return the line of a plan whose steps are known, as if it began now or at `begins` (Unix time)."""
    steps = plan.steps or 1
    terms = plan.time_terms
    start = terms.get("start", 0.0)
    train = (plan.seconds or sum(terms.values())) - start
    phases = (Phase("load", start, "series5"),) if start else ()
    phases += (Phase("train", max(1.0, train), "accent"),)
    measured, saved = marks_of(recipe, plan, data)
    per_epoch = steps_per_epoch(recipe, data.counts.rows) if data is not None else steps
    epochs = [step / steps for step in range(per_epoch, steps, per_epoch)][:MOST_MARKS]
    known = plan.seconds is not None
    moment = (time.time() if begins is None else begins) if known else None
    return RunLine(phases, measured, saved, steps, (*epochs, 1.0), moment)


def marks_of(recipe: Recipe, plan: Plan, data: DataView | None) -> tuple[tuple[float, ...], ...]:
    """Return where a run is measured and where it is saved, as shares of its steps."""
    steps = plan.steps or 1
    per_epoch = steps_per_epoch(recipe, data.counts.rows) if data is not None else steps
    measured = _marks(pace.eval_every(recipe, per_epoch, steps), steps)
    if data is not None and not data.validation_examples:
        measured = ()
    return measured, _marks(pace.save_every(recipe, per_epoch, steps), steps)


def time_words(recipe: Recipe, plan: Plan, data: DataView | None) -> str:
    """Return what the marks are, and what the time is made of."""
    measured, saved = marks_of(recipe, plan, data)
    kept = recipe.checkpoint.save_total_limit
    words = [
        f"{counted(len(measured), 'evaluation', 'evaluations')} with sample answers, "
        f"{counted(len(saved), 'checkpoint', 'checkpoints')} of which {kept} are kept."
    ]
    parts = {
        "steps": plan.time_terms.get("steps", 0.0),
        "measuring": plan.time_terms.get("evaluations", 0.0) + plan.time_terms.get("samples", 0.0),
        "saving": plan.time_terms.get("saves", 0.0),
    }
    told = [f"{i18n.duration(seconds)} {name}" for name, seconds in parts.items() if seconds >= 1]
    if told:
        words.append(f"Of the training {', '.join(told)}.")
    if plan.seconds_band is not None:
        low, high = plan.seconds_band
        words.append(f"In all between {i18n.duration(low)} and {i18n.duration(high)}.")
    return " ".join(words)


def _marks(every: int | None, steps: int) -> tuple[float, ...]:
    """Return where marks stand, as shares of the run; the last step always has one."""
    if every is None:
        return (1.0,)
    marks: Sequence[int] = list(range(every, steps + 1, every))[:MOST_MARKS]
    if not marks or marks[-1] != steps:
        marks = [*marks, steps]
    return tuple(step / steps for step in marks)
