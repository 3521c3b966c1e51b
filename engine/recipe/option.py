"""How an option of the recipe is declared: its default with label, help, unit, bounds and level."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Auto = Literal["auto"]
Pace = Literal["auto", "epoch"]  # in place of a number of steps
StepCount = Annotated[int, Field(ge=1)]
Level = Literal["simple", "all", "expert"]


def option(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    level: Level = "all",
    suggestions: tuple[Any, ...] = (),
    memory: int = 0,
    time: int = 0,
    quality: int = 0,
    **bounds: Any,
) -> Any:
    """Declare a field. `memory`, `time` and `quality` say what a larger value does: -1, 0 or 1."""
    extra: dict[str, Any] = {
        "unit": unit,
        "level": level,
        "suggestions": list(suggestions),
        "effects": {"memory": memory, "time": time, "quality": quality},
    }
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return Field(title=label, description=help, json_schema_extra=extra, **factory, **bounds)


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_one_or_many)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
