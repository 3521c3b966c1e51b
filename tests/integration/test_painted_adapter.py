"""A painted grid and peft: the fields make peft adapt exactly the painted cells, at their ranks."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from engine.models.facts import read_facts
from engine.plan.adapter_size import trainable_parameters
from engine.plan.rank_grid import Cell, RankGrid
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from tests.unit.shapes import make_shapes


def of_peft(
    folder: Any, recipe: Recipe, backwards: bool = False
) -> tuple[dict[str, int], dict[str, float], int]:
    """Return rank and scaling of each module that peft adapts on a model without memory, and its own count.

    `backwards` gives peft the patterns in another order, as a saved file may.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    adapter = recipe.adapter
    order = reversed if backwards else list
    ranks = {k.replace(".", r"\."): v for k, v in order(list(adapter.rank_pattern.items()))}
    alphas = {k.replace(".", r"\."): v for k, v in order(list(adapter.alpha_pattern.items()))}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=adapter.r,
            lora_alpha=adapter.lora_alpha,
            target_modules=adapter.target_modules,
            layers_to_transform=adapter.layers_to_transform,
            rank_pattern=ranks,
            alpha_pattern=alphas,
        )
        wrapped = get_peft_model(model, config)
    found = {
        name.removeprefix("base_model.model."): module
        for name, module in wrapped.named_modules()
        if hasattr(module, "lora_A")
    }
    return (
        {name: module.r["default"] for name, module in found.items()},
        {name: module.scaling["default"] for name, module in found.items()},
        wrapped.num_parameters(only_trainable=True),
    )


def strokes(grid: RankGrid, start: dict[Cell, int], seed: int) -> dict[Cell, int]:
    """Return ranks after a few strokes over rows, layers and single cells; the head stays as it is."""
    draw, ranks = random.Random(seed), dict(start)
    cells = [cell for cell in ranks if cell[1] != grid.outside]
    for _ in range(4):
        row, column = draw.choice(cells)
        rank = draw.choice([0, 4, 8, 64])
        kind = draw.randrange(3)
        for cell in cells:
            if cell == (row, column) or (kind == 1 and cell[0] == row) or (kind == 2 and cell[1] == column):
                ranks[cell] = rank
    return ranks


@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3", "gpt2", "gpt-neox", "opt", "bloom"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_that_peft_adapts_exactly_what_is_painted(family: str, seed: int) -> None:
    folder = make_shapes()[0] / family
    facts = read_facts(folder)
    grid, recipe = RankGrid.of(facts), Recipe()
    before = grid.ranks(facts, recipe.adapter)
    ranks = strokes(grid, before, seed)
    if not any(ranks.values()):
        ranks[next(iter(ranks))] = 8
    recipe = codec.override(recipe, grid.fields(before, ranks, recipe.adapter, linked=True))
    if recipe.adapter.target_modules == "all-linear" and recipe.adapter.layers_to_transform is not None:
        # peft wants names beside numbers of layers; training gives it these (engine/runtime).
        inner = [row.target for row in grid.rows if row.target != "lm_head" and row.target != "embed_out"]
        recipe = codec.override(recipe, {"adapter.target_modules": inner})
    expected = {grid.modules[cell].name: rank for cell, rank in ranks.items() if rank}
    for backwards in (False, True):
        adapted, scaling, count = of_peft(folder, recipe, backwards)
        assert adapted == expected
        assert set(scaling.values()) == {2.0}
        assert count == trainable_parameters(facts, recipe.adapter)
