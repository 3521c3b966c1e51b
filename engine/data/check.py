"""One thing worth telling about the data, and where it is to be seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.paths import show_name

Severity = Literal["bad", "warn", "info"]
SHOWN = 20
TEXT = 160


@dataclass(frozen=True)
class Place:
    """One example: `row` counts from 0, `line` from 1; `text` is at most 160 characters, safe to show.

    Of a repeated row after the first ten thousand the text is empty.
    """

    file: str
    row: int
    line: int
    text: str


@dataclass(frozen=True)
class Check:
    """What was found: `count` times, the first 20 in `places`. `fix` are recipe fields that mend it.

    `data` is what a drawing needs.
    """

    id: str
    severity: Severity
    count: int
    title: str
    detail: str = ""
    places: tuple[Place, ...] = ()
    fix: dict[str, Any] = field(default_factory=dict)
    fix_label: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def shown(text: str) -> str:
    """Return a text as a place shows it."""
    return show_name(" ".join(text[: 2 * TEXT].split()), TEXT)


def number(count: int) -> str:
    """Return a number as a person reads it: 1,204."""
    return f"{count:,}"


def counted(count: int, one: str, many: str) -> str:
    """Return `1 row`, `1,204 rows`."""
    return f"{number(count)} {one if count == 1 else many}"
