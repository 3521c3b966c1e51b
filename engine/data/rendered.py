"""A conversation as text, and where its answers stand in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """Characters [start, end) of one answer; `exact` means that the end token lies inside already."""

    start: int
    end: int
    words_end: int
    exact: bool = True
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, with the ranges to train (`ranges` None: all of it)."""

    text: str
    ranges: tuple[Range, ...] | None
