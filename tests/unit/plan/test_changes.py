"""What does not fit comes with the least harmful change that makes it fit, or with several together."""

from __future__ import annotations

from typing import Any

import pytest

from engine.plan.planner import Plan, plan
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.bench.plan_rows import facts_of
from tests.unit.plan.test_planner import WITH_GPU


def planned(room: float, model: str = "Llama-2-7B", **changes: Any) -> tuple[Recipe, Plan]:
    recipe = override(Recipe(), {name.replace("__", "."): value for name, value in changes.items()})
    return recipe, plan(recipe, facts_of(model), None, room, WITH_GPU)


LONG = {"adapter__r": 256, "data__max_length": 2048, "training__per_device_train_batch_size": 1}


def test_that_a_large_rank_on_a_small_gpu_is_refused_with_what_would_fit_first() -> None:
    recipe, found = planned(16e9, **LONG)
    assert found.fits is False and found.verdict == "too_large" and found.gradient_checkpointing
    first = found.suggestions[0]
    assert first["fits"] and first["set"] == {"model.load_in_4bit": True}
    assert first["saves_bytes"] == pytest.approx(found.memory_bytes - first["memory_bytes"])
    again = plan(override(recipe, first["set"]), facts_of("Llama-2-7B"), None, 16e9, WITH_GPU)
    assert again.fits and again.memory_bytes == pytest.approx(first["memory_bytes"])


def test_that_several_changes_come_together_where_one_alone_does_not_fit() -> None:
    recipe, found = planned(8e9, **LONG)
    first = found.suggestions[0]
    assert first["fits"] and len(first["set"]) > 2
    again = plan(override(recipe, first["set"]), facts_of("Llama-2-7B"), None, 8e9, WITH_GPU)
    assert again.fits and again.memory_bytes == pytest.approx(first["memory_bytes"])
    for name in first["set"]:  # nothing of it could be left out
        if name == "adapter.lora_alpha":
            continue
        less = {k: v for k, v in first["set"].items() if k.split(".")[1] not in name.split(".")[1]}
        less = {k: v for k, v in less.items() if not (name == "adapter.r" and k == "adapter.lora_alpha")}
        assert not plan(override(recipe, less), facts_of("Llama-2-7B"), None, 8e9, WITH_GPU).fits, name


def test_that_milder_changes_come_before_harsher_ones() -> None:
    options = {"training__gradient_checkpointing": "none", "training__per_device_train_batch_size": 8}
    _, found = planned(23e9, data__max_length=1024, **options)
    order = [next(iter(each["set"])) for each in found.suggestions if each["fits"]]
    assert order[0] == "training.gradient_checkpointing"
    harm = [
        "training.gradient_checkpointing",
        "training.per_device_train_batch_size",
        "model.load_in_4bit",
        "training.optim",
        "data.max_length",
        "adapter.r",
    ]
    assert order == [name for name in harm if name in order]


def test_that_a_smaller_batch_keeps_the_examples_of_a_step() -> None:
    options = {"training__gradient_checkpointing": "all", "training__per_device_train_batch_size": 8}
    _, found = planned(20e9, data__max_length=2048, **options)
    change = next(e["set"] for e in found.suggestions if "training.per_device_train_batch_size" in e["set"])
    batch, times = change.values()
    assert batch * times == 8


def test_that_nothing_is_advised_where_nothing_fits_or_all_is_well() -> None:
    _, roomy = planned(500e9)
    assert roomy.suggestions == []
    _, tiny = planned(1e9, **LONG)
    assert tiny.suggestions and not any(each["fits"] for each in tiny.suggestions)


def test_that_the_band_holds_the_estimate_and_is_wider_where_less_was_checked() -> None:
    def width(found: Plan) -> float:
        low, high = found.memory_band
        assert low < found.memory_bytes < high
        return (high - low) / found.memory_bytes

    _, lora = planned(80e9)
    _, ia3 = planned(80e9, adapter__method="ia3")
    assert width(lora) < width(ia3)
    on_cpu = plan(Recipe(), facts_of("SmolLM2-135M"), None, 16e9)
    assert width(on_cpu) > width(lora)


@pytest.mark.parametrize("profile", ["own", "peft", "litgpt"])
def test_that_each_profile_says_whose_it_is(profile: str) -> None:
    found = plan(Recipe(), facts_of("Llama-2-7B"), None, 80e9, WITH_GPU, profile=profile)
    assert found.profile == profile and found.memory_bytes > 0
