"""Losses and gradients that are no numbers or jump: what is left out, told, and never saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import faults
from engine.errors import EngineError
from engine.events import Warned
from engine.runs.history import RunHistory
from engine.runs.spikes import SpikeWatch
from engine.runtime import checkpoint, keep, numbers, train
from engine.runtime.training import Training
from tests.integration.conftest import MakeTraining, events_of


@pytest.fixture
def run(make_training: MakeTraining) -> Training:
    return make_training()


def warnings_of(run: Training, code: str) -> list[Any]:
    return [e for e in events_of(run.job.folder) if e.type == "warned" and e.code == code]


def trained(run: Training) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}


def steps(run: Training, count: int) -> None:
    for _ in range(count):
        train.take_step(run)


@pytest.mark.parametrize("fault", ["loss:nan", "loss:inf", "grad:nan", "grad:inf"])
def test_f28_that_a_step_without_numbers_changes_nothing_and_the_next_one_goes_on(
    run: Training, fault: str
) -> None:
    steps(run, 1)
    before = trained(run)
    with faults.arm(f"{fault}@1"):
        steps(run, 1)
        now = trained(run)
        assert all(torch.equal(now[name], before[name]) for name in before)
        assert run.bad_in_a_row == 1
        steps(run, 1)
    assert run.bad_in_a_row == 0 and not all(torch.equal(trained(run)[n], before[n]) for n in before)
    assert [w.message for w in warnings_of(run, "RUN-07")] == ["Loss or gradient was not a number at step 2."]
    history = RunHistory()
    history.fold(events_of(run.job.folder))
    assert history.bad_steps == [2]


def test_f28_that_three_in_a_row_end_it_with_the_save_and_half_the_rate(run: Training) -> None:
    steps(run, 1)
    saved = keep.save(run, wait=True)
    before = trained(run)
    with faults.arm("loss:nan@1+"):
        steps(run, 1)
        keep.save(run, wait=True)  # what is saved meanwhile are the weights before it
        steps(run, 1)
        with pytest.raises(EngineError) as told:
            steps(run, 1)
    assert told.value.code == "RUN-07" and "3 times in a row at step 4" in told.value.message
    assert told.value.hint == "Resume from step 2 with learning rate 0.0025."
    assert checkpoint.read_state(saved.with_name("step-00000002"))["bad_in_a_row"] == 1
    assert all(torch.equal(trained(run)[name], before[name]) for name in before)
    again = run.reload()
    keep.ready(again, saved.with_name("step-00000002"))
    assert again.bad_in_a_row == 1  # a resume goes on counting


def test_f28_that_the_row_that_does_it_is_named(run: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = run.data.train[run.table.micro_batches(3)[0][1]]
    loss_sum, collate = train.loss_sum, train.collate
    poisoned: list[Any] = []

    def noted(examples: Any, *rest: Any, **named: Any) -> Any:
        batch = collate(examples, *rest, **named)
        if any(example is bad for example in examples):
            poisoned.append(batch)
        return batch

    def spoilt(base: Any, batch: Any, head: Any) -> torch.Tensor:
        there = any(batch is each for each in poisoned)
        return loss_sum(base, batch, head) * (math.nan if there else 1.0)

    for module in (train, numbers):
        monkeypatch.setattr(module, "collate", noted)
        monkeypatch.setattr(module, "loss_sum", spoilt)
    monkeypatch.setattr(numbers, "BAD_STEPS_IN_A_ROW", 1)
    steps(run, 2)
    with pytest.raises(EngineError) as told:
        steps(run, 1)
    assert told.value.hint.endswith(f"look at row {bad.row + 1} of {Path(run.recipe.data.train[0]).name}.")


def test_f28_that_weights_that_are_no_numbers_are_never_saved(run: Training) -> None:
    steps(run, 1)
    keep.save(run, wait=True)
    steps(run, 1)
    parameter = next(p for p in run.model.parameters() if p.requires_grad)
    with torch.no_grad():
        parameter.view(-1)[0] = math.inf
    with pytest.raises(EngineError) as told:
        keep.save(run, wait=True)
    assert told.value.code == "RUN-07" and "Resume from step 1" in told.value.hint
    assert sorted(p.name for p in (run.job.folder / "checkpoints").iterdir()) == ["step-00000001"]


@pytest.mark.parametrize(("fault", "what"), [("loss:spike", "Loss"), ("grad:spike", "Gradient")])
def test_f29_that_a_jump_is_marked_and_clipped_and_nothing_else_is_done(
    run: Training, fault: str, what: str
) -> None:
    steps(run, 9)
    with faults.arm(f"{fault}@1"):
        steps(run, 3)
    told = warnings_of(run, "RUN-08")
    # A loss a thousand times as large has such a gradient, too.
    assert f"{what} jumped from" in told[0].message and {w.step for w in told} == {10}
    history = RunHistory()
    history.fold(events_of(run.job.folder))
    assert set(history.spikes) == {10} and history.step == 12 and not history.bad_steps
    assert all(bool(torch.isfinite(p).all()) for p in trained(run).values())


def test_f29_that_ordinary_curves_hold_no_jump() -> None:
    generator = torch.Generator().manual_seed(3)
    for noise in (0.02, 0.1, 0.3):
        watch = SpikeWatch()
        told = []
        for step in range(2000):
            usual = 0.4 + 3.0 * math.exp(-step / 200)
            value = usual * math.exp(noise * float(torch.randn((), generator=generator)))
            told.append(watch.see(value))
        assert not [t for t in told if t is not None], noise


def test_f29_that_a_jump_that_stays_is_told_once_and_a_later_one_again() -> None:
    watch = SpikeWatch()
    values = [1.0 + 0.01 * (i % 3) for i in range(20)] + [9.0] * 3 + [1.0] * 5 + [9.0]
    told = [step for step, value in enumerate(values) if watch.see(value) is not None]
    assert told == [20, 28]


def test_f29_that_a_mark_of_another_file_is_no_trouble() -> None:
    history = RunHistory()
    for step in ("x", None, True, 1e999):
        said = {"code": "RUN-08", "message": "m", "hint": "h", "step": step}
        history.fold([Warned.model_validate(said)])
    assert history.spikes == []
