"""Runs that end in ugly places and go on: the weights and the optimizer are those of a run that never ended.

Compared bit by bit, always with dropout, so that a draw too many or too few would be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.jobs import process
from engine.runs.check import checkpoint_folders, step_of
from engine.runtime import evaluate, train
from tests.integration.attempts import Killed, attempt, killed_attempt, same_bytes, saved
from tests.integration.conftest import MakeRun, events_of, losses, run_to_end, wait_for

Whole = Callable[..., Path]
# 48 rows are trained. Without rows to measure on there is nothing to answer either: short runs.
QUICK: dict[str, Any] = {
    "adapter__lora_dropout": 0.1,
    "data__validation_split": 0.0,
    "training__learning_rate": 5e-3,
    "checkpoint__save_steps": 4,
}
MEASURED: dict[str, Any] = {"data__validation_split": 0.2, "evaluation__eval_steps": 4}


@pytest.fixture(scope="module")
def known() -> dict[str, Path]:
    return {}


@pytest.fixture
def whole(make_run: MakeRun, known: dict[str, Path]) -> Whole:
    """Return a function that gives a run that never ended before its end, made once for the same options."""

    def of(**options: Any) -> Path:
        key = repr(sorted(options.items()))
        if key not in known:
            known[key] = make_run(**options)
            attempt(known[key])
        return known[key]

    return of


def last_step(folder: Path) -> int:
    return max(losses(folder))


def assert_never_ended(folder: Path, whole: Path) -> None:
    assert losses(folder) == losses(whole)
    assert same_bytes(folder, whole, last_step(whole))


def resumed_from(folder: Path) -> list[int | None]:
    return [e.resumed_from_step for e in events_of(folder) if e.type == "started"]


WINDOWS = {"training__gradient_accumulation_steps": 3, "training__num_train_epochs": 3}
SHORT = {"training__per_device_train_batch_size": 7, "training__gradient_accumulation_steps": 4}
PACKED = {"data__packing": True, "data__max_length": 128, "training__per_device_train_batch_size": 2}
PLACES = {
    "before the second micro-batch of a window": (WINDOWS, 6, 1, False),
    "after the last micro-batch of a window": (WINDOWS, 6, 2, True),
    "before the first step of an epoch": ({"checkpoint__save_steps": 15}, 16, 0, False),
    "in the last step of an epoch": ({"checkpoint__save_steps": 14}, 15, 0, True),
    "in a window of a short last batch": ({**SHORT, "training__num_train_epochs": 4}, 6, 0, True),
    "between the packs of a window": ({**PACKED, "training__gradient_accumulation_steps": 2}, 6, 1, False),
    "with packs and rows in file order": ({**PACKED, "data__shuffle": False}, 9, 0, False),
    "with layers computed twice": ({"training__gradient_checkpointing": "all"}, 10, 0, True),
    "in the first step, with nothing saved": ({}, 1, 0, True),
    "in the very last step": ({"checkpoint__save_steps": 7}, 30, 0, True),
}


@pytest.mark.parametrize("place", PLACES)
def test_i10_r04_that_going_on_changes_nothing(
    make_run: MakeRun, whole: Whole, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    options, step, piece, after = PLACES[place]
    options = {**QUICK, **options}
    folder = make_run(**options)
    killed_attempt(folder, monkeypatch, step, piece, after=after)
    assert max(losses(folder), default=0) == step - 1
    assert attempt(folder).type == "finished"
    assert_never_ended(folder, whole(**options))


def test_r04_that_ends_on_end_change_nothing(
    make_run: MakeRun, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**QUICK, **WINDOWS}
    folder = make_run(**options)
    for step, piece in ((5, 2), (5, 0), (6, 1), (9, 0), (13, 2)):
        killed_attempt(folder, monkeypatch, step, piece)
    assert attempt(folder).type == "finished"
    assert resumed_from(folder) == [None, 4, 4, 4, 8, 12]
    assert_never_ended(folder, whole(**options))


def test_r04_that_going_on_after_a_pause_changes_nothing(
    make_run: MakeRun, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**QUICK, **WINDOWS}
    folder = make_run(**options)
    (folder / "control").mkdir(exist_ok=True)
    process.send(folder, "pause")

    def wake() -> None:
        wait_for(folder, lambda e: e.type == "paused")
        process.send(folder, "resume")

    waker = threading.Thread(target=wake)
    waker.start()
    killed_attempt(folder, monkeypatch, step=7, piece=1)
    waker.join(60)
    assert [e.type for e in events_of(folder) if e.type in ("paused", "resumed")] == ["paused", "resumed"]
    assert attempt(folder).type == "finished"
    assert_never_ended(folder, whole(**options))


def test_r04_that_going_on_after_an_evaluation_changes_nothing(
    make_run: MakeRun, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**QUICK, **MEASURED, "training__num_train_epochs": 1}
    folder = make_run(**options)
    killed_attempt(folder, monkeypatch, step=9)
    assert any(e.type == "evaluated" and e.step == 8 for e in events_of(folder))
    assert attempt(folder).type == "finished"
    assert_never_ended(folder, whole(**options))
    measured = {e.step: e.loss for e in events_of(folder) if e.type == "evaluated"}
    assert measured == {e.step: e.loss for e in events_of(whole(**options)) if e.type == "evaluated"}


def test_that_an_end_in_the_middle_of_an_evaluation_changes_nothing(
    make_run: MakeRun, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**QUICK, **MEASURED, "training__num_train_epochs": 1}
    folder = make_run(**options)
    loss_sum, count = evaluate.loss_sum, 0

    def dies(*inputs: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == 5:  # an evaluation has three batches
            raise Killed
        return loss_sum(*inputs)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(evaluate, "loss_sum", dies)
        attempt(folder)
    assert attempt(folder).type == "finished"
    assert_never_ended(folder, whole(**options))


def test_i10_that_evaluating_every_step_or_never_gives_the_same_weights(make_run: MakeRun) -> None:
    options = {**QUICK, "data__validation_split": 0.2, "training__max_steps": 8}
    options["training__load_best_model_at_end"] = False
    never = make_run(**options, evaluation__eval_steps=None)
    always = make_run(**options, evaluation__eval_steps=1)
    attempt(never)
    attempt(always)
    assert [len([e for e in events_of(f) if e.type == "evaluated"]) for f in (never, always)] == [1, 8]
    assert losses(never) == losses(always)
    one, other = saved(never, 8), saved(always, 8)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert same_bytes(never, always, 8)


def test_that_saving_every_step_or_never_gives_the_same_weights(make_run: MakeRun) -> None:
    options = {**QUICK, "training__max_steps": 8}
    never = make_run(**{**options, "checkpoint__save_steps": 1000})
    always = make_run(**{**options, "checkpoint__save_steps": 1})
    attempt(never)
    attempt(always)
    assert losses(never) == losses(always) and same_bytes(never, always, 8)
    assert [step_of(p) for p in checkpoint_folders(always)] == [6, 7, 8]


def test_that_a_saved_step_is_that_step_although_training_went_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing is held back until the next step is taken: what is written has to be a copy."""
    options = {**QUICK, "training__max_steps": 6, "checkpoint__save_steps": 3}
    expected = make_run(**{**options, "training__max_steps": 3, "training__lr_scheduler_type": "constant"})
    attempt(expected)
    folder = make_run(**{**options, "training__lr_scheduler_type": "constant"})
    taken = threading.Event()
    from engine.runtime import checkpoint

    write, take_step = checkpoint.write, train.take_step

    def late(run: Path, snapshot: Any, *rest: Any) -> Any:
        if snapshot.step == 3:
            assert taken.wait(60)
        return write(run, snapshot, *rest)

    def noted(run: Any) -> None:
        take_step(run)
        if run.step == 5:
            taken.set()

    monkeypatch.setattr(checkpoint, "write", late)
    monkeypatch.setattr(train, "take_step", noted)
    attempt(folder)
    one, other = saved(folder, 3), saved(expected, 3)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_that_a_child_killed_with_packs_windows_and_dropout_goes_on_to_the_same_bytes(
    make_run: MakeRun, whole: Whole
) -> None:
    options = {**QUICK, **PACKED, "training__gradient_accumulation_steps": 2, "training__num_train_epochs": 4}
    folder = make_run(**options)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "checkpoint_saved")
    child.kill()
    child.wait(10)
    assert run_to_end(folder) == "finished"
    assert_never_ended(folder, whole(**options))
