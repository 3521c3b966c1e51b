"""The methods as a person chooses them: what each card sets, what it sets back, and which fields it has."""

from __future__ import annotations

from typing import Any

from app.pages.wizard.fields import later_words
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.combinations import OBEYED, clashes
from engine.recipe.fields import field_spec
from engine.recipe.method_names import TITLES, method_key
from engine.recipe.recipe import SECTIONS, Recipe

MAIN = (
    ("lora", TITLES["lora"], "The base as it is, small matrices beside it. Fastest."),
    ("qlora", TITLES["qlora"], "The base in 4 bits (NF4). Least memory."),
    ("full", TITLES["full"], "Every weight is trained."),
)
OTHERS = (
    ("dora", TITLES["dora"], "LoRA with a trained size for each output."),
    ("adalora", TITLES["adalora"], "Moves rank to where it helps."),
    ("vera", TITLES["vera"], "Shared matrices, two small vectors each."),
    ("ia3", TITLES["ia3"], "Scales what layers give out. Tiny."),
    ("oft", TITLES["oft"], "Turns inputs and keeps lengths."),
)
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"adapter.method": "lora", "adapter.use_dora": False, "model.load_in_4bit": False},
    "qlora": {"adapter.method": "lora", "adapter.use_dora": False, "model.load_in_4bit": True},
    "full": {"adapter.method": "full", "model.load_in_4bit": False, "model.load_in_8bit": False},
    "dora": {"adapter.method": "lora", "adapter.use_dora": True},
    **{name: {"adapter.method": name} for name in ("adalora", "vera", "ia3", "oft")},
}
MOST_REPAIRS = 8  # clashes that are set back one after another before a method is called not to be had


def later_method(name: str) -> str:
    """Return what to say of a method that a later version brings, or an empty text."""
    values = METHODS[name]
    found = (later_words(path, value) for path, value in values.items())
    return next((words for words in found if words), "")


def method_values(recipe: Recipe, name: str) -> dict[str, Any]:
    """Return all that changes when a method is chosen.

    Options that it does not obey go back to what they are by themselves, and so do those that cannot be had
    together with it.
    """
    values = dict(METHODS[name])
    obeyed = (*OBEYED[values["adapter.method"]], "method")
    for option in AdapterOptions.model_fields:
        path = f"adapter.{option}"
        if option not in obeyed and path not in values:
            values[path] = field_spec(path).default
    for _ in range(MOST_REPAIRS):
        clash = next(iter(clashes(changed(recipe, values))), None)
        if clash is None or clash.field in METHODS[name]:
            break
        values[clash.field] = field_spec(clash.field).default
    return {path: value for path, value in values.items() if value != _value(recipe, path)}


def changed(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """Return the recipe with fields replaced, unchecked."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        sections.setdefault(section, {})[name] = value
    update = {
        section: getattr(recipe, section).model_copy(update=fields)
        for section, fields in sections.items()
        if section in SECTIONS
    }
    return recipe.model_copy(update=update)


def _value(recipe: Recipe, path: str) -> Any:
    section, _, name = path.rpartition(".")
    return getattr(getattr(recipe, section), name)


def obeys(name: str, path: str) -> bool:
    """Say whether the method of a card obeys an option of the adapter section."""
    return path.removeprefix("adapter.") in OBEYED[METHODS[name]["adapter.method"]]


def has_field(recipe: Recipe, path: str) -> bool:
    """Say whether a field of the method step means anything with the chosen method and base."""
    adapter, model = recipe.adapter, recipe.model
    section, _, name = path.partition(".")
    if section == "adapter":
        return name == "method" or name in OBEYED[adapter.method]
    full = adapter.method == "full"
    return {
        # LoRA and QLoRA say it by their cards.
        "model.load_in_4bit": method_key(recipe) in ("dora", "adalora", "vera", "ia3", "oft"),
        "model.load_in_8bit": not full and not model.load_in_4bit,
        "model.bnb_4bit_quant_type": model.load_in_4bit,
        "model.bnb_4bit_use_double_quant": model.load_in_4bit,
        "model.dtype": not full,
    }.get(path, True)
