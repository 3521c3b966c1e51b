"""The plan: exact where it says exact, and near the dry runs of the design where it is rough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.hardware.devices import Gpu, Machine
from engine.models.facts import Linear, ModelFacts, read_facts
from engine.plan.adapter_size import trainable_parameters
from engine.plan.planner import DataFacts, plan
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.unit.shapes import EVERY, FAMILIES, SETTINGS, make_shapes

GPU = Gpu("RTX 4090", "GPU-1", 24 * 10**9, 24 * 10**9, "560", (8, 9))
WITH_GPU = Machine("cpu", 8, 16, 64 * 10**9, 60 * 10**9, (GPU,))
CPU_ONLY = Machine("cpu", 2, 2, 16 * 10**9, 15 * 10**9, ())
DATA = DataFacts(1000, 100, 1304, 1304, 1_304_000, 400_000)


def llama_7b() -> ModelFacts:
    shapes = {name: (4096, 4096) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
    shapes |= {"gate_proj": (4096, 11008), "up_proj": (4096, 11008), "down_proj": (11008, 4096)}
    linears = tuple(Linear(f"model.layers.{i}.{n}", *s) for i in range(32) for n, s in shapes.items())
    sizes = (6_738_415_616, 32, 4096, 11008, 32, 32, 128, 32000, 4096)
    return ModelFacts("7b", Path("."), "", "llama", *sizes, "float16", False, True, 0, linears)


def recipe(**changes: Any) -> Recipe:
    return override(Recipe(), {name.replace("__", "."): value for name, value in changes.items()})


@pytest.mark.parametrize("family", FAMILIES)
def test_that_trainable_parameters_are_those_of_peft(family: str) -> None:
    folder, expected = make_shapes()
    facts = read_facts(folder / family)
    for setting, options in SETTINGS.get(family, EVERY).items():
        adapter = recipe(**{f"adapter__{name}": value for name, value in options.items()}).adapter
        assert trainable_parameters(facts, adapter) == expected[family]["trainable"][setting], setting


@pytest.mark.parametrize(
    ("changes", "gigabytes"),
    [
        ({}, 24.04),
        ({"adapter.target_modules": ["q_proj", "v_proj"]}, 20.52),
        ({"model.load_in_4bit": True}, 14.43),
        ({"model.load_in_4bit": True, "adapter.target_modules": ["q_proj", "v_proj"]}, 10.91),
        ({"model.load_in_4bit": True, "training.gradient_checkpointing": "all"}, 4.85),
        ({"adapter.lora_dropout": 0.0}, 21.20),
    ],
)
def test_that_memory_is_within_a_fifth_of_the_dry_runs(changes: dict[str, Any], gigabytes: float) -> None:
    fixed = {"adapter.r": 8, "training.per_device_train_batch_size": 1, "data.max_length": 2048}
    asked = override(recipe(), {**fixed, "training.gradient_checkpointing": "none", **changes})
    found = plan(asked, llama_7b(), DATA, None, WITH_GPU)
    assert found.memory_bytes - found.terms["runtime"] == pytest.approx(gigabytes * 1e9, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "steps", "tokens"),
    [
        ({"training.per_device_train_batch_size": 8}, 125, 1_304_000),
        ({"training.per_device_train_batch_size": 7}, 143, 1_304_000),
        ({"training.gradient_accumulation_steps": 4}, 32, 1_304_000),
        ({"training.num_train_epochs": 2.5}, 313, 3_260_000),
        ({"training.max_steps": 10}, 10, 10 * 8 * 1304),
    ],
)
def test_that_steps_and_tokens_follow_from_the_data(changes: dict[str, Any], steps: int, tokens: int) -> None:
    found = plan(override(recipe(), changes), llama_7b(), DATA, None, WITH_GPU)
    assert (found.steps, found.tokens) == (steps, tokens)


def test_that_what_does_not_fit_comes_with_changes_that_save_memory() -> None:
    asked = recipe(training__gradient_checkpointing="none")
    found = plan(asked, llama_7b(), DATA, None, WITH_GPU)
    assert (found.fits, found.verdict) == (False, "too_large")
    assert found.suggestions
    for suggestion in found.suggestions:
        changed = plan(override(asked, suggestion["set"]), llama_7b(), DATA, None, WITH_GPU)
        assert changed.memory_bytes == pytest.approx(suggestion["memory_bytes"])
        assert changed.memory_bytes < found.memory_bytes


def test_that_no_change_is_suggested_that_cannot_be_had_with_the_rest() -> None:
    asked = recipe(adapter__init_lora_weights="pissa", data__max_length=2048)
    found = plan(asked, llama_7b(), DATA, 8e9, WITH_GPU)
    assert found.verdict == "too_large"
    assert found.suggestions
    assert all("model.load_in_4bit" not in each["set"] for each in found.suggestions)


def test_that_checkpointing_is_switched_on_by_itself_when_memory_is_short() -> None:
    short = plan(recipe(), llama_7b(), DATA, 20e9, WITH_GPU)
    roomy = plan(recipe(), llama_7b(), DATA, 500e9, WITH_GPU)
    assert short.gradient_checkpointing and not roomy.gradient_checkpointing
    assert short.memory_bytes < roomy.memory_bytes


def test_that_more_of_anything_needs_more_memory_and_the_cpu_computes_in_float32() -> None:
    small = plan(recipe(adapter__r=8), llama_7b(), DATA, None, CPU_ONLY)
    assert small.precision == "fp32"
    assert small.terms["weights"] == pytest.approx(4 * 6_738_415_616)
    for change in ({"adapter__r": 64}, {"training__per_device_train_batch_size": 32}):
        assert plan(recipe(**change), llama_7b(), DATA, None, CPU_ONLY).memory_bytes > small.memory_bytes


def test_that_no_more_tokens_are_planned_for_than_are_computed_at_once() -> None:
    def activations(machine: Machine, **changes: Any) -> float:
        return plan(recipe(**changes), llama_7b(), DATA, None, machine).terms["activations"]

    large = {"training__per_device_train_batch_size": 32, "training__gradient_checkpointing": "none"}
    assert activations(CPU_ONLY, **large) == activations(
        CPU_ONLY, **{**large, "training__per_device_train_batch_size": 8}
    )
    whole = activations(CPU_ONLY, **large, training__max_batch_tokens=None)
    assert whole == pytest.approx(32 * activations(CPU_ONLY, **large), rel=0.01)
    assert activations(WITH_GPU, **large, training__max_batch_tokens=2048) < activations(WITH_GPU, **large)


def test_that_without_data_only_what_is_known_is_said() -> None:
    found = plan(recipe(), llama_7b())
    assert (found.steps, found.tokens, found.seconds, found.fits) == (None, None, None, None)
    assert found.trainable_parameters == 39_976_960
