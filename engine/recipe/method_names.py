"""The method of a recipe by its name: for names of runs, lists and sentences."""

from __future__ import annotations

from engine.recipe.combinations import OBEYED
from engine.recipe.recipe import Recipe

TITLES = {
    "lora": "LoRA",
    "qlora": "QLoRA",
    "full": "Full",
    "dora": "DoRA",
    "adalora": "AdaLoRA",
    "vera": "VeRA",
    "ia3": "IA³",
    "oft": "OFT",
}


def method_key(recipe: Recipe) -> str:
    """Return the key of `TITLES` that a recipe stands for: plain LoRA on a 4-bit base is qlora."""
    if recipe.adapter.method != "lora":
        return recipe.adapter.method
    if recipe.adapter.use_dora:
        return "dora"
    return "qlora" if recipe.model.load_in_4bit else "lora"


def method_words(recipe: Recipe) -> str:
    """Return the method as a person says it, with the bits of the base where the name does not say them."""
    key, model = method_key(recipe), recipe.model
    bits = "a 4-bit" if model.load_in_4bit else "an 8-bit" if model.load_in_8bit else ""
    title = "full finetuning" if key == "full" else TITLES[key]
    return f"{title} on {bits} base" if bits and key != "qlora" else title


def has_rank(recipe: Recipe) -> bool:
    """Return whether the method has a rank."""
    return "r" in OBEYED[recipe.adapter.method]


def method_label(recipe: Recipe) -> str:
    """Return method and rank for a list: `QLoRA r16`, `IA³`."""
    title = TITLES[method_key(recipe)]
    return f"{title} r{recipe.adapter.r}" if has_rank(recipe) else title
