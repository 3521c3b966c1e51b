"""The tables of families, against the models that transformers builds from the same configurations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.models.facts import ModelFacts, facts_of_config, look_at, read_facts
from engine.models.families import FAMILIES
from tests.unit.meta_models import A_FAMILY, SAVED, VARIED, configurations, meta_models


def compare(facts: ModelFacts, built: dict[str, Any]) -> None:
    assert {name: list(shape) for name, shape in facts.tensors} == built["tensors"]
    found = {linear.name: [linear.in_features, linear.out_features] for linear in facts.linears}
    assert found == built["linears"]
    assert facts.tied == built["tied"]
    assert not facts.rough and facts.from_config
    count = sum(len(shape) and _numel(shape) for shape in built["tensors"].values())
    assert facts.parameters == count
    if built["sliding"] is not None and facts.sliding_window:
        assert facts.build.sliding_layers == built["sliding"]


def _numel(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def test_that_every_family_with_a_table_is_tried() -> None:
    assert set(VARIED) == set(FAMILIES)


@pytest.mark.parametrize("family", VARIED)
def test_that_names_shapes_and_parameters_are_those_transformers_builds(family: str) -> None:
    folder, built = meta_models()
    for number in range(A_FAMILY):
        name = f"{family}-{number}"
        compare(read_facts(folder / name, weights=False), built[name])


@pytest.mark.parametrize("family", VARIED)
def test_that_keys_left_out_have_the_defaults_of_transformers(family: str) -> None:
    _, built = meta_models()
    for number, values in enumerate(configurations(family)):
        compare(facts_of_config({"model_type": family, **values}), built[f"{family}-{number}"])


@pytest.mark.parametrize("family", VARIED)
def test_that_facts_with_weights_are_the_facts_without(family: str) -> None:
    folder = meta_models()[0] / f"{family}-{SAVED}-saved"
    seen, told = read_facts(folder), read_facts(folder, weights=False)
    assert not seen.from_config and not seen.rough
    assert replace(seen, from_config=True, weights_bytes=0) == replace(told, weights_bytes=0)
    assert seen.weights_bytes == pytest.approx(told.weights_bytes, rel=0.01)
    assert look_at(folder) == seen


LLAMA_2_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "torch_dtype": "float16",
}
# From the config.json files of the hub, with the parameters that their cards and papers give.
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "Llama-2-7B": (LLAMA_2_7B, 6_738_415_616),
    "Mistral-7B-v0.1": ({**LLAMA_2_7B, "model_type": "mistral", "intermediate_size": 14336}, 7_241_732_096),
    "Mixtral-8x7B": ({**LLAMA_2_7B, "model_type": "mixtral", "intermediate_size": 14336}, 46_702_792_704),
    "GPT-2": (
        {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257},
        124_439_808,
    ),
    "Falcon-7B": (
        {
            "model_type": "falcon",
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "vocab_size": 65024,
        },
        6_921_720_704,
    ),
    "Qwen2.5-0.5B": (
        {
            "model_type": "qwen2",
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "vocab_size": 151936,
        },
        494_032_768,
    ),
    "Gemma-2-2B": (
        {
            "model_type": "gemma2",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "vocab_size": 256000,
        },
        2_614_341_888,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_that_known_models_have_the_parameters_that_are_published(name: str) -> None:
    config, parameters = PUBLISHED[name]
    assert facts_of_config(config).parameters == parameters


def test_that_what_a_layer_is_made_of_is_said() -> None:
    mixtral = facts_of_config(PUBLISHED["Mixtral-8x7B"][0])
    assert (mixtral.experts, mixtral.experts_per_token, mixtral.expert_size) == (8, 2, 14336)
    assert mixtral.build.sparse_layers == 32 and set(mixtral.groups) == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }
    falcon = facts_of_config(PUBLISHED["Falcon-7B"][0])
    assert (falcon.kv_heads, falcon.gated, falcon.build.parallel, falcon.build.layer_norms) == (
        1,
        False,
        True,
        1,
    )
    gemma = facts_of_config(PUBLISHED["Gemma-2-2B"][0])
    assert (gemma.sliding_window, gemma.build.sliding_layers, gemma.build.layer_norms) == (4096, 13, 4)
    assert gemma.build.attention_softcap and gemma.build.logit_softcap and gemma.head_dim == 256
    mistral = facts_of_config(PUBLISHED["Mistral-7B-v0.1"][0])
    assert (mistral.sliding_window, mistral.build.sliding_layers) == (4096, 32)
    gpt2 = facts_of_config(PUBLISHED["GPT-2"][0])
    assert (gpt2.build.rotary, gpt2.build.norm, gpt2.tied, gpt2.fan_in_fan_out) == (
        False,
        "layer",
        True,
        True,
    )


def test_that_a_family_without_a_table_is_taken_for_llama_and_says_so() -> None:
    facts = facts_of_config({**LLAMA_2_7B, "model_type": "new", "attention_bias": "?", "patch_size": [1]})
    assert facts.rough and facts.tensors == () and facts.parameters == 6_738_415_616


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**6},
        {"num_attention_heads": 0},
        {"num_key_value_heads": -1},
        {"head_dim": 1e3},
        {"vocab_size": True},
        {"vocab_size": None},
        {"intermediate_size": "11008"},
        {"attention_bias": "yes"},
        {"model_type": "qwen3_moe", "num_experts": 10**7},
        {"model_type": "qwen3_moe", "mlp_only_layers": "0"},
        {"model_type": "qwen3_moe", "decoder_sparse_step": 0},
        {"model_type": "gemma2", "layer_types": ["full_attention"] * 5000},
        {"model_type": "gemma2", "sliding_window": -1},
        {"model_type": "gemma3", "vision_config": {"image_size": 10**8}},
        {"is_encoder_decoder": True},
    ],
)
def test_that_sizes_that_cannot_be_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(EngineError) as told:
        facts_of_config({**LLAMA_2_7B, **changes})
    assert told.value.code == "MODEL-05"
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA_2_7B, **changes}))
    with pytest.raises(EngineError) as told:
        look_at(tmp_path)
    assert told.value.code == "MODEL-05" and told.value.file


def test_that_weights_are_still_wanted_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_2_7B))
    assert look_at(tmp_path).from_config and look_at(tmp_path).weights_bytes == 2 * 6_738_415_616
    with pytest.raises(EngineError) as told:
        read_facts(tmp_path)
    assert told.value.code == "MODEL-02"
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EngineError) as told:
        look_at(tmp_path)
    assert told.value.code == "MODEL-01"
