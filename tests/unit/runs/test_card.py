"""The card of a result says which method made it, and how it is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import card


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "An adapter (LoRA, r=16, alpha=32) for"),
        (
            {"adapter.use_dora": True, "adapter.init_lora_weights": "pissa"},
            "(DoRA, r=16, alpha=32, begun with pissa)",
        ),
        ({"model.load_in_4bit": True}, "(QLoRA, r=16, alpha=32)"),
        ({"adapter.method": "vera"}, "(VeRA, r=16)"),
        ({"adapter.method": "ia3"}, "(IA³)"),
    ],
)
def test_that_a_card_names_the_method(options: dict[str, Any], words: str) -> None:
    text = card.model_card(codec.override(Recipe(), options), "run-1", 60, 1.0, {})
    assert words in text and "PeftModel.from_pretrained" in text and "library_name: peft" in text


def test_that_the_card_of_a_model_trained_whole_loads_it_without_peft() -> None:
    recipe = codec.override(Recipe(), {"adapter.method": "full"})
    text = card.model_card(recipe, "run-1", 60, 1.0, {})
    assert "A model trained whole" in text and "library_name: transformers" in text
    assert "PeftModel" not in text
