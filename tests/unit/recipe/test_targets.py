"""Groups of layers mean the same in every family, and what a method does not obey is refused."""

from __future__ import annotations

from typing import Any

import pytest

from engine.models.facts import Linear
from engine.plan.adapter_size import block_size, chosen, is_whole, pattern_value, start_rank
from engine.recipe import codec, combinations
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.recipe import Recipe
from engine.recipe.targets import GROUPS, in_group, named

LLAMA = [
    f"model.layers.{layer}.{part}"
    for layer in range(2)
    for part in "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj "
    "mlp.gate_proj mlp.up_proj mlp.down_proj".split()
]
LINEARS = [Linear(name, 4, 4) for name in LLAMA]
HEAD = Linear("lm_head", 4, 8)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("model.layers.0.self_attn.q_proj", {"query", "attention"}),
        ("model.layers.0.self_attn.qkv_proj", {"query", "key", "value", "attention"}),
        ("model.layers.0.mlp.gate_up_proj", {"gate", "up", "mlp"}),
        ("transformer.h.0.attn.c_proj", {"output", "attention"}),
        ("transformer.h.0.mlp.c_proj", {"down", "mlp"}),
        ("transformer.h.0.attn.c_attn", {"query", "key", "value", "attention"}),
        ("gpt_neox.layers.0.attention.dense", {"output", "attention"}),
        ("gpt_neox.layers.0.mlp.dense_4h_to_h", {"down", "mlp"}),
        ("transformer.h.0.self_attention.query_key_value", {"query", "key", "value", "attention"}),
        ("model.decoder.layers.0.fc1", {"up", "mlp"}),
        ("model.decoder.layers.0.self_attn.out_proj", {"output", "attention"}),
        ("lm_head", {"head"}),
        ("embed_out", {"head"}),
        ("model.embed_tokens", set()),
    ],
)
def test_that_a_module_is_in_its_groups(name: str, groups: set[str]) -> None:
    assert {group for group in GROUPS if in_group(name, group)} == groups


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 14),
        ({"target_modules": "attention"}, 8),
        ({"target_modules": "query, value"}, 4),
        ({"target_modules": ["mlp", "q_proj"]}, 8),
        ({"target_modules": ["all-linear", "head"]}, 15),
        ({"target_modules": ["head"]}, 1),
        ({"layers_to_transform": [1]}, 7),
        ({"target_modules": ["layers.1.self_attn.q_proj"]}, 1),
        ({"target_modules": ["head", "query"], "layers_to_transform": [0]}, 2),
        ({"modules_to_save": ["head", "o_proj"]}, 12),
        ({"target_modules": ["proj"]}, 0),
    ],
)
def test_that_the_words_of_a_recipe_choose_modules(options: dict[str, Any], count: int) -> None:
    assert len(chosen([*LINEARS, HEAD], {"lm_head"}, AdapterOptions(**options))) == count


def test_that_targets_are_read_from_text_and_lists() -> None:
    assert named("query, value") == ["query", "value"] == named(["query", "value"])


def test_that_the_first_pattern_that_fits_wins() -> None:
    pattern = {"layers.1.self_attn.q_proj": 2, "attention": 3}
    assert [pattern_value(pattern, name, 9) for name in (LLAMA[0], LLAMA[7], LLAMA[4])] == [3, 2, 9]


def test_that_what_is_inside_a_module_trained_whole_is_whole() -> None:
    assert is_whole("model.layers.0.self_attn.q_proj", ["self_attn"])
    assert not is_whole("model.layers.0.self_attn.q_proj", ["attn", "q"])


@pytest.mark.parametrize(
    ("width", "wanted", "found"),
    [(64, 32, 32), (64, 48, 32), (96, 40, 32), (7, 4, 1), (8, 100, 8), (11, 3, 1)],
)
def test_that_blocks_divide_the_width(width: int, wanted: int, found: int) -> None:
    assert block_size(width, wanted) == found


@pytest.mark.parametrize(("r", "target_r", "start"), [(16, None, 24), (16, 8, 12), (1, None, 2)])
def test_that_adalora_begins_above_its_mean_rank(r: int, target_r: int | None, start: int) -> None:
    assert start_rank(AdapterOptions(method="adalora", r=r, target_r=target_r)) == start


@pytest.mark.parametrize("method", combinations.OBEYED)
def test_that_every_option_is_obeyed_by_a_method_or_refused(method: str) -> None:
    other: dict[str, Any] = {
        "r": 5,
        "lora_alpha": 5,
        "lora_dropout": 0.3,
        "target_modules": "mlp",
        "layers_to_transform": [0],
        "rank_pattern": {"mlp": 2},
        "alpha_pattern": {"mlp": 2},
        "use_rslora": True,
        "use_dora": True,
        "init_lora_weights": "gaussian",
        "modules_to_save": ["norm"],
        "bias": "all",
        "target_r": 5,
        "oft_block_size": 8,
        "path": "runs/tickets",
    }
    assert set(other) == set(AdapterOptions.model_fields) - {"method"}
    for name, value in other.items():
        recipe = codec.override(Recipe(), {"adapter.method": method, f"adapter.{name}": value})
        refused = [clash.field for clash in combinations.clashes(recipe)]
        assert refused == ([] if name in combinations.OBEYED[method] else [f"adapter.{name}"])
        assert [p.field for p in codec.problems(recipe.model_dump())] == refused
