"""Options that change how a step is computed: 4-bit, bf16, checkpointing, splitting; what is never saved."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import EngineError
from engine.runs import check, store
from engine.runtime import measure, start, train
from engine.runtime.training import Training
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses
from tests.integration.warm import run_to_end


def steps_of(run: Training, count: int = 4) -> list[float]:
    for _ in range(count):
        train.take_step(run)
    return [v for v in losses(run.job.folder).values() if v is not None]


def first_gradient(run: Training) -> torch.Tensor:
    micro = [[run.data.train[i] for i in rows] for rows in run.table.micro_batches(1)]
    train.gradients(run, 1, micro)
    grads = [p.grad.flatten() for p in run.model.parameters() if p.grad is not None]
    return torch.cat(grads)


def with_live_b(run: Training) -> Training:
    """B starts at zero, which hides the gradient of A; draw it."""
    torch.manual_seed(5)
    for name, parameter in run.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    return run


def test_that_gradient_checkpointing_changes_no_gradient(make_training: MakeTraining) -> None:
    plain = first_gradient(with_live_b(make_training(training__gradient_checkpointing="none")))
    again = first_gradient(with_live_b(make_training(training__gradient_checkpointing="all")))
    assert torch.allclose(plain, again, rtol=1e-5, atol=1e-7)


def test_that_packed_examples_do_not_see_each_other(make_training: MakeTraining) -> None:
    run = with_live_b(make_training(data__packing=True, training__per_device_train_batch_size=1))
    (rows,) = run.table.micro_batches(1)
    assert len(rows) > 1
    assert sum(len(run.data.train[i].ids) for i in rows) <= run.recipe.data.max_length
    together = first_gradient(run)
    run.optimizer.zero_grad(set_to_none=True)
    train.gradients(run, 1, [[run.data.train[i]] for i in rows])
    apart = torch.cat([p.grad.flatten() for p in run.model.parameters() if p.grad is not None])
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-6)


def test_that_bf16_follows_fp32(make_training: MakeTraining) -> None:
    exact = steps_of(make_training(training__precision="fp32"), 8)
    half = steps_of(make_training(training__precision="bf16"), 8)
    assert exact != half
    assert max(abs(a - b) for a, b in zip(exact, half, strict=True)) < 2e-2


def test_f30_r21_that_a_4_bit_base_trains_on_right_gradients_before_and_after_an_answer(
    make_training: MakeTraining,
) -> None:
    import bitsandbytes as bnb

    run = with_live_b(make_training(model__load_in_4bit=True))
    layers = {n: m for n, m in run.base.named_modules() if isinstance(m, bnb.nn.Linear4bit)}
    assert len(layers) == 14
    assert all(m.support_avx512bf16_for_cpu is False for m in layers.values())
    plain = with_live_b(make_training())
    for name, layer in layers.items():
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        plain.base.get_submodule(name).weight.data.copy_(weight.float())
    expected = first_gradient(plain)
    before = first_gradient(run)
    measure.sample(run)
    for parameter in run.model.parameters():
        parameter.grad = None
    after = first_gradient(run)
    for found in (before, after):
        assert float((found - expected).norm() / expected.norm()) < 0.02


def test_that_a_4_bit_run_learns_and_its_adapter_is_plain(make_run: MakeRun) -> None:
    folder = make_run(model__load_in_4bit=True)
    assert run_to_end(folder) == "finished"
    curve = losses(folder)
    assert curve[24] < curve[1]
    loaded = next(e for e in events_of(folder) if e.type == "model_loaded")
    assert loaded.quantization == "nf4"


def test_that_running_out_of_memory_splits_the_step_with_the_same_loss(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_training(training__per_device_train_batch_size=7)
    expected = steps_of(whole)
    real = train.loss_sum

    def small_device(base: Any, batch: Any, head: Any) -> torch.Tensor:
        if len(batch.lengths) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(base, batch, head)

    monkeypatch.setattr(train, "loss_sum", small_device)
    split = make_training(training__per_device_train_batch_size=7)
    found = steps_of(split)
    assert found == pytest.approx(expected, rel=1e-6)
    assert split.parts == 4
    warned = [e for e in events_of(split.job.folder) if e.type == "warned" and e.code == "GPU-01"]
    assert len(warned) == 2


def test_that_memory_too_small_for_one_row_is_told_with_a_remedy(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(base: Any, batch: Any, head: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(train, "loss_sum", no_room)
    run = make_training()
    with pytest.raises(EngineError) as caught:
        train.take_step(run)
    assert caught.value.code == "GPU-01" and "max_length" in caught.value.hint


def test_that_a_step_that_is_no_number_is_left_out_and_three_end_the_run(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_training()
    steps_of(run, 2)
    before = {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}
    real = train.loss_sum
    monkeypatch.setattr(train, "loss_sum", lambda *a: real(*a) * float("nan"))
    train.take_step(run)
    train.take_step(run)
    with pytest.raises(EngineError) as caught:
        train.take_step(run)
    assert caught.value.code == "RUN-07"
    for name, parameter in run.model.named_parameters():
        if name in before:
            assert torch.equal(parameter, before[name])
    told = [e for e in events_of(run.job.folder) if e.type == "step"]
    assert [e.loss for e in told[-3:]] == [None, None, None]


def test_that_checkpoints_beyond_the_limit_go_but_the_best_stays(make_run: MakeRun) -> None:
    folder = make_run(checkpoint__save_steps=2, checkpoint__save_total_limit=2, training__num_train_epochs=3)
    run_to_end(folder)
    steps = [check.step_of(p) for p in check.checkpoint_folders(folder)]
    best = min((e for e in events_of(folder) if e.type == "evaluated"), key=lambda e: e.loss).step
    assert set(steps) <= {34, 36, best} and 36 in steps and best in steps


def test_that_a_full_disk_fails_the_run_in_words_and_the_last_save_is_sound(make_run: MakeRun) -> None:
    folder = make_run(training__num_train_epochs=3)
    # A child that may not write files beyond 50 kB: the first checkpoint does not fit.
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-m", "engine", "job", str(folder)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    closing = json.loads((folder / "exit.json").read_text())
    assert closing["code"] == "DISK-01" and closing["hint"]
    assert check.last_checkpoint(folder)[0] is None
    assert run_to_end(folder) == "finished"


def test_that_the_adapter_opens_in_plain_peft_with_the_same_logits(
    make_run: MakeRun, tiny_model: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from engine.runtime.load import choose_compute, load_base

    folder = make_run()
    assert run_to_end(folder) == "finished"
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_model), folder / "adapter"
    ).eval()
    recipe = store.load_recipe(folder)
    ours = start.adapter.add_adapter(
        load_base(tiny_model, recipe.model, choose_compute("fp32")), recipe
    ).eval()
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    own = dict(ours.named_parameters())
    for name, value in tensors.items():
        own[name.replace(".weight", ".default.weight")].data.copy_(value)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.allclose(plain(input_ids=ids).logits, ours(input_ids=ids).logits, atol=1e-5)


def test_that_sample_prompts_are_asked_under_the_system_prompt_of_the_rows(
    make_training: MakeTraining, sound_rows: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line)["messages"] for line in sound_rows.read_text().splitlines()]
    path = tmp_path / "with-system.jsonl"
    system = {"role": "system", "content": "Answer like a farmer."}
    path.write_text("\n".join(json.dumps({"messages": [system, *messages]}) for messages in rows) + "\n")
    run = make_training(data__train=[str(path)], evaluation__sample_prompts=["What does the cat say?"])
    asked = run.tokenizer.decode(list(run.prompts[0].ids))
    assert "Answer like a farmer." in asked and "What does the cat say?" in asked
    environment = json.loads((run.job.folder / "environment.json").read_text())
    assert environment["system_prompt"] == "Answer like a farmer."


def test_that_fewer_tokens_at_once_change_no_gradient(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = train.loss_sum

    def counting(base: Any, batch: Any, head: Any) -> torch.Tensor:
        seen.append(batch.tokens)
        return whole(base, batch, head)

    monkeypatch.setattr(train, "loss_sum", counting)
    expected = first_gradient(with_live_b(make_training()))
    assert len(seen) == 1
    limit = max(seen) // 2
    found = first_gradient(with_live_b(make_training(training__max_batch_tokens=limit)))
    assert len(seen) >= 3 and max(seen[1:]) <= limit
    assert torch.allclose(expected, found, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("threads", [1, 2])
def test_that_a_child_takes_as_many_threads_as_are_asked(make_run: MakeRun, threads: int) -> None:
    folder = make_run(launcher__threads=threads, training__max_steps=1)
    assert run_to_end(folder) == "finished"
    (told,) = [e for e in events_of(folder) if e.type == "log" and "threads" in e.message]
    assert f", {threads} threads, " in told.message
