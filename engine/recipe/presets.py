"""Named starting points: a title, a sentence, and the fields they change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine import plain_yaml
from engine.paths import resources

LARGE = 1e9  # parameters


@dataclass(frozen=True)
class Preset:
    """A set of recipe overrides with a name a person can choose by.

    `large_models` are those that only suit models of a billion parameters or more: smaller ones lose by a
    4-bit base more than it saves (see rule R05 in `engine.advice`).
    """

    name: str
    title: str
    description: str
    overrides: dict[str, Any] = field(default_factory=dict)
    large_models: dict[str, Any] = field(default_factory=dict)

    def overrides_for(self, parameters: int | None) -> dict[str, Any]:
        """Return the overrides for a model of so many parameters, None where it is not known yet."""
        return {**self.overrides, **(self.large_models if parameters and parameters >= LARGE else {})}


def presets() -> list[Preset]:
    """Return the shipped presets, in the order of their file names."""
    found = []
    for path in sorted(resources("presets").glob("*.yaml")):
        values = plain_yaml.read(path.read_text(encoding="utf-8"), path.name, str(path))[0]
        name = path.stem.split("-", 1)[-1]
        large = values.get("large_models", {})
        found.append(Preset(name, values["title"], values["description"], values["overrides"], large))
    return found
