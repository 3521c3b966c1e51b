"""Long forms of the goals on writing: each returns its figure in one line, or raises AssertionError."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from engine import paths
from engine.jobs import process
from engine.models import library
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from engine.runs.event_log import EventReader
from tests.reliability.harness.refusing import refuse_each

ERRORS = ("ENOSPC", "EIO")
STEPS = 30


def every_call_refused() -> str:
    """R3: each call of a run to the disk fails once; none costs an announced save or says what is not so."""
    told = []
    for error in ERRORS:
        with tempfile.TemporaryDirectory() as place:
            found = refuse_each(Path(place), error)
        assert not found.broken, found.broken[:5]
        told.append(f"{error} {found.refused} calls, {found.whole} runs ended well at once")
    return f"{'; '.join(told)}; 0 tracebacks, 0 announced saves lost, 0 half ones believed"


@cache
def a_run() -> tuple[Any, ...]:
    """Train the starter on the bundled example with the default saves, and return what the run said."""
    library.ensure_starter()
    values = {
        "data.train": [str(paths.resources("examples", "support", "train.jsonl"))],
        "data.max_length": 256,
        "training.max_steps": STEPS,
        "training.gradient_accumulation_steps": 1,
        "evaluation.eval_steps": None,
    }
    with tempfile.TemporaryDirectory() as place:
        folder = store.create_run(codec.override(Recipe(), values), Path(place) / "run")
        assert process.start(folder).wait(1800) == 0, process.last_words(folder)
        return tuple(EventReader(folder).read_new())


def work_lost_by_a_crash() -> str:
    """R12: between two saves lie at most a tenth of the run, or five minutes."""
    steps = {e.step: e.seconds for e in a_run() if e.type == "step"}
    saves = [0, *(e.step for e in a_run() if e.type == "checkpoint_saved")]
    lost = max(after - before for before, after in zip(saves, saves[1:], strict=False))
    assert saves[-1] == STEPS and lost <= STEPS / 10
    return f"{lost} of {STEPS} steps at most between two saves ({max(steps.values()):.1f} s a step)"


def saves_beside_training() -> str:
    """R13: training stands still for a save less than 3 % of its time, at the default interval."""
    training = sum(e.seconds for e in a_run() if e.type == "step")
    saves = [e for e in a_run() if e.type == "checkpoint_saved"]
    waited = sum(e.waited_seconds for e in saves[:-1])  # after the last step there is nothing to hold up
    share = waited / (training + waited)
    assert share < 0.03, f"{share:.1%}"
    size = saves[0].bytes / 1e6
    return f"{share:.2%} of {training:.0f} s of training, {len(saves)} saves of {size:.1f} MB"


MEASURES: dict[str, Callable[[], str]] = {
    "R3": every_call_refused,
    "R12": work_lost_by_a_crash,
    "R13": saves_beside_training,
}
