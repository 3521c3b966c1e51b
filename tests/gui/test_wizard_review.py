"""The review of method and base: what gets an adapter is said, and names that mean nothing are red."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.pages.wizard.inquiries import make_plans
from app.pages.wizard.review_check import BAD, OK, WARN, Check
from app.pages.wizard.review_methods import method_checks
from engine.hardware.devices import Gpu, Machine
from engine.models.facts import read_facts
from engine.recipe import codec
from engine.recipe.recipe import Recipe

CPU = Machine("cpu", 2, 2, 16 * 10**9, 15 * 10**9, ())
GPU = Machine("cpu", 2, 2, 16 * 10**9, 15 * 10**9, (Gpu("G", "G-1", 10**10, 10**10, "560", (8, 9)),))


def checks_of(model: Path, machine: Machine = GPU, **options: Any) -> list[Check]:
    values = {name.replace("__", "."): value for name, value in options.items()}
    recipe, facts = codec.override(Recipe(), values), read_facts(model)
    return method_checks(recipe, facts, make_plans(recipe, facts, None, machine), machine)


def test_that_what_gets_an_adapter_is_said(tiny_model):
    (check,) = checks_of(tiny_model)
    assert check == Check(
        OK, "LoRA on 14 modules", "7 kinds in 2 of 2 layers, rank 16", "adapter.target_modules"
    )
    (check,) = checks_of(
        tiny_model, adapter__target_modules=["attention"], adapter__rank_pattern={"q_proj": 4}
    )
    assert check.title == "LoRA on 8 modules"
    assert check.detail == "4 kinds in 2 of 2 layers, ranks 4 to 16"
    (check,) = checks_of(
        tiny_model, adapter__method="full", training__learning_rate=2e-5, model__load_in_4bit=False
    )
    assert (check.state, check.title) == (OK, "Every weight is trained")


@pytest.mark.parametrize(
    ("options", "title", "field"),
    [
        ({"adapter__target_modules": ["q_proj", "c_attn"]}, "c_attn names no module", "target_modules"),
        (
            {"adapter__target_modules": ["layers.7.mlp.up_proj"]},
            "layers.7.mlp.up_proj names",
            "target_modules",
        ),
        ({"adapter__layers_to_transform": [0, 2]}, "There is no layer 2", "layers_to_transform"),
        (
            {"adapter__target_modules": ["q_proj"], "adapter__rank_pattern": {"v_proj": 4}},
            "v_proj names no module that gets an adapter",
            "rank_pattern",
        ),
        ({"adapter__alpha_pattern": {"x_proj": 4}}, "x_proj names no module", "alpha_pattern"),
        ({"adapter__modules_to_save": ["norm", "wte"]}, "wte names no module", "modules_to_save"),
    ],
)
def test_that_a_name_without_a_module_is_red_before_the_model_is_loaded(tiny_model, options, title, field):
    bad = [check for check in checks_of(tiny_model, **options) if check.state == BAD]
    assert [check.field for check in bad] == [f"adapter.{field}"]
    assert title in bad[0].title
    assert bad[0].detail
    assert bad[0].step == "method"


def test_that_modules_that_exist_are_not_red(tiny_model):
    found = checks_of(
        tiny_model,
        adapter__target_modules=["all-linear", "embed_tokens", "head"],
        adapter__modules_to_save=["norm"],
        adapter__layers_to_transform=[1],
    )
    assert [check.state for check in found if check.state == BAD] == []


def test_that_a_quantised_base_without_a_gpu_and_too_many_processes_are_said(tiny_model):
    found = checks_of(tiny_model, CPU, model__load_in_4bit=True)
    assert any(check.state == WARN and check.field == "model.load_in_4bit" for check in found)
    assert all(check.state == OK for check in checks_of(tiny_model, GPU, model__load_in_4bit=True))
    found = checks_of(tiny_model, GPU, launcher__kind="torchrun", launcher__processes=4)
    said = ("4 processes", "this machine shows 1 GPU", BAD)  # training refuses it
    assert said in [(check.title, check.detail, check.state) for check in found]


def test_that_a_rate_that_does_not_go_with_the_method_is_said(tiny_model):
    for options, rate in (
        ({"adapter__method": "full"}, 2e-4),
        ({"adapter__method": "ia3"}, 2e-4),
        ({"adapter__method": "vera"}, 2e-4),
    ):
        found = checks_of(tiny_model, training__learning_rate=rate, **options)
        assert any(check.field == "training.learning_rate" for check in found)
    assert all(check.state == OK for check in checks_of(tiny_model, training__learning_rate=2e-4))


def test_that_training_a_large_part_whole_is_said(tiny_model):
    found = checks_of(tiny_model, adapter__modules_to_save=["embed_tokens"])
    (whole,) = [check for check in found if check.field == "adapter.modules_to_save"]
    assert whole.state == WARN
    assert "embed_tokens" in whole.title
