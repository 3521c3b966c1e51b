"""Recipes to and from YAML, with every problem named by file, line and field."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine import paths, plain_yaml
from engine.errors import EngineError, from_os_error
from engine.recipe import combinations
from engine.recipe.fields import field_spec, parse_text
from engine.recipe.recipe import SECTIONS, Recipe


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a recipe: the field, what is wrong, and the way out."""

    field: str
    message: str
    hint: str
    line: int | None = None


# Options a later version brings to life: (field, is it asked for, what to do until then).
UNSUPPORTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("model.dtype", lambda v: v == "float16", "Use auto, float32 or bfloat16."),
    ("launcher.kind", lambda v: v == "ray", "Use local, or torchrun."),
    ("launcher.nodes", lambda v: v != 1, "Use 1; processes is the number of GPUs of this machine."),
    ("launcher.address", lambda v: v is not None, "Leave it empty."),
)
UNSUPPORTED_FIELDS = frozenset(field for field, _, _ in UNSUPPORTED)


def _modernise(values: dict[str, Any]) -> dict[str, Any]:
    """Accept `warmup_ratio` of older recipes as the share that `warmup_steps` now takes."""
    training = values.get("training")
    if isinstance(training, dict) and "warmup_ratio" in training and "warmup_steps" not in training:
        training = dict(training)
        training["warmup_steps"] = training.pop("warmup_ratio")
        return {**values, "training": training}
    return values


def problems(values: Any, lines: dict[str, int] | None = None) -> list[Problem]:
    """Return what is wrong with a recipe given as plain values; an empty list when nothing is."""
    if not isinstance(values, dict):
        return [Problem("", "A recipe is a mapping of sections.", "Start with `data:`.")]
    try:
        recipe = Recipe.model_validate(_modernise(values))
    except ValidationError as error:
        told = [_explain(item, lines or {}) for item in error.errors(include_url=False)]
        return list({(each.field, each.message): each for each in reversed(told)}.values())[::-1]
    found = combinations.clashes(recipe)
    return [Problem(c.field, c.message, c.hint, (lines or {}).get(c.field)) for c in found]


def _explain(item: Any, lines: dict[str, int]) -> Problem:
    parts = [str(p) for p in item["loc"]]
    field = ".".join(parts[:2]) if parts and parts[0] in SECTIONS else ".".join(parts[:1])
    line = lines.get(field)
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(field, f"There is no option {field}.", _nearest(field), line)
    words: dict[str, str] = {
        "greater_than_equal": f"Use {_plain(context.get('ge'))} or more.",
        "greater_than": f"Use more than {_plain(context.get('gt'))}.",
        "less_than_equal": f"Use {_plain(context.get('le'))} or less.",
        "less_than": f"Use less than {_plain(context.get('lt'))}.",
        "literal_error": f"Use one of: {context.get('expected', '')}.".replace(" or ", ", "),
    }
    hint = words.get(kind, "")
    if not hint:
        hint = {"int": "Use a whole number.", "float": "Use a number.", "bool": "Use true or false."}.get(
            kind.split("_")[0], "Use " + str(item["msg"])[0].lower() + str(item["msg"])[1:] + "."
        )
    given = repr(item.get("input"))
    return Problem(field, f"{field}: {given[:60]} is not allowed.", hint, line)


def _plain(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def _nearest(field: str) -> str:
    from difflib import get_close_matches

    section, _, name = field.partition(".")
    names = (
        [f"{section}.{n}" for n in SECTIONS[section].model_fields]
        if section in SECTIONS and name
        else list(Recipe.model_fields)
    )
    near = get_close_matches(field, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Allowed: {', '.join(names)}."


def _validate(values: Any, file: str | None, lines: dict[str, int]) -> Recipe:
    with suppress(ValidationError):  # explained below
        if isinstance(values, dict):
            return Recipe.model_validate(_modernise(values))
    found = problems(values, lines)
    first = found[0]
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    raise EngineError(
        first.message + more, first.hint, "REC-01", file=file, line=first.line, field=first.field
    )


def loads(text: str, file: str | None = None) -> Recipe:
    """Read a recipe from YAML text; raises EngineError REC-01 with line and field."""
    values, lines = plain_yaml.read(text, "The recipe", file)
    return _validate({} if values is None else values, file, lines)


def from_values(values: Any) -> Recipe:
    """Return the recipe of plain values, as JSON or a form has them; raises EngineError REC-01."""
    return _validate(values, None, {})


def load(path: Path) -> Recipe:
    """Read a recipe file; relative paths in it stay relative (see `absolute`)."""
    try:
        raw = paths.read_head(path, plain_yaml.MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except UnicodeDecodeError as error:
        raise EngineError(
            f"{path.name} is not UTF-8 text.", "A recipe is a YAML text file.", "REC-01", file=str(path)
        ) from error
    return loads(text, str(path))


def dumps(recipe: Recipe) -> str:
    """Return the recipe as YAML with every value, in the order of the contract."""
    values = recipe.model_dump(mode="json")
    return plain_yaml.dump(values)


def override(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """Return a copy with dotted fields replaced; text is read as a person types it."""
    tree = recipe.model_dump()
    for path, value in values.items():
        spec = field_spec(path)
        if isinstance(value, str):
            try:
                value = parse_text(spec, value)
            except ValueError as error:
                raise EngineError(
                    f"{path}: {value!r} is not allowed.", str(error), "REC-01", field=path
                ) from error
        section = tree[spec.section] if spec.section else tree
        section[spec.name] = value
    return _validate(tree, None, {})


def absolute(recipe: Recipe, base: Path) -> Recipe:
    """Return a copy whose relative file paths are resolved against `base`."""

    def fix(text: str) -> str:
        if not text or text.startswith("hub:") or Path(text).is_absolute():
            return text
        return str((base / Path(text).expanduser()).resolve())

    data = recipe.data.model_copy(
        update={
            "train": [fix(p) for p in recipe.data.train],
            "validation": None if recipe.data.validation is None else fix(recipe.data.validation),
            "sources": {fix(p): entry for p, entry in recipe.data.sources.items()},
        }
    )
    model = recipe.model
    if (base / model.path).exists() and model.path != "starter":
        model = model.model_copy(update={"path": fix(model.path)})
    adapter = recipe.adapter
    if adapter.path and (base / adapter.path).exists():  # else it is the name of a run
        adapter = adapter.model_copy(update={"path": fix(adapter.path)})
    return recipe.model_copy(update={"data": data, "model": model, "adapter": adapter})


def refuse_unsupported(recipe: Recipe) -> None:
    """Raise EngineError REC-01 for the first option that cannot be obeyed, alone or beside the others."""
    for path, asked, remedy in UNSUPPORTED:
        section, name = path.split(".")
        value = getattr(getattr(recipe, section), name)
        if asked(value):
            raise EngineError(
                f"{path}: {value} is not available in this version yet.", remedy, "REC-01", field=path
            )
    refuse_clashes(recipe)
    if not recipe.data.train:
        raise EngineError(
            "No training data is named.",
            "Name at least one file with examples.",
            "REC-01",
            field="data.train",
        )


def refuse_clashes(recipe: Recipe) -> None:
    """Raise EngineError REC-01 for the first two options that cannot be had together."""
    for clash in combinations.clashes(recipe):
        raise EngineError(clash.message, clash.hint, "REC-01", field=clash.field)
