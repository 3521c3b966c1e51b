"""Mixtures of experts: an adapter sits where the plan says, in training and as plain peft opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel

from engine.errors import EngineError
from engine.models.experts import READ_AS_EXPERTS
from engine.models.facts import facts_of_config
from engine.plan.adapter_size import adapted_linears
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from engine.runtime.adapter import add_adapter

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "num_experts_per_tok": 2,
}
SMALL = {"head_dim": 8, "moe_intermediate_size": 16}
# The first layer of the mixed ones has an MLP without experts.
MIXED: dict[str, dict[str, Any]] = {
    "qwen3_moe": {**SIZES, **SMALL, "num_experts": 4, "num_local_experts": 4, "mlp_only_layers": [0]},
    "qwen2_moe": {**SIZES, **SMALL, "num_experts": 4, "mlp_only_layers": [0]},
    "mixtral": {**SIZES, "num_local_experts": 4},
}


def recipe(targets: Any, **options: Any) -> Recipe:
    """Return a recipe for these modules, at rank 4."""
    values = {"r": 4, "target_modules": targets, **options}
    return override(Recipe(), {f"adapter.{name}": value for name, value in values.items()})


def model_of(family: str) -> Any:
    """Return a random model of a family, always the same."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **MIXED[family])
    return transformers.AutoModelForCausalLM.from_config(config)


def trained_modules(model: Any) -> list[str]:
    """Return the modules that hold trained values, by their names in the base."""
    names = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return sorted({name.split(".lora_")[0].removeprefix("base_model.model.") for name in names})


@pytest.mark.parametrize("family", MIXED)
def test_that_all_linear_layers_of_a_mixture_are_those_of_the_plan(family: str) -> None:
    asked = recipe("all-linear")
    facts = facts_of_config({"model_type": family, **MIXED[family]})
    planned = sorted(linear.name for linear, _ in adapted_linears(facts, asked.adapter))
    assert trained_modules(add_adapter(model_of(family), asked)) == planned
    assert planned and not any(".experts." in name for name in planned)


def test_that_an_adapter_on_a_mixed_model_opens_in_plain_peft_on_the_same_modules(tmp_path: Path) -> None:
    wrapped = add_adapter(model_of("qwen3_moe"), recipe("all-linear", lora_dropout=0.0))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.arange(12).reshape(1, 12)
    with torch.no_grad():
        expected = wrapped(input_ids=ids).logits
        wrapped.save_pretrained(tmp_path)
        opened = PeftModel.from_pretrained(model_of("qwen3_moe"), tmp_path, is_trainable=True)
        assert trained_modules(opened) == trained_modules(wrapped)
        assert torch.allclose(opened(input_ids=ids).logits, expected, atol=1e-5)


def test_that_peft_would_take_experts_for_the_mlp_of_a_layer_without_them() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "gate_proj", "up_proj", "down_proj"])
    names = trained_modules(get_peft_model(model_of("qwen3_moe"), config))
    assert any(".experts" in name for name in names)
    assert "model.layers.0.mlp.down_proj" not in names


@pytest.mark.parametrize("targets", [["mlp"], ["attention", "down_proj"]])
def test_that_layers_which_peft_takes_for_experts_are_refused_by_name(targets: list[str]) -> None:
    with pytest.raises(EngineError) as refused:
        add_adapter(model_of("qwen3_moe"), recipe(targets))
    assert refused.value.code == "REC-01" and refused.value.field == "adapter.target_modules"
    assert targets[-1] in refused.value.message and "experts" in refused.value.message
    assert "q_proj" in refused.value.hint and "down_proj" not in refused.value.hint


def test_that_the_experts_of_a_mixture_are_named_where_no_module_bears_the_name() -> None:
    with pytest.raises(EngineError, match="matches no layer") as refused:
        add_adapter(model_of("mixtral"), recipe(["mlp"]))
    assert "experts" in refused.value.hint


def test_that_the_families_whose_names_are_taken_are_those_of_peft() -> None:
    from peft.utils import transformers_weight_conversion as peft_table

    kinds = peft_table._MODEL_TO_CONVERSION_PATTERN
    taken = {
        model_type: frozenset(peft_table._MOE_TARGET_MODULE_MAPPING[kind])
        for model_type, kind in kinds.items()
        if kind in peft_table._MOE_TARGET_MODULE_MAPPING and model_type == model_type.lower()
    }
    assert taken == READ_AS_EXPERTS
