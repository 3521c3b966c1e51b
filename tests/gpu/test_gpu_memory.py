"""The memory of a GPU: what a step takes, what the plan says of it, and what is done when it is short."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from engine.errors import EngineError
from engine.models.library import resolve_model
from engine.plan.data_facts import DataFacts
from engine.runtime import evaluate, train
from engine.runtime.dry_run import dry_run
from engine.runtime.load import choose_compute, load_base
from engine.runtime.training import Training
from tests.integration.conftest import MakeTraining, events_of, losses

pytestmark = pytest.mark.gpu
CUBLAS_BYTES = 96 * 1024**2  # its workspaces are the allocator's too: 8 to 32 MiB for each stream


def peak_of(run: Training, steps: int = 2) -> int:
    """Return the peak of some steps, in bytes; the first makes the optimizer's state."""
    train.take_step(run)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(steps):
        train.take_step(run)
    return int(torch.cuda.max_memory_allocated())


def forget(run: Training) -> None:
    """Take a run's memory back from the device."""
    run.model = run.optimizer = run.head = run.reload = None  # type: ignore[assignment]
    gc.collect()
    torch.cuda.empty_cache()


def loss_curve(run: Training, steps: int) -> list[float]:
    for _ in range(steps):
        train.take_step(run)
    return [v for v in losses(run.job.folder).values() if v is not None]


def warnings_of(run: Training) -> list[Any]:
    return [e for e in events_of(run.job.folder) if e.type == "warned" and e.code == "GPU-01"]


def test_that_gradient_checkpointing_takes_less_memory_for_the_same_losses(
    make_training: MakeTraining, wide: dict[str, Any]
) -> None:
    kept = make_training(**wide, training__gradient_checkpointing="none")
    most, expected = peak_of(kept), list(losses(kept.job.folder).values())
    forget(kept)
    twice = make_training(**wide, training__gradient_checkpointing="all")
    least = peak_of(twice)
    assert least < 0.75 * most
    assert list(losses(twice.job.folder).values()) == pytest.approx(expected, abs=2e-2)


def test_that_the_logits_of_a_batch_are_never_there_whole(
    make_training: MakeTraining, wide: dict[str, Any]
) -> None:
    run = make_training(**wide, data__train_on="all", training__gradient_checkpointing="all")
    held = torch.cuda.memory_allocated()
    tokens = sum(len(run.data.train[i].ids) for i in run.table.micro_batches(1)[0])
    assert peak_of(run) - held < 6 * tokens * 32000  # scores in float32 and their gradient take 8


def test_that_the_plan_is_near_the_peak(make_training: MakeTraining, wide: dict[str, Any]) -> None:
    run = make_training(**wide, training__gradient_checkpointing="none")
    planned = next(e for e in events_of(run.job.folder) if e.type == "planned")
    context = planned.terms["runtime"]  # outside of torch's allocator
    assert 0.5 < peak_of(run) / (planned.memory_bytes - context) < 1.5


@pytest.mark.parametrize("twice", ["none", "all"])
def test_that_a_dry_run_counts_what_a_gpu_holds(
    make_training: MakeTraining, wide: dict[str, Any], twice: str
) -> None:
    before = torch.cuda.memory_allocated()
    run = make_training(**wide, training__gradient_checkpointing=twice)
    held = peak_of(run) - before
    lengths = [len(example.ids) for example in run.data.train]
    facts = DataFacts.of(lengths, 0, run.data.report.supervised_tokens)
    counted = dry_run(run.recipe, resolve_model(run.recipe.model.path), facts, device="cuda").peak_bytes
    assert held == pytest.approx(counted, rel=0.1, abs=CUBLAS_BYTES)


@pytest.mark.parametrize("options", [{"model__load_in_4bit": True}, {"model__load_in_8bit": True}], ids=str)
def test_that_a_quantised_base_takes_less_memory(
    make_training: MakeTraining, wide: dict[str, Any], options: dict[str, Any]
) -> None:
    before = torch.cuda.memory_allocated()
    plain = make_training(**wide)
    whole = torch.cuda.memory_allocated() - before
    forget(plain)
    before = torch.cuda.memory_allocated()
    make_training(**wide, **options)
    # The embeddings, a quarter of this model, stay as they are.
    assert torch.cuda.memory_allocated() - before < 0.85 * whole


def test_that_8_bit_optimizers_hold_less_than_half(make_training: MakeTraining, wide: dict[str, Any]) -> None:
    def state_bytes(name: str) -> int:
        run = make_training(**wide, training__optim=name, adapter__r=64)
        train.take_step(run)
        values = [v for entry in run.optimizer.state.values() for v in entry.values()]
        total = sum(v.numel() * v.element_size() for v in values if isinstance(v, torch.Tensor))
        forget(run)
        return total

    assert state_bytes("adamw_8bit") < 0.5 * state_bytes("adamw")


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_that_a_device_too_small_for_a_batch_takes_it_in_parts_to_the_same_losses(
    make_training: MakeTraining, wide: dict[str, Any], precision: str
) -> None:
    options = {**wide, "training__gradient_checkpointing": "none", "training__precision": precision}
    plenty = make_training(**options)
    whole, expected = peak_of(plenty), list(losses(plenty.job.folder).values())
    plenty.parts = 8
    single = peak_of(plenty)
    forget(plenty)
    assert single < 0.7 * whole
    run = make_training(**options)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.95 * whole / total)
    assert loss_curve(run, 3) == pytest.approx(expected, abs=2e-2 if precision == "bf16" else 1e-4)
    assert run.parts > 1 and warnings_of(run)
    assert all("the result is the same" in w.hint for w in warnings_of(run))


def test_that_a_device_too_small_for_one_row_computes_layers_twice_then_says_what_to_do(
    make_training: MakeTraining, wide: dict[str, Any]
) -> None:
    options = {**wide, "training__per_device_train_batch_size": 1, "training__gradient_checkpointing": "auto"}
    plenty = make_training(**options)
    kept = peak_of(plenty)
    forget(plenty)
    twice = make_training(**{**options, "training__gradient_checkpointing": "all"})
    least = peak_of(twice)
    forget(twice)
    assert least < 0.75 * kept
    run = make_training(**options)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.95 * kept / total)
    train.take_step(run)
    assert "gradient checkpointing" in warnings_of(run)[-1].hint
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_allocated() / total)
    with pytest.raises(EngineError) as caught:
        train.take_step(run)
    assert caught.value.code == "GPU-01" and "max_length" in caught.value.hint


def test_that_an_evaluation_that_does_not_fit_is_done_in_parts(
    make_training: MakeTraining, wide: dict[str, Any]
) -> None:
    run = make_training(**{**wide, "data__validation_split": 0.5})
    run.model.eval()
    torch.cuda.reset_peak_memory_stats()
    expected = evaluate.validation_loss(run)
    peak, held = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 0.75 * (peak - held)) / total)
    assert evaluate.validation_loss(run) == pytest.approx(expected, abs=2e-2)
    assert run.evaluation_parts > 1 and run.parts == 1


def test_that_a_model_larger_than_the_device_is_refused_with_a_way_out(wide: dict[str, Any]) -> None:
    from engine.recipe.recipe import Recipe

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 50e6) / total)
    with pytest.raises(EngineError) as caught:
        load_base(resolve_model(wide["model__path"]), Recipe().model, choose_compute())
    assert caught.value.code == "GPU-01" and "load_in_4bit" in caught.value.hint
