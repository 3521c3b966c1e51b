"""Memory that runs out: the step is repeated in smaller pieces, and nothing of it is seen in the result.

A device is made small by a forward pass that refuses pieces of more than so many rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import EngineError
from engine.hardware.devices import Gpu, probe
from engine.runtime import checkpoint, child, evaluate, keep, memory, start, train
from engine.runtime.training import Training
from tests.integration.attempts import attempt, killed_attempt, saved
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses

STEPS = 6
SmallDevice = Callable[..., None]
Measured = tuple[dict[int, float | None], dict[str, Tensor]]


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> SmallDevice:
    """Return a function that makes pieces of more than `rows` rows run out of memory from step `first` on."""

    def shrink(rows: int, first: int = 1, where: Any = train, late: bool = False) -> None:
        gradients, loss_sum = train.gradients, where.loss_sum
        at = {"step": 0}

        def watched(run: Training, step: int, *rest: Any) -> Any:
            at["step"] = step
            return gradients(run, step, *rest)

        def short_of_memory(base: Any, batch: Any, head: Any) -> Tensor:
            too_large = len(batch.lengths) > rows and (at["step"] >= first or where is not train)
            if too_large and not late:
                raise torch.OutOfMemoryError("out of memory")
            loss: Tensor = loss_sum(base, batch, head)
            if too_large:
                loss.register_hook(_refuse)
            return loss

        monkeypatch.setattr(train, "gradients", watched)
        monkeypatch.setattr(where, "loss_sum", short_of_memory)

    return shrink


def _refuse(_: Tensor) -> None:
    raise torch.OutOfMemoryError("out of memory")


def make(make_run: MakeRun, micro: int, **options: Any) -> Path:
    return make_run(
        **{
            "training__per_device_train_batch_size": micro,
            "training__max_steps": STEPS,
            "training__learning_rate": 2e-4,  # AdamW makes steps of a gradient's rounding near zero
            "adapter__lora_dropout": 0.0,
            "data__validation_split": 0.0,
            "checkpoint__save_steps": 2,
            **options,
        }
    )


@pytest.fixture(scope="module")
def measured() -> dict[tuple[int, str], Measured]:
    return {}


@pytest.fixture
def enough(make_run: MakeRun, measured: dict[tuple[int, str], Measured]) -> Callable[..., Measured]:
    """Return a function that gives losses and last save of a run that never runs out, computed once."""

    def of(micro: int, **options: Any) -> Measured:
        key = (micro, repr(sorted(options.items())))
        if key not in measured:
            folder = make(make_run, micro, **options)
            attempt(folder)
            measured[key] = losses(folder), saved(folder, STEPS)
        return measured[key]

    return of


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(float((found[name] - expected[name]).abs().max()) for name in found)


def assert_the_same(folder: Path, expected: Measured) -> None:
    curve, tensors = expected
    for step, loss in losses(folder).items():
        assert loss == pytest.approx(curve[step], abs=1e-6), step
    assert largest_difference(saved(folder, STEPS), tensors) < 1e-6


def warnings_of(folder: Path) -> list[Any]:
    return [e for e in events_of(folder) if e.type == "warned" and e.code == "GPU-01"]


@pytest.mark.parametrize("first", [1, 3, STEPS])
@pytest.mark.parametrize("micro", [3, 5, 7])
def test_f21_r05_that_a_step_that_ran_out_of_memory_is_repeated_to_the_same_loss_and_weights(
    make_run: MakeRun, enough: Callable[..., Measured], small_device: SmallDevice, micro: int, first: int
) -> None:
    expected = enough(micro)
    small_device(rows=2, first=first)
    folder = make(make_run, micro)
    assert attempt(folder).type == "finished"
    assert_the_same(folder, expected)
    told = warnings_of(folder)
    assert f"step {first}" in told[0].message and all("the result is the same" in w.hint for w in told)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6])
def test_r05_that_any_room_for_rows_gives_the_same_run(
    make_run: MakeRun, enough: Callable[..., Measured], small_device: SmallDevice, rows: int
) -> None:
    expected = enough(7)
    small_device(rows=rows)
    folder = make(make_run, 7)
    assert attempt(folder).type == "finished"
    assert_the_same(folder, expected)


def test_f21_that_memory_that_runs_out_in_the_backward_pass_leaves_no_half_gradient(
    make_run: MakeRun, enough: Callable[..., Measured], small_device: SmallDevice
) -> None:
    options = {"training__gradient_accumulation_steps": 2}
    expected = enough(5, **options)
    small_device(rows=3, first=2, late=True)
    folder = make(make_run, 5, **options)
    assert attempt(folder).type == "finished"
    assert_the_same(folder, expected)


def test_r05_that_packed_rows_and_a_short_last_batch_are_split_to_the_same_run(
    make_run: MakeRun, enough: Callable[..., Measured], small_device: SmallDevice
) -> None:
    options = {"data__packing": True, "data__max_length": 128, "data__shuffle": False}
    expected = enough(2, **options)
    small_device(rows=3)
    folder = make(make_run, 2, **options)
    assert attempt(folder).type == "finished" and warnings_of(folder)
    assert_the_same(folder, expected)


def test_f21_that_a_resume_goes_on_in_the_parts_that_fitted(
    make_run: MakeRun, small_device: SmallDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_device(rows=2, first=2)
    whole, cut = make(make_run, 7), make(make_run, 7)
    attempt(whole)
    killed_attempt(cut, monkeypatch, step=5)
    before = len(warnings_of(cut))
    assert attempt(cut).type == "finished"
    assert len(warnings_of(cut)) == before == 2
    assert losses(cut) == losses(whole)
    assert all(
        torch.equal(a, b) for a, b in zip(*(saved(f, STEPS).values() for f in (cut, whole)), strict=True)
    )


def test_f22_that_memory_that_runs_out_in_an_evaluation_changes_neither_its_loss_nor_the_weights(
    make_run: MakeRun, small_device: SmallDevice
) -> None:
    options = {"evaluation__eval_steps": 2, "data__validation_split": 0.2}
    plenty, short = make(make_run, 7, **options), make(make_run, 7, **options)
    attempt(plenty)
    small_device(rows=2, where=evaluate)
    assert attempt(short).type == "finished"
    assert losses(short) == losses(plenty)
    measured = [[e.loss for e in events_of(f) if e.type == "evaluated"] for f in (short, plenty)]
    assert len(measured[0]) == 3 and measured[0] == pytest.approx(measured[1], abs=1e-6)
    assert all(
        torch.equal(a, b) for a, b in zip(*(saved(f, STEPS).values() for f in (short, plenty)), strict=True)
    )
    assert [("validation" in w.message, w.hint) for w in warnings_of(short)] == [
        (True, "That is now done in 2 parts; the result is the same."),
        (True, "That is now done in 4 parts; the result is the same."),
    ]


def test_f22_that_an_answer_without_room_is_left_out_and_training_goes_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = evaluate.answer, 0

    def second_is_too_large(*given: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise torch.OutOfMemoryError("out of memory")
        return answer(*given, **named)

    monkeypatch.setattr(evaluate, "answer", second_is_too_large)
    folder = make(make_run, 4, evaluation__sample_prompts=["What does the cat say?", "And the owl?"])
    assert attempt(folder).type == "finished"
    said = [e for e in events_of(folder) if e.type == "sample_generated"]
    assert len(said) == asked - 1 and ["sample prompt" in w.message for w in warnings_of(folder)] == [True]


def test_that_ranks_that_share_weights_do_not_cut_each_for_itself(make_training: MakeTraining) -> None:
    run = make_training()
    run.ranks = replace(run.ranks, sharded=True)
    with pytest.raises(EngineError) as caught:
        memory.make_do(run, 4)
    assert caught.value.code == "GPU-01" and "smaller batch" in caught.value.hint and run.parts == 1


def test_f22_that_a_save_without_room_for_a_copy_is_written_in_place(
    make_run: MakeRun, enough: Callable[..., Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = enough(4)

    def no_room(tensors: dict[str, Tensor], live: Any) -> dict[str, Tensor]:
        if live:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes")
        return tensors

    monkeypatch.setattr(checkpoint, "own", no_room)
    folder = make(make_run, 4)
    assert attempt(folder).type == "finished"
    assert largest_difference(saved(folder, STEPS), expected[1]) == 0
    told = [e for e in events_of(folder) if e.type == "checkpoint_saved"]
    assert all(e.waited_seconds == e.seconds for e in told)


def test_that_one_row_that_does_not_fit_is_computed_twice_where_that_is_left_to_us(
    make_run: MakeRun,
    enough: Callable[..., Measured],
    small_device: SmallDevice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = enough(3)
    real = train.loss_sum

    def fits_only_checkpointed(base: Any, batch: Any, head: Any) -> Tensor:
        if not base.is_gradient_checkpointing:
            raise torch.OutOfMemoryError("out of memory")
        return real(base, batch, head)

    monkeypatch.setattr(train, "loss_sum", fits_only_checkpointed)
    folder = make(make_run, 3)
    assert attempt(folder).type == "finished"
    assert_the_same(folder, expected)
    hints = [w.hint for w in warnings_of(folder)]
    assert len(hints) == 3 and "gradient checkpointing" in hints[-1]
    state = checkpoint.read_state(folder / "checkpoints" / f"step-{STEPS:08d}")
    assert state["gradient_checkpointing"] == "all" and state["parts"] == 3


def test_that_a_resume_keeps_computing_layers_twice(make_training: MakeTraining, tmp_path: Path) -> None:
    run = make_training()
    memory.compute_twice(run)
    train.take_step(run)
    folder = keep.save(run, wait=True)
    again = make_training()
    assert not again.base.is_gradient_checkpointing
    again.job.data_digest = run.job.data_digest
    keep.ready(again, folder)
    assert again.base.is_gradient_checkpointing


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"training__gradient_checkpointing": "none"}, "gradient_checkpointing to all"),
        ({"training__gradient_checkpointing": "all"}, "load the base in 4 bits"),
        ({"training__on_out_of_memory": "fail"}, "let batches be split"),
    ],
)
def test_f21_that_memory_too_small_for_one_row_is_told_with_what_is_left_to_do(
    make_run: MakeRun, small_device: SmallDevice, options: dict[str, Any], hint: str
) -> None:
    small_device(rows=0)
    folder = make(make_run, 2, **options)
    with pytest.raises(EngineError) as caught:
        attempt(folder)
    assert caught.value.code == "GPU-01" and "max_length" in caught.value.hint and hint in caught.value.hint


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "The GPU ran out of memory."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "Memory ran out."),
    ],
)
def test_f22_that_memory_that_runs_out_anywhere_else_ends_the_run_in_words(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def no_room(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(train, "take_step", no_room)
    monkeypatch.setattr(child.os, "nice", lambda by: by)
    folder = make(make_run, 4)
    assert child.run_job(folder) == 1
    closing = json.loads((folder / "exit.json").read_text())
    assert (closing["code"], closing["message"]) == ("GPU-01", message) and "sound" in closing["hint"]


def test_that_an_error_of_another_kind_is_no_lack_of_memory(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(base: Any, batch: Any, head: Any) -> Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(train, "loss_sum", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        train.take_step(make_training())


@pytest.mark.parametrize(("free", "chosen"), [(20_000_000_000, "none"), (500_000_000, "all")])
def test_that_gradient_checkpointing_auto_follows_what_others_leave_of_a_gpu(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch, free: int, chosen: str
) -> None:
    gpu = Gpu("A card", "GPU-0", 24_000_000_000, free, "570", (8, 0))
    machine = replace(probe(), devices=(gpu,))
    monkeypatch.setattr(start, "probe", lambda: machine)
    assert make_training().base.is_gradient_checkpointing == (chosen == "all")


@pytest.mark.parametrize(("ram", "chosen"), [(64e9, "none"), (1e6, "all")])
def test_that_gradient_checkpointing_auto_follows_the_memory_of_the_machine(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch, ram: float, chosen: str
) -> None:
    machine = replace(probe(), ram_total_bytes=int(ram), devices=())
    monkeypatch.setattr(start, "probe", lambda: machine)
    run = make_training()
    assert run.base.is_gradient_checkpointing == (chosen == "all")
    assert any(
        e.type == "log" and f"checkpointing: {chosen} (auto)" in e.message for e in events_of(run.job.folder)
    )
