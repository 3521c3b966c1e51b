"""Each option that changes memory changes the term that it should, and in the right direction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.hardware.devices import Gpu
from engine.models.facts import ModelFacts, facts_of_config
from engine.plan.data_facts import DataFacts
from engine.plan.memory import PROFILES, memory_terms, total_bytes
from engine.plan.setting import setting_of
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.bench.plan_rows import facts_of

GPU = Gpu("RTX 4090", "GPU-1", 24 * 10**9, 24 * 10**9, "560", (8, 9))
BASE = {
    "training.gradient_checkpointing": "none",
    "training.per_device_train_batch_size": 2,
    "data.max_length": 512,
    "adapter.lora_dropout": 0.0,
}


def terms(
    facts: ModelFacts | None = None, gpu: Gpu | None = GPU, data: DataFacts | None = None, **changes: Any
) -> dict[str, float]:
    """Return the terms of a recipe; fields are written with two lines for their dot."""
    values = {name.replace("__", "."): value for name, value in changes.items()}
    profile = values.pop("profile", "own")
    recipe = override(Recipe(), BASE | values)
    checkpointing = recipe.training.gradient_checkpointing == "all"
    setting = setting_of(recipe, data, gpu, checkpointing=checkpointing, profile=profile)
    return memory_terms(recipe, facts or facts_of("Llama-3.2-1B"), setting, profile)


FULL = {"adapter__method": "full", "adapter__lora_dropout": 0.05}
LARGER = [  # (options, the term that grows)
    ({"training__per_device_train_batch_size": 4}, "activations"),
    ({"data__max_length": 1024}, "activations"),
    ({"adapter__lora_dropout": 0.05}, "activations"),
    ({"adapter__r": 64}, "adapter"),
    ({"adapter__r": 64}, "optimizer"),
    ({"adapter__rank_pattern": {"q_proj": 128}}, "adapter"),
    ({"adapter__use_dora": True}, "activations"),
    ({"adapter__modules_to_save": ["lm_head"]}, "adapter"),
    ({"adapter__target_modules": ["all-linear", "lm_head"]}, "logits"),
    ({"training__gradient_accumulation_steps": 4}, "gradients"),
    ({"training__precision": "fp32"}, "weights"),
    ({"model__dtype": "float32"}, "weights"),
    ({"model__attn_implementation": "eager"}, "activations"),
    (FULL, "optimizer"),
]
SMALLER = [
    ({"training__gradient_checkpointing": "all"}, "activations"),
    ({"training__max_batch_tokens": 512}, "activations"),
    ({"adapter__target_modules": ["q_proj"]}, "adapter"),
    ({"adapter__layers_to_transform": [12, 13, 14, 15]}, "activations"),
    ({"model__load_in_4bit": True}, "weights"),
    ({"training__optim": "adamw_8bit"}, "optimizer"),
    ({"training__optim": "paged_adamw"}, "optimizer"),
    ({"training__optim": "paged_adamw_8bit"}, "optimizer"),
    ({"training__optim": "lion"}, "optimizer"),
    ({"training__optim": "lion_8bit"}, "optimizer"),
    ({"training__optim": "muon"}, "optimizer"),
    ({"training__optim": "adafactor"}, "optimizer"),
    ({"training__optim": "sgd", "training__momentum": 0.0}, "optimizer"),
]


@pytest.mark.parametrize(("options", "term"), LARGER, ids=str)
def test_that_an_option_that_costs_memory_raises_its_term(options: dict[str, Any], term: str) -> None:
    before, after = terms(), terms(**options)
    assert after[term] > before[term]
    assert total_bytes(after) > total_bytes(before)


@pytest.mark.parametrize(("options", "term"), SMALLER, ids=str)
def test_that_an_option_that_saves_memory_lowers_its_term(options: dict[str, Any], term: str) -> None:
    before, after = terms(), terms(**options)
    assert after[term] < before[term]
    assert total_bytes(after) < total_bytes(before)


def test_that_paged_states_are_outside_of_a_gpus_memory_but_inside_the_machines() -> None:
    assert terms(training__optim="paged_adamw")["optimizer"] == 0
    assert terms(gpu=None, training__optim="paged_adamw")["optimizer"] > 0


def test_that_double_quantisation_saves_a_third_of_a_bit_a_weight() -> None:
    plain = terms(model__load_in_4bit=True, model__bnb_4bit_use_double_quant=False)
    twice = terms(model__load_in_4bit=True)
    saved = 8 * (plain["weights"] - twice["weights"]) / facts_of("Llama-3.2-1B").linear_parameters
    assert saved == pytest.approx(0.373, abs=0.001)


def test_that_scores_are_only_held_where_a_token_is_learned_from() -> None:
    some = DataFacts(1000, 100, 400, 512, 400_000, 40_000)
    assert terms(data=some)["logits"] < 0.5 * terms()["logits"]
    peft = terms(data=some, profile="peft")["logits"]
    assert peft == pytest.approx(12 * 128_256 * 1024)


def test_that_shared_weights_are_divided_and_those_of_ddp_are_not() -> None:
    two = {"launcher__processes": 2}
    fsdp = {**two, "launcher__strategy": "fsdp", "training__on_out_of_memory": "fail"}
    assert terms(**two)["weights"] == terms()["weights"]
    assert terms(**fsdp)["weights"] == terms()["weights"] / 2


def test_that_padded_rows_and_narrow_adapters_change_peft_alone() -> None:
    facts, recipe = facts_of("Llama-3.2-3B"), override(Recipe(), BASE)
    setting = setting_of(recipe, None, GPU, checkpointing=False, profile="peft")
    assert setting.padded
    usual = memory_terms(recipe, facts, setting, "peft")
    unpadded = memory_terms(recipe, facts, replace(setting, padded=False), "peft")
    narrow = memory_terms(recipe, facts, replace(setting, adapter_bytes=2), "peft")
    assert unpadded["activations"] < usual["activations"]
    assert narrow["adapter"] == usual["adapter"] / 2
    assert narrow["activations"] < usual["activations"]


def test_that_our_engine_needs_less_than_peft_where_it_joins_products() -> None:
    for dropout in (0.0, 0.05):
        own = terms(adapter__lora_dropout=dropout)
        assert total_bytes(own) < 0.9 * total_bytes(terms(adapter__lora_dropout=dropout, profile="peft"))


def test_that_the_families_that_are_joined_are_those_of_the_engine() -> None:
    from engine.plan.way import JOINED_ATTENTION, JOINED_MLP, OWN_NORM
    from engine.runtime.fused.blocks import ATTENTIONS, GATED, NORMS

    def classes(names: frozenset[str], end: str) -> set[str]:
        written = {"qwen2_moe": "Qwen2Moe", "qwen3_moe": "Qwen3Moe", "smollm3": "SmolLM3"}
        return {written.get(name, name.capitalize()) + end for name in names}

    assert classes(JOINED_ATTENTION, "Attention") == set(ATTENTIONS)
    assert classes(JOINED_MLP, "MLP") == set(GATED)
    assert classes(OWN_NORM, "RMSNorm") == set(NORMS)


def test_that_experts_count_by_those_that_take_a_token() -> None:
    def mixtral(taken: int) -> ModelFacts:
        sizes = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8, "vocab_size": 32000}
        heads = {"num_attention_heads": 8, "num_key_value_heads": 8, "num_local_experts": 8}
        return facts_of_config({"model_type": "mixtral", **sizes, **heads, "num_experts_per_tok": taken})

    two, four = terms(mixtral(2)), terms(mixtral(4))
    assert two["weights"] == four["weights"]
    assert two["activations"] < four["activations"]


lengths = st.sampled_from([64, 256, 512, 2048])
recipes = st.fixed_dictionaries(
    {
        "adapter__r": st.sampled_from([1, 8, 64, 256]),
        "adapter__lora_dropout": st.sampled_from([0.0, 0.1]),
        "adapter__target_modules": st.sampled_from(["all-linear", ["query"], ["mlp"], ["output", "down"]]),
        "model__load_in_4bit": st.booleans(),
        "training__gradient_checkpointing": st.sampled_from(["none", "all"]),
        "training__per_device_train_batch_size": st.integers(1, 8),
        "training__gradient_accumulation_steps": st.integers(1, 3),
        "training__optim": st.sampled_from(["adamw", "sgd", "lion", "adafactor"]),
        "training__max_batch_tokens": st.sampled_from(["auto", 512]),
        "profile": st.sampled_from(PROFILES),
        "gpu": st.sampled_from([GPU, None]),
    }
)


@settings(max_examples=60, deadline=None)
@given(recipes, lengths, st.sampled_from(["Llama-3.2-1B", "Mistral-7B", "SmolLM2-135M"]))
def test_that_more_tokens_more_rank_and_less_thrift_never_need_less(
    options: dict[str, Any], length: int, name: str
) -> None:
    def needs(**changes: Any) -> float:
        found = terms(facts_of(name), **{"data__max_length": length, **options, **changes})
        assert all(value >= 0 for value in found.values())
        return total_bytes(found)

    here = needs() * (1 + 1e-9)
    if options["gpu"] is not None:  # a processor lays short sequences side by side, and keeps their weights
        assert needs(data__max_length=length // 2) <= here
    assert needs(adapter__r=max(1, options["adapter__r"] // 2)) <= here
    assert needs(training__gradient_accumulation_steps=1) <= here
    assert needs(training__per_device_train_batch_size=1) <= here


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 1024))
def test_that_layers_that_are_alike_are_looked_into_once(rank: int) -> None:
    from engine.plan.layout import layout_of

    layout = layout_of(facts_of("Llama-3-8B"), override(Recipe(), {"adapter.r": rank}).adapter)
    assert len(layout.kinds) == 1 and len(layout.layers) == 32


def test_that_a_quantised_base_takes_less_and_what_is_computed_from_it_more() -> None:
    """Products of a quantised base are not joined: peft keeps each layer's input once more, in float32."""
    four, eight, plain = terms(model__load_in_4bit=True), terms(model__load_in_8bit=True), terms()
    assert four["weights"] < eight["weights"] < plain["weights"]
    assert four["activations"] > plain["activations"]
    assert eight["activations"] > four["activations"]


def test_that_methods_that_train_vectors_hold_next_to_nothing_for_them() -> None:
    for method in ("ia3", "vera"):
        found = terms(adapter__method=method, adapter__lora_dropout=0.05)
        assert found["optimizer"] < 0.1 * terms()["optimizer"]
