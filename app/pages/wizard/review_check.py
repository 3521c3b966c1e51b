"""One line of the review."""

from __future__ import annotations

from dataclasses import dataclass

from app.pages.wizard.fields import step_of

OK, WARN, BAD, WAIT = "ok", "warn", "bad", "wait"


@dataclass(frozen=True)
class Check:
    """What was looked at: its state, its words, and the field that a press on it leads to."""

    state: str
    title: str
    detail: str
    field: str

    @property
    def step(self) -> str:
        """Return the step that holds the field."""
        return step_of(self.field)
