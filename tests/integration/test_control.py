"""Run control with real children: early stopping, epochs, save, evaluate and sample on demand, pause."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import is_tensor

from engine.errors import EngineError
from engine.events import Event
from engine.jobs import process
from engine.recipe import codec
from engine.runs import check, store
from engine.runs.history import RunHistory
from engine.runtime import early, orders, train
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses, wait_for
from tests.integration.warm import run_to_end


def of(folder: Path, kind: str) -> list[Event]:
    """Return the events of one type."""
    return [event for event in events_of(folder) if event.type == kind]


def weights(folder: Path) -> dict[str, object]:
    """Return the published adapter, bit by bit."""
    found = load_file(folder / "adapter" / "adapter_model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in found.items()}


# -- early stopping ----------------------------------------------------------------------------------------
def test_that_a_run_ends_early_with_its_reason_and_keeps_the_best(make_run: MakeRun) -> None:
    folder = make_run(
        training__learning_rate=0.5,  # far too high: validation rises at once
        training__num_train_epochs=20,
        evaluation__eval_steps=4,
        training__early_stopping_patience=2,
    )
    assert run_to_end(folder) == "finished"
    measured = of(folder, "evaluated")
    best = min(measured, key=lambda e: e.loss)
    finished = of(folder, "finished")[0]
    assert len(measured) == measured.index(best) + 1 + 2
    assert finished.steps == measured[-1].step < 240
    assert finished.adapter_step == best.step
    assert f"Stopped early at step {finished.steps} of 240" in finished.reason
    assert f"step {best.step}" in finished.reason
    note = json.loads((folder / "exit.json").read_bytes())
    assert note["status"] == "finished" and note["message"] == finished.reason
    history = RunHistory()
    history.fold(events_of(folder))
    assert any(line.text == finished.reason for line in history.log)
    saved = load_file(folder / f"checkpoints/step-{best.step:08d}" / "adapter_model.safetensors")
    assert {n: t.numpy().tobytes() for n, t in saved.items()} == weights(folder)


def test_that_without_patience_the_same_run_goes_on_to_its_last_step(make_run: MakeRun) -> None:
    folder = make_run(training__learning_rate=0.5, training__num_train_epochs=3, evaluation__eval_steps=4)
    assert run_to_end(folder) == "finished"
    finished = of(folder, "finished")[0]
    assert finished.steps == 36 and finished.reason == ""


def test_that_small_gains_do_not_count_above_the_threshold(make_run: MakeRun) -> None:
    options = {
        "training__num_train_epochs": 3,
        "evaluation__eval_steps": 2,
        "training__early_stopping_patience": 3,
    }
    patient = make_run(**options)
    assert run_to_end(patient) == "finished"
    strict = make_run(**options, training__early_stopping_threshold=50.0)
    assert run_to_end(strict) == "finished"
    assert of(patient, "finished")[0].steps == 36  # it learns all the time
    # The first evaluation has nothing before it; none of the next three gains 50.
    assert of(strict, "finished")[0].steps == 8


def test_that_a_resume_goes_on_counting_where_it_was(make_training: MakeTraining) -> None:
    run = make_training(training__early_stopping_patience=3)
    run.best_loss, run.best_step = 1.0, 1
    for loss in (1.5, 1.2):
        early.count(run, loss, scheduled=True)
    early.count(run, 1.4, scheduled=False)  # a person's own look does not count
    assert run.evaluations_without_gain == 2 and early.reason(run) == ""
    train.take_step(run)
    folder = orders.keep.save(run, wait=True)
    again = run.reload()
    orders.keep.ready(again, folder)
    assert again.evaluations_without_gain == 2
    early.count(again, 1.3, scheduled=True)
    assert "3 evaluations in a row" in early.reason(again)
    early.count(again, 0.9, scheduled=False)
    assert early.reason(again) == ""


@pytest.mark.parametrize(
    "options", [{"data__validation_split": 0.0}, {"evaluation__eval_steps": None}], ids=["rows", "steps"]
)
def test_that_early_stopping_without_validation_is_refused_by_name(
    make_run: MakeRun, options: dict[str, object]
) -> None:
    with pytest.raises(EngineError, match="Early stopping looks at") as refused:
        make_run(training__early_stopping_patience=2, **options)
    assert refused.value.field == "training.early_stopping_patience"


def test_that_early_stopping_without_a_row_left_is_refused(make_training: MakeTraining) -> None:
    run = make_training(training__early_stopping_patience=2)
    early.refuse_without_validation(run.recipe, run.data)
    with pytest.raises(EngineError, match="no row is left"):
        early.refuse_without_validation(run.recipe, dataclasses.replace(run.data, validation=[]))


# -- once an epoch -----------------------------------------------------------------------------------------
def test_that_a_run_is_measured_and_saved_once_an_epoch(make_run: MakeRun) -> None:
    folder = make_run(
        evaluation__eval_steps="epoch",
        checkpoint__save_steps="epoch",
        training__num_train_epochs=2.5,
        training__load_best_model_at_end=False,
        checkpoint__save_total_limit=9,
    )
    assert run_to_end(folder) == "finished"
    assert [e.step for e in of(folder, "evaluated")] == [12, 24, 30]
    assert [e.step for e in of(folder, "checkpoint_saved")] == [12, 24, 30]
    assert codec.load(folder / "recipe.yaml").evaluation.eval_steps == "epoch"


def test_that_a_run_is_measured_and_saved_every_n_steps(make_run: MakeRun) -> None:
    folder = make_run(
        evaluation__eval_steps=7, checkpoint__save_steps=10, training__load_best_model_at_end=False
    )
    assert run_to_end(folder) == "finished"
    assert [e.step for e in of(folder, "evaluated")] == [7, 14, 21, 24]
    assert {10, 20, 24} <= {e.step for e in of(folder, "checkpoint_saved")}


# -- on demand ---------------------------------------------------------------------------------------------
LONG = {
    "training__num_train_epochs": 400,
    "evaluation__eval_steps": 100_000,
    "checkpoint__save_steps": 100_000,
    "evaluation__sample_prompts": ["What does the cat number 3 say?"],
}


@pytest.fixture
def going(make_run: MakeRun) -> Callable[..., Path]:
    """Return a function that starts a long run and waits for a few steps."""
    children = []

    def start(**options: object) -> Path:
        folder = make_run(**{**LONG, **options})
        children.append(process.start(folder))
        wait_for(folder, lambda e: e.type == "step" and e.step >= 3)
        return folder

    yield start
    for child in children:
        child.kill()
        child.wait(120)


def test_that_save_evaluate_and_sample_are_done_at_once_when_asked(going: Callable[..., Path]) -> None:
    folder = going()
    process.send(folder, "save")
    saved = wait_for(folder, lambda e: e.type == "checkpoint_saved")
    assert 3 <= saved.step < 5000
    assert check.problem_of(folder / saved.path) == ""
    process.send(folder, "evaluate")
    measured = wait_for(folder, lambda e: e.type == "evaluated")
    assert measured.is_best and measured.loss > 0
    # A new best is on the disk at once, since nothing else would keep it.
    wait_for(folder, lambda e: e.type == "checkpoint_saved" and e.step == measured.step)
    process.send(folder, "sample", prompt="What does the owl say?")
    answers = [wait_for(folder, lambda e, at=at: _answers(e, at)) for at in (False, True)]
    assert [a.step > 0 for a in answers] == [False, True]
    process.send(folder, "stop")
    wait_for(folder, lambda e: e.type == "stopped")


def _answers(event: Event, trained: bool) -> bool:
    asked = event.type == "sample_generated" and event.prompt == "What does the owl say?"
    return asked and (event.step > 0) == trained


def test_that_looking_and_saving_change_nothing_of_the_result(make_run: MakeRun) -> None:
    options = {"training__num_train_epochs": 16, "evaluation__eval_steps": 100, "adapter__lora_dropout": 0.1}
    options["training__load_best_model_at_end"] = False
    plain, watched = make_run(**options), make_run(**options)
    assert run_to_end(plain) == "finished"
    child = process.start(watched)
    for step in (3, 9, 15):
        wait_for(watched, lambda e, step=step: e.type == "step" and e.step >= step)
        for command in ("save", "evaluate"):
            process.send(watched, command)
        process.send(watched, "sample", prompt="What does the fox say?")
    assert child.wait(120) == 0
    assert len(of(watched, "evaluated")) > len(of(plain, "evaluated"))
    assert losses(watched) == losses(plain)
    assert weights(watched) == weights(plain)


# -- pause -------------------------------------------------------------------------------------------------
METHODS: dict[str, dict[str, object]] = {
    "lora": {},
    "dora": {"adapter__use_dora": True},
    "pissa": {"adapter__init_lora_weights": "pissa"},
    "olora": {"adapter__init_lora_weights": "olora"},
    "eva": {"adapter__init_lora_weights": "eva"},
    "qlora": {"model__load_in_4bit": True},
    "adalora": {"adapter__method": "adalora"},
    "vera": {"adapter__method": "vera"},
    "ia3": {"adapter__method": "ia3", "adapter__target_modules": ["k_proj", "v_proj", "down_proj"]},
    "oft": {"adapter__method": "oft", "adapter__oft_block_size": 8},
    "full": {"adapter__method": "full"},
    "head": {"adapter__modules_to_save": ["head"]},
    "muon": {"training__optim": "muon"},
}


@pytest.mark.parametrize("name", METHODS)
def test_that_a_pause_lets_every_weight_go_and_goes_on_bit_by_bit(
    make_training: MakeTraining, name: str
) -> None:
    dropout = {"lora": 0.1, "full": 0.05}.get(name, 0.0)
    plain, paused = (make_training(**{"adapter__lora_dropout": dropout, **METHODS[name]}) for _ in range(2))
    for run in (plain, paused):
        for _ in range(3):
            train.take_step(run)
    watched = [weakref.ref(p) for p in paused.model.parameters()]
    watched += [weakref.ref(v) for s in paused.optimizer.state.values() for v in s.values() if is_tensor(v)]
    folder = orders.keep.save(paused, wait=True)
    orders.let_go(paused)
    gc.collect()
    assert len(watched) > 20 and not [ref for ref in watched if ref() is not None]
    assert orders._go_on(paused, folder)
    for run in (plain, paused):
        for _ in range(3):
            train.take_step(run)
    assert losses(paused.job.folder) == losses(plain.job.folder)
    trained = [{n: bits(p) for n, p in run.model.named_parameters()} for run in (plain, paused)]
    assert trained[0] == trained[1]


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()


def test_that_a_run_without_room_stays_paused_and_says_so(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_training()
    train.take_step(run)
    folder, load = orders.keep.save(run, wait=True), run.reload
    orders.let_go(run)

    def full() -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    run.reload = full
    assert not orders._go_on(run, folder)
    assert of(run.job.folder, "warned")[-1].code == "GPU-01"
    run.reload = load
    assert orders._go_on(run, folder) and run.step == 1


def test_that_a_paused_child_gives_its_memory_back_and_resumes(going: Callable[..., Path]) -> None:
    folder = going()
    process.send(folder, "pause")
    paused = wait_for(folder, lambda e: e.type == "paused")
    assert store.state_of(folder) == "paused"
    assert (folder / f"checkpoints/step-{paused.step:08d}" / "MANIFEST.json").exists()
    process.send(folder, "resume")
    resumed = wait_for(folder, lambda e: e.type == "resumed")
    assert resumed.step == paused.step
    wait_for(folder, lambda e: e.type == "step" and e.step > paused.step + 2)
    process.send(folder, "pause")
    wait_for(folder, lambda e: e.type == "paused" and e.step > paused.step)
    process.send(folder, "stop")
    wait_for(folder, lambda e: e.type == "stopped")


def test_that_a_name_that_is_no_command_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(EngineError, match="no command"):
        process.send(make_run(), "explode")
