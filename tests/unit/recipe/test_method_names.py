"""A run, a list and a sentence call a method by its own name."""

from __future__ import annotations

from typing import Any

import pytest

from engine.recipe import codec
from engine.recipe.method_names import method_label, method_words
from engine.recipe.recipe import Recipe
from engine.runs.store import readable_name


@pytest.mark.parametrize(
    ("values", "words", "label", "name"),
    [
        ({}, "LoRA", "LoRA r16", "tickets-lora-r16"),
        ({"model.load_in_4bit": True, "adapter.r": 8}, "QLoRA", "QLoRA r8", "tickets-qlora-r8"),
        ({"model.load_in_8bit": True}, "LoRA on an 8-bit base", "LoRA r16", "tickets-lora-r16"),
        (
            {"adapter.use_dora": True, "model.load_in_4bit": True},
            "DoRA on a 4-bit base",
            "DoRA r16",
            "tickets-dora-r16",
        ),
        ({"adapter.method": "vera"}, "VeRA", "VeRA r16", "tickets-vera-r16"),
        ({"adapter.method": "ia3"}, "IA³", "IA³", "tickets-ia3"),
        ({"adapter.method": "full"}, "full finetuning", "Full", "tickets-full"),
    ],
)
def test_that_a_method_is_called_by_its_name(
    values: dict[str, Any], words: str, label: str, name: str
) -> None:
    recipe = codec.override(Recipe(), {"data.train": ["tickets.jsonl"], **values})
    assert method_words(recipe) == words
    assert method_label(recipe) == label
    assert readable_name(recipe) == name
