"""The recipe's fields as plain descriptions, for forms, the command line and the docs."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from engine.errors import EngineError
from engine.recipe.recipe import SECTIONS, Recipe
from engine.recipe.training_options import ALIASES


@dataclass(frozen=True)
class FieldSpec:
    """All that a form or a message needs to know of one option."""

    path: str
    section: str
    name: str
    label: str
    help: str
    unit: str
    kind: str
    optional: bool
    default: Any
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    choices: tuple[Any, ...]
    level: str
    suggestions: tuple[Any, ...]
    effects: dict[str, int]


@cache
def field_specs() -> tuple[FieldSpec, ...]:
    """Return every option of the recipe in the order it is declared."""
    specs = [_describe("", "name", Recipe.model_fields["name"])]
    for section, model in SECTIONS.items():
        specs += [_describe(section, name, info) for name, info in model.model_fields.items()]
    return tuple(specs)


@cache
def _by_path() -> dict[str, FieldSpec]:
    return {spec.path: spec for spec in field_specs()}


def field_spec(path: str) -> FieldSpec:
    """Return the description of `section.name`; raises EngineError REC-01 for an unknown one."""
    spec = _by_path().get(path)
    if spec is None:
        from difflib import get_close_matches

        near = get_close_matches(path, _by_path(), n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else "See `tunesmith train --help` for the list of options."
        raise EngineError(f"There is no option {path}.", hint, "REC-01", field=path)
    return spec


_KINDS = {int: "integer", float: "number", bool: "boolean", str: "text"}
_SPECIAL = {
    "data.train": "paths",
    "data.validation": "path",
    "model.path": "path",
    "adapter.path": "path",
    "adapter.target_modules": "names",
}


def _describe(section: str, name: str, info: FieldInfo) -> FieldSpec:
    path = f"{section}.{name}" if section else name
    kind, optional, choices = _kind(info.annotation)
    low, high, exclusive = _bounds(info)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    effects: Any = extra.get("effects", {})
    suggestions: Any = extra.get("suggestions", ())
    return FieldSpec(
        path=path,
        section=section,
        name=name,
        label=info.title or name,
        help=info.description or "",
        unit=str(extra.get("unit", "")),
        kind=_SPECIAL.get(path, kind),
        optional=optional,
        default=info.get_default(call_default_factory=True),
        minimum=low,
        maximum=high,
        exclusive_minimum=exclusive,
        choices=choices,
        level=str(extra.get("level", "all")),
        suggestions=tuple(suggestions),
        effects=dict(effects),
    )


def _kind(annotation: Any) -> tuple[str, bool, tuple[Any, ...]]:
    """Return (kind, may be empty, choices) of a type annotation."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return "choice", False, get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [a for a in get_args(annotation) if a is not type(None)]
        optional = len(parts) < len(get_args(annotation))
        kinds = [_kind(part) for part in parts]
        if len(kinds) == 1:
            return kinds[0][0], optional, kinds[0][2]
        if [kind for kind, _, _ in kinds] == ["integer", "number"]:
            return "integer", optional, ()  # what a person types is whole; a file may hold a fraction
        if any("auto" in k[2] for k in kinds):
            return "integer_or_auto", optional, next(k[2] for k in kinds if "auto" in k[2])
        return "names", optional, ()
    origin = get_origin(annotation) or annotation
    if origin is list:
        return ("integers" if get_args(annotation) == (int,) else "names"), False, ()
    if origin is dict:
        return "mapping", False, ()
    return _KINDS.get(origin, "text"), False, ()


def _bounds(info: FieldInfo) -> tuple[float | None, float | None, bool]:
    low: Any = None
    high: Any = None
    exclusive = False
    for item in info.metadata:
        if isinstance(item, annotated_types.Ge):
            low = item.ge
        elif isinstance(item, annotated_types.Gt):
            low, exclusive = item.gt, True
        elif isinstance(item, annotated_types.Le):
            high = item.le
        elif isinstance(item, annotated_types.Lt):
            high = item.lt
    if low is None and "auto" in str(info.annotation):
        low = 1 if _kind(info.annotation)[0] == "integer_or_auto" else None
    return low, high, exclusive


_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$")


def parse_number(text: str) -> float:
    """Read a number as people paste it: 2e-4, 0.0002, 2,048, 2k, 5 %; raises ValueError."""
    plain = text.strip().lower().replace("\u00a0", "").replace("_", "").replace(" ", "")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", plain):
        plain = plain.replace(",", "")
    elif re.fullmatch(r"[+-]?\d+,\d+", plain):
        plain = plain.replace(",", ".")
    factor = 1.0
    for suffix, value in (("k", 1e3), ("m", 1e6), ("%", 0.01)):
        if plain.endswith(suffix):
            plain, factor = plain[: -len(suffix)], value
    if not _NUMBER.match(plain):
        raise ValueError(f"{text!r} is not a number")
    return float(plain) if factor == 1.0 else float(plain) * factor


def parse_text(spec: FieldSpec, text: str) -> Any:
    """Turn what a person typed into a value for `spec`; raises ValueError with the way out."""
    stripped = text.strip()
    if spec.optional and stripped.lower() in ("", "null", "none"):
        return None
    if spec.kind == "integer_or_auto" and stripped.lower() in spec.choices:
        return stripped.lower()
    if spec.kind in ("integer", "integer_or_auto"):
        number = parse_number(stripped)
        if number != int(number):
            raise ValueError("Use a whole number.")
        return int(number)
    if spec.kind == "number":
        return parse_number(stripped)
    if spec.kind == "boolean":
        if stripped.lower() not in ("true", "false", "yes", "no", "on", "off", "1", "0"):
            raise ValueError("Use true or false.")
        return stripped.lower() in ("true", "yes", "on", "1")
    if spec.kind == "choice":
        return _choose(spec, stripped)
    return _parse_collection(spec, stripped)


def _choose(spec: FieldSpec, text: str) -> Any:
    wanted = text.lower()
    if spec.section == "training":
        wanted = ALIASES.get(wanted, wanted)
    for choice in spec.choices:
        if wanted == str(choice).lower():
            return choice
    raise ValueError(f"Use one of: {', '.join(str(c) for c in spec.choices)}.")


def _parse_collection(spec: FieldSpec, text: str) -> Any:
    if spec.kind in ("names", "paths", "integers", "mapping") and text[:1] in ("[", "{"):
        import json

        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError("Use a JSON list or mapping, or names with commas between.") from error
    if spec.kind == "mapping":
        pairs = [part.split(":", 1) for part in text.split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("Use name: value pairs with commas between.")
        whole = spec.path.startswith("adapter.")
        return {k.strip(): int(v) if whole else v.strip() for k, v in pairs}
    if spec.kind == "integers":
        return [int(part) for part in text.split(",") if part.strip()]
    if spec.kind in ("names", "paths"):
        if text == "all-linear":
            return text
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
