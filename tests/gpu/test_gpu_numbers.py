"""The numbers of a GPU: those of a CPU in fp32, near them in bf16, right in 4 bits and with other kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.runtime import evaluate, keep, kernels, measure, start, train
from engine.runtime.load import Compute
from engine.runtime.training import Training
from tests.integration.conftest import MakeTraining, events_of, losses

pytestmark = pytest.mark.gpu
CPU = Compute(torch.device("cpu"), torch.float32)


def steps_of(run: Training, count: int = 6) -> list[float]:
    for _ in range(count):
        train.take_step(run)
    return [v for v in losses(run.job.folder).values() if v is not None]


def gradient_of(run: Training, pieces: list[list[Any]] | None = None) -> torch.Tensor:
    run.optimizer.zero_grad(set_to_none=True)
    train.gradients(run, 1, pieces or [[run.data.train[i] for i in b] for b in run.table.micro_batches(1)])
    grads = [p.grad.flatten().float().cpu() for p in run.model.parameters() if p.grad is not None]
    return torch.cat(grads)


def with_live_b(run: Training) -> Training:
    """B starts at zero, which hides the gradient of A; draw it, the same on every device."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in run.model.named_parameters():
        if "lora_B" in name:
            drawn = torch.randn(parameter.shape, generator=generator) * 0.02
            parameter.data.copy_(drawn)
    return run


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_that_fp32_on_the_gpu_is_fp32_on_the_cpu(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make_training(training__precision="fp32")
    assert here.compute.device.type == "cuda"
    found, gradient = steps_of(here), gradient_of(with_live_b(make_training(training__precision="fp32")))
    monkeypatch.setattr(start, "choose_compute", lambda precision="auto": CPU)
    there = make_training()
    assert steps_of(there) == pytest.approx(found, rel=1e-4)
    assert distance(gradient, gradient_of(with_live_b(make_training()))) < 1e-4


def test_that_bf16_learns_what_fp32_learns(make_training: MakeTraining) -> None:
    exact, half = make_training(training__precision="fp32"), make_training()
    assert half.compute.dtype == torch.bfloat16
    before = evaluate.validation_loss(exact)
    first, second = steps_of(exact, 24), steps_of(half, 24)
    assert max(abs(a - b) for a, b in zip(first, second, strict=True)) < 5e-2
    gained, also = (evaluate.validation_loss(run) for run in (exact, half))
    assert before is not None and gained is not None and also is not None
    assert abs(also - gained) <= 0.02 * (before - gained)


def test_that_the_flash_kernel_keeps_the_sequences_of_a_row_apart(make_training: MakeTraining) -> None:
    run = with_live_b(make_training(data__packing=True, training__per_device_train_batch_size=2))
    assert run.layout.flat and run.compute.dtype == torch.bfloat16
    rows = [run.data.train[i] for i in run.table.micro_batches(1)[0]]
    assert len(rows) > 2
    apart = gradient_of(run, [[row] for row in rows])
    assert distance(gradient_of(run, [rows]), apart) < 5e-2


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
def test_that_4_bits_give_right_gradients_before_and_after_an_answer(
    make_training: MakeTraining, quant_type: str, double: bool
) -> None:
    import bitsandbytes as bnb

    run = with_live_b(
        make_training(
            model__load_in_4bit=True,
            model__bnb_4bit_quant_type=quant_type,
            model__bnb_4bit_use_double_quant=double,
            training__precision="fp32",
        )
    )
    plain = with_live_b(make_training(training__precision="fp32"))
    layers = {n: m for n, m in run.base.named_modules() if isinstance(m, bnb.nn.Linear4bit)}
    assert layers
    for name, layer in layers.items():
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        plain.base.get_submodule(name).weight.data.copy_(weight.float())
    expected = gradient_of(plain)
    before = gradient_of(run)
    measure.sample(run)
    for found in (before, gradient_of(run)):
        assert distance(found, expected) < 0.02


def test_that_a_save_from_the_gpu_is_the_step_it_is_of(make_training: MakeTraining) -> None:
    run = make_training()
    steps_of(run, 2)
    kept = {n: p.detach().cpu().clone() for n, p in run.model.named_parameters() if p.requires_grad}
    folder = keep.save(run)
    steps_of(run, 3)  # while it is written
    keep.await_save(run)
    saved = load_file(folder / "adapter_model.safetensors")
    assert len(saved) == len(kept)
    for name, value in saved.items():
        assert torch.equal(value, kept[name.replace(".weight", ".default.weight")])


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_that_the_attention_asked_for_gives_the_same_losses(make_training: MakeTraining, name: str) -> None:
    own = steps_of(make_training(training__precision="fp32"))
    asked = make_training(training__precision="fp32", model__attn_implementation=name)
    assert not asked.layout.flat
    assert steps_of(asked) == pytest.approx(own, rel=1e-3)


def test_that_flash_attention_2_gives_the_losses_of_our_own(make_training: MakeTraining) -> None:
    pytest.importorskip("flash_attn")
    asked = make_training(model__attn_implementation=kernels.FLASH)
    assert asked.layout.flat and asked.base.config._attn_implementation == kernels.FLASH
    own, other = steps_of(make_training()), steps_of(asked)
    assert max(abs(a - b) for a, b in zip(own, other, strict=True)) < 5e-2


def test_that_liger_kernels_give_the_losses_of_our_own(make_training: MakeTraining) -> None:
    pytest.importorskip("liger_kernel")
    asked = make_training(training__use_liger_kernel=True)
    assert any(e.type == "log" and "Liger" in e.message for e in events_of(asked.job.folder))
    own, other = steps_of(make_training()), steps_of(asked)
    assert max(abs(a - b) for a, b in zip(own, other, strict=True)) < 5e-2


def test_that_a_layout_is_found_in_every_precision(make_training: MakeTraining) -> None:
    for precision in ("fp32", "bf16"):
        run = make_training(training__precision=precision)
        assert run.layout.flat and run.layout.head_apart, run.layout.reason
