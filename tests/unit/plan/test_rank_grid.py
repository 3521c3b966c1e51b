"""The painted grid: what is written trains exactly what is painted, for every family of models."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from engine.models.facts import Linear, ModelFacts, read_facts
from engine.plan.adapter_size import adapted_linears, trainable_parameters
from engine.plan.rank_grid import Cell, RankGrid
from engine.recipe import codec
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.recipe import Recipe
from engine.recipe.targets import fits
from tests.unit.shapes import FAMILIES, make_shapes


def painted(adapter: AdapterOptions, grid: RankGrid, facts: ModelFacts, ranks: dict[Cell, int], linked: bool):
    """Return the adapter whose cells were painted from what they are to `ranks`."""
    values = grid.fields(grid.ranks(facts, adapter), ranks, adapter, linked)
    return codec.override(Recipe(adapter=adapter), values).adapter


def stroke(ranks: dict[Cell, int], draw: random.Random) -> dict[Cell, int]:
    """Return the ranks after a cell, a row, a column or a scatter of cells got another rank."""
    row, column = draw.choice(list(ranks))
    rank = draw.choice([0, 4, 8, 16, 64])
    kind = draw.choice("cell row column scatter".split())
    hit = {
        "cell": lambda cell: cell == (row, column),
        "row": lambda cell: cell[0] == row,
        "column": lambda cell: cell[1] == column,
        "scatter": lambda _cell: draw.random() < 0.2,
    }[kind]
    return {cell: rank if hit(cell) else before for cell, before in ranks.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_that_what_is_painted_is_what_would_be_adapted(family: str) -> None:
    facts = read_facts(make_shapes()[0] / family)
    grid, draw, adapter = RankGrid.of(facts), random.Random(family), AdapterOptions()
    for _ in range(60):
        ranks = stroke(grid.ranks(facts, adapter), draw)
        if not any(ranks.values()):
            continue
        adapter = painted(adapter, grid, facts, ranks, draw.random() < 0.5)
        assert grid.ranks(facts, adapter) == ranks
        expected = sum(
            rank * (grid.modules[cell].in_features + grid.modules[cell].out_features)
            for cell, rank in ranks.items()
        )
        assert trainable_parameters(facts, adapter) == expected


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_that_no_two_keys_of_a_pattern_take_one_module(family: str) -> None:
    # peft writes its patterns sorted and takes the first key that fits: an order must not be needed.
    facts = read_facts(make_shapes()[0] / family)
    grid, draw, adapter = RankGrid.of(facts), random.Random(7), AdapterOptions()
    for _ in range(40):
        ranks = stroke(grid.ranks(facts, adapter), draw)
        if any(ranks.values()):
            adapter = painted(adapter, grid, facts, ranks, True)
        for pattern in (adapter.rank_pattern, adapter.alpha_pattern):
            for linear in facts.linears:
                assert sum(fits(linear.name, key) for key in pattern) <= 1
        backwards = adapter.model_copy(update={"rank_pattern": dict(sorted(adapter.rank_pattern.items()))})
        assert adapted_linears(facts, backwards) == adapted_linears(facts, adapter)


def llama(layers: int = 3, extra: tuple[Linear, ...] = ()) -> tuple[ModelFacts, RankGrid]:
    facts = read_facts(make_shapes()[0] / "llama")
    kinds = {linear.name.partition(".0.")[2]: linear for linear in facts.linears if linear.layer == 0}
    linears = tuple(
        replace(linear, name=f"model.layers.{layer}.{kind}")
        for layer in range(layers)
        for kind, linear in kinds.items()
    )
    facts = replace(facts, layers=layers, linears=linears + extra)
    return facts, RankGrid.of(facts)


def test_that_whole_rows_and_columns_are_written_as_short_as_they_are() -> None:
    facts, grid = llama()
    every = grid.ranks(facts, AdapterOptions())
    names = [row.target for row in grid.rows]
    only_q = {cell: 16 if names[cell[0]] == "q_proj" else 0 for cell in every}
    assert grid.places(only_q) == {
        "adapter.target_modules": ["q_proj"],
        "adapter.layers_to_transform": None,
    }
    layer = {cell: 16 if cell[1] == 1 else 0 for cell in every}
    assert grid.places(layer) == {
        "adapter.target_modules": "all-linear",
        "adapter.layers_to_transform": [1],
    }
    wide = {cell: 64 if names[cell[0]] == "v_proj" else 16 for cell in every}
    written = grid.fields(every, wide, AdapterOptions(), True)
    assert written["adapter.rank_pattern"] == {"v_proj": 64}
    assert written["adapter.alpha_pattern"] == {"v_proj": 128}
    assert (written["adapter.r"], written["adapter.lora_alpha"]) == (16, 32)
    one = wide | {(names.index("v_proj"), 0): 16}
    assert set(grid.fields(every, one, AdapterOptions(), True)["adapter.rank_pattern"]) == {
        "layers.1.self_attn.v_proj",
        "layers.2.self_attn.v_proj",
    }


def test_that_layer_one_is_not_taken_for_layer_eleven() -> None:
    facts, grid = llama(12)
    every = grid.ranks(facts, AdapterOptions())
    chosen = {cell: 8 if cell in ((0, 1), (1, 1), (2, 10)) else 0 for cell in every}
    adapter = painted(AdapterOptions(), grid, facts, chosen, True)
    assert grid.ranks(facts, adapter) == chosen


def test_that_alpha_follows_the_painted_rank_only_where_it_is_linked() -> None:
    facts, grid = llama()
    every = grid.ranks(facts, AdapterOptions())
    wide = every | {(0, 0): 64}
    linked = painted(AdapterOptions(), grid, facts, wide, True)
    apart = painted(AdapterOptions(), grid, facts, wide, False)
    assert linked.alpha_pattern == {"layers.0.self_attn.q_proj": 128}
    assert apart.alpha_pattern == {}
    # A rank that came from elsewhere keeps its alpha when another cell is painted.
    read = AdapterOptions(rank_pattern={"v_proj": 64})
    after = grid.ranks(facts, read) | {(0, 0): 8}
    assert painted(read, grid, facts, after, True).alpha_pattern == {"layers.0.self_attn.q_proj": 16}


def test_that_the_rank_of_the_recipe_follows_when_no_cell_has_it_any_more() -> None:
    facts, grid = llama()
    all_wide = dict.fromkeys(grid.modules, 64)
    adapter = painted(AdapterOptions(), grid, facts, all_wide, True)
    assert (adapter.r, adapter.lora_alpha, adapter.rank_pattern, adapter.alpha_pattern) == (64, 128, {}, {})


def test_that_modules_outside_the_layers_stand_in_a_column_of_their_own() -> None:
    facts, grid = llama(2, (Linear("model.project_in", 32, 64),))
    assert (grid.outside, grid.columns) == (2, 3)
    row = next(n for n, each in enumerate(grid.rows) if each.target == "project_in")
    assert [cell for cell in grid.modules if cell[0] == row] == [(row, 2)]
    ranks = grid.ranks(facts, AdapterOptions())
    without = {cell: 0 if cell[0] == row else rank for cell, rank in ranks.items()}
    adapter = painted(AdapterOptions(), grid, facts, without, True)
    assert grid.ranks(facts, adapter) == without
    head = next(n for n, each in enumerate(grid.rows) if each.target == "lm_head")
    assert ranks[head, 2] == 0
    adapter = painted(AdapterOptions(), grid, facts, ranks | {(head, 2): 8}, True)
    assert grid.ranks(facts, adapter) == ranks | {(head, 2): 8}
    only_first = {cell: rank if cell[1] in (0, 2) else 0 for cell, rank in ranks.items()}
    adapter = painted(AdapterOptions(), grid, facts, only_first, True)
    assert grid.ranks(facts, adapter) == only_first


def test_that_two_stacks_with_the_same_names_are_told_apart() -> None:
    facts, _ = llama(2)
    second = tuple(
        replace(linear, name=linear.name.replace("model.", "model.vision.")) for linear in facts.linears
    )
    facts = replace(facts, linears=facts.linears + second)
    grid = RankGrid.of(facts)
    assert len(grid.modules) == len(facts.linears) + 1
    ranks = {cell: 8 if "vision" not in linear.name else 0 for cell, linear in grid.modules.items()}
    adapter = painted(AdapterOptions(), grid, facts, ranks, True)
    assert grid.ranks(facts, adapter) == ranks


def test_that_entries_which_mean_no_module_are_named() -> None:
    _, grid = llama()
    entries = ["all-linear", "query", "mlp", "q_proj", "layers.1.mlp.up_proj", "head", "c_attn", "proj"]
    assert grid.strays(entries) == ["c_attn", "proj"]
    bloom = RankGrid.of(read_facts(make_shapes()[0] / "bloom"))
    assert bloom.strays(["gate", "query"]) == ["gate"]
