"""The small parts of a run's history: a phase, the best evaluation, a sample answer, a line of the log."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """A stage before the first step; `seconds` is None before it began, `done` says that it is over."""

    key: str
    label: str
    seconds: float | None = None
    done: bool = False


@dataclass(frozen=True)
class Best:
    """The lowest validation loss and its step."""

    step: int
    loss: float


@dataclass(frozen=True)
class Sample:
    """An answer at a step; step 0 is the untouched base."""

    step: int
    prompt: str
    text: str
    ended: bool | None = None
    limit: int | None = None
    expected_tokens: int | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of the log."""

    time: float
    level: str
    text: str


def is_number(value: float | None) -> bool:
    """Return whether there is a value and it is finite."""
    return value is not None and math.isfinite(value)
