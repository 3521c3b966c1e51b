"""Named starting points: a title, a sentence, and the fields they change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from engine.paths import resources


@dataclass(frozen=True)
class Preset:
    """A set of recipe overrides with a name a person can choose by."""

    name: str
    title: str
    description: str
    overrides: dict[str, Any] = field(default_factory=dict)


def presets() -> list[Preset]:
    """Return the shipped presets, in the order of their file names."""
    found = []
    for path in sorted(resources("presets").glob("*.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.append(
            Preset(path.stem.split("-", 1)[-1], values["title"], values["description"], values["overrides"])
        )
    return found
