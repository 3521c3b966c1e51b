"""One line of the review."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.pages.wizard.fields import step_of

OK, WARN, BAD, WAIT, INFO = "ok", "warn", "bad", "wait", "info"
CHECK_EXACTLY, ADD_SEEDS = "Check exactly", "Add two seeds"


@dataclass(frozen=True)
class Check:
    """What was looked at: its state, its words, and the field that a press on it leads to.

    `press` names a button that changes the recipe by `fix`; without one it is CHECK_EXACTLY or ADD_SEEDS.
    """

    state: str
    title: str
    detail: str
    field: str
    press: str = ""
    fix: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def step(self) -> str:
        """Return the step that holds the field."""
        return step_of(self.field)
