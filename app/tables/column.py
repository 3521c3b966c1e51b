"""A column of a table over one kind of thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: its title, how a thing reads in it, how it sorts, its width."""

    key: str
    title: str
    text: Callable[[T], str]
    sort: Callable[[T], Any]
    width: int
    mono: bool = False
    dim: bool = True
