"""Which recipe fields the wizard offers, on which step, and with which of their choices."""

from __future__ import annotations

from functools import cache
from typing import Any

from app import i18n
from engine.errors import EngineError
from engine.paths import show_name
from engine.recipe import codec
from engine.recipe.fields import FieldSpec, field_specs
from engine.recipe.recipe import Recipe

STEP_TITLES = {
    "model": "Model",
    "data": "Data",
    "method": "Method",
    "training": "Training",
    "review": "Review",
}
_STEP_OF_SECTION = {
    "": "review",
    "model": "model",
    "data": "data",
    "adapter": "method",
    "training": "training",
    "evaluation": "training",
    "checkpoint": "training",
    "launcher": "training",
}
_STEP_OF_FIELD = {
    "model.dtype": "method",
    "model.load_in_4bit": "method",
    "model.load_in_8bit": "method",
    "model.bnb_4bit_quant_type": "method",
    "model.bnb_4bit_use_double_quant": "method",
    "training.gradient_checkpointing": "method",
}


def step_of(path: str) -> str:
    """Return the step that shows a field."""
    return _STEP_OF_FIELD.get(path) or _STEP_OF_SECTION[path.partition(".")[0] if "." in path else ""]


def _asked(path: str, value: Any) -> bool:
    return any(field == path and asked(value) for field, asked, _ in codec.UNSUPPORTED)


@cache
def offered_choices() -> dict[str, tuple[Any, ...]]:
    """Return the choices of each field that this version obeys, where some are for later."""
    narrowed = {}
    for spec in field_specs():
        if spec.kind == "choice" and spec.path in codec.UNSUPPORTED_FIELDS:
            narrowed[spec.path] = tuple(c for c in spec.choices if not _asked(spec.path, c))
    return narrowed


def is_offered(spec: FieldSpec) -> bool:
    """Say whether a field can be changed at all in this version."""
    if spec.path not in codec.UNSUPPORTED_FIELDS:
        return True
    return len(offered_choices().get(spec.path, ())) > 1


@cache
def offered_fields() -> tuple[FieldSpec, ...]:
    """Return the fields a person may change, in the order of the recipe."""
    return tuple(spec for spec in field_specs() if is_offered(spec))


def later_words(path: str, value: Any) -> str:
    """Return what to say of a choice that a later version brings, or an empty text."""
    return "Comes with a later version" if _asked(path, value) else ""


def fault_of(path: str, value: Any, recipe: Recipe | None = None) -> str:
    """Return the way out when `value` is not allowed for a field in a recipe, else an empty text."""
    try:
        codec.override(recipe or Recipe(), {path: value})
    except EngineError as error:
        return error.hint or error.message
    return ""


def counted(count: int, one: str, many: str) -> str:
    """Return `1 row`, `4,812 rows`."""
    return f"{i18n.number(count)} {one if count == 1 else many}"


def short_model(text: str) -> str:
    """Return a model's name as the stepper says it."""
    return show_name(text.rstrip("/").rpartition("/")[2] or text, 80)
