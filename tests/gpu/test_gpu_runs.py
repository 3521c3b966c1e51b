"""Real children on the GPU: they learn with every method, base and optimizer, end, and go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.hardware.devices import probe
from engine.jobs import process
from engine.runs import store
from engine.runs.fsck import fsck
from tests.integration.conftest import MakeRun, events_of, losses, run_to_end, wait_for

pytestmark = pytest.mark.gpu
BASES = [
    {},
    {"model__load_in_4bit": True},
    {"model__load_in_4bit": True, "model__bnb_4bit_use_double_quant": False},
    {"model__load_in_4bit": True, "model__bnb_4bit_quant_type": "fp4"},
    {"model__load_in_8bit": True},
]
METHODS: list[dict[str, Any]] = [
    {"adapter__use_dora": True},
    {"adapter__use_rslora": True},
    {"adapter__init_lora_weights": "pissa"},
    {"adapter__init_lora_weights": "olora"},
    {"adapter__init_lora_weights": "eva"},
    {"adapter__method": "adalora"},
    {"adapter__method": "vera", "training__learning_rate": 5e-2},
    {"adapter__method": "ia3", "training__learning_rate": 5e-2},
    {"adapter__method": "oft"},
    {"adapter__method": "full", "training__learning_rate": 1e-3},
]
OPTIMIZERS = {
    "adamw": 5e-3,
    "adamw_8bit": 5e-3,
    "paged_adamw": 5e-3,
    "paged_adamw_8bit": 5e-3,
    "adafactor": 5e-3,
    "lion": 1e-3,
    "lion_8bit": 1e-3,
    "sgd": 3.0,
    "muon": 3e-2,
}


def assert_learned(folder: Path) -> None:
    curve = losses(folder)
    assert all(loss is not None for loss in curve.values())
    last = max(curve)
    assert curve[last] < curve[1] - 0.02, process.last_words(folder)


def test_that_a_run_computes_on_the_gpu_in_bf16_and_says_so(make_run: MakeRun) -> None:
    folder = make_run()
    assert run_to_end(folder) == "finished"
    assert_learned(folder)
    loaded = next(e for e in events_of(folder) if e.type == "model_loaded")
    assert loaded.device != "CPU" and loaded.dtype == "bfloat16"
    steps = [e for e in events_of(folder) if e.type == "step"]
    assert all(e.memory_bytes > 0 for e in steps)
    closing = next(e for e in events_of(folder) if e.type == "finished")
    assert closing.peak_memory_bytes >= steps[0].memory_bytes
    devices = [e.devices for e in events_of(folder) if e.type == "hardware"]
    assert devices and devices[-1][0].used_bytes > 0
    assert fsck(folder).findings == ()


@pytest.mark.parametrize("options", BASES, ids=str)
def test_that_every_base_learns_and_its_adapter_opens_in_plain_peft(
    make_run: MakeRun, tiny_model: Path, options: dict[str, Any]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = make_run(**options)
    assert run_to_end(folder) == "finished", process.last_words(folder)
    assert_learned(folder)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        before = base(input_ids=ids).logits
        after = PeftModel.from_pretrained(base, folder / "adapter").eval()(input_ids=ids).logits
    assert torch.isfinite(after).all() and not torch.allclose(before, after)


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_that_every_method_learns(make_run: MakeRun, options: dict[str, Any]) -> None:
    folder = make_run(**options)
    assert run_to_end(folder) == "finished", process.last_words(folder)
    assert_learned(folder)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_that_every_optimizer_learns_and_goes_on_where_it_stopped(make_run: MakeRun, name: str) -> None:
    options = {"training__optim": name, "training__learning_rate": OPTIMIZERS[name]}
    whole, cut = make_run(**options), make_run(**options)
    assert run_to_end(whole) == "finished", process.last_words(whole)
    assert_learned(whole)
    child = process.start(cut)
    wait_for(cut, lambda e: e.type == "checkpoint_saved")
    child.kill()
    child.wait(20)
    assert run_to_end(cut) == "finished", process.last_words(cut)
    # A GPU adds in no fixed order: near, where a CPU is the same.
    assert list(losses(cut).values()) == pytest.approx(list(losses(whole).values()), abs=5e-2)


def test_that_a_killed_run_goes_on_near_where_it_would_have_been(make_run: MakeRun) -> None:
    options = {
        "adapter__lora_dropout": 0.1,
        "training__gradient_accumulation_steps": 2,
        "data__packing": True,
    }
    options |= {"data__max_length": 128, "training__num_train_epochs": 6, "training__precision": "fp32"}
    whole, cut = make_run(**options), make_run(**options)
    assert run_to_end(whole) == "finished"
    child = process.start(cut)
    wait_for(cut, lambda e: e.type == "checkpoint_saved")
    child.kill()
    child.wait(20)
    assert run_to_end(cut) == "finished"
    assert list(losses(cut).values()) == pytest.approx(list(losses(whole).values()), abs=1e-3)


def test_that_a_pause_gives_the_memory_back_and_going_on_takes_it_again(
    make_run: MakeRun, wide: dict[str, Any]
) -> None:
    folder = make_run(**wide, training__max_steps=400, checkpoint__save_steps=1000)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step == 3)
    going = probe().devices[0].free_bytes
    process.send(folder, "pause")
    wait_for(folder, lambda e: e.type == "paused")
    time.sleep(1)
    weights = 2 * 120e6  # bf16
    assert probe().devices[0].free_bytes - going > weights
    process.send(folder, "resume")
    wait_for(folder, lambda e: e.type == "resumed")
    process.send(folder, "stop")
    assert child.wait(120) == 0 and store.state_of(folder) == "stopped"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_that_two_gpus_take_the_steps_of_one(make_run: MakeRun, strategy: str) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    options = {"training__precision": "fp32", "adapter__lora_dropout": 0.0, "training__max_steps": 8}
    one = make_run(training__per_device_train_batch_size=8, **options)
    two = make_run(
        training__per_device_train_batch_size=4,
        launcher__kind="torchrun",
        launcher__processes=2,
        launcher__strategy=strategy,
        **options,
    )
    assert run_to_end(one) == run_to_end(two) == "finished", process.last_words(two)
    assert list(losses(two).values()) == pytest.approx(list(losses(one).values()), abs=1e-3)
