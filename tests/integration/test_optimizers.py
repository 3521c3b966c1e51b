"""Optimizers, schedules, LoRA+ and NEFTune in the loop: each learns, differs, goes on exactly, is logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from engine.jobs import process
from engine.plan.optimizers import PAGED
from engine.recipe.fields import field_spec
from engine.recipe.schedules import learning_rate_at, warmup_of
from engine.recipe.training_options import TrainingOptions
from engine.recipe.uses import uses
from engine.runtime import evaluate, keep, neftune, train
from engine.runtime.batches import collate
from engine.runtime.training import Training
from tests.integration.conftest import (
    MakeRun,
    MakeTraining,
    events_of,
    losses,
    wait_for,
)
from tests.integration.warm import run_to_end

ON_CPU = [name for name in field_spec("training.optim").choices if name not in PAGED]
KINDS = field_spec("training.lr_scheduler_type").choices
# Rates at which each one learns the tests' rows; the rank makes tensors that 8-bit averages are kept of.
RATES = {"sgd": 0.3, "muon": 3e-2, "lion": 1e-3, "lion_8bit": 1e-3}
RANK = 128


def take(run: Training, count: int) -> list[float]:
    for _ in range(count):
        train.take_step(run)
    return [v for v in losses(run.job.folder).values() if v is not None]


def weights(run: Training) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters() if p.requires_grad])


@pytest.fixture(scope="module")
def curves() -> dict[str, list[float]]:
    """Return the losses of each optimizer at one rate, gathered on the way."""
    return {}


@pytest.mark.parametrize("name", ON_CPU)
def test_that_each_optimizer_learns(make_training: MakeTraining, name: str) -> None:
    run = make_training(
        training__optim=name,
        training__learning_rate=RATES.get(name, 5e-3),
        training__warmup_steps=0,
        training__lr_scheduler_type="constant",
        adapter__r=RANK,
        adapter__lora_alpha=RANK,
    )
    curve = take(run, 12)
    assert sum(curve[-3:]) / 3 < curve[0] - 0.25


@pytest.mark.parametrize("name", ON_CPU)
def test_that_each_optimizer_steps_in_its_own_way(
    make_training: MakeTraining, curves: dict[str, list[float]], name: str
) -> None:
    curve = take(make_training(training__optim=name, training__warmup_steps=0, adapter__r=RANK), 4)
    assert curve not in curves.values()
    curves[name] = curve


@pytest.mark.parametrize("name", ON_CPU)
def test_that_each_optimizer_goes_on_from_a_save_exactly(make_training: MakeTraining, name: str) -> None:
    values: dict[str, Any] = {
        "training__optim": name,
        "training__loraplus_lr_ratio": 4.0,
        "training__weight_decay": 0.1,
        "training__neftune_noise_alpha": 5.0,
        "training__gradient_accumulation_steps": 2,
        "training__num_train_epochs": 4,
        "adapter__lora_dropout": 0.1,
        "adapter__r": RANK,
    }
    run = make_training(**values)
    take(run, 5)
    saved = keep.save(run, wait=True)
    take(run, 4)
    again = make_training(**values)
    keep.ready(again, saved)
    again.model.train()
    assert again.step == 5
    take(again, 4)
    assert torch.equal(weights(run), weights(again))


def test_that_a_killed_child_with_two_optimizers_in_one_goes_on_exactly(make_run: MakeRun) -> None:
    values: dict[str, Any] = {
        "training__optim": "muon",
        "training__loraplus_lr_ratio": 2.0,
        "training__neftune_noise_alpha": 5.0,
        "training__lr_scheduler_type": "warmup_stable_decay",
    }
    whole, killed = make_run(**values), make_run(**values)
    assert run_to_end(whole) == "finished"
    child = process.start(killed)
    wait_for(killed, lambda e: e.type == "step" and e.step == 9)
    child.kill()
    child.wait(10)
    assert run_to_end(killed) == "finished"
    assert losses(whole) == losses(killed)
    result = "adapter/adapter_model.safetensors"
    assert (whole / result).read_bytes() == (killed / result).read_bytes()


@pytest.mark.parametrize("name", PAGED)
def test_that_a_paged_optimizer_is_refused_before_the_model_is_loaded(make_run: MakeRun, name: str) -> None:
    if torch.cuda.is_available():
        assert run_to_end(make_run(training__optim=name)) == "finished"
        return
    folder = make_run(training__optim=name)
    assert run_to_end(folder) == "failed"
    closing = json.loads((folder / "exit.json").read_text())
    assert closing["code"] == "REC-01" and name in closing["message"] and "Use adamw" in closing["hint"]
    assert not {"data_prepared", "model_loaded"} & {e.type for e in events_of(folder)}


# -- every field has its effect ------------------------------------------------------------------------------
USED_BY = {
    "training__momentum": ({"sgd", "muon"}, 0.5),
    "training__adam_beta1": ({"adamw", "adamw_8bit", "lion", "lion_8bit"}, 0.5),
    "training__adam_beta2": ({"adamw", "adamw_8bit", "lion", "lion_8bit"}, 0.9),
    "training__adam_epsilon": ({"adamw", "adamw_8bit"}, 1e-3),
    "training__weight_decay": (set(ON_CPU), 0.5),
    "training__loraplus_lr_ratio": (set(ON_CPU), 8.0),
}


@pytest.fixture(scope="module")
def usual() -> dict[str, torch.Tensor]:
    """Return the weights of each optimizer after four usual steps, computed once."""
    return {}


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("field", USED_BY)
def test_that_a_field_of_an_optimizer_has_its_effect_where_it_is_used(
    make_training: MakeTraining, usual: dict[str, torch.Tensor], field: str, name: str
) -> None:
    plain: dict[str, Any] = {"training__optim": name, "training__warmup_steps": 0, "adapter__r": RANK}
    if name not in usual:
        run = make_training(**plain)
        take(run, 4)
        usual[name] = weights(run)
    users, value = USED_BY[field]
    run = make_training(**plain, **{field: value})
    take(run, 4)
    assert torch.equal(weights(run), usual[name]) is (name not in users)


def test_that_the_table_of_uses_is_the_one_tested_here() -> None:
    for name in ON_CPU:
        for field in USED_BY:
            used = uses(TrainingOptions(optim=name), field.removeprefix("training__"))
            # Muon leaves to AdamW what a plain LoRA run does not have.
            assert used is (name in USED_BY[field][0] or (name == "muon" and "adam" in field))


def test_that_options_which_change_nothing_are_told(make_training: MakeTraining) -> None:
    run = make_training(training__power=3.0, training__momentum=0.5, training__adam_beta1=0.8)
    told = [e.message for e in events_of(run.job.folder) if e.type == "warned" and e.code == "REC-01"]
    assert told == [
        "training.power changes nothing with cosine.",
        "training.momentum changes nothing with adamw.",
    ]


# -- rates ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_that_logged_rates_are_the_closed_form_and_the_scheduler_of_the_field(
    make_training: MakeTraining, kind: str
) -> None:
    run = make_training(
        training__lr_scheduler_type=kind,
        training__warmup_steps=0.25,
        training__max_steps=12,
        training__loraplus_lr_ratio=4.0,
    )
    options, total = run.recipe.training, run.table.total_steps
    assert total == 12
    groups = []
    for _ in range(total):
        train.take_step(run)
        groups.append(sorted(group["lr"] for group in run.optimizer.param_groups))
    logged = [e.learning_rate for e in events_of(run.job.folder) if e.type == "step"]
    assert logged == [learning_rate_at(step, total, options) for step in range(1, total + 1)]
    assert groups == [pytest.approx([rate, 4 * rate]) for rate in logged]
    assert logged == pytest.approx(reference(kind, total, warmup_of(options, total)), rel=1e-9, abs=1e-15)


def reference(kind: str, total: int, warm: int) -> list[float]:
    """Return the rates of transformers' or torch's own scheduler with the recipe's usual shape."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-3)
    shapes: dict[str, dict[str, Any]] = {
        "cosine_with_min_lr": {"min_lr_rate": 0.1},
        "cosine_with_restarts": {"num_cycles": 2},
        "polynomial": {"power": 2.0, "lr_end": 5e-4},
        "warmup_stable_decay": {"num_decay_steps": 3, "decay_type": "linear", "min_lr_ratio": 0.1},
    }
    if kind == "one_cycle":
        theirs: Any = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 5e-3, total_steps=total, pct_start=warm / total, cycle_momentum=False
        )
    else:
        theirs = get_scheduler(kind, optimizer, warm, total, scheduler_specific_kwargs=shapes.get(kind, {}))
    found = []
    for _ in range(total):
        found.append(theirs.get_last_lr()[0])
        optimizer.step()
        if len(found) < total:
            theirs.step()
    return found


# -- NEFTune -------------------------------------------------------------------------------------------------
ALPHA = 5.0


def noise_of(run: Training, rows: list[int], step: int, *, flat: bool) -> list[torch.Tensor]:
    """Return the noise that each row's embeddings get in a step, [tokens, width] each."""
    examples = [run.data.train[i] for i in rows]
    batch = collate(examples, run.compute.device, flat=flat)
    embedding = run.base.get_input_embeddings()
    clean = embedding(batch.input_ids)
    with neftune.noise(run, batch, step):
        noisy = embedding(batch.input_ids)
    drawn = (noisy - clean).detach()
    if flat:
        return list(drawn[0].split(batch.lengths))
    assert all(not row[length:].any() for row, length in zip(drawn, batch.lengths, strict=True))
    return [row[:length] for row, length in zip(drawn, batch.lengths, strict=True)]


def test_that_noise_has_the_size_that_each_sequence_asks_for(make_training: MakeTraining) -> None:
    run = make_training(training__neftune_noise_alpha=ALPHA)
    by_length = sorted(range(len(run.data.train)), key=lambda i: len(run.data.train[i].ids))
    rows = [by_length[0], by_length[-1], by_length[len(by_length) // 2]]
    found = noise_of(run, rows, 1, flat=True)
    assert len({len(n) for n in found}) > 1
    for drawn in found:
        length, width = drawn.shape
        reach = ALPHA / (length * width) ** 0.5
        assert 0.98 * reach < float(drawn.abs().max()) <= reach * (1 + 1e-5)
        assert float(drawn.std()) == pytest.approx(reach / 3**0.5, rel=0.05)
        assert abs(float(drawn.mean())) < 0.05 * reach


def test_that_noise_follows_from_seed_step_and_sequence_alone(make_training: MakeTraining) -> None:
    run = make_training(training__neftune_noise_alpha=ALPHA)
    together = noise_of(run, [0, 1, 2], 4, flat=True)
    padded = noise_of(run, [0, 1, 2], 4, flat=False)
    alone = [noise_of(run, [i], 4, flat=True)[0] for i in (0, 1, 2)]
    for a, b, c in zip(together, padded, alone, strict=True):
        assert torch.allclose(a, b, atol=1e-6) and torch.allclose(a, c, atol=1e-6)
    assert not torch.allclose(together[0], noise_of(run, [0], 5, flat=True)[0], atol=1e-3)
    other = make_training(training__neftune_noise_alpha=ALPHA, training__seed=7)
    other.data = run.data
    assert not torch.allclose(together[0], noise_of(other, [0], 4, flat=True)[0], atol=1e-3)


def test_that_noise_leaves_the_draws_of_dropout_alone(make_training: MakeTraining) -> None:
    run = make_training(training__neftune_noise_alpha=ALPHA)
    before = torch.get_rng_state()
    noise_of(run, [0, 1], 1, flat=True)
    assert torch.equal(before, torch.get_rng_state())


def test_that_noise_changes_training_and_not_evaluation(make_training: MakeTraining) -> None:
    plain, noisy = make_training(), make_training(training__neftune_noise_alpha=ALPHA)
    assert evaluate.validation_loss(plain) == evaluate.validation_loss(noisy)
    assert take(plain, 3) != take(noisy, 3)
    assert not noisy.base.get_input_embeddings()._forward_hooks


def test_that_a_step_cut_in_parts_has_the_same_noise(make_training: MakeTraining) -> None:
    whole, cut = (make_training(training__neftune_noise_alpha=ALPHA) for _ in range(2))
    cut.parts = 2
    assert take(cut, 3) == pytest.approx(take(whole, 3), rel=1e-5)


def test_that_noise_reaches_a_step_with_gradient_checkpointing(make_training: MakeTraining) -> None:
    values: dict[str, Any] = {"training__neftune_noise_alpha": ALPHA}
    plain = take(make_training(**values, training__gradient_checkpointing="none"), 3)
    again = take(make_training(**values, training__gradient_checkpointing="all"), 3)
    assert plain == pytest.approx(again, rel=1e-5)


def test_that_the_learned_adapter_of_a_run_with_noise_is_plain(make_run: MakeRun, tiny_model: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = make_run(training__neftune_noise_alpha=ALPHA)
    assert run_to_end(folder) == "finished"
    curve = losses(folder)
    first, last = curve[1], curve[max(curve)]
    assert first is not None and last is not None and last < first
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert PeftModel.from_pretrained(base, folder / "adapter").peft_config
