"""Kernels of other packages: refused by name without GPU or package, and put in where they are."""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import pytest
import torch

from engine.errors import EngineError
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runtime import kernels, train
from engine.runtime.load import Compute
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses
from tests.integration.warm import run_to_end

GPU = Compute(torch.device("cuda", 0), torch.bfloat16)
CPU = Compute(torch.device("cpu"), torch.float32)
LIGER, FLASH = "training.use_liger_kernel", "model.attn_implementation"


def recipe_with(**options: Any) -> Recipe:
    return codec.override(Recipe(), {k.replace("__", "."): v for k, v in options.items()})


@pytest.mark.parametrize(
    ("field", "value", "compute", "word"),
    [
        (LIGER, True, CPU, "NVIDIA GPU"),
        (LIGER, True, GPU, "liger-kernel"),
        (FLASH, "flash_attention_2", CPU, "NVIDIA GPU"),
        (FLASH, "flash_attention_2", GPU, "flash-attn"),
    ],
)
def test_that_a_kernel_that_is_not_here_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, field: str, value: Any, compute: Compute, word: str
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        kernels.refuse(codec.override(Recipe(), {field: value}), compute)
    assert (caught.value.code, caught.value.field) == ("REC-01", field)
    assert word in caught.value.message and caught.value.hint


def test_that_flash_attention_is_refused_for_numbers_it_does_not_compute_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: object())
    asked = recipe_with(model__attn_implementation="flash_attention_2")
    kernels.refuse(asked, GPU)
    with pytest.raises(EngineError) as caught:
        kernels.refuse(asked, Compute(GPU.device, torch.float32))
    assert "bf16" in caught.value.message and caught.value.field == FLASH


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has the GPU that is asked for")
def test_that_a_run_that_asks_for_liger_ends_before_its_model_is_loaded(make_run: MakeRun) -> None:
    folder = make_run(training__use_liger_kernel=True)
    assert run_to_end(folder) == "failed"
    closing = json.loads((folder / "exit.json").read_text())
    assert closing["code"] == "REC-01" and "use_liger_kernel" in closing["message"]
    assert not [e for e in events_of(folder) if e.type in ("model_loaded", "data_prepared")]


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the package, with its own names; return the calls it gets."""
    calls: list[dict[str, Any]] = []
    patch = types.ModuleType("liger_kernel.transformers.monkey_patch")
    patch.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}  # type: ignore[attr-defined]

    def apply(model: Any, **asked: Any) -> None:
        calls.append({"model": model, **asked})

    patch._apply_liger_kernel_to_instance = apply  # type: ignore[attr-defined]
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, patch.__name__, patch)
    return calls


def test_that_liger_gets_norms_and_rotary_positions_but_never_the_head(
    make_training: MakeTraining, liger: list[dict[str, Any]]
) -> None:
    run = make_training(training__use_liger_kernel=True)
    (call,) = liger
    assert call["model"] is run.base and call["rms_norm"] and call["rope"]
    assert not call["cross_entropy"] and not call["fused_linear_cross_entropy"]
    assert any(e.type == "log" and "Liger" in e.message for e in events_of(run.job.folder))


def test_that_a_family_that_liger_does_not_know_is_refused_by_name(liger: list[dict[str, Any]]) -> None:
    base = types.SimpleNamespace(config=types.SimpleNamespace(model_type="unheard_of"))
    with pytest.raises(EngineError) as caught:
        kernels.apply_liger(base)
    assert "unheard_of" in caught.value.message and caught.value.field == LIGER and not liger


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_that_the_attention_asked_for_computes_the_same_losses_in_padded_batches(
    make_training: MakeTraining, name: str
) -> None:
    own, asked = make_training(), make_training(model__attn_implementation=name)
    assert own.layout.flat and not asked.layout.flat
    assert asked.base.config._attn_implementation == name
    for run in (own, asked):
        train.take_step(run)
        train.take_step(run)
    first, second = losses(own.job.folder), losses(asked.job.folder)
    assert list(first.values()) == pytest.approx(list(second.values()), rel=1e-5)
    assert any(e.type == "log" and f"{name} attention" in e.message for e in events_of(asked.job.folder))
